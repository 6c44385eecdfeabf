package catalog

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Python is an interpreter of this machine.
type Python struct {
	Path    string // the real program, not a link of a virtual environment
	Prefix  string // where its library is
	Minor   int
	Version string // 3.11.2
}

// System says whether the interpreter is where every task sees it.
func (p Python) System() bool {
	return under(p.Path, "/usr") && under(p.Prefix, "/usr")
}

func under(path, dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }

// The Pythons that the catalog has locks for.
const (
	oldest = 11
	newest = 14
)

// noPython says what to do on a machine without an interpreter.
func noPython(pythons []Python) string {
	have := ""
	if len(pythons) > 0 {
		have = fmt.Sprintf(" (found only %s)", pythons[0].Version)
	}
	return fmt.Sprintf("this machine has no Python 3.%d to 3.%d that can run jobs%s. Install one, on Debian and Ubuntu with: sudo apt-get install -y python3", oldest, newest, have)
}

// probe prints what an interpreter is. The imports are what runtimes need and
// what minimal installations lack.
const probe = `import json, os, sys
import bz2, ctypes, encodings.idna, hashlib, lzma, sqlite3, ssl, zlib
exe = getattr(sys, "_base_executable", None) or sys.executable
print(json.dumps([sys.implementation.name, list(sys.version_info[:3]), os.path.realpath(exe), os.path.realpath(sys.base_prefix)]))`

// FindPythons looks for interpreters in the usual places, the system's first.
func FindPythons(ctx context.Context) []Python {
	var candidates []string
	add := func(pattern string) {
		found, _ := filepath.Glob(pattern) // the patterns are constants
		candidates = append(candidates, found...)
	}
	dirs := append([]string{"/usr/bin", "/usr/local/bin"}, filepath.SplitList(os.Getenv("PATH"))...)
	for _, dir := range dirs {
		for minor := oldest; minor <= newest; minor++ {
			candidates = append(candidates, fmt.Sprintf("%s/python3.%d", dir, minor))
		}
		candidates = append(candidates, dir+"/python3")
	}
	if home, err := os.UserHomeDir(); err == nil {
		add(home + "/.pyenv/versions/*/bin/python3")
		add(home + "/.local/share/uv/python/*/bin/python3")
	}
	add("/opt/python*/bin/python3")

	var found []Python
	seen := map[string]bool{}
	for _, c := range candidates {
		real, err := filepath.EvalSymlinks(c)
		if err != nil || seen[real] {
			continue
		}
		seen[real] = true
		p, err := inspect(ctx, c)
		if err != nil || slices.ContainsFunc(found, func(o Python) bool { return o.Path == p.Path }) {
			continue
		}
		found = append(found, p)
	}
	return found
}

func inspect(ctx context.Context, path string) (Python, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "-I", "-c", probe)
	cmd.Dir = "/"
	// It may be a script that starts others, which have its output, too.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	if err != nil {
		return Python{}, err
	}
	var name, exe, prefix string
	var version [3]int
	if err := json.Unmarshal(out, &[]any{&name, &version, &exe, &prefix}); err != nil {
		return Python{}, err
	}
	if name != "cpython" || version[0] != 3 {
		return Python{}, fmt.Errorf("%s is %s %d", path, name, version[0])
	}
	return Python{Path: exe, Prefix: prefix, Minor: version[1], Version: fmt.Sprintf("%d.%d.%d", version[0], version[1], version[2])}, nil
}
