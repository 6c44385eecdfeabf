// Demo shows the main path from nothing: it builds Clary, serves on temporary
// data, runs a notebook on a notebook instance, trains with SageMaker's own
// SDKs, kills the server on the way, deploys the model to an endpoint, asks
// that, deletes it, scores a data set in one batch, and shows the bill. Each
// thing it does is said before it is done.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"

	"clary/test/daemon"
	"clary/tool/internal/jupyter"
	"clary/tool/internal/pyenv"
	"clary/tool/internal/step"
)

// epochs keep the first job busy long enough to kill the server meanwhile.
const epochs = "50"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "\ndemo:", err)
		os.Exit(1)
	}
}

func say(format string, args ...any) { fmt.Printf("\n==> "+format+"\n", args...) }

func note(format string, args ...any) { fmt.Printf("    "+format+"\n", args...) }

func run(ctx context.Context) error {
	began := time.Now()
	root, err := step.Root()
	if err != nil {
		return err
	}
	say("Installing what is missing: the SageMaker SDKs v2 and v3, each in an environment of its own")
	clients, err := pyenv.EnsureClients(ctx, note)
	if err != nil {
		return err
	}
	note("v2: %s", clients.V2)
	note("v3: %s", clients.V3)

	say("Building bin/clary")
	if err := step.Build(ctx, root); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "clary-demo-")
	if err != nil {
		return err
	}
	d, err := daemon.New(filepath.Join(root, "bin", "clary"), dir)
	if err != nil {
		return err
	}
	say("Starting a server: clary serve --data %s --listen %s", d.Data, d.Listen)
	if err := d.Start(ctx); err != nil {
		return err
	}
	s := &show{ctx: ctx, root: root, dir: dir, d: d, clients: clients}
	for _, part := range []func() error{s.notebook, s.trainV2, s.deploy, s.score, s.trainV3, s.bill} {
		if err = part(); err != nil {
			break
		}
	}
	say("Stopping the server")
	if err := errors.Join(err, d.Stop()); err != nil {
		return fmt.Errorf("%w\n\nthe server's log: %s", err, d.Log)
	}
	s.close(time.Since(began))
	return nil
}

type show struct {
	ctx     context.Context
	root    string
	dir     string
	d       *daemon.Daemon
	clients pyenv.Clients
	model   string
}

const firstNotebook = "first-steps"

// notebook makes a notebook instance, runs its first notebook there, and stops
// it: what it costs while it is idle is the user's to end.
func (s *show) notebook() error {
	say("A notebook instance: clary notebook create %s", firstNotebook)
	note("A small machine with JupyterLab, which only orchestrates. Its runtime is built the first time.")
	if err := s.clary("notebook", "create", firstNotebook); err != nil {
		return err
	}
	link, err := s.d.Clary(s.ctx, "notebook", "open", "--print", firstNotebook).Output()
	if err != nil {
		return fmt.Errorf("clary notebook open: %w", err)
	}
	lab, err := jupyter.Open(s.ctx, strings.TrimSpace(string(link)), s.d.Listen)
	if err != nil {
		return err
	}
	say("Running its first-steps.ipynb, cell by cell: it trains on an ml.m5.xlarge of its own and plots what was learned")
	if err := lab.Run(s.ctx, "first-steps.ipynb", func(line string) { fmt.Println("  | " + line) }); err != nil {
		return err
	}
	say("Stopping it, since idle time costs: clary notebook stop %s; its files stay", firstNotebook)
	if err := s.clary("notebook", "stop", firstNotebook); err != nil {
		return err
	}
	return s.clary("notebook", "ls")
}

// clary runs a verb and shows what it says.
func (s *show) clary(verb string, args ...string) error {
	if err := daemon.Lines(s.d.Clary(s.ctx, verb, args...), func(line string) { fmt.Println("  | " + line) }); err != nil {
		return fmt.Errorf("clary %s: %w", verb, err)
	}
	return nil
}

var modelLine = regexp.MustCompile(`^model: (s3://\S+)`)

// trainV2 runs the v2 example and kills the server while the job trains.
func (s *show) trainV2() error {
	script := "examples/sklearn_v2/run.py"
	say("SageMaker SDK v2: clary run -- python %s %s", script, epochs)
	note("The script knows nothing of Clary. The first job also builds the scikit-learn runtime.")
	cmd := s.d.Command(s.ctx, s.clients.V2, "python", filepath.Join(s.root, script), epochs)

	var out sync.Mutex // one line at a time, from the script and from us
	killed := make(chan error, 1)
	watch, stopWatching := context.WithCancel(s.ctx)
	defer stopWatching()
	go func() { killed <- s.killWhileTraining(watch, &out) }()

	err := daemon.Lines(cmd, func(line string) {
		out.Lock()
		defer out.Unlock()
		fmt.Println("  | " + line)
		if m := modelLine.FindStringSubmatch(line); m != nil {
			s.model = m[1]
		}
	})
	stopWatching()
	if kerr := <-killed; kerr != nil {
		return errors.Join(kerr, err)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", script, err)
	}
	if s.model == "" {
		return fmt.Errorf("%s printed no model", script)
	}
	return nil
}

// killWhileTraining waits for the job to train, then ends the server as a
// crash would and starts it again.
func (s *show) killWhileTraining(ctx context.Context, out *sync.Mutex) error {
	for {
		b, err := s.d.Clary(ctx, "ps", "--json").Output()
		if err == nil && strings.Contains(string(b), `"Training"`) {
			break
		}
		select {
		case <-ctx.Done():
			return errors.New("the job was over before the server could be killed in the middle of it")
		case <-time.After(200 * time.Millisecond):
		}
	}
	out.Lock()
	defer out.Unlock()
	pid := s.d.Pid()
	if err := s.d.Kill(); err != nil {
		return fmt.Errorf("kill -9: %w", err)
	}
	say("kill -9 %d: the server is dead, the job trains on under its supervisor", pid)
	if err := s.d.Start(s.ctx); err != nil {
		return fmt.Errorf("start again: %w", err)
	}
	say("The server is back (pid %d). The SDK just retries; the log goes on where it was", s.d.Pid())
	return nil
}

// deploy has the script delete what it made: an endpoint costs while it is there.
func (s *show) deploy() error {
	script := "examples/sklearn_v2/deploy.py"
	say("Deploying the model to an endpoint, asking it, and deleting it: clary run -- python %s %s", script, s.model)
	if err := s.python(s.clients.V2, script, s.model); err != nil {
		return err
	}
	return s.clary("endpoint", "ls")
}

func (s *show) score() error {
	script := "examples/sklearn_v2/score.py"
	say("Scoring a data set in one batch transform job, which needs no endpoint: clary run -- python %s %s", script, s.model)
	return s.python(s.clients.V2, script, s.model)
}

func (s *show) trainV3() error {
	script := "examples/modeltrainer_v3/run.py"
	say("SageMaker SDK v3: clary run -- python %s", script)
	return s.python(s.clients.V3, script)
}

func (s *show) python(venv, script string, args ...string) error {
	// Warnings about versions of pickles are noise here.
	cmd := s.d.Command(s.ctx, venv, append([]string{"python", "-W", "ignore", filepath.Join(s.root, script)}, args...)...)
	cmd.Env = append(cmd.Env, "COLUMNS=140") // the v3 SDK's log wraps to it
	if err := daemon.Lines(cmd, func(line string) { fmt.Println("  | " + line) }); err != nil {
		return fmt.Errorf("%s: %w", script, err)
	}
	return nil
}

func (s *show) bill() error {
	for _, v := range []struct{ verb, what string }{
		{"ps", "What ran: clary ps"},
		{"cost", "What it cost, per started minute and as AWS would have charged it: clary cost"},
	} {
		say("%s", v.what)
		if err := s.clary(v.verb); err != nil {
			return err
		}
	}
	return nil
}

func (s *show) close(took time.Duration) {
	say("Done in %.0f s. A notebook and two unchanged SageMaker scripts trained, an endpoint answered and is deleted, a data set was scored, the server died once, nothing was lost", took.Seconds())
	note("the scripts     examples/")
	note("the model       %s", s.model)
	note("server's log    %s", s.d.Log)
	note("look again      bin/clary serve --data %s", s.d.Data)
	note("throw away      rm -rf %s", s.dir)
}
