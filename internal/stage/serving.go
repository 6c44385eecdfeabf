package stage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"syscall"

	"clary/internal/client"
	"clary/internal/stage/archive"
	"clary/internal/stage/plan"
)

// serving is one container of an endpoint's instance: models are fetched, then
// its program answers until it is stopped. Nothing is kept of it.
type serving struct {
	job
	p plan.Serving
}

func newServing(p plan.Serving, h Host) *serving {
	s := &serving{newJob(h), p}
	s.region, s.role, s.isolated, s.input = p.Region, p.RoleArn, p.NetworkIsolation, "model"
	return s
}

func (s *serving) run(ctx context.Context) plan.Result {
	defer s.close()
	if err := s.begin(ctx, s.prepare); err != nil {
		return failed(err)
	}
	s.h.report(plan.StepTraining)
	res := runProgram(ctx, s.h)
	select {
	case <-s.h.Stop:
		return res
	default:
	}
	if res.Failure == "" && ctx.Err() == nil { // a server has no end of its own
		res.Class, res.Failure = classAlgorithm, "the container's program ended by itself, with exit code 0"
	}
	return res
}

// prepare makes /opt/ml and brings the models.
func (s *serving) prepare(ctx context.Context) error {
	if err := mkdir(s.ml, "model"); err != nil {
		return err
	}
	if s.h.Env["SAGEMAKER_REGION"] == "" && s.p.Region != "" {
		s.h.Env["SAGEMAKER_REGION"] = s.p.Region
	}
	if s.h.Env["SM_NUM_CPUS"] == "" && s.p.VCPU > 0 {
		s.h.Env["SM_NUM_CPUS"] = strconv.Itoa(s.p.VCPU)
	}
	if err := s.surround(); err != nil {
		return err
	}
	for _, m := range s.p.Models {
		if err := s.fetchModel(ctx, m); err != nil {
			return err
		}
	}
	return nil
}

// fetchModel brings one model to its folder, which the program does not write.
func (s *serving) fetchModel(ctx context.Context, m plan.Model) error {
	ch := plan.Channel{Name: m.Name, S3Uri: m.S3Uri}
	to, err := s.place(s.named(ch), m.LocalPath)
	if err != nil {
		return err
	}
	if err := to.make(s.named(ch)); err != nil {
		return err
	}
	switch {
	case m.Prefix:
		err = s.fetch(ctx, ch, to, nil)
	case s.h.API == nil:
		err = fmt.Errorf("%s: this task has no way to S3", s.named(ch))
	default:
		err = s.fetchObject(ctx, m, ch, to)
	}
	if err == nil {
		return s.seal(to)
	}
	if c, ok := errors.AsType[*clientError](err); ok {
		return userError("Failed to download model data from URL: %q. Please ensure that there is an object located at the URL and that the role passed to CreateModel has permissions to download the object. %s", m.S3Uri, c.text)
	}
	return err
}

// fetchObject brings the one object that a model is.
func (s *serving) fetchObject(ctx context.Context, m plan.Model, ch plan.Channel, to tree) error {
	bucket, key, err := client.ParseURI(m.S3Uri)
	if err != nil {
		return userError("%s: %v", s.named(ch), err)
	}
	root, err := to.root.OpenRoot(to.dir)
	if err != nil {
		return err
	}
	defer root.Close() //nolint:errcheck // files are closed one by one
	it := item{bucket: bucket, key: key, name: path.Base(key)}
	if !m.Archive {
		return s.fetchOne(ctx, ch, root, it)
	}
	body, _, err := s.h.API.Get(ctx, bucket, key)
	if err != nil {
		return s.getError(ctx, ch, it, err)
	}
	defer body.Close() //nolint:errcheck // read to its end
	err = archive.Unpack(root, body, archive.Options{What: "the files of " + m.S3Uri, Skipped: func(format string, args ...any) {
		s.h.say("clary: "+format, args...)
	}})
	switch e, ok := errors.AsType[*archive.Error](err); {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT):
		return userError("No space left on device while it was unpacked. Please use a larger VolumeSizeInGB or a larger instance type")
	case ok:
		return userError("%s", e.Error())
	}
	return err
}

// seal lets the program read what is there, and write only if it insists: it may
// be the owner.
func (s *serving) seal(to tree) error {
	err := to.walk(func(name string, info fs.FileInfo) error {
		switch {
		case info.IsDir():
			return to.root.Chmod(to.at(name), 0o555)
		case info.Mode().IsRegular():
			return to.root.Chmod(to.at(name), info.Mode().Perm()&0o555|0o444)
		}
		return nil // a link has no mode
	})
	return errors.Join(err, to.root.Chmod(to.dir, 0o555))
}
