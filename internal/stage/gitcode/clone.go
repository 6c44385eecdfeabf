// Package gitcode brings a notebook instance's code from Git: it clones
// repositories, tells git which secret opens which of them, and is the
// credential helper that git then asks. A secret's value is read when git wants
// it, goes to git by a pipe, and is kept nowhere. Start at Clone, Config and
// CredentialMain.
package gitcode

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"clary/internal/stage/agent"
	"clary/internal/stage/children"
	"clary/internal/stage/user"
)

// half is the folder in which a clone lies until it is whole. One that a kill
// left is removed by the next.
const half = ".clary-clone"

// Cloner clones as ec2-user.
type Cloner struct {
	Family *children.Family
	Git    string // its path; "" if there is none
	Env    []string
	Work   string // where repositories lie, ec2-user's
	Say    func(format string, args ...any)
	Stop   <-chan struct{} // closed when there is no time left
}

// Clone clones a repository into its folder, unless that is there. It is told in
// git's own words what went wrong.
func (c *Cloner) Clone(r agent.Repository) error {
	name := r.Folder
	if name == "" || name == "." || name == ".." || name == half || strings.ContainsAny(name, "/\x00") {
		return fmt.Errorf("%q is no name for a folder", name)
	}
	to, at := filepath.Join(c.Work, name), filepath.Join(c.Work, half)
	if _, err := os.Lstat(to); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if c.Git == "" {
		return errors.New("this machine has no git: install it, and start the instance again")
	}
	if err := c.run("/bin/rm", "-rf", "--", at); err != nil {
		return err
	}
	args := []string{
		"-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "core.askPass=",
		"clone", "--quiet",
	}
	if r.Branch != "" {
		args = append(args, "--branch", r.Branch)
	}
	c.Say("cloning %s into %s", Shown(r.URL), name)
	if err := c.run(c.Git, append(args, "--", r.URL, at)...); err != nil {
		return errors.Join(err, c.run("/bin/rm", "-rf", "--", at))
	}
	// A file of the name, or what somebody has put there meanwhile, stays.
	return c.run("/bin/mv", "-T", "-n", "--", at, to)
}

// run runs a program as ec2-user; its last words are the error.
func (c *Cloner) run(path string, args ...string) error {
	var last words
	pump, w, err := children.NewPump(func(text []byte) {
		if s := strings.TrimSpace(string(text)); s != "" {
			c.Say("%s: %s", filepath.Base(path), s)
			last.add(s)
		}
	})
	if err != nil {
		return err
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return errors.Join(err, w.Close())
	}
	child, err := c.Family.Start(path, append([]string{path}, args...), &syscall.ProcAttr{
		Dir: c.Work, Env: c.Env, Files: []uintptr{null.Fd(), w.Fd(), w.Fd()},
		Sys: user.As(&syscall.SysProcAttr{Setsid: true}, false),
	})
	_, _ = null.Close(), w.Close()
	if err != nil {
		return err
	}
	select {
	case <-child.Done():
	case <-c.Stop:
		child.SignalGroup(unix.SIGKILL)
		<-child.Done()
	}
	pump.Settle()
	if code := child.Code(); code != 0 {
		if s := last.String(); s != "" {
			return errors.New(s)
		}
		return fmt.Errorf("%s ended with code %d", filepath.Base(path), code)
	}
	return nil
}

// words are the last few lines of a program that say why.
type words []string

func (w *words) add(s string) {
	const most, wide = 4, 500
	if len(s) > wide {
		s = s[:wide]
	}
	if *w = append(*w, s); len(*w) > most {
		*w = (*w)[1:]
	}
}

func (w words) String() string { return strings.Join(w, "; ") }

// Shown is an address without what may be a password in it.
func Shown(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "an address that cannot be read"
	}
	u.User = nil
	return u.String()
}

// Environ is git's environment: it asks nobody.
func Environ(environ []string) []string {
	return append(environ, "GIT_TERMINAL_PROMPT=0", "LC_ALL=C.UTF-8")
}

// helper is this program as git's credential helper, without the secret.
const helper = "/run/clary/clary-task git-credential "

// Config is git's configuration for all users of the task: which secret opens
// which repository. A secret is for one repository's address, on its host and
// nowhere else. bundle is what HTTPS is trusted by, "" for git's own.
func Config(repos []agent.Repository, bundle string) string {
	var b strings.Builder
	if bundle != "" {
		fmt.Fprintf(&b, "[http]\n\tsslCAInfo = %s\n", quote(bundle))
	}
	for _, r := range repos {
		u, err := url.Parse(r.URL)
		if r.Secret == "" || err != nil || u.Host == "" {
			continue
		}
		u.User, u.RawQuery, u.Fragment = nil, "", ""
		// The first, empty helper forgets those of other files.
		fmt.Fprintf(&b, "[credential %s]\n\thelper =\n\thelper = %s\n\tuseHttpPath = true\n", quote(u.String()), quote(helper+shellQuote(r.Secret)))
	}
	return b.String()
}

// quote makes a string one value of git's configuration.
func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(s) + `"`
}

// shellQuote makes a string one word of a shell.
func shellQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
