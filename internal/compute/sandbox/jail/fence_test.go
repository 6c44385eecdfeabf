package jail

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("JAIL_TEST_FENCED"); dir != "" {
		fenced(dir, os.Getenv("JAIL_TEST_SOCKET"))
		os.Exit(0)
	}
	if os.Getenv("JAIL_TEST_WITHOUT") != "" {
		fmt.Println(without())
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// without raises a fence where the kernel has none, as far as anyone can tell.
func without() error {
	stmt := func(code uint16, jt, jf uint8, k uint32) []byte {
		b := binary.NativeEndian.AppendUint16(nil, code)
		return binary.NativeEndian.AppendUint32(append(b, jt, jf), k)
	}
	filter := slices.Concat(
		stmt(unix.BPF_LD|unix.BPF_W|unix.BPF_ABS, 0, 0, 0),
		stmt(unix.BPF_JMP|unix.BPF_JEQ|unix.BPF_K, 0, 1, unix.SYS_LANDLOCK_CREATE_RULESET),
		stmt(unix.BPF_RET|unix.BPF_K, 0, 0, unix.SECCOMP_RET_ERRNO|uint32(unix.ENOSYS)),
		stmt(unix.BPF_RET|unix.BPF_K, 0, 0, unix.SECCOMP_RET_ALLOW))
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	if err := loadFilter(filter); err != nil {
		return err
	}
	if n := Landlock(); n != 0 {
		return fmt.Errorf("still version %d", n)
	}
	if err := (fence{look: []string{"/usr"}}).raise(); err != nil {
		return err
	}
	_, err := os.ReadFile("/etc/passwd") // the other locks hold, this one is not there
	return err
}

// TestNoFence goes on where the kernel has no Landlock.
func TestNoFence(t *testing.T) {
	t.Parallel()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "JAIL_TEST_WITHOUT=1")
	out, err := cmd.CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != "<nil>" {
		t.Errorf("%v: %s", err, out)
	}
}

// fenced raises a fence and nothing else, and says what is possible behind it.
func fenced(dir, socket string) {
	f := fence{look: []string{filepath.Join(dir, "look")}, use: []string{filepath.Join(dir, "use")}, write: []string{filepath.Join(dir, "write"), filepath.Join(dir, "missing"), filepath.Join(dir, "single")}}
	if err := f.raise(); err != nil {
		fmt.Println("raise", err)
		return
	}
	say := func(name string, err error) {
		word := "ok"
		if errno, ok := errors.AsType[unix.Errno](err); ok {
			word = unix.ErrnoName(errno)
		} else if err != nil {
			word = err.Error()
		}
		fmt.Println(name, word)
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	read := func(name string) error { _, err := os.ReadFile(at(name)); return err }
	write := func(name string) error { return os.WriteFile(at(name), []byte("x"), 0o600) }
	say("read-look", read("look/f"))
	say("write-look", write("look/f"))
	say("make-look", write("look/new"))
	say("write-use", write("use/f"))
	say("make-use", write("use/new"))
	say("make-write", write("write/new"))
	say("folder-write", os.Mkdir(at("write/d"), 0o700))
	say("move-write", os.Rename(at("write/new"), at("write/d/new")))
	say("move-out", os.Rename(at("write/d/new"), at("look/new")))
	say("link-in", os.Link(at("secret"), at("write/secret")))
	say("pipe-write", unix.Mkfifo(at("write/p"), 0o600))
	say("device-write", unix.Mknod(at("write/c"), unix.S_IFCHR|0o600, 0x103))
	say("write-single", write("single"))
	say("read-secret", read("secret"))
	say("read-passwd", func() error { _, err := os.ReadFile("/etc/passwd"); return err }())
	say("list-root", func() error { _, err := os.ReadDir("/"); return err }())
	say("run", exec.Command("/usr/bin/true").Run())
	say("signal-parent", unix.Kill(os.Getppid(), 0))
	say("signal-self", unix.Kill(os.Getpid(), 0))
	c, err := net.Dial("unix", "@"+socket)
	if err == nil {
		_ = c.Close()
	}
	say("abstract", err)
}

// TestFence shows the second lock by itself: no namespace, mount, id or filter
// helps it here.
func TestFence(t *testing.T) {
	t.Parallel()
	version := Landlock()
	if version < 3 {
		t.Skipf("NOT TRIED: this kernel speaks Landlock %d", version)
	}
	dir := t.TempDir()
	for _, d := range []string{"look", "use", "write"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []string{"look/f", "use/f", "secret", "single"} {
		if err := os.WriteFile(filepath.Join(dir, f), []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	name := fmt.Sprintf("jail-%d", os.Getpid())
	l, err := net.Listen("unix", "@"+name)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // a test's
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "JAIL_TEST_FENCED="+dir, "JAIL_TEST_SOCKET="+name)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, stderr.String())
	}
	outward := "EPERM"
	if version < 6 {
		outward = "ok"
	}
	want := []string{
		"read-look ok", "write-look EACCES", "make-look EACCES", "write-use ok", "make-use EACCES", "make-write ok", "folder-write ok", "move-write ok", "move-out EACCES", "link-in EACCES",
		"pipe-write ok", "device-write EACCES", "write-single ok", "read-secret EACCES", "read-passwd EACCES", "list-root EACCES", "run EACCES", "signal-parent " + outward, "signal-self ok", "abstract " + outward,
	}
	got := strings.Split(strings.TrimSpace(string(out)), "\n")
	for i, g := range got { // a file that may not leave, or come, is said to be elsewhere
		if g == "move-out EXDEV" || g == "link-in EXDEV" {
			got[i] = strings.Replace(g, "EXDEV", "EACCES", 1)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%q, want\n%q", got, want)
	}
}
