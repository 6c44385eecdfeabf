package stage

import (
	"context"
	"slices"
	"strings"

	"clary/internal/stage/plan"
	"clary/internal/stage/tail"
)

const defaultCheckpoints = mlPath + "/checkpoints"

// training is one training job on one host.
type training struct {
	job
	p plan.Training
}

func newTraining(p plan.Training, h Host) *training {
	t := &training{newJob(h), p}
	t.region, t.role, t.hosts, t.current = p.Region, p.RoleArn, p.Hosts, p.CurrentHost
	t.isolated, t.input, t.kept = p.NetworkIsolation, "channel", "Artifact"
	return t
}

// prepare makes the folders, files and inputs of /opt/ml.
func (t *training) prepare(ctx context.Context) error {
	for _, d := range []string{"input/config", "input/data", "model", "output/data", "code"} {
		if err := mkdir(t.ml, d); err != nil {
			return err
		}
	}
	if err := t.writeConfig(); err != nil {
		return err
	}
	t.h.Env["TRAINING_JOB_NAME"] = t.p.JobName
	t.h.Env["TRAINING_JOB_ARN"] = t.p.JobArn
	if err := t.surround(); err != nil {
		return err
	}
	for _, ch := range t.p.Channels {
		if err := t.fetchChannel(ctx, ch); err != nil {
			return err
		}
	}
	return t.restore(ctx)
}

func (t *training) fetchChannel(ctx context.Context, ch plan.Channel) error {
	if ch.Name == "" || ch.Name == "." || ch.Name == ".." || strings.ContainsAny(ch.Name, "/\x00") {
		return userError("%q is not a channel name", ch.Name)
	}
	to := tree{t.ml, mlPath, "input/data/" + ch.Name}
	if err := mkdir(to.root, to.dir); err != nil {
		return err
	}
	list, err := newListing(t.ml, to.dir+"-manifest")
	if err != nil {
		return err
	}
	defer list.close()
	if err := t.fetch(ctx, ch, to, list.add); err != nil {
		return err
	}
	return list.done()
}

// restore brings the checkpoints of an earlier job of the same prefix, and has
// the folder sent there from then on.
func (t *training) restore(ctx context.Context) error {
	cp := t.p.Checkpoint
	if cp == nil || cp.S3Uri == "" {
		return nil
	}
	const what = "CheckpointConfig"
	dir, err := t.place(what, or(cp.LocalPath, defaultCheckpoints))
	if err != nil {
		return err
	}
	if err := dir.make(what); err != nil {
		return err
	}
	m, err := t.mirror(what, cp.S3Uri, dir, true)
	if err != nil {
		return err
	}
	return m.restore(ctx, plan.Channel{Name: "checkpoints", S3Uri: cp.S3Uri})
}

// first says whether this host uploads what all hosts share.
func (t *training) first() bool {
	return len(t.p.Hosts) == 0 || t.p.CurrentHost == slices.Min(t.p.Hosts)
}

func (t *training) finish(ctx context.Context, res *plan.Result) []error {
	t.readFailure(res)
	if err := t.upload(ctx, res); err != nil {
		return []error{err}
	}
	return nil
}

// readFailure takes the program's own word on its failure. Where that does
// not name the exception which the program died of, as when a launcher only
// says that a script failed, the traceback follows it.
func (t *training) readFailure(res *plan.Result) {
	if res.Failure == "" {
		return
	}
	const name, most = "output/failure", 1024
	data, err := tree{t.ml, mlPath, "."}.readStart(name, 4*most)
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
