// Package pyenv makes the Python environments that tests and the demo run real
// AWS clients in: from a lock file with hashes, once per lock, in a cache
// outside the repository. It never touches the system's Python, except that as
// root it installs Debian's python3-venv when that is missing. Start at Ensure.
package pyenv

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"clary/tool/internal/debian"
	"clary/tool/internal/step"
)

// unusedAfter is how long an environment of another lock is kept.
const unusedAfter = 30 * 24 * time.Hour

const probe = `import sys
print(sys.executable)
print("%d.%d" % sys.version_info[:2])
print(int(sys.version_info >= (3, 11)))
try:
    import venv, ensurepip
    print(1)
except ImportError:
    print(0)
`

// Python is an interpreter that was found.
type Python struct {
	Path    string
	Version string // 3.11
	Venv    bool   // it can make virtual environments with pip in them
}

// Find looks for Python 3.11 or newer, preferring one that can make virtual
// environments.
func Find(ctx context.Context) (Python, error) {
	var without *Python
	for _, name := range []string{
		"python3", "/usr/bin/python3", "/usr/local/bin/python3",
		"python3.11", "python3.12", "python3.13", "python3.14",
	} {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		out, err := exec.CommandContext(ctx, path, "-c", probe).Output()
		f := strings.Fields(string(out))
		if err != nil || len(f) != 4 || f[2] != "1" {
			continue
		}
		py := Python{Path: f[0], Version: f[1], Venv: f[3] == "1"}
		if py.Venv {
			return py, nil
		}
		if without == nil {
			without = &py
		}
	}
	if without != nil {
		return *without, nil
	}
	return Python{}, errors.New("no Python 3.11 or newer found")
}

// Cache makes environments below Dir.
type Cache struct {
	Root string // of the repository
	Dir  string
	Say  func(format string, args ...any)
}

// Ensure returns the environment of a lock file, made now if it is not there.
// Several processes may ask for the same one.
func (c Cache) Ensure(ctx context.Context, name, lock string) (string, error) {
	py, err := c.python(ctx)
	if err != nil {
		return "", err
	}
	text, err := os.ReadFile(lock)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(append([]byte(py.Path+" "+py.Version+"\n"), text...))
	dir := filepath.Join(c.Dir, name+"-"+hex.EncodeToString(sum[:6]))
	unlock, err := step.Hold(dir + ".lock")
	if err != nil {
		return "", err
	}
	defer unlock()

	made := filepath.Join(dir, ".complete")
	if _, err := os.Stat(made); err == nil {
		now := time.Now()
		return dir, os.Chtimes(made, now, now)
	}
	uv, err := c.uv(ctx, py)
	if err != nil {
		return "", err
	}
	c.Say("installing %d locked Python packages for %s into %s", strings.Count(string(text), "=="), name, dir)
	env := []string{"UV_CACHE_DIR=" + filepath.Join(c.Dir, "uv-cache"), "VIRTUAL_ENV=" + dir, "UV_HTTP_TIMEOUT=180"}
	for _, args := range [][]string{
		{uv, "venv", "--quiet", "--clear", "--python", py.Path, dir},
		{uv, "pip", "sync", "--quiet", "--require-hashes", "--compile-bytecode", lock},
	} {
		if err := step.Run(ctx, step.Cmd{Dir: c.Root, Env: env, Args: args}); err != nil {
			return "", fmt.Errorf("environment %s: %w", name, err)
		}
	}
	if err := os.WriteFile(made, nil, 0o644); err != nil {
		return "", err
	}
	c.prune(name, dir)
	return dir, nil
}

// Needs is what Debian must have for environments to be made.
func Needs(ctx context.Context) debian.Program {
	return debian.Program{Package: "python3-venv", There: func() bool {
		py, err := Find(ctx)
		return err == nil && py.Venv
	}}
}

// python finds an interpreter that can make environments, installing Debian's
// packages for it where that is possible.
func (c Cache) python(ctx context.Context) (Python, error) {
	py, err := Find(ctx)
	if err == nil && py.Venv {
		return py, nil
	}
	if err := debian.Need(ctx, filepath.Join(c.Dir, "apt.lock"), c.Say, Needs(ctx)); err != nil {
		return Python{}, fmt.Errorf("python 3.11 or newer with its venv module is needed: %w", err)
	}
	return Find(ctx)
}

// UV returns uv's path, installed now if it is not there.
func (c Cache) UV(ctx context.Context) (string, error) {
	py, err := c.python(ctx)
	if err != nil {
		return "", err
	}
	return c.uv(ctx, py)
}

// uv is the installer, in an environment of its own made by the standard
// library's venv and pip.
func (c Cache) uv(ctx context.Context, py Python) (string, error) {
	lock := filepath.Join(c.Root, "test", "sdk", "requirements-uv.txt")
	text, err := os.ReadFile(lock)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(append([]byte(py.Path+" "+py.Version+"\n"), text...))
	dir := filepath.Join(c.Dir, "uv-"+hex.EncodeToString(sum[:6]))
	unlock, err := step.Hold(dir + ".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	bin := filepath.Join(dir, "bin", "uv")
	made := filepath.Join(dir, ".complete")
	if _, err := os.Stat(made); err == nil {
		return bin, nil
	}
	c.Say("installing uv, the Python installer, into %s", dir)
	for _, args := range [][]string{
		{py.Path, "-m", "venv", "--clear", dir},
		{filepath.Join(dir, "bin", "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes", "-r", lock},
	} {
		if err := step.Run(ctx, step.Cmd{Dir: c.Root, Args: args}); err != nil {
			return "", fmt.Errorf("uv: %w", err)
		}
	}
	return bin, os.WriteFile(made, nil, 0o644)
}

// prune removes environments of the same name that nothing used for long.
func (c Cache) prune(name, keep string) {
	old, _ := filepath.Glob(filepath.Join(c.Dir, name+"-*", ".complete"))
	for _, made := range old {
		dir := filepath.Dir(made)
		if st, err := os.Stat(made); err == nil && dir != keep && time.Since(st.ModTime()) > unusedAfter {
			c.Say("removing %s, unused for a month", dir)
			if err := os.RemoveAll(dir); err != nil {
				c.Say("%v", err)
			}
		}
	}
}
