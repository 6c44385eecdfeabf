package volume

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"clary/internal/compute/sandbox/task"
)

// Open is a volume that a supervisor has taken. It stays taken until it is
// closed, hence at the latest when the process ends.
type Open struct {
	Info
	dir  string
	lock *os.File
	mnt  int // of an image, -1 if there is none, or none any more
}

// Take takes the volume in dir and mounts its image, whose root becomes owner's
// as the task sees it. It waits for a task before that is about to go.
func Take(dir string, owner int) (*Open, error) {
	lock, err := acquire(dir)
	if err != nil {
		return nil, err
	}
	o := &Open{dir: dir, lock: lock, mnt: -1}
	if err := o.mount(owner); err != nil {
		_ = o.Close()
		return nil, err
	}
	return o, nil
}

// acquire waits for the lock of a supervisor that is about to go.
func acquire(dir string) (*os.File, error) {
	deadline := time.Now().Add(goes)
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		lock, free, err := task.Lock(dir)
		if err != nil || free {
			return lock, err
		}
		if time.Now().After(deadline) {
			return nil, ErrInUse
		}
		time.Sleep(pause) // a lock cannot be waited for with a deadline
	}
}

func (o *Open) mount(owner int) (err error) {
	if o.Info, err = Read(o.dir); err != nil || !o.Image {
		return err
	}
	if err := idle(Image(o.dir)); err != nil {
		return err
	}
	if o.mnt, err = mount(Image(o.dir), o.lock); err != nil {
		return err
	}
	err = unix.Fchownat(o.mnt, "", owner, owner, unix.AT_EMPTY_PATH)
	if errors.Is(err, unix.EROFS) {
		err = nil // it is damaged; what is in it can be read
	}
	if err != nil {
		return fmt.Errorf("owner of the volume: %w", err)
	}
	return nil
}

// Mounted is the image's mount, which the caller closes; nil for a folder.
func (o *Open) Mounted() *os.File {
	if o.mnt < 0 {
		return nil
	}
	f := os.NewFile(uintptr(o.mnt), Image(o.dir))
	o.mnt = -1
	return f
}

// Close lets the volume go.
func (o *Open) Close() error {
	if o.mnt >= 0 {
		_ = unix.Close(o.mnt)
		o.mnt = -1
	}
	return o.lock.Close()
}
