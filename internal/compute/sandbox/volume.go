package sandbox

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"clary/internal/compute/sandbox/jail"
)

// templates makes an empty file system per size that is asked for, once: a
// task's volume is a copy, which costs less than to make one. One copy of a
// size lies mounted before it is asked for, as that costs more than all the
// rest of a start.
type templates struct {
	dir string

	once   sync.Once
	mke2fs string
	err    error // why there are none

	mu    sync.Mutex // guards all below, and is held while a template is made
	made  map[int64]string
	ready map[int64]*readyImage // nil: on its way
	wg    sync.WaitGroup
	quit  chan struct{} // closed when no more are wanted
	n     int
}

// readyImage is an image that is mounted, as yet nowhere.
type readyImage struct {
	path string
	mnt  *os.File
}

const (
	// mostReady is of how many sizes a volume is kept ready.
	mostReady = 4
	// untilNext is how long the next one is put off, so that it takes no
	// processor from the start of the task that took the last.
	untilNext = 300 * time.Millisecond
)

// take hands out a ready volume of a size, if there is one, and sees to the
// next.
func (t *templates) take(size int64) *readyImage {
	t.mu.Lock()
	defer t.mu.Unlock()
	v, known := t.ready[size]
	template := t.made[size]
	if template == "" || known && v == nil || !known && len(t.ready) >= mostReady {
		return nil
	}
	if t.ready == nil {
		t.ready = map[int64]*readyImage{}
	}
	t.ready[size] = nil
	t.n++
	path := filepath.Join(t.dir, fmt.Sprintf("ready-%d", t.n))
	t.wg.Go(func() {
		var next *readyImage
		select {
		case <-time.After(untilNext):
			next = prepare(template, path, size)
		case <-t.quit:
		}
		t.mu.Lock()
		defer t.mu.Unlock()
		if next == nil {
			delete(t.ready, size)
		} else {
			t.ready[size] = next
		}
	})
	return v
}

func prepare(template, path string, size int64) *readyImage {
	if jail.MakeImage(template, path, size) != nil {
		return nil // the task's supervisor meets the same and says so
	}
	mnt, err := jail.MountImage(path)
	if err != nil {
		_ = os.Remove(path)
		return nil
	}
	return &readyImage{path, os.NewFile(uintptr(mnt), path)}
}

func (v *readyImage) drop() {
	_ = v.mnt.Close()
	_ = os.Remove(v.path)
}

// close unmounts what lies ready; nothing is taken any more.
func (t *templates) close() {
	close(t.quit)
	t.wg.Wait()
	for _, v := range t.ready {
		if v != nil {
			v.drop()
		}
	}
}

// usable says why volumes cannot be images here: it tries one.
func (t *templates) usable() error {
	t.once.Do(func() { t.err = t.try() })
	return t.err
}

func (t *templates) try() error {
	if !privileged() {
		return errors.New("only root may mount images")
	}
	var err error
	if t.mke2fs, err = findProgram("mke2fs"); err != nil {
		return err
	}
	if err := os.Mkdir(t.dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	probe := filepath.Join(t.dir, "probe")
	defer os.Remove(probe) //nolint:errcheck // swept with the folder
	if err := t.format(probe, 4<<20); err != nil {
		return err
	}
	mnt, err := jail.MountImage(probe)
	if err != nil {
		return err
	}
	return unix.Close(mnt)
}

// template is a file system of size bytes; "" if there can be none.
func (t *templates) template(size int64) string {
	// Sixteen TiB are the most that ext4 takes as a file.
	if size < 1<<20 || size >= 1<<44 || t.usable() != nil {
		return ""
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if path, ok := t.made[size]; ok {
		return path
	}
	path := filepath.Join(t.dir, fmt.Sprint(size))
	if err := t.format(path, size); err != nil {
		return "" // the disk is full, say; next time perhaps not
	}
	if t.made == nil {
		t.made = map[int64]string{}
	}
	t.made[size] = path
	return path
}

// format makes a sparse ext4 of a file: no journal, since nothing in it is read
// after a crash, nothing set aside, no tables before they are used, and all that
// is written in one place.
func (t *templates) format(path string, size int64) error {
	f, err := os.OpenFile(path+".new", os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	err = f.Truncate(size)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	cmd := exec.Command(t.mke2fs, "-q", "-F", "-t", "ext4", "-m", "0", "-b", "4096", "-i", "16384", "-I", "256", //nolint:noctx // it takes milliseconds
		"-O", "^has_journal,^resize_inode,sparse_super2", "-E", "num_backup_sb=0,packed_meta_blocks=1,lazy_itable_init=1,nodiscard,root_owner=0:0", path+".new")
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "MKE2FS_CONFIG=/dev/null"}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("mke2fs: %w: %.200s", err, out)
	}
	return os.Rename(path+".new", path)
}

// findProgram looks where administrators' programs are, too.
func findProgram(name string) (string, error) {
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
