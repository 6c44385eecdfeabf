package notebook

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"strings"
	"syscall"
	"time"

	"clary/internal/stage/agent"
	"clary/internal/stage/cron"
	"clary/internal/stage/lifecycle"
	"clary/internal/stage/user"
)

// script runs one of a lifecycle configuration.
func (f *first) script(stream, name, text string) error {
	if f.stopped() {
		return lifecycle.ErrStopped
	}
	f.n.say("running the lifecycle configuration's %s script", name)
	limit := f.order.Limit
	if limit == 0 {
		limit = lifecycle.Limit
	}
	s := lifecycle.Script{
		Name: stream, Text: text, File: f.n.path("/etc/clary/" + name), Dir: lifecycle.Dir, Limit: limit, Stop: f.stop,
		Env: f.n.rootEnviron(),
		Line: func(text []byte) {
			text = bytes.ReplaceAll(text, []byte(agent.Mark), nil)
			_, _ = io.WriteString(f.n.out, agent.Mark+stream+agent.Mark+string(text)+"\n")
		},
	}
	began := time.Now()
	err := s.Run(f.family)
	whose := fmt.Sprintf("Notebook Instance Lifecycle Config '%s' for Notebook Instance '%s'", f.order.Lifecycle, f.order.Arn)
	const more = "Please check your CloudWatch logs for more details if your Notebook Instance has Internet access."
	failed, isFailed := errors.AsType[*lifecycle.FailedError](err)
	switch {
	case err == nil:
		f.n.say("the %s script has ended after %s", name, time.Since(began).Round(time.Millisecond))
		return nil
	case errors.Is(err, lifecycle.ErrStopped):
		return err
	case errors.Is(err, lifecycle.ErrSlow):
		return fmt.Errorf("%s took longer than %d minutes. %s (the %s script)", whose, int(lifecycle.Limit.Minutes()), more, name)
	case isFailed:
		return fmt.Errorf("%s failed. %s (the %s script ended with %w)", whose, more, name, failed)
	}
	return fmt.Errorf("%s could not be run (the %s script): %w", whose, name, err)
}

// job runs an entry of a crontab.
func (f *first) job(who string, e cron.Entry) {
	home, sys := "/root", &syscall.SysProcAttr{Setsid: true}
	if who != "root" {
		home, sys = f.n.home, user.As(sys, f.order.Root)
	}
	env := maps.Clone(f.n.env)
	maps.Copy(env, map[string]string{"PATH": lifecycle.Path, "HOME": home, "SHELL": "/bin/sh", "USER": who, "LOGNAME": who, "TZ": zone})
	for _, assignment := range e.Env {
		k, v, _ := strings.Cut(assignment, "=")
		env[k] = v
	}
	in, w, err := os.Pipe()
	if err != nil {
		f.n.say("cron: %v", err)
		return
	}
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err == nil {
		_, err = f.family.Start(env["SHELL"], []string{env["SHELL"], "-c", e.Command}, &syscall.ProcAttr{
			Dir: home, Env: f.n.list(env), Files: []uintptr{in.Fd(), null.Fd(), null.Fd()}, Sys: sys,
		})
		_ = null.Close()
	}
	_ = in.Close()
	if err != nil {
		f.n.say("cron: %v", err)
		_ = w.Close()
		return
	}
	go func() {
		_, _ = io.WriteString(w, e.Input) // it may read nothing
		_ = w.Close()
	}()
}
