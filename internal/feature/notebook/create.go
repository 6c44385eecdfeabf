package notebook

import (
	"context"
	"errors"
	"fmt"
	"time"

	api "clary/internal/api/sagemaker"
	"clary/internal/aws/apierr"
	"clary/internal/aws/op"
	"clary/internal/aws/tags"
	"clary/internal/budget"
	"clary/internal/meter"
	"clary/internal/resource"
	"clary/internal/store"
)

// request is the stored spec: the validated request as it was sent, with what
// was updated since.
type request = api.CreateNotebookInstanceInput

func readSpec(r *resource.Record) (*request, error) {
	var in request
	if err := unmarshal(r.Spec, &in); err != nil {
		return nil, fmt.Errorf("notebook instance %s: spec: %w", r.Name, err)
	}
	return &in, nil
}

const (
	enabled         = "Enabled"
	defaultVolume   = 5 // GB
	defaultPlatform = "notebook-al2023-v1"
)

// gigabytes is the size of the volume that the request wants.
func gigabytes(in *request) int64 {
	if in.VolumeSizeInGB == nil {
		return defaultVolume
	}
	return *in.VolumeSizeInGB
}

// Create accepts a notebook: one transaction, no compute touched. Its volume
// is billed from here on.
func (n *Notebooks) Create(ctx context.Context, c op.Call, in *request) (*api.CreateNotebookInstanceOutput, error) {
	if err := n.check(in); err != nil {
		return nil, err
	}
	if err := n.Auth.PassRole(ctx, c.Principal, in.RoleArn, "sagemaker.amazonaws.com"); err != nil {
		return nil, err
	}
	if err := n.room(); err != nil {
		return nil, err
	}
	named, err := tags.Map(in.Tags)
	if err != nil {
		return nil, err
	}
	if err := checkIdleTag(named); err != nil {
		return nil, err
	}
	spec, err := marshal(in)
	if err != nil {
		return nil, fmt.Errorf("spec: %w", err)
	}
	now := time.Now()
	rec := resource.Record{
		Key: key(c.Account, c.Region, in.NotebookInstanceName), UID: resource.NewUID(), Arn: arnOf(c, in.NotebookInstanceName),
		Phase: phasePending, Created: now, Modified: now, Due: now, Spec: spec,
	}
	st := status{V: 1, Volume: gigabytes(in), Volumes: 1}
	st.run(rec.UID, now)
	if err := st.write(&rec, in); err != nil {
		return nil, err
	}
	err = n.Store.Update(ctx, func(tx store.Tx) error {
		// Two names that differ in case have one ARN.
		if _, err := tx.ByArn(rec.Arn); !errors.Is(err, store.ErrNotFound) {
			if err == nil {
				err = store.ErrExists
			}
			return err
		}
		if err := checkNamed(tx, rec.Key, in.LifecycleConfigName, sources(in)...); err != nil {
			return err
		}
		if err := budget.Admit(ctx, n.Gate, tx, budget.Ask{Key: rec.Key, Tags: named, Uses: []resource.Usage{computeAsk(in), volumeAsk(st.Volume)}}); err != nil {
			return err
		}
		r := rec
		if err := tx.Put(&r); err != nil {
			return err
		}
		if err := tx.PutTags(rec.Arn, named); err != nil {
			return err
		}
		return openVolume(tx, &rec, st, now)
	})
	if errors.Is(err, store.ErrExists) {
		return nil, apierr.Validation("Cannot create a duplicate Notebook Instance (%s)", rec.Arn)
	}
	if err != nil {
		return nil, err
	}
	n.track(rec.Key, st)
	return &api.CreateNotebookInstanceOutput{NotebookInstanceArn: rec.Arn}, nil
}

// computeAsk and volumeAsk are what an instance is about to cost.
func computeAsk(in *request) resource.Usage {
	return resource.Usage{Component: componentCompute, InstanceType: in.InstanceType, Unit: meter.InstanceSecond, Quantity: 1}
}

func volumeAsk(gb int64) resource.Usage {
	return resource.Usage{Component: componentVolume, Unit: meter.GBSecond, Quantity: gb}
}

// room refuses what needs disk when there is hardly any.
func (n *Notebooks) room() error {
	if n.Free() != nil {
		return apierr.New(400, "ResourceLimitExceeded",
			"The server's disk is almost full and takes no more notebook instances. Delete objects or notebook instances, or give the data folder more room, and try again.")
	}
	return nil
}

// check refuses what the model allows and we cannot do, and what AWS refuses
// beyond the model. Members that change nothing here are recorded and listed
// in docs/DIVERGENCES.md.
func (n *Notebooks) check(in *request) error {
	switch {
	case in.DirectInternetAccess == "Disabled" && in.SubnetId == "":
		return apierr.Validation("DirectInternetAccess can be Disabled only if a SubnetId is given.")
	case len(in.SecurityGroupIds) > 0 && in.SubnetId == "":
		return apierr.Validation("SecurityGroupIds can be given only together with a SubnetId.")
	}
	if err := checkSources(in); err != nil {
		return err
	}
	return n.checkType(in.InstanceType)
}

func (n *Notebooks) checkType(instanceType string) error {
	if acc := meter.Accelerators(instanceType); acc > n.Capacity.GPUs {
		return apierr.New(400, "ResourceLimitExceeded",
			"The account-level service limit '%s for notebook instance usage' is 0 Instances, with current utilization of 0 Instances and a request delta of 1 Instances. "+
				"This machine has %d of the %d accelerators that the instance type needs; use a CPU instance type.", instanceType, n.Capacity.GPUs, acc)
	}
	return nil
}
