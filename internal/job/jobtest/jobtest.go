// Package jobtest is the smallest world that an engine of jobs lives in: a
// store on disk, simulated tasks, and neighbours that refuse nothing.
package jobtest

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"clary/internal/aws/op"
	"clary/internal/compute"
	"clary/internal/compute/fake"
	"clary/internal/identity"
	"clary/internal/job"
	"clary/internal/logs"
	"clary/internal/reconcile"
	"clary/internal/resource"
	"clary/internal/runtimes"
	"clary/internal/stage/plan"
	"clary/internal/store/sqlite"
)

// Whose jobs they are, and where.
const (
	Account = "123456789012"
	Region  = "us-east-1"
	Role    = "arn:aws:iam::123456789012:role/Role"
)

// Config is one whose tasks go as script says. The store is closed with the
// test.
func Config(t *testing.T, script func(compute.Task) fake.Script) job.Config {
	t.Helper()
	st, err := sqlite.Open(filepath.Join(t.TempDir(), "clary.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	return job.Config{
		Store: st, Driver: fake.NewWorld(script, nil).Driver(), Catalog: catalog{}, Output: output{}, Logs: noLogs{}, Auth: nobody{}, Sessions: nobody{},
		Wake: func(resource.Key) {}, Free: func() error { return nil }, Queue: new(job.Queue),
	}
}

// Call is the account's own.
func Call() op.Call {
	return op.Call{Account: Account, Region: Region, Principal: resource.Principal{Account: Account, Root: true}, Received: time.Now()}
}

// Look has a job looked at as a loop does, and again where that is asked for at
// once.
func Look(ctx context.Context, look func(context.Context, resource.Key) (reconcile.Result, error), k resource.Key) error {
	for range 10 {
		if r, err := look(ctx, k); err != nil || r.After != time.Millisecond {
			return err
		}
	}
	return nil
}

// nobody allows everything and makes sessions of nothing.
type nobody struct{}

func (nobody) Allow(context.Context, resource.Principal, string, string) error    { return nil }
func (nobody) PassRole(context.Context, resource.Principal, string, string) error { return nil }
func (nobody) Assume(context.Context, string, string, time.Duration) (identity.Credentials, error) {
	return identity.Credentials{}, nil
}

// catalog has every image but "unknown", and all are built; "jobs" serves no
// models.
type catalog struct{}

func (catalog) Resolve(_ context.Context, uri string) (runtimes.Runtime, error) {
	if uri == "unknown" {
		return runtimes.Runtime{}, fmt.Errorf("%w: %s", runtimes.ErrUnknownImage, uri)
	}
	if uri == "jobs" {
		return runtimes.Runtime{ID: "x", Recipe: "x", Train: []string{"train"}}, nil
	}
	return runtimes.Runtime{ID: "x", Recipe: "x", Train: []string{"train"}, Serve: []string{"serve"}}, nil
}

func (catalog) Notebook(context.Context) (runtimes.Runtime, error) {
	return runtimes.Runtime{}, nil
}

func (catalog) Ensure(context.Context, runtimes.Runtime) (runtimes.State, error) {
	return runtimes.State{Ready: true}, nil
}
func (catalog) Changes() <-chan string { return nil }

// output says that every output is in.
type output struct{}

func (output) Ensure(compute.TaskID, logs.Stream, map[string]string, []plan.Metric, ...logs.Side) error {
	return nil
}
func (output) Forget(compute.TaskID) {}

func (output) Done(context.Context, compute.TaskID, logs.Stream, int64) (bool, error) {
	return true, nil
}

// noLogs takes lines of ours and keeps none.
type noLogs struct{ logs.Store }

func (noLogs) Ingest(context.Context, logs.Stream, string, int64, int64, []logs.Event) error {
	return nil
}
