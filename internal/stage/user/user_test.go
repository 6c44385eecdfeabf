package user

import (
	"os"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestDo looks at a file as ec2-user does, and is root again behind it.
func TestDo(t *testing.T) {
	t.Parallel()
	name := t.TempDir() + "/of-root"
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	me, who := os.Geteuid(), -1
	if err := Do(func() { who = unix.Geteuid() }); err != nil {
		t.Fatal(err)
	}
	want := me
	if Two() {
		want = ID
	}
	if who != want || os.Geteuid() != me {
		t.Errorf("%d within, %d behind", who, os.Geteuid())
	}
	if _, err := os.ReadFile(name); err != nil {
		t.Error(err)
	}
}

func TestAs(t *testing.T) {
	t.Parallel()
	without, with := As(&syscall.SysProcAttr{Setsid: true}, false), As(&syscall.SysProcAttr{}, true)
	if !without.Setsid || len(without.AmbientCaps) > 0 {
		t.Errorf("%+v", without)
	}
	if !Two() {
		if without.Credential != nil || with.Credential != nil || len(with.AmbientCaps) > 0 {
			t.Errorf("%+v %+v", without, with)
		}
		return
	}
	if without.Credential.Uid != ID || len(without.Credential.Groups) != 1 || with.Credential.Gid != ID || len(with.AmbientCaps) == 0 {
		t.Errorf("%+v %+v", without, with)
	}
}
