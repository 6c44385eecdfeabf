package volume

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"clary/internal/compute/sandbox/loop"
)

// Usable says why volumes cannot be images here, nil if they can. It looks for
// the programs; whether the machine mounts images is told by those of tasks.
func Usable() error {
	for _, name := range []string{"mke2fs", "e2fsck", "resize2fs"} {
		if _, err := program(name); err != nil {
			return err
		}
	}
	return nil
}

// format makes a sparse ext4 with a journal, which grows to the most that ext4
// takes as a file without moving anything, and which stops taking writes when
// it finds itself damaged.
func format(path string, size int64) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if err = f.Truncate(size); err == nil {
		_, err = run(nil, "mke2fs", "-q", "-F", "-t", "ext4", "-m", "0", "-e", "remount-ro", "-b", "4096", "-i", "16384", "-I", "256",
			"-O", "^64bit,resize_inode", "-E", "resize="+strconv.Itoa(1<<32-1)+",lazy_itable_init=1,lazy_journal_init=1,nodiscard,root_owner=0:0", path)
	}
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

// enlarge grows an image that nobody has mounted. lock is the volume's.
func enlarge(path string, size int64, lock *os.File) error {
	st, err := os.Stat(path)
	if err != nil {
		return err
	}
	if st.Size() < size {
		if err := os.Truncate(path, size); err != nil {
			return err
		}
	}
	if err := check(path, true, lock); err != nil {
		return err
	}
	if _, err := run(lock, "resize2fs", path); err != nil {
		return err
	}
	return syncFile(path)
}

// check mends what a crash left that the journal does not: an image that says
// so itself, or each if it must be for certain.
func check(path string, certain bool, lock *os.File) error {
	clean, err := isClean(path)
	if err != nil || clean && !certain {
		return err
	}
	code, err := run(lock, "e2fsck", "-f", "-p", path)
	if code >= 4 {
		// It wants somebody to decide; nobody is there who could.
		code, err = run(lock, "e2fsck", "-f", "-y", path)
	}
	if code < 4 && code >= 0 {
		return syncFile(path)
	}
	return err
}

// isClean reads the state that ext4 keeps in its superblock.
func isClean(path string) (bool, error) {
	const at, magicAt, stateAt, magic, clean, broken = 1024, 0x38, 0x3a, 0xef53, 1, 2
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	b := make([]byte, 0x40)
	if _, err := f.ReadAt(b, at); err != nil {
		return false, fmt.Errorf("superblock: %w", err)
	}
	state := binary.LittleEndian.Uint16(b[stateAt:])
	return binary.LittleEndian.Uint16(b[magicAt:]) == magic && state&clean != 0 && state&broken == 0, nil
}

// mount mounts an image, as yet nowhere.
func mount(path string, lock *os.File) (int, error) {
	if err := check(path, false, lock); err != nil {
		return -1, err
	}
	// What is deleted inside is given back to the host.
	options := [][2]string{{"noinit_itable"}, {"discard"}}
	mnt, err := loop.Mount(path, options...)
	for _, damage := range []error{unix.EUCLEAN, unix.EINVAL, unix.EIO, unix.EBADMSG, unix.EFBIG} {
		if errors.Is(err, damage) {
			if cerr := errors.Join(idle(path), check(path, true, lock)); cerr != nil {
				return -1, errors.Join(err, cerr)
			}
			return loop.Mount(path, options...)
		}
	}
	return mnt, err
}

// goes is how long a mount may take to go after its task has ended: what it
// holds is written to disk on the way.
const goes = time.Minute

// idle waits until nothing has the image attached.
func idle(path string) error {
	deadline := time.Now().Add(goes)
	for pause := time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		used, err := loop.InUse(path)
		if err != nil || !used {
			return err
		}
		if time.Now().After(deadline) {
			return ErrInUse
		}
		time.Sleep(pause) // no event tells that a device is free
	}
}

func syncFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// run runs one of e2fsprogs and tells its exit code, -1 if it did not run.
func run(lock *os.File, name string, args ...string) (int, error) {
	cmd, err := command(lock, name, args...)
	if err != nil {
		return -1, err
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return cmd.ProcessState.ExitCode(), fmt.Errorf("%s: %w: %.300s", name, err, bytes.TrimSpace(out.Bytes()))
	}
	return 0, nil
}

// command is a program that holds the lock, too: should we be killed, nobody
// touches the image before it has ended.
func command(lock *os.File, name string, args ...string) (*exec.Cmd, error) {
	p, err := program(name)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(p, args...) //nolint:noctx // half done is worse than late
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "MKE2FS_CONFIG=/dev/null", "E2FSCK_CONFIG=/dev/null", "LC_ALL=C"}
	if lock != nil {
		cmd.ExtraFiles = []*os.File{lock}
	}
	return cmd, nil
}

// program looks where administrators' programs are, too.
func program(name string) (string, error) {
	if p, err := exec.LookPath(name); err == nil {
		return p, nil
	}
	for _, dir := range []string{"/usr/sbin", "/sbin", "/usr/local/sbin"} {
		if p, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return p, nil
		}
	}
	return "", fmt.Errorf("%s is not installed (it comes with e2fsprogs)", name)
}
