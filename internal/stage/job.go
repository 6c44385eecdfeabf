package stage

import (
	"context"
	"errors"
	"iter"
	"os"
	"path"
	"strings"
	"sync"
	"time"

	"clary/internal/stage/plan"
)

// patience is how long an absent server is waited for: a job outlives any
// restart, and nothing is lost by waiting.
const patience = 24 * time.Hour

// job is what jobs of all kinds have in common, on one host.
type job struct {
	h            Host
	region, role string
	hosts        []string
	current      string
	isolated     bool
	input, kept  string     // what the kind's texts call an input, and what is uploaded
	ml           *os.Root   // /opt/ml
	opened       []*os.Root // besides
	mirrors      []*mirror
}

// kind is what the kinds of jobs differ in.
type kind interface {
	// prepare makes folders, files and inputs before the program starts.
	prepare(ctx context.Context) error
	// finish takes what the program left when it has ended. It goes on after an
	// error, and tells them all.
	finish(ctx context.Context, res *plan.Result) []error
}

func newJob(h Host) job {
	if h.API != nil {
		var mu sync.Mutex // guards told
		told := time.Time{}
		h.API = h.API.Patient(patience, func(err error) {
			mu.Lock()
			defer mu.Unlock()
			if time.Since(told) > 30*time.Second {
				told = time.Now()
				h.say("clary: S3 does not answer, trying again: %v", err)
			}
		})
	}
	return job{h: h}
}

func (j *job) run(ctx context.Context, k kind) plan.Result {
	defer j.close()
	if err := j.begin(ctx, k.prepare); err != nil {
		return failed(err)
	}

	j.h.report(plan.StepTraining)
	for _, m := range j.mirrors {
		m.watch(ctx)
	}
	res := runProgram(ctx, j.h)
	for _, m := range j.mirrors {
		m.rest()
	}
	if ctx.Err() != nil {
		return res
	}

	j.h.report(plan.StepUploading)
	var errs []error
	for _, m := range j.mirrors {
		if err := m.send(ctx, true); err != nil {
			errs = append(errs, err)
		}
	}
	for i, err := range append(errs, k.finish(ctx, &res)...) {
		j.h.say("clary: %v", err)
		if f := failed(err); i == 0 && res.Failure == "" {
			res.Failure, res.Class = f.Failure, f.Class
		}
	}
	return res
}

// begin opens /opt/ml and has all prepared before the program starts. Stop ends
// it: the program has a grace of its own later, and uploads are never cut.
func (j *job) begin(ctx context.Context, prepare func(context.Context) error) error {
	if err := os.MkdirAll(j.h.path(mlPath), dirMode); err != nil {
		return err
	}
	var err error
	if j.ml, err = os.OpenRoot(j.h.path(mlPath)); err != nil {
		return err
	}
	j.opened = append(j.opened, j.ml)
	j.h.report(plan.StepDownloading)
	fetch, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	done := make(chan struct{})
	defer close(done)
	go func() {
		select {
		case <-j.h.Stop:
			cancel(errStopped)
		case <-done:
		}
	}()
	err = prepare(fetch)
	if err != nil && ctx.Err() == nil && errors.Is(context.Cause(fetch), errStopped) {
		return errStopped
	}
	return err
}

func (j *job) close() {
	for _, r := range j.opened {
		_ = r.Close() // nothing is written through it
	}
}

// surround makes what every program finds around it.
func (j *job) surround() error {
	if j.h.Env["AWS_REGION"] == "" && j.region != "" {
		j.h.Env["AWS_REGION"] = j.region
	}
	if err := j.h.prepareHome(j.isolated); err != nil {
		j.h.say("clary: the SageMaker SDK is not set up in this job: %v", err) // HOME may be the user's own idea
	}
	return j.h.prepareEnv()
}

// place is the folder of a path that the request names. It is reached by way of
// the deepest folder that is there before the job makes any: that one belongs to
// the task, and the program cannot replace it.
func (j *job) place(what, local string) (tree, error) {
	local = path.Clean("/" + local)
	base := local
	for base != "/" && !isDir(j.h.path(base)) {
		base = path.Dir(base)
	}
	root, err := os.OpenRoot(j.h.path(base))
	if err != nil {
		return tree{}, userError("%s: LocalPath %s cannot be used: %v. Use a folder below %s", what, local, err, mlPath)
	}
	j.opened = append(j.opened, root)
	return tree{root, base, path.Clean("./" + strings.TrimPrefix(local, base))}, nil
}

func isDir(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.IsDir()
}

// each does something with all of many, n at a time, until one fails: then the
// context that do is given ends.
func each[T any](ctx context.Context, n int, all func(context.Context) iter.Seq2[T, error], do func(context.Context, T) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	work := make(chan T)
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			for one := range work {
				if err := do(ctx, one); err != nil {
					cancel(err)
				}
			}
		})
	}
	for one, err := range all(ctx) {
		if err != nil {
			cancel(err)
			break
		}
		select {
		case work <- one:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
	}
	close(work)
	wg.Wait()
	return context.Cause(ctx)
}
