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

// wardenCell is what warden is told first: how to confine itself.
type wardenCell struct {
	Filter []byte
	Write  []string `json:",omitempty"` // places besides those of every task
	// User is whom the program runs as, 0 for root, and Keep the capabilities
	// that it keeps.
	User int    `json:",omitempty"`
	Keep uint64 `json:",omitempty"`
}

// wardenOrder is what warden is told when the program shall begin.
type wardenOrder struct {
	Program Program
	PIDs    uint64 `json:",omitempty"` // a limit that no control group keeps
}

// wardenFD is the socket on which warden is told the program, and tells why it
// could not become that. It closes when it has.
const wardenFD = 3

// Warden hides what is not the program's, takes all privileges away and becomes
// the program, which thus is process 1 of a pid namespace of its own, as in a
// container: signals that it does not handle do nothing to it, and when it
// ends, so does everything that it left.
func Warden() int {
	conn := os.NewFile(wardenFD, "init")
	if err := becomeProgram(conn); err != nil {
		_ = json.NewEncoder(conn).Encode(Exit{Code: -1, Error: err.Error()})
	}
	return 1
}

// becomeProgram returns only if it fails.
func becomeProgram(conn *os.File) error {
	if err := task.Seal(); err != nil {
		return err
	}
	// Before this process becomes opaque, its own files are still its own.
	oom, err := os.OpenFile("/proc/self/oom_score_adj", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if err := hide(); err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("not dumpable: %w", err)
	}
	dec := json.NewDecoder(conn)
	var c wardenCell
	if err := dec.Decode(&c); err != nil {
		return fmt.Errorf("read how to confine the program: %w", err)
	}
	caps := capabilities{bequest: c.Keep}
	if c.User != 0 { // who must still be become
		caps.own = c.Keep | 1<<unix.CAP_SETUID | 1<<unix.CAP_SETGID
	}
	if err := confine(programFence(c.Write), c.Filter, caps); err != nil {
		return err
	}
	var o wardenOrder
	if err := dec.Decode(&o); err != nil {
		return fmt.Errorf("read the program: %w", err)
	}
	p := o.Program
	if err := limitProgram(o.PIDs); err != nil {
		return err
	}
	if c.User != 0 {
		if err := BecomeUser(c.User, c.Keep); err != nil {
			return fmt.Errorf("become user %d: %w", c.User, err)
		}
	}
	path, err := lookPath(p)
	if err != nil {
		return err
	}
	if err := unix.Chdir(p.Dir); err != nil {
		return fmt.Errorf("folder %s: %w", p.Dir, err)
	}
	if _, err := unix.Setsid(); err != nil {
		return fmt.Errorf("session: %w", err)
	}
	// What whoever started the server ignores, exec would hand on; what is
	// caught it resets.
	for _, s := range []os.Signal{unix.SIGHUP, unix.SIGINT} {
		if signal.Ignored(s) {
			signal.Notify(make(chan os.Signal, 1), s)
		}
	}
	// When memory runs out the program shall go, not who watches it.
	_, _ = oom.WriteString("500")
	return fmt.Errorf("start %s: %w", path, syscall.Exec(path, p.Args, p.Env))
}

// hide gives the program a view in which stage's socket and stage's processes
// are not, and what the kernel tells or takes in /proc is the task's own.
func hide() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("private mounts: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("proc: %w", err)
	}
	// Who has no capabilities may still own some of these files, and read
	// others that tell of the whole machine.
	for _, over := range [][2]string{{"/dev/null", APISocket}, {"/proc/sys", "/proc/sys"}, {"/proc/pressure", "/proc/pressure"}, {"/dev/null", "/proc/keys"}, {"/dev/null", "/proc/key-users"}} {
		err := unix.Mount(over[0], over[1], "", unix.MS_BIND|unix.MS_REC, "")
		if errors.Is(err, unix.ENOENT) {
			continue
		}
		if err != nil {
			return fmt.Errorf("hide %s: %w", over[1], err)
		}
		// A device that no device may be at cannot be opened either.
		if err := restrict(over[1], unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV); err != nil {
			return err
		}
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
