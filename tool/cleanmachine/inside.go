//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// insideVerb begins the first process of a machine.
const insideVerb = "inside"

// inside is that process: it mounts what a machine has, runs one command and,
// as the parent of all that have none, waits for the dead. When it ends,
// everything in the machine ends. args: folder, user id, working folder, command.
func inside(args []string) (int, error) {
	uid, err := strconv.Atoi(args[1])
	if err != nil {
		return 0, err
	}
	if err := enter(args[0]); err != nil {
		return 0, err
	}
	// Its PATH is the machine's from here on.
	path, err := exec.LookPath(args[3])
	if err != nil {
		return 0, err
	}
	attr := &os.ProcAttr{Dir: args[2], Env: os.Environ(), Files: []*os.File{nil, os.Stdout, os.Stderr}, Sys: &syscall.SysProcAttr{Setsid: true}}
	if uid != 0 {
		attr.Sys.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}
	}
	if attr.Files[0], err = os.Open(os.DevNull); err != nil {
		return 0, err
	}
	p, err := os.StartProcess(path, args[3:], attr)
	if err != nil {
		return 0, err
	}
	for {
		var st syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &st, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return 0, fmt.Errorf("wait: %w", err)
		case pid == p.Pid && st.Exited():
			return st.ExitStatus(), nil
		case pid == p.Pid:
			return 128 + int(st.Signal()), nil
		}
	}
}

// enter makes root the root folder, with the file systems of a machine.
func enter(root string) error {
	if err := unix.Sethostname([]byte("clean")); err != nil {
		return fmt.Errorf("host name: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("private mounts: %w", err)
	}
	for _, mount := range []struct {
		from, to, kind string
		flags          uintptr
		data           string
	}{
		{root, "", "", unix.MS_BIND | unix.MS_REC, ""},
		{"proc", "proc", "proc", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, ""},
		{"/sys", "sys", "", unix.MS_BIND | unix.MS_REC, ""},
		{"/dev", "dev", "", unix.MS_BIND, ""},
		{"devpts", "dev/pts", "devpts", unix.MS_NOSUID | unix.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=620,gid=5"},
		{"tmpfs", "dev/shm", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, "mode=1777"},
		{"tmpfs", "run", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, "mode=755"},
	} {
		if err := unix.Mount(mount.from, filepath.Join(root, mount.to), mount.kind, mount.flags, mount.data); err != nil {
			return fmt.Errorf("mount %s: %w", filepath.Join(root, mount.to), err)
		}
	}
	// Not chroot: a process below one may make no user name space.
	if err := os.Chdir(root); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("pivot root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("leave the old root: %w", err)
	}
	return os.Chdir("/")
}
