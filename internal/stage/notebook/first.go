package notebook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"clary/internal/stage/activity"
	"clary/internal/stage/agent"
	"clary/internal/stage/children"
	"clary/internal/stage/control"
	"clary/internal/stage/cron"
	"clary/internal/stage/gitcode"
	"clary/internal/stage/lifecycle"
	"clary/internal/stage/user"
)

// first is the first process of an instance.
type first struct {
	n      *instance
	order  agent.Order
	family *children.Family
	tables *cron.Tables

	stop    chan struct{} // closed when the instance shall end
	restart chan chan<- error
	noted   chan struct{} // closed when the server knows that OnCreate has ended well
	note    sync.Once

	mu    sync.Mutex // guards what follows
	state agent.State
	since time.Time // of state.Phase
}

// run is the first process's whole life.
func (n *instance) run() int {
	order, ordered, err := n.readOrder()
	if err != nil {
		n.say("%v", err)
		return 1
	}
	f := &first{
		n: n, order: order, family: children.New(),
		stop: make(chan struct{}), restart: make(chan chan<- error), noted: make(chan struct{}),
	}
	f.tables = &cron.Tables{Start: f.job}
	// Root has one from the start: scripts that add to it end at the first
	// error, and that it were not there would be one.
	if err := f.tables.Set("root", ""); err != nil {
		n.say("%v", err)
		return 1
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, unix.SIGTERM, unix.SIGINT)
	go func() {
		<-signals
		close(f.stop)
	}()
	f.enter(agent.Cloning)
	end, err := f.listen()
	if err != nil {
		n.say("%v", err)
		return 1
	}
	defer end()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go f.tables.Run(ctx)
	if err := f.prepare(ordered); err != nil {
		if f.stopped() {
			return 0
		}
		cancel()
		n.say("%v", err)
		f.fail(err)
		if !ordered {
			return 1
		}
		<-f.stop // whoever gave the order reads why
		return 1
	}
	f.enter(agent.Serving)
	code, err := f.serve()
	if err != nil {
		n.say("%v", err)
		return 1
	}
	return code
}

// readOrder takes the order away: scripts may hold what the user's programs
// are not to see.
func (n *instance) readOrder() (o agent.Order, ordered bool, err error) {
	name := n.path(agent.OrderFile)
	data, err := os.ReadFile(name)
	if errors.Is(err, os.ErrNotExist) {
		o.Root = true // what the task allows
		return o, false, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &o)
	}
	if err := errors.Join(err, os.Remove(name)); err != nil {
		return o, false, fmt.Errorf("the order of this run: %w", err)
	}
	return o, true, nil
}

func (f *first) stopped() bool {
	select {
	case <-f.stop:
		return true
	default:
		return false
	}
}

func (f *first) enter(p agent.Phase) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.state.Phase, f.since = p, time.Now()
}

func (f *first) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.state.Phase, f.since, f.state.Failure = agent.Failed, time.Now(), err.Error()
}

func (f *first) change(what func(s *agent.State)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	what(&f.state)
}

// listen answers the server, and programs of the task.
func (f *first) listen() (end func(), err error) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /state", func(w http.ResponseWriter, _ *http.Request) {
		f.mu.Lock()
		s := f.state
		s.For, s.Cloned = time.Since(f.since), slices.Clone(s.Cloned)
		f.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(s)
	})
	mux.HandleFunc("POST /created", func(w http.ResponseWriter, _ *http.Request) {
		f.note.Do(func() { close(f.noted) })
		_, _ = io.WriteString(w, "{}\n")
	})
	watch := activity.Handler(activity.Config{Jupyter: fmt.Sprintf("http://127.0.0.1:%d", Port)})
	for _, path := range []string{"/activity", "/warn", "/save"} {
		mux.Handle(path, watch)
	}
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", agent.Port)) //nolint:noctx // it does not wait
	if err != nil {
		return nil, err
	}
	s := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10}
	go s.Serve(l) //nolint:errcheck // it ends with the process
	closers := []io.Closer{s}
	if os.Geteuid() == 0 { // else there is nobody to become, and no folder for a socket
		c, err := (&control.Desk{Tables: f.tables, Restart: f.askRestart}).Serve(f.n.path(control.Socket))
		if err != nil {
			return nil, errors.Join(err, s.Close())
		}
		closers = append(closers, c)
		// Scripts ask there; JupyterLab is reached all the same without it.
		if l, err := net.Listen("tcp", "127.0.0.1:8443"); err == nil { //nolint:noctx // it does not wait
			go (&front{to: fmt.Sprintf("127.0.0.1:%d", Port)}).serve(l)
			closers = append(closers, l)
		}
	}
	return func() {
		for _, c := range closers {
			_ = c.Close()
		}
	}, nil
}

// askRestart has JupyterLab started anew. Before it was started there is nothing
// to do.
func (f *first) askRestart(ctx context.Context, wait bool) error {
	f.mu.Lock()
	phase := f.state.Phase
	f.mu.Unlock()
	switch phase {
	case agent.Failed:
		return errors.New("the instance has failed")
	case agent.Serving:
	default:
		return nil
	}
	gone := make(chan error, 1)
	ask := func(ctx context.Context) error {
		select {
		case f.restart <- gone:
			return nil
		case <-f.stop:
			return errors.New("the instance is being stopped")
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if !wait {
		go ask(context.WithoutCancel(ctx)) //nolint:errcheck // nobody waits for it
		return nil
	}
	if err := ask(ctx); err != nil {
		return err
	}
	select {
	case err := <-gone:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// prepare does all that comes before JupyterLab.
func (f *first) prepare(ordered bool) error {
	began := time.Now()
	if err := f.n.machine(f.order); err != nil {
		return fmt.Errorf("preparing the notebook: %w", err)
	}
	if err := f.makeHome(); err != nil {
		return fmt.Errorf("preparing the notebook: %w", err)
	}
	f.n.say("the notebook's home is ready after %d ms", time.Since(began).Milliseconds())
	if !ordered {
		return nil
	}
	if err := f.clone(); err != nil {
		return err
	}
	f.enter(agent.Creating)
	if f.order.OnCreate != "" {
		if err := f.script(agent.StreamOnCreate, "OnCreate", f.order.OnCreate); err != nil {
			return err
		}
	}
	f.change(func(s *agent.State) { s.Created = true })
	if f.order.OnCreate != "" {
		select { // it must not run again, whatever happens from here on
		case <-f.noted:
		case <-f.stop:
			return lifecycle.ErrStopped
		}
	}
	f.enter(agent.Starting)
	if f.order.OnStart == "" {
		return nil
	}
	return f.script(agent.StreamOnStart, "OnStart", f.order.OnStart)
}

// makeHome makes the user's home as the user, whose folders it is in.
func (f *first) makeHome() error {
	if !user.Two() {
		return f.n.prepare()
	}
	c, err := start(f.family, []string{taskBinary, homeVerb}, f.n.list(f.n.env), "/", nil, user.As(&syscall.SysProcAttr{Setpgid: true}, false))
	if err != nil {
		return err
	}
	<-c.Done()
	if c.Code() != 0 {
		return errors.New("the user's home could not be made; the log says why")
	}
	return nil
}

// clone brings the repositories that are not there.
func (f *first) clone() error {
	c := gitcode.Cloner{
		Family: f.family, Git: gitcode.Path(), Env: gitcode.Environ(f.n.environ()), Work: f.n.work, Say: f.n.say, Stop: f.stop,
	}
	for _, r := range f.order.Repositories {
		if !r.Cloned {
			if err := c.Clone(r); err != nil {
				return fmt.Errorf("git could not clone %s into %s: %w", gitcode.Shown(r.URL), r.Folder, err)
			}
		}
		f.change(func(s *agent.State) { s.Cloned = append(s.Cloned, r.Folder) })
	}
	return nil
}

// serve keeps JupyterLab running.
func (f *first) serve() (int, error) {
	log := f.n.jupyterLog()
	pump, w, err := children.NewPump(func(text []byte) {
		line := append(bytes.ReplaceAll(text, []byte(agent.Mark), nil), '\n')
		_, _ = f.n.out.Write(line)
		if log != nil {
			_, _ = log.Write(line) // it is one of two places
		}
	})
	if err != nil {
		return 0, err
	}
	defer pump.Settle()
	p := program{family: f.family, patience: patience, restart: f.restart, stop: f.stop, start: func() (*children.Child, error) {
		return start(f.family, f.n.command(f.order.Open), f.n.environ(), f.n.work, w, user.As(&syscall.SysProcAttr{Setpgid: true}, f.order.Root))
	}}
	return p.keep()
}
