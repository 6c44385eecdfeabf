package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

const (
	readyName = "CLARY_READY_FD" // names the descriptor by which `serve` tells `up` that it answers
	readyFD   = "3"
	startWait = time.Minute
	replyWait = 10 * time.Second
	stopWait  = 30 * time.Second
	// replaceWait is how long the server that is replaced may take to let go.
	replaceWait = 90 * time.Second
)

func (a *app) up() *cobra.Command {
	var (
		listen             string
		noOpen, noNotebook bool
		replace            bool
	)
	cmd := &cobra.Command{
		Use: "up [-- SERVE-FLAGS]", Short: "Start the server in the background, open the console and a notebook",
		Long: "Start the server in the background, unless one runs already, and open the console in the browser, then a\n" +
			"notebook instance with the examples: " + firstNotebook + ", which is made if there is no instance yet, and costs by the\n" +
			"minute until it is stopped. Flags after -- are those of `clary serve`. `clary down` stops the server; jobs\n" +
			"and notebooks go on without it. With --replace a new server takes the place of the one that runs, and no\n" +
			"request is refused or lost; it is given the same flags again, or others.",
		RunE: func(cmd *cobra.Command, args []string) error {
			t, err := a.target()
			runs := err == nil && t.alive()
			if runs && !replace {
				ctx, cancel := context.WithTimeout(cmd.Context(), replyWait)
				defer cancel()
				if err := a.reachable(ctx, t); err != nil {
					return fmt.Errorf("a server, process %d, holds %s but does not answer as it should: %w", t.PID, t.data, err)
				}
				if _, err := fmt.Fprintf(a.Err, "Clary runs already on http://%s\n", t.Addr); err != nil {
					return err
				}
				return a.welcome(cmd.Context(), t, noOpen, noNotebook)
			}
			if listen != "" {
				args = append([]string{"--listen", listen}, args...)
			}
			if err := a.background(cmd.Context(), args, runs); err != nil {
				return err
			}
			if t, err = a.target(); err != nil {
				return err
			}
			if _, err := fmt.Fprintf(a.Err, "Clary answers on http://%s; its log is %s; `clary down` stops it.\n", t.Addr, serverLog(a.data)); err != nil {
				return err
			}
			return a.welcome(cmd.Context(), t, noOpen, noNotebook)
		},
	}
	f := cmd.Flags()
	f.StringVar(&listen, "listen", "", "address to listen on")
	f.BoolVar(&noOpen, "no-open", false, "print the links instead of opening them")
	f.BoolVar(&replace, "replace", false, "start a new server in the place of the one that runs, as `clary serve --replace` does")
	f.BoolVar(&noNotebook, "no-notebook", false, "make and open no notebook instance")
	return cmd
}

// firstNotebook is the instance that `up` makes.
const firstNotebook = "first-steps"

// welcome opens the console and, unless it is not wanted, the first notebook.
// A stopped one stays so: it would cost.
func (a *app) welcome(ctx context.Context, t target, noOpen, noNotebook bool) error {
	if err := a.openConsole(t, "/", noOpen); err != nil || noNotebook {
		return err
	}
	n, err := a.toNotebooks()
	if err != nil {
		return err
	}
	defer n.close()
	all, err := n.all(ctx)
	if err != nil {
		return err
	}
	at := slices.IndexFunc(all, func(nb notebook) bool { return nb.NotebookInstanceName == firstNotebook })
	switch {
	case len(all) == 0:
		if _, err := fmt.Fprintf(a.Err, "Making the notebook instance %s, an ml.t3.medium; `clary notebook stop %s` ends its cost.\n", firstNotebook, firstNotebook); err != nil {
			return err
		}
		if err := n.create(ctx, firstNotebook, "ml.t3.medium", "", 5, codeFlags{}); err != nil {
			return err
		}
		if err := n.until(ctx, firstNotebook, "InService"); err != nil {
			return err
		}
		if err := n.putExamples(ctx, firstNotebook); err != nil {
			return err
		}
	case at < 0:
		return nil // there are others, and `clary notebook ls` lists them
	case all[at].NotebookInstanceStatus == "Stopped":
		_, err := fmt.Fprintf(a.Err, "The notebook instance %s is stopped; `clary notebook open --start %s` starts it.\n", firstNotebook, firstNotebook)
		return err
	}
	return n.open(ctx, firstNotebook, "lab/tree/first-steps.ipynb", false, noOpen)
}

func serverLog(data string) string { return filepath.Join(data, "run", "serve.log") }

// openLog is a new log, beside which the last one is kept: it may say why that
// run ended. A server that replaces another goes on with its log, where each
// says what it does about the other.
func openLog(path string, replace bool) (*os.File, error) {
	if !replace {
		if err := os.Rename(path, path+".old"); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
	}
	return os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
}

// maxLog is how large a log may be that one more server goes on with.
const maxLog = 16 << 20

// renewLog begins a large log anew, which is open as these descriptors. That is
// for a server that answers: until then the log may be that of another one, which
// runs on if this one fails.
func renewLog(path string, fds ...int) error {
	info, err := os.Stat(path)
	if err != nil || info.Size() <= maxLog {
		return err
	}
	f, err := openLog(path, false)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // nothing was written to it
	for _, fd := range fds {
		err = errors.Join(err, unix.Dup2(int(f.Fd()), fd))
	}
	return err
}

// background starts `clary serve` in a session of its own, in the place of the
// one that runs if that is to be replaced, and waits until it answers or is
// gone.
func (a *app) background(ctx context.Context, args []string, replace bool) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	path := serverLog(a.data)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("data folder: %w", err)
	}
	wait := startWait
	if replace {
		args, wait = append([]string{"--replace"}, args...), startWait+replaceWait
	}
	log, err := openLog(path, replace)
	if err != nil {
		return fmt.Errorf("data folder: %w", err)
	}
	defer log.Close() //nolint:errcheck // the server's own now
	told, tell, err := os.Pipe()
	if err != nil {
		return err
	}
	defer told.Close()                                                                 //nolint:errcheck // only read
	cmd := exec.Command(self, append([]string{"serve", "--data", a.data}, args...)...) //nolint:noctx,gosec // it outlives us; self is this program
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(append([]string{}, a.Env...), readyName+"="+readyFD)
	cmd.ExtraFiles = []*os.File{tell}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start()
	if cerr := tell.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("start the server: %w", err)
	}
	if err := told.SetReadDeadline(time.Now().Add(wait)); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = told.SetReadDeadline(time.Now()) }) // ends the read
	defer stop()
	n, err := told.Read(make([]byte, 64))
	if n > 0 {
		return cmd.Process.Release()
	}
	if ctx.Err() != nil {
		return errors.Join(ctx.Err(), cmd.Process.Kill())
	}
	if !errors.Is(err, io.EOF) {
		return errors.Join(fmt.Errorf("the server has not answered within %s; see %s", wait, path), cmd.Process.Kill())
	}
	_ = cmd.Wait() // its log says why
	return fmt.Errorf("the server did not start:\n%s", lastLines(path, 5))
}

// asker is how `clary up`, if that started us, is told that we answer; nil
// otherwise. What we start shall not inherit it.
func (a *app) asker() *os.File {
	if a.env(readyName) != readyFD {
		return nil
	}
	syscall.CloseOnExec(3)
	return os.NewFile(3, "ready")
}

func tellReady(f *os.File, addr string) error {
	if f == nil {
		return nil
	}
	_, err := f.WriteString(addr)
	return errors.Join(err, f.Close())
}

func lastLines(path string, n int) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

func (a *app) down() *cobra.Command {
	return &cobra.Command{
		Use: "down", Short: "Stop the server; jobs go on and are found again at the next start", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			t, err := a.target()
			if err != nil || !t.alive() {
				_, err := fmt.Fprintf(a.Err, "No server runs on %s.\n", a.data)
				return err
			}
			if !t.holder() {
				return fmt.Errorf("a server that is starting holds %s: try again in a moment", t.data)
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), stopWait)
			defer cancel()
			if t, err = a.stop(ctx, t); err != nil {
				return fmt.Errorf("stop the server, process %d: %w", t.PID, err)
			}
			_, err = fmt.Fprintln(a.Err, "Clary has stopped. What runs in jobs and notebooks goes on, and is found again at the next start.")
			return err
		},
	}
}

// stop ends the server, and one that took its place meanwhile; it says which
// one was the last.
func (a *app) stop(ctx context.Context, t target) (target, error) {
	gone := make(chan error, 1)
	go func() { gone <- t.gone(ctx) }()
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	for told := 0; ; {
		if told != t.PID {
			p, err := os.FindProcess(t.PID)
			if err == nil {
				err = p.Signal(syscall.SIGTERM)
			}
			if err != nil && !errors.Is(err, os.ErrProcessDone) {
				return t, err
			}
			told = t.PID
		}
		select {
		case err := <-gone:
			if err != nil {
				err = fmt.Errorf("it has not ended within %s", stopWait)
			}
			return t, err
		case <-again.C:
			if now, err := a.target(); err == nil && now.holder() {
				t = now
			}
		}
	}
}

// alive says whether a server holds the data folder: then it is the one that
// wrote run/server.json.
func (t target) alive() bool {
	f, err := os.Open(filepath.Join(t.data, "lock"))
	if err != nil {
		return false
	}
	defer f.Close() //nolint:errcheck // only looked at
	return errors.Is(syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB), syscall.EWOULDBLOCK)
}

// holder says whether the process that run/server.json names is the one that
// holds the data folder. A server writes that file when it answers: until then
// the file is of the last one, whose number may be anybody's by now.
func (t target) holder() bool {
	lock, err := os.Stat(filepath.Join(t.data, "lock"))
	if err != nil {
		return false
	}
	fds := filepath.Join("/proc", strconv.Itoa(t.PID), "fd")
	list, err := os.ReadDir(fds)
	if err != nil {
		return !errors.Is(err, os.ErrNotExist) || runtime.GOOS != "linux"
	}
	return slices.ContainsFunc(list, func(e os.DirEntry) bool {
		f, err := os.Stat(filepath.Join(fds, e.Name()))
		return err == nil && os.SameFile(f, lock)
	})
}

// gone waits until no server holds the data folder.
func (t target) gone(ctx context.Context) error {
	f, err := os.Open(filepath.Join(t.data, "lock"))
	if err != nil {
		return nil //nolint:nilerr // no folder, no server
	}
	held := make(chan error, 1)
	go func() {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_SH)
		held <- errors.Join(err, f.Close())
	}()
	select {
	case err := <-held:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
