package jail

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"clary/internal/compute"
	"clary/internal/compute/sandbox/task"
	"clary/internal/compute/sandbox/volume"
	"clary/internal/stage/control"
)

// buildRoot makes the task's root below task.RootDir of the current folder,
// which is the task's, and moves into it. binary is this program on the host,
// image tells the mount of the image of the task's own disk, and the result
// whether there is one; images are those of volumes.
func buildRoot(s *task.Spec, binary string, image <-chan int, images []int) (bounded bool, err error) {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return false, fmt.Errorf("private mounts: %w", err)
	}
	root := task.RootDir
	if err := unix.Mount("tmpfs", root, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755,size=16m"); err != nil {
		return false, fmt.Errorf("root: %w", err)
	}
	for _, d := range []string{"etc", "opt/clary", "proc", "run/clary/bin", "sys/devices/system", "var/cache", "var/lib", "var/log", "var/empty", "mnt", "srv", "home"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			return false, err
		}
	}
	if err := unix.Mount("proc", root+"/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return false, fmt.Errorf("proc: %w", err)
	}
	steps := []func(*task.Spec, string) error{bindSystem, makeDev, makeEtc}
	for _, f := range steps {
		if err := f(s, root); err != nil {
			return false, err
		}
	}
	if bounded, err = bindVolume(s, root, <-image); err != nil {
		return false, err
	}
	if err := bindImage(s, root); err != nil {
		return false, err
	}
	if err := bindMounts(s, root, binary, images); err != nil {
		return false, err
	}
	if err := bind(binary, root+Binary, true); err != nil {
		return false, err
	}
	if err := makePrograms(s, root); err != nil {
		return false, err
	}
	return bounded, writeFiles(s, root)
}

// makePrograms makes the folder of the task's own programs. Where there is a
// user, scripts name them as /usr/bin's too: they are shown over those of the
// host, if the kernel can do that.
func makePrograms(s *task.Spec, root string) error {
	bin := filepath.Join(root, "run/clary/bin")
	verbs := []string{"train"}
	if s.Task.User != nil {
		verbs = append(verbs, "sudo", control.Crontab, control.Systemctl, control.Initctl)
	}
	for _, v := range verbs {
		if err := os.Symlink(Binary, filepath.Join(bin, v)); err != nil {
			return err
		}
	}
	if s.Task.User == nil {
		return nil
	}
	for name, text := range control.Scripts() {
		if err := os.WriteFile(filepath.Join(bin, name), []byte(text), 0o755); err != nil {
			return err
		}
	}
	const flags = unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV
	_ = unix.Mount("programs", filepath.Join(root, "usr/bin"), "overlay", flags, "lowerdir="+bin+":"+filepath.Join(root, "usr/bin"))
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

// folder is one of the task's own disk.
type folder struct {
	name, path string
	mode       os.FileMode
	user       bool // it is Task.User's
}

// folders are those of every task.
var folders = []folder{ //nolint:gochecknoglobals // a constant table
	{"ml", "/opt/ml", 0o755, false},
	{"tmp", "/tmp", 0o777 | os.ModeSticky, false},
	{"vartmp", "/var/tmp", 0o777 | os.ModeSticky, false},
	// A user who is not root sees nothing here but passes: an interpreter may be
	// mounted below.
	{"root", "/root", 0o711, false},
}

// logFolder is root's of a task that has a user.
const logFolder = "/var/log"

// foldersOf are those of a task, its user's home among them.
func foldersOf(s *task.Spec) []folder {
	u := s.Task.User
	if u == nil {
		return folders
	}
	all := append(slices.Clone(folders), folder{"log", logFolder, 0o755, false})
	if slices.ContainsFunc(all, func(f folder) bool { return f.path == u.Home }) {
		return all
	}
	return append(all, folder{"home", u.Home, 0o700, true})
}

// PrepareVolume makes the writable folders of a task's own disk below dir.
func PrepareVolume(dir string, s *task.Spec) error {
	for _, f := range foldersOf(s) {
		p := filepath.Join(dir, f.name)
		if err := os.Mkdir(p, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		if err := os.Chmod(p, f.mode); err != nil {
			return err
		}
		uid := s.HostUID
		if f.user {
			uid = s.HostUser()
		}
		if uid != 0 {
			if err := os.Lchown(p, uid, uid); err != nil {
				return err
			}
		}
	}
	return nil
}

// bindVolume shows the folders of the task's own disk, of an image if there is
// one.
func bindVolume(s *task.Spec, root string, image int) (bounded bool, err error) {
	if bounded = image >= 0; bounded {
		defer unix.Close(image)
		if err := unix.MoveMount(image, "", unix.AT_FDCWD, task.VolDir, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
			return false, fmt.Errorf("volume: %w", err)
		}
		if err := PrepareVolume(task.VolDir, s); err != nil {
			return false, fmt.Errorf("volume: %w", err)
		}
	}
	for _, f := range foldersOf(s) {
		if f.user {
			if err := checkPath(f.path); err != nil {
				return false, fmt.Errorf("home: %w", err)
			}
		}
		if err := bind(filepath.Join(task.VolDir, f.name), root+f.path, false); err != nil {
			return false, err
		}
	}
	return bounded, nil
}

func bindImage(s *task.Spec, root string) error {
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
	return nil
}

// bindMounts shows what Task.Mounts says. images are the mounts of those volumes
// that are file systems of their own, in their order.
func bindMounts(s *task.Spec, root, binary string, images []int) error {
	users := &mapping{spec: s, binary: binary, fd: -1}
	defer users.close()
	volumes := s.Volumes
	for _, m := range s.Task.Mounts {
		if err := checkPath(m.Path); err != nil {
			return fmt.Errorf("mount: %w", err)
		}
		var err error
		switch {
		case m.Volume != "":
			if len(volumes) == 0 {
				return fmt.Errorf("mount: volume %s was not handed over", m.Volume)
			}
			v := volumes[0]
			volumes = volumes[1:]
			if v.Image {
				if len(images) == 0 {
					return fmt.Errorf("mount: volume %s was not handed over", m.Volume)
				}
				err = showImage(images[0], root+m.Path, users)
				images = images[1:]
			} else {
				err = showFolder(volume.Data(v.Dir), root+m.Path, users)
			}
		case !m.Writable || s.HostUID == 0:
			err = bind(m.Host, root+m.Path, !m.Writable)
		default:
			var fd int
			if fd, err = users.namespace(); err != nil {
				return err
			}
			if err = bindMapped(m.Host, root+m.Path, fd); err != nil {
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

// mapping is a user namespace with the task's ids, made when it is needed.
type mapping struct {
	spec   *task.Spec
	binary string
	fd     int // -1: not made yet
}

func (m *mapping) namespace() (fd int, err error) {
	if m.fd < 0 {
		m.fd, err = userNamespace(m.spec, m.binary)
	}
	return m.fd, err
}

func (m *mapping) close() {
	if m.fd >= 0 {
		_ = unix.Close(m.fd)
	}
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
	ids := idMaps(s)
	sys := &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER, UidMappings: ids, GidMappings: ids}
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

// checkFile refuses places for a file that checkPath would for a mount, but for
// the task's own /etc, and those inside mounts.
func checkFile(path string, s *task.Spec) error {
	if in, ok := strings.CutPrefix(path, "/etc/"); !ok || in == "" || filepath.Clean(path) != path {
		if err := checkPath(path); err != nil {
			return err
		}
	}
	for _, m := range s.Task.Mounts {
		if path == m.Path || strings.HasPrefix(path, m.Path+"/") {
			return fmt.Errorf("%q is inside a mount", path)
		}
	}
	return nil
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
