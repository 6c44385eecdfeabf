package jail

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"clary/internal/compute"
	"clary/internal/compute/sandbox/task"
)

// buildRoot makes the task's root below task.RootDir of the current folder,
// which is the task's, and moves into it. binary is this program
// on the host.
func buildRoot(s *task.Spec, binary string) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("private mounts: %w", err)
	}
	root := task.RootDir
	if err := unix.Mount("tmpfs", root, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755,size=16m"); err != nil {
		return fmt.Errorf("root: %w", err)
	}
	for _, d := range []string{"etc", "opt/clary", "proc", "run/clary/bin", "sys/devices/system", "var/cache", "var/lib", "var/log", "var/empty", "mnt", "srv", "home"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			return err
		}
	}
	if err := unix.Mount("proc", root+"/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("proc: %w", err)
	}
	steps := []func(*task.Spec, string) error{bindSystem, makeDev, makeEtc, bindVolume}
	for _, f := range steps {
		if err := f(s, root); err != nil {
			return err
		}
	}
	if err := bindImage(s, root, binary); err != nil {
		return err
	}
	if err := bind(binary, root+Binary, true); err != nil {
		return err
	}
	if err := os.Symlink(Binary, filepath.Join(root, "run/clary/bin/train")); err != nil {
		return err
	}
	return nil
}

// enterRoot makes the built tree the whole world. The API's socket is made
// before the root becomes read-only.
func enterRoot() error {
	if err := unix.Chdir(task.RootDir); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("pivot root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("leave old root: %w", err)
	}
	return unix.Chdir("/")
}

func sealRoot() error {
	if err := unix.Mount("", "/", "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV, ""); err != nil {
		return fmt.Errorf("read-only root: %w", err)
	}
	return nil
}

func bindSystem(_ *task.Spec, root string) error {
	if err := bind("/usr", root+"/usr", true); err != nil {
		return err
	}
	for _, d := range []string{"/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"} {
		if to, err := os.Readlink(d); err == nil {
			if err := os.Symlink(to, root+d); err != nil {
				return err
			}
		} else if _, err := os.Stat(d); err == nil {
			if err := bind(d, root+d, true); err != nil {
				return err
			}
		}
	}
	// Numeric libraries count processors and memory nodes here.
	for _, d := range []string{"/sys/devices/system/cpu", "/sys/devices/system/node"} {
		if err := bind(d, root+d, true); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func makeDev(s *task.Spec, root string) error {
	dev := root + "/dev"
	for _, d := range []string{"pts", "shm"} {
		if err := os.MkdirAll(filepath.Join(dev, d), 0o755); err != nil {
			return err
		}
	}
	for _, d := range []string{"null", "zero", "full", "random", "urandom", "tty"} {
		if err := bindDevice("/dev/"+d, filepath.Join(dev, d)); err != nil {
			return err
		}
	}
	for name, to := range map[string]string{"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2", "ptmx": "pts/ptmx"} {
		if err := os.Symlink(to, filepath.Join(dev, name)); err != nil {
			return err
		}
	}
	if err := unix.Mount("devpts", dev+"/pts", "devpts", unix.MS_NOSUID|unix.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620"); err != nil {
		return fmt.Errorf("devpts: %w", err)
	}
	// Shared memory is memory: the memory limit holds for it, so half of that
	// is enough for its own.
	size := "50%"
	if m := s.Limits.MemoryBytes; m > 0 {
		size = fmt.Sprint(m / 2)
	}
	if err := unix.Mount("shm", dev+"/shm", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=1777,size="+size); err != nil {
		return fmt.Errorf("shm: %w", err)
	}
	return nil
}

// The folders of the volume and where the task sees them.
var volume = []struct { //nolint:gochecknoglobals // a constant table
	name, path string
	mode       os.FileMode
}{
	{"ml", "/opt/ml", 0o755},
	{"tmp", "/tmp", 0o777 | os.ModeSticky},
	{"vartmp", "/var/tmp", 0o777 | os.ModeSticky},
	{"root", "/root", 0o700},
}

// PrepareVolume makes the writable folders below dir for a task whose ids on
// the host begin at uid (0: ours).
func PrepareVolume(dir string, uid int) error {
	for _, v := range volume {
		p := filepath.Join(dir, v.name)
		if err := os.Mkdir(p, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		if err := os.Chmod(p, v.mode); err != nil {
			return err
		}
		if uid != 0 {
			if err := os.Lchown(p, uid, uid); err != nil {
				return err
			}
		}
	}
	return nil
}

func bindVolume(_ *task.Spec, root string) error {
	for _, v := range volume {
		if err := bind(filepath.Join(task.VolDir, v.name), root+v.path, false); err != nil {
			return err
		}
	}
	return nil
}

func bindImage(s *task.Spec, root, binary string) error {
	img := s.Task.Image
	if img.Env != "" {
		if err := bind(img.Env, root+compute.EnvPath, true); err != nil {
			return fmt.Errorf("runtime: %w", err)
		}
	}
	for _, b := range img.Binds {
		if b == "/usr" || strings.HasPrefix(b, "/usr/") {
			continue // it is there already
		}
		if err := checkPath(b); err != nil {
			return fmt.Errorf("image: %w", err)
		}
		if err := bind(b, root+b, true); err != nil {
			return fmt.Errorf("image: %w", err)
		}
	}
	users := -1
	defer func() {
		if users >= 0 {
			_ = unix.Close(users)
		}
	}()
	for _, m := range s.Task.Mounts {
		if err := checkPath(m.Path); err != nil {
			return fmt.Errorf("mount: %w", err)
		}
		var err error
		if !m.Writable || s.HostUID == 0 {
			err = bind(m.Host, root+m.Path, !m.Writable)
		} else {
			if users < 0 {
				if users, err = userNamespace(s, binary); err != nil {
					return err
				}
			}
			if err = bindMapped(m.Host, root+m.Path, users); err != nil {
				// A file system that cannot map ids: the folder becomes the task's.
				if err = os.Chown(m.Host, s.HostUID, s.HostUID); err == nil {
					err = bind(m.Host, root+m.Path, false)
				}
			}
		}
		if err != nil {
			return fmt.Errorf("mount: %w", err)
		}
	}
	return nil
}

// userNamespace makes one with the task's ids, by a process that only waits.
func userNamespace(s *task.Spec, binary string) (int, error) {
	// Process numbers are ours, so must be the view of them.
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return -1, fmt.Errorf("proc: %w", err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		return -1, err
	}
	defer w.Close()
	sys := &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER}
	sys.UidMappings, sys.GidMappings = idMaps(s)
	pid, err := syscall.ForkExec(binary, []string{"clary-task", "hold"}, &syscall.ProcAttr{Env: runtimeEnv, Files: []uintptr{r.Fd()}, Sys: sys})
	_ = r.Close()
	if err != nil {
		return -1, fmt.Errorf("user namespace: %w", err)
	}
	fd, err := unix.Open(fmt.Sprintf("/proc/%d/ns/user", pid), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	_ = syscall.Kill(pid, unix.SIGKILL)
	for {
		if _, werr := syscall.Wait4(pid, nil, 0, nil); !errors.Is(werr, unix.EINTR) {
			break
		}
	}
	if err != nil {
		return -1, fmt.Errorf("user namespace: %w", err)
	}
	return fd, nil
}

// checkPath refuses places that would lead out of the root or hide what the
// task's safety rests on.
func checkPath(path string) error {
	if !filepath.IsAbs(path) || filepath.Clean(path) != path || path == "/" {
		return fmt.Errorf("%q is not a clean absolute path", path)
	}
	for _, p := range []string{"/proc", "/dev", "/sys", "/run/clary", "/etc", "/usr"} {
		if path == p || strings.HasPrefix(path, p+"/") {
			return fmt.Errorf("%q is reserved", path)
		}
	}
	return nil
}
