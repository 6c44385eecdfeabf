package jail

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"clary/internal/compute/sandbox/task"
)

// In a volume, files belong to 0 and 1000, whatever ids of the host a task was
// given: the next task has others. The mount shows them as the task's.

// showImage shows a volume's file system at dst; mnt is its mount.
func showImage(mnt int, dst string, users *mapping) error {
	defer unix.Close(mnt)
	if err := os.MkdirAll(dst, 0o755); err != nil {
		return err
	}
	mapped := users.spec.HostUID != 0
	var failed error
	if mapped {
		fd, err := users.namespace()
		if err != nil {
			return err
		}
		attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(fd)}
		failed = unix.MountSetattr(mnt, "", unix.AT_EMPTY_PATH, &attr)
	}
	if err := unix.MoveMount(mnt, "", unix.AT_FDCWD, dst, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("volume: %w", err)
	}
	if failed != nil {
		return giveTree(dst, users.spec)
	}
	return nil
}

// showFolder shows a volume's folder at dst, whose root becomes the user's.
func showFolder(src, dst string, users *mapping) error {
	if users.spec.HostUID == 0 {
		return bind(src, dst, false)
	}
	id := users.spec.UserID()
	if err := os.Lchown(src, id, id); err != nil {
		return err
	}
	fd, err := users.namespace()
	if err != nil {
		return err
	}
	if bindMapped(src, dst, fd) == nil {
		return nil
	}
	if err := giveTree(src, users.spec); err != nil {
		return err
	}
	return bind(src, dst, false)
}

// giveTree gives all files of a volume to the task, where the kernel or the file
// system cannot show them so: those of 1000, as itself or as an earlier task's
// user, to its user, the others to its root.
func giveTree(dir string, s *task.Spec) error {
	r, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer r.Close()
	return giveFolder(r, s)
}

func giveFolder(r *os.Root, s *task.Spec) error {
	if err := give(r, ".", s); err != nil {
		return err
	}
	d, err := r.Open(".")
	if err != nil {
		return err
	}
	defer d.Close()
	for {
		entries, err := d.ReadDir(1024)
		for _, e := range entries {
			if !e.IsDir() {
				if err := give(r, e.Name(), s); err != nil {
					return err
				}
				continue
			}
			below, err := r.OpenRoot(e.Name())
			if err != nil {
				return err
			}
			err = giveFolder(below, s)
			_ = below.Close()
			if err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func give(r *os.Root, name string, s *task.Spec) error {
	info, err := r.Lstat(name)
	if err != nil {
		return err
	}
	id := s.HostUID
	if task.IsUsers(ownerOf(info)) {
		id = s.HostUID + 1
	}
	return r.Lchown(name, id, id)
}

// writeFiles writes what the task shall find. A mount holds what somebody else
// has made, so nothing is written there.
func writeFiles(s *task.Spec, root string) error {
	if len(s.Task.Files) == 0 {
		return nil
	}
	r, err := os.OpenRoot(root)
	if err != nil {
		return err
	}
	defer r.Close()
	for _, f := range s.Task.Files {
		if err := checkFile(f.Path, s); err != nil {
			return fmt.Errorf("file: %w", err)
		}
		if err := makeFolders(r, filepath.Dir(f.Path)[1:], s.HostUser()); err != nil {
			return fmt.Errorf("file: %w", err)
		}
		name := f.Path[1:]
		w, err := r.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
		if err != nil {
			return fmt.Errorf("file: %w", err)
		}
		_, err = w.Write(f.Data)
		if err == nil && s.HostUser() != 0 {
			err = w.Chown(s.HostUser(), s.HostUser())
		}
		if err == nil {
			err = w.Chmod(fs.FileMode(f.Mode) & fs.ModePerm)
		}
		if err := errors.Join(err, w.Close()); err != nil {
			return fmt.Errorf("file: %w", err)
		}
	}
	return nil
}

// makeFolders makes those that are missing, the user's.
func makeFolders(r *os.Root, dir string, uid int) error {
	if dir == "" {
		return nil
	}
	err := r.Mkdir(dir, 0o755)
	if errors.Is(err, fs.ErrNotExist) {
		if err := makeFolders(r, filepath.Dir(dir), uid); err != nil {
			return err
		}
		err = r.Mkdir(dir, 0o755)
	}
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err == nil && uid != 0 {
		err = r.Lchown(dir, uid, uid)
	}
	return err
}

func ownerOf(info fs.FileInfo) int {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(st.Uid)
	}
	return 0
}
