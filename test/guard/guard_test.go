package guard

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMain also is the process that TestGuard kills: it guards a folder, runs
// programs on it and says so.
func TestMain(m *testing.M) {
	if dir := os.Getenv("CLARY_GUARD_TEST"); dir != "" {
		os.Exit(guarded(dir))
	}
	os.Exit(m.Run())
}

func guarded(dir string) int {
	release, err := Guard(dir)
	if err != nil {
		return 1
	}
	by := exec.Command("/bin/sh", "-c", `while :; do sleep 1; done; : "$0"`, filepath.Join(dir, "data")) //nolint:noctx // outlives us
	as := exec.Command("/bin/sh", "-c", `while :; do sleep 1; done`)                                     //nolint:noctx // outlives us
	as.Env = []string{"PATH=/usr/bin:/bin", "BUNDLE=" + filepath.Join(dir, "ca.pem")}
	for _, c := range []*exec.Cmd{by, as} {
		c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := c.Start(); err != nil {
			return 1
		}
		fmt.Println(c.Process.Pid)
	}
	if os.Getenv("CLARY_GUARD_RELEASE") != "" {
		for _, c := range []*exec.Cmd{by, as} {
			_ = c.Process.Kill()
			_ = c.Wait()
		}
		if release() != nil {
			return 1
		}
		fmt.Println(0)
	}
	select {}
}

func TestGuard(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		env    string
		signal syscall.Signal
		lines  int
		left   bool
	}{
		"killed":      {"", syscall.SIGKILL, 2, false},
		"interrupted": {"", syscall.SIGINT, 2, false},
		"released":    {"CLARY_GUARD_RELEASE=yes", syscall.SIGKILL, 3, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "it's $x")
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), os.Args[0])
			cmd.Env = append(os.Environ(), "CLARY_GUARD_TEST="+dir, c.env)
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			var pids []string
			for lines := bufio.NewScanner(out); len(pids) < c.lines && lines.Scan(); {
				pids = append(pids, lines.Text())
			}
			if len(pids) < c.lines {
				t.Fatal("the guarded process ended early")
			}
			if err := cmd.Process.Signal(c.signal); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			for deadline := time.Now().Add(2 * time.Minute); !c.left; {
				if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
					break
				}
				if time.Now().After(deadline) {
					t.Fatal("the folder is still there")
				}
				time.Sleep(20 * time.Millisecond)
			}
			if _, err := os.Stat(dir); c.left && err != nil {
				t.Error(err)
			}
			for _, pid := range pids {
				if args, err := os.ReadFile("/proc/" + pid + "/cmdline"); err == nil && strings.Contains(string(args), "sleep 1") {
					t.Errorf("process %s still runs: %q", pid, args)
				}
			}
		})
	}
}
