package notebook

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"clary/internal/compute"
	"clary/internal/resource"
	"clary/internal/runtimes"
	"clary/internal/stage/agent"
	"clary/internal/store"
)

// Keeper keeps files in an account's own bucket of a region, which it makes
// when there is none, and acts as the account itself.
type Keeper interface {
	Bucket(account, region string) string
	// Has says whether an object is there in the very bytes that f tells.
	Has(ctx context.Context, account, region, key string, f agent.File) (bool, error)
	// Keep writes an object durably, and fails without a trace of it if the body
	// is not what f tells.
	Keep(ctx context.Context, account, region, key string, f agent.File, body io.Reader) error
}

const (
	maxLoose     = 1 << 30          // bytes of loose files that are rescued
	keepPatience = 30 * time.Minute // for all files
	manifestName = "manifest.json"
	taskProgram  = "/run/clary/clary-task" // inside of a task
)

// observeRescue looks at a deleted notebook.
func (n *Notebooks) observeRescue(ctx context.Context, rec *resource.Record, st status, o *observed) error {
	if !st.Made || st.Rescue == nil || st.Rescue.Done {
		return nil
	}
	err := n.Store.View(ctx, func(tx store.Tx) error {
		named, err := tx.Tags(rec.Arn)
		o.unwanted = strings.EqualFold(named[noRescue], "off")
		return err
	})
	if err == nil && !o.unwanted && o.task != nil && o.task.Phase == compute.Running {
		o.found = n.found(ctx, st.Task)
		o.now = time.Now() // asking took a while
	}
	return err
}

// found asks a rescue's task what it found; nil: it does not answer.
func (n *Notebooks) found(ctx context.Context, id compute.TaskID) *agent.Rescue {
	ctx, cancel := context.WithTimeout(ctx, probePatience)
	defer cancel()
	var r agent.Rescue
	if n.read(ctx, id, agent.Port, "/rescue", &r) != nil {
		return nil
	}
	return &r
}

// shelter has the driver accept the rescue's task.
func (n *Notebooks) shelter(ctx context.Context, rec *resource.Record, st status, spec *request, o observed, d decision) (decision, error) {
	task, err := n.rescuer(rec, &d.st, spec)
	if err != nil {
		return d, err
	}
	switch err := n.Driver.Start(ctx, task); {
	case errors.Is(err, compute.ErrCapacity):
		n.waits(rec.Key, true)
		st.tell("The rescue of what lies on the volume waits for room on this machine.")
		return decision{phase: rec.Phase, st: st, after: capacityRetry}, nil
	case errors.Is(err, compute.ErrNoVolume):
		d.st.Rescue.Done, d.st.Launched = true, false
		d.st.tell("The volume of the notebook instance is not on this machine any more: nothing of it could be rescued.")
		return d, nil
	case errors.Is(err, compute.ErrInUse):
		return d, fmt.Errorf("start rescue: %w", err)
	case err != nil:
		return missed(ctx, rec, st, o, err)
	}
	return d, n.follow(rec, st.Task)
}

// missed is the decision after a try that came to nothing by an error, unless
// somebody called it off.
func missed(ctx context.Context, rec *resource.Record, st status, o observed, err error) (decision, error) {
	if ctx.Err() != nil {
		return decision{}, err
	}
	own := *st.Rescue
	st.Rescue = &own
	d := decision{phase: rec.Phase, st: st}
	d.missed(o, err.Error())
	return d, nil
}

// rescuer is the task that looks for what is worth keeping. It has no session
// of the role, and nobody to talk to.
func (n *Notebooks) rescuer(rec *resource.Record, st *status, spec *request) (compute.Task, error) {
	order, err := encode(agent.Order{Name: rec.Name, Arn: rec.Arn, Shelter: &agent.Shelter{MaxLoose: maxLoose}})
	if err != nil {
		return compute.Task{}, err
	}
	return compute.Task{
		ID: st.Task, Kind: "notebook-rescue", Name: rec.Name,
		Args:      []string{taskProgram, "rescue"},
		User:      &compute.User{Name: user, Home: runtimes.NotebookHome, Sudo: true},
		Mounts:    []compute.Mount{{Volume: volumeID(rec), Path: runtimes.NotebookDir}},
		Files:     []compute.File{{Path: agent.OrderFile, Mode: 0o400, Data: order}},
		Resources: n.resources(spec),
		Network:   compute.Network{Isolated: true},
		Grace:     stopGrace,
	}, nil
}

// keep brings what was found into the bucket, the manifest last: a rescue
// without one is none. What is there already is not written again.
func (n *Notebooks) keep(ctx context.Context, rec *resource.Record, found *agent.Rescue, d *decision) error {
	ctx, cancel := context.WithTimeout(ctx, keepPatience)
	defer cancel()
	r := d.st.Rescue
	folder := r.folder(rec.Name, rec.UID)
	for _, f := range found.Files {
		has, err := n.Keeper.Has(ctx, rec.Account, rec.Region, folder+f.Name, f)
		if err == nil && !has {
			err = n.ask(ctx, d.st.Task, agent.Port, http.MethodGet, "/rescue/"+f.Name, nil, func(body io.Reader) error {
				return n.Keeper.Keep(ctx, rec.Account, rec.Region, folder+f.Name, f, body)
			})
		}
		if err != nil {
			return fmt.Errorf("rescue %s: %w", f.Name, err)
		}
	}
	doc, err := encode(r.manifest(rec.Name, rec.Arn, found))
	if err != nil {
		return err
	}
	f := agent.File{Name: manifestName, Bytes: int64(len(doc)), SHA256: fmt.Sprintf("%x", sha256.Sum256(doc))}
	if err := n.Keeper.Keep(ctx, rec.Account, rec.Region, folder+manifestName, f, bytes.NewReader(doc)); err != nil {
		return fmt.Errorf("rescue %s: %w", manifestName, err)
	}
	d.kept = fmt.Sprintf("s3://%s/%s", n.Keeper.Bucket(rec.Account, rec.Region), folder)
	d.st.tell("What was not elsewhere is kept in " + d.kept)
	return nil
}
