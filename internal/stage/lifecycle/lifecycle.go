// Package lifecycle runs the scripts of a notebook instance's lifecycle
// configuration, as SageMaker does: as root, in bash, five minutes each. Start
// at Script.Run.
package lifecycle

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"clary/internal/stage/children"
)

// Path is what scripts, and what cron runs, look for programs in: SageMaker's,
// with the task's own programs before it.
const Path = "/run/clary/bin:/sbin:/bin:/usr/sbin:/usr/bin"

// Limit is how long a script may take.
const Limit = 5 * time.Minute

// Dir is where scripts begin. On SageMaker that is /, to which scripts download
// what root then runs; here that is read-only, and this is root's as well.
const Dir = "/opt/ml"

// Script is one to run.
type Script struct {
	Name string // LifecycleConfigOnStart
	Text string
	File string // where it is written, for root alone
	Dir  string // where it begins
	Env  []string
	// Limit is how long it may take.
	Limit time.Duration
	// Line takes what the script and what it leaves behind print, line by line,
	// also after its end.
	Line func(text []byte)
	// Stop ends the script before its time.
	Stop <-chan struct{}
}

// How a script may end other than well.
var (
	// ErrSlow says that it took longer than its limit.
	ErrSlow = errors.New("took too long")
	// ErrStopped says that it was stopped.
	ErrStopped = errors.New("stopped")
)

// FailedError is a script's end with a code other than 0.
type FailedError struct {
	Code int
	Last string // its last line
}

func (e *FailedError) Error() string {
	if e.Last == "" {
		return fmt.Sprintf("exit code %d", e.Code)
	}
	return fmt.Sprintf("exit code %d: %s", e.Code, e.Last)
}

// Run runs the script to its end. What it leaves in the background goes on,
// unless it failed: then every process of the task but the first is ended.
func (s *Script) Run(f *children.Family) error {
	argv, err := s.write()
	if err != nil {
		return err
	}
	var last lastLine
	pump, w, err := children.NewPump(func(text []byte) {
		last.set(text)
		s.Line(text)
	})
	if err != nil {
		return err
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return errors.Join(err, w.Close())
	}
	child, err := f.Start(argv[0], argv, &syscall.ProcAttr{
		Dir: s.Dir, Env: s.Env, Files: []uintptr{null.Fd(), w.Fd(), w.Fd()},
		Sys: &syscall.SysProcAttr{Setsid: true},
	})
	_, _ = null.Close(), w.Close()
	if err != nil {
		return fmt.Errorf("%s: %w", s.Name, err)
	}
	limit := time.NewTimer(s.Limit)
	defer limit.Stop()
	var early error
	select {
	case <-child.Done():
	case <-limit.C:
		early = ErrSlow
	case <-s.Stop:
		early = ErrStopped
	}
	if early != nil {
		child.SignalGroup(unix.SIGKILL)
		f.EndAll()
		<-child.Done()
		pump.Settle()
		return early
	}
	pump.Settle()
	if code := child.Code(); code != 0 {
		f.EndAll()
		return &FailedError{code, last.get()}
	}
	return nil
}

// write writes the script and tells how it is started: by what its first line
// names, or bash.
func (s *Script) write() ([]string, error) {
	if err := os.MkdirAll(filepath.Dir(s.File), 0o755); err != nil {
		return nil, err
	}
	// A program that is forked meanwhile would hold the file, and it could not
	// be started.
	syscall.ForkLock.RLock()
	err := os.WriteFile(s.File, []byte(s.Text), 0o700)
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(s.Text, "#!") {
		return []string{s.File}, nil
	}
	return []string{"/bin/bash", s.File}, nil
}

// lastLine is the last one that says something.
type lastLine struct {
	mu   sync.Mutex // guards text
	text string
}

func (l *lastLine) set(b []byte) {
	const most = 500
	if s := strings.TrimSpace(string(b)); s != "" {
		l.mu.Lock()
		l.text = s[:min(len(s), most)]
		l.mu.Unlock()
	}
}

func (l *lastLine) get() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text
}
