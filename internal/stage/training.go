package stage

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"time"

	"clary/internal/stage/plan"
	"clary/internal/stage/tail"
)

// patience is how long an absent server is waited for: a job outlives any
// restart, and nothing is lost by waiting.
const patience = 24 * time.Hour

// training is one training job on one host.
type training struct {
	p  plan.Training
	h  Host
	ml *os.Root // /opt/ml
}

func newTraining(p plan.Training, h Host) *training {
	if h.API != nil {
		told := time.Time{}
		h.API = h.API.Patient(patience, func(err error) {
			if time.Since(told) > 30*time.Second {
				told = time.Now()
				h.say("clary: S3 does not answer, trying again: %v", err)
			}
		})
	}
	return &training{p: p, h: h}
}

func (t *training) run(ctx context.Context) plan.Result {
	if err := os.MkdirAll(t.h.path("/opt/ml"), dirMode); err != nil {
		return failed(err)
	}
	ml, err := os.OpenRoot(t.h.path("/opt/ml"))
	if err != nil {
		return failed(err)
	}
	defer ml.Close() //nolint:errcheck // nothing is written through it
	t.ml = ml

	// Stop ends downloads; the program has its own grace, uploads are never cut.
	fetchCtx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	fetched := make(chan struct{})
	go func() {
		select {
		case <-t.h.Stop:
			cancel(errStopped)
		case <-fetched:
		}
	}()
	err = t.prepare(fetchCtx)
	var sync *checkpoints
	if err == nil {
		sync, err = t.startCheckpoints(fetchCtx, ctx)
	}
	close(fetched)
	if err != nil {
		if ctx.Err() == nil && errors.Is(context.Cause(fetchCtx), errStopped) {
			err = errStopped
		}
		return failed(err)
	}

	t.h.report(plan.StepTraining)
	res := runProgram(ctx, t.h)
	cpErr := sync.finish(ctx)
	if ctx.Err() != nil {
		return res
	}
	t.readFailure(&res)

	t.h.report(plan.StepUploading)
	err = errors.Join(cpErr, t.upload(ctx, &res))
	if err != nil && res.Failure == "" {
		up := failed(err)
		res.Failure, res.Class = up.Failure, up.Class
	} else if err != nil {
		t.h.say("clary: %v", err)
	}
	return res
}

// prepare makes the folders, files and inputs of /opt/ml.
func (t *training) prepare(ctx context.Context) error {
	t.h.report(plan.StepDownloading)
	for _, d := range []string{"input/config", "input/data", "model", "output/data", "code"} {
		if err := mkdir(t.ml, d); err != nil {
			return err
		}
	}
	if err := t.writeConfig(); err != nil {
		return err
	}
	t.environment()
	if err := t.h.prepareHome(t.p.NetworkIsolation); err != nil {
		t.h.say("clary: the SageMaker SDK is not set up in this job: %v", err) // HOME may be the user's own idea
	}
	if err := t.h.prepareEnv(); err != nil {
		return err
	}
	return t.fetchChannels(ctx)
}

// environment adds what SageMaker sets besides the request's own.
func (t *training) environment() {
	t.h.Env["TRAINING_JOB_NAME"] = t.p.JobName
	t.h.Env["TRAINING_JOB_ARN"] = t.p.JobArn
	if t.h.Env["AWS_REGION"] == "" && t.p.Region != "" {
		t.h.Env["AWS_REGION"] = t.p.Region
	}
}

// first says whether this host uploads what all hosts share.
func (t *training) first() bool {
	return len(t.p.Hosts) == 0 || t.p.CurrentHost == slices.Min(t.p.Hosts)
}

// readFailure takes the program's own word on its failure. Where that does
// not name the exception which the program died of, as when a launcher only
// says that a script failed, the traceback follows it.
func (t *training) readFailure(res *plan.Result) {
	if res.Failure == "" {
		return
	}
	const name, most = "output/failure", 1024
	data, err := tree{t.ml, "."}.readStart(name, 4*most)
	if err != nil {
		return // none is the usual case
	}
	text := strings.TrimSpace(strings.ToValidUTF8(string(data), "\uFFFD"))
	if text == "" {
		return
	}
	room := most
	cause := ""
	if e := tail.Exception(res.Failure); e != "" && !strings.Contains(text, e) {
		cause = "\n" + tail.Shorten(res.Failure, 600)
		room = most - 60 - len([]rune(cause)) // what FailureReason puts around it must fit too
	}
	if r := []rune(text); len(r) > room {
		text = string(r[:room])
	}
	res.Failure = text + cause
}
