// Package stage is what happens around a user's program inside a task: inputs
// are fetched, the program runs, outputs are uploaded. It alone knows
// /opt/ml. It acts as the job's role through S3, and it never trusts a path or
// a file once the program has run: everything below /opt/ml is then reached
// through os.Root. Start at Run; what jobs of all kinds share is in job.go.
package stage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"clary/internal/stage/plan"
)

// Whose fault a failure is, as FailureReason names it.
const (
	classAlgorithm = "AlgorithmError"
	classClient    = "ClientError"
	classInternal  = "InternalServerError"
)

// clientError is a failure that the user can mend.
type clientError struct{ text string }

func (e *clientError) Error() string { return e.text }

func userError(format string, args ...any) error {
	return &clientError{fmt.Sprintf(format, args...)}
}

// errStopped is the cause of a context that Stop ended.
var errStopped = errors.New("stopped")

// failed is the result of a job that could not go on.
func failed(err error) plan.Result {
	if errors.Is(err, errStopped) {
		return plan.Result{ExitCode: -1}
	}
	class := classInternal
	if c, ok := errors.AsType[*clientError](err); ok {
		return plan.Result{ExitCode: -1, Class: classClient, Failure: c.text}
	}
	return plan.Result{ExitCode: -1, Class: class, Failure: err.Error()}
}

// Run carries out a plan and says how it ended. It returns when the program
// has ended and outputs are uploaded, or earlier if ctx ends.
func Run(ctx context.Context, p plan.Plan, h Host) plan.Result {
	if h.Root == "" {
		h.Root = "/"
	}
	if h.Stderr == nil {
		h.Stderr = io.Discard
	}
	if h.Report == nil {
		h.Report = func(string) error { return nil }
	}
	h.Env = maps.Clone(h.Env)
	if h.Env == nil {
		h.Env = map[string]string{}
	}
	if p.Training != nil {
		t := newTraining(*p.Training, h)
		return t.run(ctx, t)
	}
	if p.Processing != nil {
		r := newProcessing(*p.Processing, h)
		return r.run(ctx, r)
	}
	if p.Serving != nil {
		return newServing(*p.Serving, h).run(ctx)
	}
	if p.Transform != nil {
		return newTransform(*p.Transform, h).run(ctx)
	}
	return runProgram(ctx, h)
}

func (h *Host) say(format string, args ...any) {
	fmt.Fprintf(h.Stderr, format+"\n", args...) //nolint:errcheck // the log is advice
}

// report tells the driver how far the job is.
func (h *Host) report(step string) {
	if err := h.Report(step); err != nil {
		h.say("clary: could not report %s: %v", step, err)
	}
}

// path is a path inside the task.
func (h *Host) path(p string) string { return filepath.Join(h.Root, p) }

func environ(env map[string]string) []string {
	out := make([]string, 0, len(env))
	for _, k := range slices.Sorted(maps.Keys(env)) {
		out = append(out, k+"="+env[k])
	}
	return out
}

// open modes: the program may run as another user of the same task.
const (
	dirMode  os.FileMode = 0o777
	fileMode os.FileMode = 0o666
)

// mkdir makes a folder and its parents, open to the program whatever the
// umask is.
func mkdir(root *os.Root, dir string) error {
	if dir == "." || dir == "" {
		return nil
	}
	err := root.Mkdir(dir, dirMode)
	if errors.Is(err, os.ErrNotExist) {
		if err := mkdir(root, filepath.Dir(dir)); err != nil {
			return err
		}
		err = root.Mkdir(dir, dirMode)
	}
	if errors.Is(err, os.ErrExist) {
		fi, serr := root.Stat(dir)
		if serr != nil {
			return serr
		}
		if !fi.IsDir() {
			return err
		}
		return nil
	}
	if err != nil {
		return err
	}
	return root.Chmod(dir, dirMode)
}

// write replaces a small file.
func write(root *os.Root, name string, data []byte) error {
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, fileMode)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Chmod(fileMode), f.Close())
}
