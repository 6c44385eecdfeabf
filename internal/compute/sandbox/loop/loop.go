// Package loop mounts files that hold ext4 file systems, by the kernel's loop
// devices. It must never attach a file that is attached already: two mounts of
// one file system destroy it.
package loop

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Attach binds a file to a free loop device; another may take the device first.
// The device lets the file go when nobody uses it any more.
func Attach(img *os.File) (*os.File, error) {
	ctl, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer ctl.Close()
	for try := 0; ; try++ {
		n, err := unix.IoctlRetInt(int(ctl.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return nil, err
		}
		dev, err := os.OpenFile("/dev/loop"+strconv.Itoa(n), os.O_RDWR, 0)
		if err != nil {
			return nil, err
		}
		cfg := unix.LoopConfig{Fd: uint32(img.Fd()), Size: 4096, Info: unix.LoopInfo64{Flags: unix.LO_FLAGS_AUTOCLEAR}}
		err = unix.IoctlLoopConfigure(int(dev.Fd()), &cfg)
		if err == nil {
			return dev, nil
		}
		_ = dev.Close()
		if !errors.Is(err, unix.EBUSY) || try == 100 {
			return nil, err
		}
	}
}

// Mount attaches an ext4 image and mounts it, as yet nowhere. When the last
// descriptor and mount of it are gone, so is the device. An option is a name,
// or a name and a value. ErrNotExist: there is no such image.
func Mount(path string, options ...[2]string) (mnt int, err error) {
	img, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return -1, err
	}
	defer img.Close()
	dev, err := Attach(img)
	if err != nil {
		return -1, fmt.Errorf("loop device: %w", err)
	}
	defer dev.Close() // the mount holds it
	ctx, err := unix.Fsopen("ext4", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("mount: %w", err)
	}
	defer unix.Close(ctx)
	for _, o := range append([][2]string{{"source", dev.Name()}}, options...) {
		if o[1] == "" {
			err = unix.FsconfigSetFlag(ctx, o[0])
		} else {
			err = unix.FsconfigSetString(ctx, o[0], o[1])
		}
		if err != nil {
			return -1, fmt.Errorf("mount option %s: %w", o[0], err)
		}
	}
	if err := unix.FsconfigCreate(ctx); err != nil {
		return -1, fmt.Errorf("mount: %w", err)
	}
	mnt, err = unix.Fsmount(ctx, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOATIME)
	if err != nil {
		return -1, fmt.Errorf("mount: %w", err)
	}
	return mnt, nil
}

// InUse says whether a loop device holds the file, perhaps for the last moments
// of a mount that goes.
func InUse(path string) (bool, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return false, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	bound, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	if err != nil {
		return false, err
	}
	for _, b := range bound {
		name := filepath.Base(filepath.Dir(filepath.Dir(b)))
		fd, err := unix.Open("/dev/"+name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if errors.Is(err, unix.ENXIO) || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EACCES) {
			continue // it has gone, or is nothing that we could have made
		}
		if err != nil {
			return false, fmt.Errorf("loop device %s: %w", name, err)
		}
		var info unix.LoopInfo64
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.LOOP_GET_STATUS64, uintptr(unsafe.Pointer(&info)))
		_ = unix.Close(fd)
		if errno == 0 && info.Inode == st.Ino && info.Device == st.Dev {
			return true, nil
		}
	}
	return false, nil
}
