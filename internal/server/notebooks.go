package server

import (
	"context"
	"net"

	"clary/internal/compute"
	"clary/internal/dataplane"
	"clary/internal/feature/notebook"
	"clary/internal/logs"
	"clary/internal/resource"
)

// openPlane makes the way of browsers into notebook instances.
func (r *rooms) openPlane(addr string) error {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return err
	}
	r.plane, err = dataplane.New(dataplane.Config{
		Store: r.store, Keys: r.ids, Auth: r.ids, Dialer: r.driver, Suffix: r.cfg.NotebookSuffix, Port: port, Log: r.log,
	})
	return err
}

func (r *rooms) openNotebooks(capacity compute.Capacity) {
	r.notebooks = notebook.New(notebook.Config{
		Store: r.store, Driver: r.driver, Catalog: r.catalog, Output: plainOutput{r.ingest}, Logs: r.logs,
		Auth: r.ids, Sessions: r.ids, Door: r.plane, Keeper: keeper{r.blobs}, Site: r.plane.Site, Capacity: capacity, Scale: r.cfg.InstanceScale, Egress: r.cfg.TaskEgress,
		Wake: func(k resource.Key) { r.loop.Wake(k) }, Free: r.room, Clock: clock(), IdleStop: r.cfg.NotebookIdle,
		Gate: r.budgets, Record: r.record,
	})
}

// plainOutput feeds tasks' spools, in which there are no metrics, to the log
// ingester.
type plainOutput struct{ in *logs.Ingester }

func (o plainOutput) Ensure(task compute.TaskID, s logs.Stream, sides ...logs.Side) error {
	return o.in.Ensure(string(task), s, "", nil, nil, sides...)
}

func (o plainOutput) Done(ctx context.Context, task compute.TaskID, s logs.Stream, size int64) (bool, error) {
	return o.in.Done(ctx, string(task), s, size)
}

func (o plainOutput) Forget(task compute.TaskID) { o.in.Forget(string(task)) }
