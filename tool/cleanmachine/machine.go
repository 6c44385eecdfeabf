//go:build linux

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"clary/tool/internal/step"
)

const userID = 1000

func processors() int { return runtime.NumCPU() }

// machine is a copy of the base with a clone in somebody's home.
type machine struct {
	dir  string
	who  string
	home string
	env  []string
}

func newMachine(ctx context.Context, root, base, who string) (*machine, error) {
	dir, err := os.MkdirTemp("", "clary-clean-")
	if err != nil {
		return nil, err
	}
	m := &machine{dir: filepath.Join(dir, "root"), who: who, home: "/root"}
	if who == "user" {
		m.home = "/home/user"
	}
	fmt.Printf("\n== a clean machine for %s: %s\n", who, m.dir)
	if err := m.furnish(ctx, root, base); err != nil {
		return nil, errors.Join(err, m.remove())
	}
	return m, nil
}

func (m *machine) furnish(ctx context.Context, root, base string) error {
	goroot, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return fmt.Errorf("go env GOROOT: %w", err)
	}
	clone := filepath.Join(m.dir, m.home, "clary")
	steps := [][]string{
		{"cp", "-a", "--reflink=auto", base, m.dir},
		{"cp", "-a", "--reflink=auto", strings.TrimSpace(string(goroot)), filepath.Join(m.dir, "usr", "local", "go")},
	}
	if m.who == "user" {
		steps = append(steps, []string{"chroot", m.dir, "useradd", "--create-home", "--uid", strconv.Itoa(userID), "--shell", "/bin/bash", "user"})
	}
	// Without hard links and alternates: nothing outside the folder is part of it.
	steps = append(steps, []string{"git", "clone", "--quiet", "--no-local", "--no-tags", root, clone})
	if m.who == "user" {
		steps = append(steps, []string{"chown", "-R", fmt.Sprintf("%d:%d", userID, userID), clone})
	}
	for to, from := range settingFiles() {
		steps = append(steps, []string{"install", "-D", "-m", "644", from, filepath.Join(m.dir, to)})
	}
	for _, args := range steps {
		if err := step.Run(ctx, step.Cmd{Args: args}); err != nil {
			return err
		}
	}
	if lines := aptSettings(ctx); len(lines) > 0 {
		conf := filepath.Join(m.dir, "etc", "apt", "apt.conf.d", "95clean-machine")
		if err := os.WriteFile(conf, []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
			return err
		}
	}
	m.env = append([]string{
		"HOME=" + m.home, "USER=" + m.who, "LOGNAME=" + m.who, "SHELL=/bin/bash", "LANG=C.UTF-8", "TERM=dumb",
		"PATH=/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
	}, registrySettings(ctx)...)
	// Python's installers bring certificates of their own and must be told of
	// the system's, where this machine's registries need them.
	for _, name := range []string{"SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE"} {
		if os.Getenv(name) != "" && !has(m.env, name) {
			m.env = append(m.env, name+"=/etc/ssl/certs/ca-certificates.crt")
		}
	}
	return m.exec(ctx, 0, "/", io.Discard, "update-ca-certificates")
}

// told is how the tools print a command that root must type.
var told = regexp.MustCompile(`^\s+sudo (.+)$`)

// forRoot is the command in a line that tells one, else "".
func forRoot(line string) string {
	m := told.FindStringSubmatch(line)
	if m == nil {
		return ""
	}
	return strings.ReplaceAll(m[1], "&& sudo ", "&& ")
}

// make types `make TARGET`; a user types, where that prints commands with
// sudo, these as root and then the same again.
func (m *machine) make(ctx context.Context, target, title string) result {
	r := result{who: m.who, what: "make " + title}
	began := time.Now()
	fmt.Printf("\n== %s types: make %s\n", m.who, target)
	for try := 0; ; try++ {
		var commands []string
		r.err = m.typed(ctx, "make "+target, func(line string) {
			if c := forRoot(line); c != "" {
				commands = append(commands, c)
			}
		})
		if r.err == nil || m.who == "root" || len(commands) == 0 || try == 3 {
			break
		}
		for _, c := range commands {
			fmt.Printf("\n== root types what was asked for: %s\n", c)
			if err := m.exec(ctx, 0, "/", os.Stdout, "sh", "-c", c); err != nil {
				r.err = errors.Join(r.err, err)
				break
			}
		}
		fmt.Printf("\n== %s types again: make %s\n", m.who, target)
	}
	r.took = time.Since(began)
	r.load = load()
	return r
}

func (m *machine) typed(ctx context.Context, command string, line func(string)) error {
	uid := 0
	if m.who == "user" {
		uid = userID
	}
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := m.exec(ctx, uid, m.home+"/clary", w, "sh", "-c", command)
		done <- errors.Join(err, w.Close())
	}()
	in := bufio.NewScanner(r)
	in.Buffer(nil, 16<<20)
	for in.Scan() {
		fmt.Println(in.Text())
		line(in.Text())
	}
	_, _ = io.Copy(io.Discard, r) // a line beyond all measure is no reason to stop
	return <-done
}

// exec runs a command in name spaces of its own over the machine's folder.
func (m *machine) exec(ctx context.Context, uid int, dir string, out io.Writer, args ...string) error {
	cmd := exec.CommandContext(ctx, "/proc/self/exe", append([]string{insideVerb, m.dir, strconv.Itoa(uid), dir}, args...)...)
	cmd.Env = m.env
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS,
		Pdeathsig:  syscall.SIGKILL,
	}
	runtime.LockOSThread() // the death signal is tied to this thread
	defer runtime.UnlockOSThread()
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w", strings.Join(args, " "), err)
	}
	return nil
}

// remove takes the folder away. Its mounts were in name spaces that are gone.
func (m *machine) remove() error { return os.RemoveAll(filepath.Dir(m.dir)) }

func load() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "?"
	}
	return strings.Join(strings.Fields(string(b))[:2], " ")
}
