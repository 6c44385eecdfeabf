package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"syscall"

	"clary/internal/client"
	"clary/internal/compute/sandbox/jail"
	"clary/internal/stage"
)

// runStage is stage's process within a task: it lends package stage what init
// offers.
func runStage() int {
	s, err := jail.OpenStage()
	if err != nil {
		fmt.Fprintln(os.Stderr, "clary-task stage:", err)
		return 1
	}
	in := s.Input
	h := stage.Host{
		Launch: func(p stage.Program) (stage.Process, error) {
			return program{s}, s.Launch(jail.Program{Args: p.Args, Env: p.Env, Dir: p.Dir})
		},
		Output:  s.Output,
		Report:  s.Report,
		Stop:    s.Stop,
		Grace:   in.Grace,
		Env:     map[string]string{},
		Program: stage.Program{Args: in.Program.Args, Dir: in.Program.Dir},
		Root:    "/",
		Stderr:  os.Stdout,
	}
	for _, e := range in.Program.Env {
		k, v, _ := strings.Cut(e, "=")
		h.Env[k] = v
	}
	if in.API {
		id := in.Identity
		h.API = client.New(client.Config{
			Endpoint: "http://" + jail.TCPAddr,
			Dial:     jail.DialAPI,
			Credentials: func(context.Context) (client.Credentials, error) {
				return client.Credentials{AccessKeyID: id.AccessKeyID, SecretAccessKey: id.SecretAccessKey, SessionToken: id.SessionToken, Expiration: id.Expiration}, nil
			},
			Region:    id.Region,
			UserAgent: "clary-stage",
		})
	}
	if err := s.Finish(stage.Run(context.Background(), in.Plan, h)); err != nil {
		fmt.Fprintln(os.Stderr, "clary-task stage:", err)
		return 1
	}
	return 0
}

// program is the user's program as stage sees it.
type program struct{ s *jail.StageSide }

func (p program) Signal(sig os.Signal) error {
	n, ok := sig.(syscall.Signal)
	if !ok {
		return fmt.Errorf("signal %v cannot be sent", sig)
	}
	return p.s.Signal(n)
}

func (p program) Wait() (code int, signal string, err error) {
	e, err := p.s.Wait()
	return e.Code, e.Signal, err
}
