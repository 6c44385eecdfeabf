package notebook

import (
	"context"
	"time"

	api "clary/internal/api/sagemaker"
	"clary/internal/aws/op"
	"clary/internal/resource"
)

// rescueOperation is what the audit log calls the writing of a rescue, which no
// operation of AWS does.
const rescueOperation = "RescueNotebookInstance"

// keptRescue is what a rescue's record says.
type keptRescue struct {
	NotebookInstanceName string
	S3Uri                string
}

// recorded begins the record of what the server does by itself: a stop that the
// idle policy makes, as of a call, or a rescue. The transaction that follows
// keeps it.
func (n *Notebooks) recorded(ctx context.Context, rec *resource.Record, d decision) (context.Context, func(error) error) {
	c := op.Call{
		Account: rec.Account, Region: rec.Region, Service: n.Name(), RequestID: resource.NewUID(),
		Principal: resource.Principal{Account: rec.Account, Service: "sagemaker.amazonaws.com"},
	}
	var in any
	switch {
	case n.Record != nil && d.stopped:
		c.Operation, c.UserAgent, c.Received = "StopNotebookInstance", "clary idle policy", d.st.Halted.At
		in = &api.StopNotebookInstanceInput{NotebookInstanceName: rec.Name}
	case n.Record != nil && d.kept != "":
		c.Operation, c.UserAgent, c.Received = rescueOperation, "clary rescue", time.Now()
		in = &keptRescue{NotebookInstanceName: rec.Name, S3Uri: d.kept}
	default:
		return ctx, func(err error) error { return err }
	}
	ctx, end := n.Record(ctx, c, in, rec.Arn)
	return ctx, func(err error) error {
		if err != nil {
			return err // nothing was done, which is no call that was refused
		}
		return end(nil)
	}
}
