// Package debian sees to programs that are no Go or Python packages: a C
// compiler for the race detector, Python's venv, shells, Node, Debian's AWS
// CLI. What is missing is installed where this process may, else the error is
// the command to type. It changes nothing that is there. Start at Need.
package debian

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"clary/tool/internal/step"
)

// Program is a program, or a file, and the Debian package that has it.
type Program struct {
	Path, Package string
	// There says whether it is there, where a path alone does not tell.
	There func() bool
}

// Compiler is what the race detector needs.
func Compiler() []Program {
	return []Program{
		{Path: "gcc", Package: "gcc"},
		{Path: "/usr/include/stdio.h", Package: "libc6-dev"},
	}
}

// Tools are the machine's own that notebook instances show their users.
func Tools() []Program {
	return []Program{{Path: "git", Package: "git"}, {Path: "jq", Package: "jq"}, {Path: "wget", Package: "wget"}}
}

// Programs are what the tests under test/sdk drive beside the Python clients.
// The AWS CLI is named by its path: the Python environments have another one.
func Programs() []Program {
	return []Program{
		{Path: "bash", Package: "bash"},
		{Path: "dash", Package: "dash"},
		{Path: "zsh", Package: "zsh"},
		{Path: "fish", Package: "fish"},
		{Path: "node", Package: "nodejs"},
		{Path: "npm", Package: "npm"},
		{Path: "/usr/bin/aws", Package: "awscli"},
	}
}

// Browser is what opens the console in tests; its scripts come by npm.
func Browser() []Program {
	return []Program{
		{Path: "chromium", Package: "chromium"},
		{Path: "node", Package: "nodejs"},
		{Path: "npm", Package: "npm"},
	}
}

// Need installs the programs that are missing. lock is a file by which two
// processes do not install at once.
func Need(ctx context.Context, lock string, say func(format string, args ...any), programs ...Program) error {
	if len(missing(programs)) == 0 {
		return nil
	}
	f, err := os.OpenFile(lock, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // only its lock was used
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return fmt.Errorf("lock %s: %w", lock, err)
	}
	want := missing(programs)
	if len(want) == 0 {
		return nil
	}
	install := "apt-get install -y --no-install-recommends " + strings.Join(want, " ")
	if _, err := exec.LookPath("apt-get"); err != nil {
		return fmt.Errorf("missing, and there is no apt-get to install it with; install what these packages of Debian hold, then try again: %s", strings.Join(want, ", "))
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("packages of Debian are missing; run this, then try again:\n\n    sudo apt-get update && sudo %s", install)
	}
	say("installing %s with apt-get", strings.Join(want, ", "))
	env := []string{"DEBIAN_FRONTEND=noninteractive"}
	// Another installer on the machine is waited for.
	args := append([]string{"apt-get", "-o", "DPkg::Lock::Timeout=120"}, strings.Fields(install)[1:]...)
	err = step.Run(ctx, step.Cmd{Env: env, Args: args})
	if err != nil { // the lists may be old or not there
		if err = step.Run(ctx, step.Cmd{Env: env, Args: []string{"apt-get", "update", "-q"}}); err == nil {
			err = step.Run(ctx, step.Cmd{Env: env, Args: args})
		}
	}
	if err != nil {
		return fmt.Errorf("installing packages of Debian: %w", err)
	}
	if left := missing(programs); len(left) > 0 {
		return fmt.Errorf("still missing after `%s`: %s", install, strings.Join(left, ", "))
	}
	return nil
}

// missing lists the packages of programs that are not there.
func missing(programs []Program) []string {
	var out []string
	for _, p := range programs {
		if !p.there() && !slices.Contains(out, p.Package) {
			out = append(out, p.Package)
		}
	}
	return out
}

func (p Program) there() bool {
	switch {
	case p.There != nil:
		return p.There()
	case filepath.IsAbs(p.Path):
		st, err := os.Stat(p.Path)
		return err == nil && st.Mode().IsRegular()
	}
	_, err := exec.LookPath(p.Path)
	return err == nil
}
