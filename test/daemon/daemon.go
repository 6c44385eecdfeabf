// Package daemon runs bin/clary as a process of its own, for tests and tools
// that need the whole program: start it, kill it, start it again on the same
// port, and run commands against it. It knows the program from outside only.
package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

const (
	startWithin = 60 * time.Second
	stopWithin  = 30 * time.Second
)

// Daemon is one server on its own data and port.
type Daemon struct {
	Bin    string // bin/clary
	Data   string
	Listen string   // 127.0.0.1:port
	Log    string   // file that the server's output is appended to
	Env    []string // of the server, besides this process's

	args []string
	now  *Server // nil: none was started
}

// Server is one process of a daemon.
type Server struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error // of the process, once done is closed
}

// New chooses a free port for a server on dir/data. args are further flags of
// `clary serve`.
func New(bin, dir string, args ...string) (*Daemon, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer l.Close()
	return &Daemon{
		Bin: bin, Data: filepath.Join(dir, "data"), Listen: l.Addr().String(),
		Log: filepath.Join(dir, "server.log"), args: args,
	}, nil
}

// Start runs the server and returns once it answers.
func (d *Daemon) Start(ctx context.Context) error {
	s, err := d.Launch()
	if err != nil {
		return err
	}
	d.now = s
	return d.answers(ctx, s)
}

// Replace starts a server in the place of the one that runs, and returns that
// one once the new one answers. If it does not, the old one is the daemon's on.
func (d *Daemon) Replace(ctx context.Context, args ...string) (old *Server, err error) {
	s, err := d.Launch(append([]string{"--replace"}, args...)...)
	if err == nil {
		err = d.answers(ctx, s)
	}
	if err == nil {
		old, d.now = d.now, s
	}
	return old, err
}

// Launch starts a server beside what may run already, with further flags.
func (d *Daemon) Launch(args ...string) (*Server, error) {
	log, err := os.OpenFile(d.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	args = slices.Concat([]string{"serve", "--data", d.Data, "--listen", d.Listen}, d.args, args)
	cmd := exec.Command(d.Bin, args...) //nolint:noctx // it outlives the call
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), d.Env...)
	// Of its own process group: an interrupt at the terminal is ours to handle.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s := &Server{cmd: cmd, done: make(chan struct{})}
	go func() {
		s.err = cmd.Wait()
		close(s.done)
	}()
	return s, nil
}

// answers waits until a server does.
func (d *Daemon) answers(ctx context.Context, s *Server) error {
	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	for {
		if d.Announced(s) {
			return nil
		}
		select {
		case <-s.done:
			return fmt.Errorf("the server ended at once (%w):\n%s", s.err, d.Tail())
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("the server did not say that it answers on %s: %w\n%s", d.Listen, ctx.Err(), d.Tail()), s.Kill())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Announced says whether this process, not one before it, told the other verbs
// where it answers.
func (d *Daemon) Announced(s *Server) bool {
	var said struct {
		Addr string
		PID  int
	}
	b, err := os.ReadFile(filepath.Join(d.Data, "run", "server.json"))
	return err == nil && json.Unmarshal(b, &said) == nil && said.PID == s.Pid() && said.Addr == d.Listen
}

// Pid is the server's process.
func (d *Daemon) Pid() int { return d.now.Pid() }

// Now is the server that was started last, or Is.
func (d *Daemon) Now() *Server { return d.now }

// Is says which server is the daemon's.
func (d *Daemon) Is(s *Server) { d.now = s }

// Kill ends the server as kill -9 does and returns once it is gone.
func (d *Daemon) Kill() error { return d.now.Kill() }

// Stop asks the server to end, as a service manager does.
func (d *Daemon) Stop() error {
	if d.now == nil {
		return nil
	}
	if err := d.now.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	if err := d.now.Ended(stopWithin); !errors.Is(err, errRuns) {
		return err
	}
	return errors.Join(fmt.Errorf("the server did not stop within %v:\n%s", stopWithin, d.Tail()), d.Kill())
}

// Pid is the process.
func (s *Server) Pid() int { return s.cmd.Process.Pid }

// Kill ends the process as kill -9 does and returns once it is gone.
func (s *Server) Kill() error {
	if err := s.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-s.done
	return nil
}

// Runs says whether the process has not ended.
func (s *Server) Runs() bool { return errors.Is(s.Ended(0), errRuns) }

var errRuns = errors.New("the server has not ended")

// Ended waits until the process has ended by itself, and says how.
func (s *Server) Ended(within time.Duration) error {
	select {
	case <-s.done:
		return s.err
	case <-time.After(within):
		return errRuns
	}
}

// Tail is the end of the server's log.
func (d *Daemon) Tail() string {
	b, err := os.ReadFile(d.Log)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimRight(string(b), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-40):], "\n")
}

// Command is `clary run -- args` against this server, with the programs of a
// Python environment first in PATH ("" for none).
func (d *Daemon) Command(ctx context.Context, venv string, args ...string) *exec.Cmd {
	return d.command(ctx, venv, append([]string{"run", "--data", d.Data, "--"}, args...))
}

// Clary is a verb of clary against this server.
func (d *Daemon) Clary(ctx context.Context, verb string, args ...string) *exec.Cmd {
	return d.command(ctx, "", append([]string{verb, "--data", d.Data}, args...))
}

func (d *Daemon) command(ctx context.Context, venv string, args []string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, d.Bin, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGINT) }
	cmd.WaitDelay = 10 * time.Second
	// What the caller's shell says of AWS must not leak into the clients.
	cmd.Env = slices.DeleteFunc(os.Environ(), func(kv string) bool {
		return strings.HasPrefix(kv, "AWS_") && !strings.HasPrefix(kv, "AWS_CA_BUNDLE=") || strings.HasPrefix(kv, "VIRTUAL_ENV=")
	})
	cmd.Env = append(cmd.Env, "PYTHONUNBUFFERED=1", "PYTHONDONTWRITEBYTECODE=1", "SAGEMAKER_SUPPRESS_V2_WARNING=1")
	if venv != "" {
		cmd.Env = append(cmd.Env, "VIRTUAL_ENV="+venv, "PATH="+filepath.Join(venv, "bin")+string(os.PathListSeparator)+os.Getenv("PATH"))
	}
	return cmd
}

// Lines runs cmd and gives each line of its output to see as it comes.
func Lines(cmd *exec.Cmd, see func(line string)) error {
	r, w := io.Pipe()
	cmd.Stdout, cmd.Stderr = w, w
	seen := make(chan struct{})
	go func() {
		defer close(seen)
		var rest []byte
		buf := make([]byte, 32<<10)
		for {
			n, err := r.Read(buf)
			rest = append(rest, buf[:n]...)
			for {
				i := bytes.IndexByte(rest, '\n')
				if i < 0 {
					break
				}
				see(string(rest[:i]))
				rest = rest[i+1:]
			}
			if err != nil {
				if len(rest) > 0 {
					see(string(rest))
				}
				return
			}
		}
	}()
	err := cmd.Run()
	w.Close()
	<-seen
	return err
}
