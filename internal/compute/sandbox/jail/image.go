package jail

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"clary/internal/compute/sandbox/loop"
	"clary/internal/compute/sandbox/task"
)

// MountImage attaches a task's volume to a loop device and mounts it, as yet
// nowhere. ErrNotExist: there is no such image.
func MountImage(path string) (mnt int, err error) {
	// What is in the image is worth nothing after the task: it need not
	// survive a crash, and tables are made when they are used.
	mnt, err = loop.Mount(path, [2]string{"barrier", "0"}, [2]string{"noinit_itable"}, [2]string{"noauto_da_alloc"})
	if err != nil {
		return -1, err
	}
	// To make them now reads what a task would else wait for.
	for _, v := range folders {
		if err := unix.Mkdirat(mnt, v.name, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			_ = unix.Close(mnt)
			return -1, &fs.PathError{Op: "mkdir", Path: v.name, Err: err}
		}
	}
	return mnt, nil
}

// MakeImage makes a volume's image: the template's data is copied, its holes
// stay holes.
func MakeImage(template, to string, size int64) (err error) {
	if FreeBytes(filepath.Dir(to)) < size {
		return errors.New("the host's disk has less free than the volume's size")
	}
	src, err := os.Open(template)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := os.OpenFile(to, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := dst.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			_ = os.Remove(to)
		}
	}()
	if err := dst.Truncate(size); err != nil {
		return err
	}
	in := int(src.Fd())
	for at := int64(0); ; {
		if at, err = unix.Seek(in, at, unix.SEEK_DATA); errors.Is(err, unix.ENXIO) {
			return nil // no more
		} else if err != nil {
			return err
		}
		end, err := unix.Seek(in, at, unix.SEEK_HOLE)
		if err != nil {
			return err
		}
		if _, err := io.Copy(io.NewOffsetWriter(dst, at), io.NewSectionReader(src, at, end-at)); err != nil {
			return err
		}
		at = end
	}
}

// FreeBytes is the room on the file system of dir, 0 if unknown.
func FreeBytes(dir string) int64 {
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) != nil {
		return 0
	}
	return int64(st.Bavail) * st.Bsize //nolint:unconvert // differs by architecture
}

// image is the task's volume where it is a file system of its own size.
type image struct {
	mu   sync.Mutex // guards full
	full time.Time  // when it was last seen so
}

// mountVolume begins to mount the task's image, unless init was handed its
// mount (ready, else -1); the channel tells the mount, or -1 where there is
// none.
func mountVolume(ready int) <-chan int {
	c := make(chan int, 1)
	if ready >= 0 {
		c <- ready
		return c
	}
	go func() {
		mnt, err := MountImage(task.ImageFile)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			// The supervisor's watch holds instead.
			fmt.Fprintln(os.Stderr, "clary-task init: volume:", err)
		}
		c <- mnt
	}()
	return c
}

// watch looks from time to time whether the volume is full, until quit: in such
// steps that no disk fills it between two looks.
func (v *image) watch(quit <-chan struct{}) {
	const perMillisecond = 8 << 20
	for {
		pause := time.Duration(v.look()/perMillisecond) * time.Millisecond
		select {
		case <-quit:
			return
		case <-time.After(min(max(pause, 2*time.Millisecond), time.Second)):
		}
	}
}

// look tells how many bytes are free.
func (v *image) look() int64 {
	var st unix.Statfs_t
	if unix.Statfs("/opt/ml", &st) != nil {
		return 1 << 40
	}
	// A write that finds too little room may leave some.
	if st.Ffree == 0 || st.Bavail <= max(st.Blocks/1000, 256) {
		v.mu.Lock()
		v.full = time.Now()
		v.mu.Unlock()
	}
	return int64(st.Bavail) * st.Bsize //nolint:unconvert // differs by architecture
}

// wasFull says whether what failed just now may have failed for want of room:
// a program may tidy up before it goes.
func (v *image) wasFull() bool {
	if v == nil {
		return false
	}
	v.look()
	v.mu.Lock()
	defer v.mu.Unlock()
	return !v.full.IsZero() && time.Since(v.full) < 5*time.Second
}

// drop throws away what is not on disk yet: nobody will read it, and to write
// gigabytes only to delete them would delay the next task.
func (v *image) drop() {
	if v == nil {
		return
	}
	fd, err := unix.Open("/opt/ml", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	var st unix.Statfs_t
	if unix.Fstatfs(fd, &st) != nil || (st.Blocks-st.Bfree)*uint64(st.Bsize) < 64<<20 {
		return // to write this little takes less time
	}
	const shutdown, noFlush = 0x8004587d, 2 // EXT4_IOC_SHUTDOWN, EXT4_GOING_FLAGS_NOLOGFLUSH
	how := uint32(noFlush)
	_, _, _ = unix.Syscall(unix.SYS_IOCTL, uintptr(fd), shutdown, uintptr(unsafe.Pointer(&how)))
}
