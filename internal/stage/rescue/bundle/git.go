package bundle

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"
)

// Git runs git on one repository of ours. It reads no settings of system or
// user, asks nobody anything, speaks no protocol, runs no hook, and has no
// program to run for a filter, a diff or a file system monitor. What is left is
// the configuration in Dir: that must be one that we have written.
type Git struct {
	Path  string // the program
	Home  string // an empty folder
	Dir   string // the repository
	Work  string // its working tree; "" none
	Index string // "" the repository's own
}

// ErrTooLarge is said of output beyond its limit.
var ErrTooLarge = errors.New("it is too large")

// overrides are settings that hold whatever else is said.
func overrides() []string {
	list := []string{
		"core.hooksPath=/dev/null", "core.fsmonitor=false", "core.untrackedCache=false", "core.commitGraph=false",
		"core.attributesFile=/dev/null", "core.excludesFile=/dev/null", "core.sshCommand=false", "core.askPass=false",
		"core.pager=cat", "core.editor=false", "core.alternateRefsCommand=true",
		"core.sparseCheckout=false", "core.bigFileThreshold=16m", "core.safecrlf=false",
		"credential.helper=", "protocol.allow=never", "safe.directory=*", "safe.bareRepository=all",
		"gc.auto=0", "maintenance.auto=false", "core.compression=1", "pack.threads=1", "pack.windowMemory=64m", "index.threads=1",
		"submodule.recurse=false", "commit.gpgSign=false", "init.templateDir=", "init.defaultBranch=main", "advice.detachedHead=false",
	}
	if runtime.GOOS == "linux" { // names that are special elsewhere are names here
		list = append(list, "core.protectNTFS=false", "core.protectHFS=false")
	}
	return list
}

func (g Git) environ() []string {
	env := []string{
		"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=" + g.Home, "XDG_CONFIG_HOME=" + g.Home, "LC_ALL=C", "TZ=UTC",
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_SYSTEM=/dev/null", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_ATTR_NOSYSTEM=1",
		"GIT_TERMINAL_PROMPT=0", "GIT_ASKPASS=false", "SSH_ASKPASS=false", "GIT_SSH_COMMAND=false", "GIT_EDITOR=false", "GIT_PAGER=cat",
		"GIT_ALLOW_PROTOCOL=", "GIT_PROTOCOL_FROM_USER=0", "GIT_NO_LAZY_FETCH=1", "GIT_NO_REPLACE_OBJECTS=1", "GIT_OPTIONAL_LOCKS=0",
		"GIT_AUTHOR_NAME=Clary", "GIT_AUTHOR_EMAIL=rescue@clary.invalid", "GIT_COMMITTER_NAME=Clary", "GIT_COMMITTER_EMAIL=rescue@clary.invalid",
		"GIT_DIR=" + g.Dir,
	}
	if g.Work != "" {
		env = append(env, "GIT_WORK_TREE="+g.Work)
	}
	if g.Index != "" {
		env = append(env, "GIT_INDEX_FILE="+g.Index)
	}
	return env
}

// Stream runs a command; a failure has git's own last words.
func (g Git) Stream(ctx context.Context, in io.Reader, out io.Writer, args ...string) error {
	var argv []string
	for _, o := range overrides() {
		argv = append(argv, "-c", o)
	}
	cmd := exec.CommandContext(ctx, g.Path, append(argv, args...)...)
	cmd.Env, cmd.Stdin, cmd.Stdout = g.environ(), in, out
	cmd.Dir = g.Work
	if cmd.Dir == "" {
		cmd.Dir = g.Dir
	}
	said := &tail{}
	cmd.Stderr = said
	// git's own children are in its group, and end with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	err := cmd.Run()
	if l, ok := out.(*Limited); ok && l.Left < 0 {
		return ErrTooLarge // git itself says that nobody reads any more
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("git %s took too long", args[0])
	case ctx.Err() != nil:
		return ctx.Err()
	case said.String() != "":
		return fmt.Errorf("git %s: %s", args[0], said)
	}
	return fmt.Errorf("git %s: %w", args[0], err)
}

// maxOutput is of a command whose output is kept in memory.
const maxOutput = 16 << 20

// Run returns what a command prints, without the last newline.
func (g Git) Run(ctx context.Context, in io.Reader, args ...string) (string, error) {
	var out bytes.Buffer
	err := g.Stream(ctx, in, &Limited{W: &out, Left: maxOutput}, args...)
	return strings.TrimSuffix(out.String(), "\n"), err
}

// Each runs a command that prints records with a NUL at their ends, and hands
// on one by one. An error of f ends it.
func (g Git) Each(ctx context.Context, in io.Reader, f func(record string) error, args ...string) error {
	r, w := io.Pipe()
	read := make(chan error, 1)
	go func() {
		err := records(r, f)
		_ = r.CloseWithError(err) // a pipe's close does not fail
		read <- err
	}()
	ran := g.Stream(ctx, in, w, args...)
	_ = w.Close()
	if err := <-read; err != nil {
		return err
	}
	return ran
}

func records(r io.Reader, f func(string) error) error {
	s := bufio.NewScanner(r)
	s.Buffer(nil, 1<<20)
	s.Split(func(data []byte, end bool) (int, []byte, error) {
		if i := bytes.IndexByte(data, 0); i >= 0 {
			return i + 1, data[:i], nil
		}
		if end && len(data) > 0 {
			return len(data), data, nil
		}
		return 0, nil, nil
	})
	for s.Scan() {
		if err := f(s.Text()); err != nil {
			return err
		}
	}
	return s.Err()
}

// NULs is a command's input: records with a NUL at their ends.
func NULs(list []string) io.Reader {
	var b strings.Builder
	for _, s := range list {
		b.WriteString(s)
		b.WriteByte(0)
	}
	return strings.NewReader(b.String())
}

// Find looks for git; an error says that it is not on this machine.
func Find() (string, error) {
	for _, p := range []string{"/usr/bin/git", "/usr/local/bin/git", "/bin/git"} {
		if info, err := os.Stat(p); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return p, nil
		}
	}
	p, err := exec.LookPath("git")
	if err != nil {
		return "", errors.New("git is not on this machine")
	}
	return p, nil
}

// Limited is a writer that takes so many bytes and then fails with ErrTooLarge.
type Limited struct {
	W    io.Writer
	Left int64
}

func (l *Limited) Write(p []byte) (int, error) {
	if l.Left -= int64(len(p)); l.Left < 0 {
		return 0, ErrTooLarge
	}
	return l.W.Write(p)
}

// tail keeps the end of what is written, as one printable line.
type tail struct{ b []byte }

func (t *tail) Write(p []byte) (int, error) {
	t.b = append(t.b, p...)
	if most := 400; len(t.b) > most {
		t.b = append(t.b[:0], t.b[len(t.b)-most:]...)
	}
	return len(p), nil
}

func (t *tail) String() string { return Printable(string(t.b)) }

// Printable is s in one line, without what steers a terminal.
func Printable(s string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r == utf8.RuneError {
			return ' '
		}
		return r
	}, s))
}
