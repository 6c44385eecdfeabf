package supervisor

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"clary/internal/compute/sandbox/jail"
	"clary/internal/compute/sandbox/limit"
	"clary/internal/compute/sandbox/task"
	"clary/internal/compute/sandbox/volume"
)

const (
	// bytesPerFile is how much room comes with one file, as on a file system
	// that was made with the usual settings.
	bytesPerFile = 16 << 10
	// deepestTree is how many folders deep a volume may be; no path reaches as
	// far.
	deepestTree = 500
	// hostLast is what must be free on the host while a sparse image grows: it
	// would lose what the host cannot take, and nobody would be told.
	hostLast = 1 << 30
)

// diskWatch looks at what a task has written where no file system bounds it.
// A program may hide files from it; see docs/SECURITY.md.
type diskWatch struct {
	dir   string
	limit int64
	pid   int // of init; 0: files without a name are another watch's
	free  int64
	used  int64
	next  time.Time // of the next look at everything
}

// over says that the volume holds more than it may. It looks at all files when
// it is their time, or when the host has lost as much room as was left.
func (w *diskWatch) over() bool {
	free := jail.FreeBytes(w.dir)
	began := time.Now()
	if began.Before(w.next) && w.free-free <= w.limit-w.used {
		return false
	}
	var ok bool
	var nameless map[inode]int64
	if w.pid != 0 {
		nameless = unlinked(w.pid)
	}
	w.used, ok = measureTree(w.dir, w.limit, nameless)
	w.free = free
	// A large tree must not cost more than a twentieth of a processor.
	w.next = time.Now().Add(max(time.Second, 20*time.Since(began)))
	return !ok
}

// last is over when the program is gone, and with it what has no name. It looks
// at everything once more.
func (w *diskWatch) last() bool {
	w.next, w.pid = time.Time{}, 0
	return w.over()
}

// inode names a file on one file system.
type inode struct{ dev, ino uint64 }

// unlinked are the open files of a task that have no name any more, with what
// they hold.
func unlinked(pid int) map[inode]int64 {
	found := map[inode]int64{}
	for _, p := range limit.Tree(pid) {
		dir := "/proc/" + strconv.Itoa(p) + "/fd"
		fds, err := os.ReadDir(dir)
		if err != nil {
			continue // it is gone
		}
		for _, fd := range fds {
			var st unix.Stat_t
			if unix.Stat(dir+"/"+fd.Name(), &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFREG && st.Nlink == 0 {
				found[inode{st.Dev, st.Ino}] = st.Blocks * 512
			}
		}
	}
	return found
}

// tree adds up what lies below a folder. It goes by descriptors, not by paths,
// which may be longer than the kernel takes.
type tree struct {
	limit, sum int64
	files      int64
	dev        uint64
	seen       map[uint64]bool // files with several names
}

var errOver = errors.New("over the limit")

// measureTree tells how much dir holds, and false when that is too much.
func measureTree(dir string, limit int64, nameless map[inode]int64) (int64, bool) {
	f, err := os.Open(dir)
	if err != nil {
		return 0, true
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		_ = f.Close()
		return 0, true
	}
	t := &tree{limit: limit, dev: st.Dev, seen: map[uint64]bool{}}
	for i, n := range nameless {
		if i.dev == t.dev {
			t.sum += n
		}
	}
	err = t.walk(f, 0)
	return t.sum, err == nil && t.sum <= limit
}

// walk adds what is in an open folder and closes it.
func (t *tree) walk(d *os.File, depth int) error {
	defer d.Close()
	for {
		names, err := d.Readdirnames(1024)
		for _, n := range names {
			if err := t.add(d, n, depth); err != nil {
				return err
			}
		}
		if err != nil { // also of a folder that goes while we look
			return nil //nolint:nilerr // what could be seen is counted
		}
	}
}

func (t *tree) add(d *os.File, name string, depth int) error {
	var st unix.Stat_t
	if unix.Fstatat(int(d.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW) != nil || st.Dev != t.dev {
		return nil //nolint:nilerr // it vanished
	}
	isDir := st.Mode&unix.S_IFMT == unix.S_IFDIR
	if !isDir && st.Nlink > 1 {
		if t.seen[st.Ino] {
			return nil
		}
		t.seen[st.Ino] = true
	}
	t.files++
	if t.sum += st.Blocks * 512; t.sum > t.limit || t.files-1000 > t.limit/bytesPerFile {
		return errOver
	}
	if !isDir {
		return nil
	}
	if depth == deepestTree {
		return errOver
	}
	fd, err := openFolder(int(d.Fd()), name, st.Mode)
	if err != nil {
		return nil //nolint:nilerr // it went, or is another's
	}
	return t.walk(os.NewFile(uintptr(fd), name), depth+1)
}

// openFolder opens a folder of the task, whose rights it may have taken away;
// for the program, which thinks that it is root, these mean nothing.
func openFolder(at int, name string, mode uint32) (int, error) {
	const how = unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	if os.Geteuid() != 0 && mode&0o700 != 0o700 {
		fd, err := unix.Openat(at, name, how|unix.O_PATH, 0)
		if err != nil {
			return -1, err
		}
		err = unix.Chmod("/proc/self/fd/"+strconv.Itoa(fd), mode&0o7777|0o700)
		_ = unix.Close(fd)
		if err != nil {
			return -1, err
		}
	}
	return unix.Openat(at, name, how|unix.O_RDONLY, 0)
}

// volumeWatch keeps an eye on what a task writes, to its own disk and to
// volumes, of whichever kind they are.
type volumeWatch struct {
	folder *diskWatch // the task's own disk; nil: it has no limit
	images []sparse
	soft   []*softWatch
	free   func(dir string) int64
}

// sparse is an image that takes room of the host as it is written.
type sparse struct {
	path   string
	blocks int64 // at the last look
}

func newVolumeWatch(s *supervisor, pid int) *volumeWatch {
	w := &volumeWatch{free: jail.FreeBytes}
	if size := s.spec.Limits.DiskBytes; size > 0 {
		w.folder = &diskWatch{dir: task.VolDir, limit: size, pid: pid}
		if _, err := os.Stat(task.ImageFile); err == nil {
			w.images = append(w.images, sparse{path: task.ImageFile})
		}
	}
	for _, v := range s.spec.Volumes {
		if v.Image {
			w.images = append(w.images, sparse{path: volume.Image(v.Dir)})
		} else {
			w.soft = append(w.soft, newSoftWatch(volume.Data(v.Dir), v.Bytes, s.spool.say))
		}
	}
	if w.folder == nil && w.images == nil && w.soft == nil {
		return nil
	}
	return w
}

var errHostFull = errors.New("the disk of the server is full")

// look says whether the task has written too much, or an error when the host has
// no room for what it still writes. An image that init could not mount is a file
// that does not grow, and the folder is what it says it is.
func (w *volumeWatch) look() (over bool, err error) {
	for i := range w.images {
		var st unix.Stat_t
		if unix.Stat(w.images[i].path, &st) != nil {
			continue
		}
		grew := st.Blocks > w.images[i].blocks
		w.images[i].blocks = st.Blocks
		if grew && w.free(filepath.Dir(w.images[i].path)) < hostLast {
			return false, errHostFull
		}
	}
	for _, v := range w.soft {
		if v.over() {
			return true, nil
		}
	}
	return w.folder != nil && w.folder.over(), nil
}

// softWatch looks at a volume that no file system bounds. What is in it is
// somebody's work, and must be tidied up from inside: so a task that finds it
// too large already may run, one that makes it too large is told, and only one
// that goes on is ended.
type softWatch struct {
	diskWatch
	bytes int64 // that it should hold
	slack int64 // beyond which nobody may go
	told  bool
	say   func(string)
}

func newSoftWatch(dir string, bytes int64, say func(string)) *softWatch {
	return &softWatch{diskWatch: diskWatch{dir: dir, limit: math.MaxInt64}, bytes: bytes, slack: max(bytes/10, 256<<20), say: say}
}

func (w *softWatch) over() bool {
	first := w.next.IsZero()
	if !first && w.limit == math.MaxInt64 {
		w.limit = max(w.bytes, w.used) + w.slack
	}
	over := w.diskWatch.over()
	switch {
	case w.used <= w.bytes:
		w.told = false
	case !w.told:
		w.told = true
		w.say(fmt.Sprintf("the volume holds %d MiB, its size is %d MiB: delete files, or make it larger; the notebook is stopped when it goes on growing", w.used>>20, w.bytes>>20))
	}
	return over && !first
}
