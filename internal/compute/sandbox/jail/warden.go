package jail

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"clary/internal/compute/sandbox/task"
)

// Program is the user's program.
type Program struct {
	Args []string
	Env  []string
	Dir  string
}

// wardenOrder is what warden is told first.
type wardenOrder struct {
	Program Program
	Filter  []byte
	PIDs    uint64 `json:",omitempty"` // a limit that no control group keeps
}

// wardenWord is what warden tells: first that the program runs and can be
// signalled, or that it does not, then its end.
type wardenWord struct {
	Running bool  `json:",omitempty"`
	Exit    *Exit `json:",omitempty"`
}

// wardenFD is the socket on which warden is told the program and tells its end.
const wardenFD = 3

// passed are the signals that warden hands on. Each costs a little to catch,
// all of them a tenth of a task's start.
var passed = []os.Signal{ //nolint:gochecknoglobals // a constant table
	unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2, unix.SIGALRM, unix.SIGTERM, unix.SIGCONT, unix.SIGWINCH,
}

// Warden is process 1 of the program's own pid namespace: it hides what is not
// the program's, takes all privileges away, runs it, and passes signals on.
// When the program ends, so do warden and everything that the program left.
func Warden() int {
	conn := os.NewFile(wardenFD, "init")
	tell := func(e Exit) int {
		_ = json.NewEncoder(conn).Encode(wardenWord{Exit: &e})
		return 0
	}
	if err := task.Seal(); err != nil {
		return tell(Exit{Code: -1, Error: err.Error()})
	}
	// Before this process becomes opaque, its own files are still its own.
	oom, err := os.OpenFile("/proc/self/oom_score_adj", os.O_RDWR, 0)
	if err != nil {
		return tell(Exit{Code: -1, Error: err.Error()})
	}
	if err := hide(); err != nil {
		return tell(Exit{Code: -1, Error: err.Error()})
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return tell(Exit{Code: -1, Error: fmt.Sprintf("not dumpable: %v", err)})
	}
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, passed...)
	r := newReaper()
	var o wardenOrder
	if err := json.NewDecoder(conn).Decode(&o); err != nil {
		return tell(Exit{Code: -1, Error: fmt.Sprintf("read the program: %v", err)})
	}
	p := o.Program
	if o.PIDs > 0 {
		if err := unix.Setrlimit(unix.RLIMIT_NPROC, &unix.Rlimit{Cur: o.PIDs, Max: o.PIDs}); err != nil {
			return tell(Exit{Code: -1, Error: fmt.Sprintf("limit of processes: %v", err)})
		}
	}
	if err := Confine(o.Filter); err != nil {
		return tell(Exit{Code: -1, Error: err.Error()})
	}
	path, err := lookPath(p)
	if err != nil {
		return tell(Exit{Code: -1, Error: err.Error()})
	}
	// When memory runs out the program shall go, not who watches it.
	_, _ = oom.WriteString("500")
	pid, done, err := r.start(path, p.Args, &syscall.ProcAttr{Dir: p.Dir, Env: p.Env, Files: []uintptr{0, 1, 2}, Sys: &syscall.SysProcAttr{Setsid: true}})
	_, _ = oom.WriteString("0")
	if err != nil {
		return tell(Exit{Code: -1, Error: fmt.Sprintf("start %s: %v", path, err)})
	}
	_ = json.NewEncoder(conn).Encode(wardenWord{Running: true})
	for {
		select {
		case s := <-signals:
			if sig, ok := s.(syscall.Signal); ok {
				r.signal(pid, sig)
			}
		case ws := <-done:
			return tell(exitOf(ws))
		}
	}
}

// hide gives the program a view in which stage's socket and stage's processes
// are not.
func hide() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("private mounts: %w", err)
	}
	if _, err := os.Lstat(APISocket); err == nil {
		if err := unix.Mount("/dev/null", APISocket, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("hide the API's socket: %w", err)
		}
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("proc: %w", err)
	}
	return nil
}

// lookPath finds the program as a shell in its folder and environment would.
func lookPath(p Program) (string, error) {
	if len(p.Args) == 0 || p.Args[0] == "" {
		return "", errors.New("the task names no program")
	}
	name := p.Args[0]
	if strings.Contains(name, "/") {
		return name, nil // relative to Dir: the child has changed there
	}
	var path string
	for _, e := range p.Env {
		if v, ok := strings.CutPrefix(e, "PATH="); ok {
			path = v
			break
		}
	}
	found := fs.ErrNotExist
	for _, dir := range filepath.SplitList(path) {
		if dir == "" {
			dir = "."
		}
		f := filepath.Join(dir, name)
		if !filepath.IsAbs(f) {
			f = filepath.Join(p.Dir, f)
		}
		if st, err := os.Stat(f); err != nil || st.IsDir() {
			continue
		}
		if unix.Access(f, unix.X_OK) == nil {
			return f, nil
		}
		found = fs.ErrPermission
	}
	return "", fmt.Errorf("exec: %q: %w in PATH %s", name, found, path)
}
