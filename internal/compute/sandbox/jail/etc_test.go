package jail

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"clary/internal/compute"
	"clary/internal/compute/sandbox/task"
)

func TestPasswd(t *testing.T) {
	t.Parallel()
	user := &compute.User{Name: "ec2-user", Home: "/home/ec2-user"}
	for _, tt := range []struct {
		name string
		spec task.Spec
		want string // names with ids, in order
	}{
		{"job", task.Spec{}, "root:0 job:1000 nobody:65534"},
		{"notebook with ids", task.Spec{Task: compute.Task{User: user}, HostUID: task.FirstUID}, "root:0 ec2-user:1000 nobody:65534"},
		{"notebook without", task.Spec{Task: compute.Task{User: user}}, "ec2-user:0 root:0 nobody:65534"},
	} {
		var got []string
		for line := range strings.Lines(passwd(&tt.spec)) {
			f := strings.Split(line, ":")
			if len(f) != 7 {
				t.Fatalf("%s: line %q", tt.name, line)
			}
			got = append(got, f[0]+":"+f[2])
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
		for line := range strings.Lines(group(&tt.spec)) {
			if strings.Count(line, ":") != 3 {
				t.Errorf("%s: group line %q", tt.name, line)
			}
		}
	}
}

// TestGiveTree gives files of tasks before to another, each to whom it belonged.
func TestGiveTree(t *testing.T) {
	t.Parallel()
	for uid, users := range map[int]bool{0: false, 1000: true, 501: false, task.FirstUID: false, task.FirstUID + 1: true, task.FirstUID + 2: false, task.FirstUID + 41: true, task.LastUID + 1: false} {
		if got := task.IsUsers(uid); got != users {
			t.Errorf("IsUsers(%d) = %v", uid, got)
		}
	}
	s := &task.Spec{Task: compute.Task{User: &compute.User{Name: "u", Home: "/h"}}, HostUID: task.FirstUID + 40}
	dir := t.TempDir()
	if !giveable(t, dir, s) {
		return // the rest is for root
	}
	check := func(name string, want int) {
		t.Helper()
		if got := lstatUID(t, dir, name); got != want {
			t.Errorf("%s belongs to %d, want %d", name, got, want)
		}
	}
	check(".", s.HostUID)
	check("user", s.HostUID+1)
	check("earlier", s.HostUID+1)
	check("deep/er/root", s.HostUID)
	check("link", s.HostUID+1)
}

// giveable makes a tree with many owners and gives it to a task, or says false
// where this process may not.
func giveable(t *testing.T, dir string, s *task.Spec) bool {
	t.Helper()
	if os.Geteuid() != 0 {
		return false
	}
	outside := filepath.Join(t.TempDir(), "outside")
	if err := errors.Join(os.MkdirAll(filepath.Join(dir, "deep/er"), 0o700), os.WriteFile(outside, nil, 0o600), os.Symlink(outside, filepath.Join(dir, "link"))); err != nil {
		t.Fatal(err)
	}
	for name, uid := range map[string]int{"user": 1000, "earlier": task.FirstUID + 1, "deep/er/root": 0} {
		p := filepath.Join(dir, name)
		if err := errors.Join(os.WriteFile(p, nil, 0o600), os.Lchown(p, uid, uid)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Lchown(filepath.Join(dir, "link"), 1000, 1000), giveTree(dir, s)); err != nil {
		t.Fatal(err)
	}
	if got := lstatUID(t, outside, ""); got != 0 {
		t.Errorf("a file outside belongs to %d", got)
	}
	return true
}

func lstatUID(t *testing.T, dir, name string) int {
	t.Helper()
	info, err := os.Lstat(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return ownerOf(info)
}
