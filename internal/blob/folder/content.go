package folder

import (
	"crypto/rand"
	"encoding/base32"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"clary/internal/store"
)

const (
	tmpDir   = "tmp"
	shardLen = 4
	idLen    = 26
	// shardFiles is how many files share a folder: few enough for a quick
	// readdir, many enough that concurrent writers share one folder's fsync.
	shardFiles = 4096
	bufferSize = 256 << 10
)

// content is the files. A file's name starts with the name of its folder.
type content struct {
	root    string
	buffers sync.Pool

	mu    sync.Mutex // guards the four below
	shard *shard
	live  map[string]struct{} // files that have no row yet
	pins  map[string]int      // versions being read, -1: being removed
	due   map[string][]string // files of pinned versions that no row names

	remover remover
}

func newContent(root string) (*content, error) {
	abs, err := filepath.Abs(root)
	if err != nil {
		return nil, err
	}
	c := &content{
		root: abs,
		live: map[string]struct{}{},
		pins: map[string]int{},
		due:  map[string][]string{},
	}
	c.buffers.New = func() any { return new([bufferSize]byte) }
	c.remover.start(c.remove)
	return c, nil
}

// close reports whether no garbage is left.
func (c *content) close() bool {
	clean := c.remover.close()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.shard != nil {
		c.shard.retire()
		c.shard = nil
	}
	return clean && len(c.live) == 0 && len(c.due) == 0
}

func randomID(n int) string {
	b := make([]byte, (n*5+7)/8)
	rand.Read(b)
	return base32.HexEncoding.WithPadding(base32.NoPadding).EncodeToString(b)[:n]
}

// path is where a file is; ok is false for what is no name of ours.
func (c *content) path(file string) (p string, ok bool) {
	if !isID(file) {
		return "", false
	}
	return filepath.Join(c.root, file[:shardLen], file), true
}

func isID(s string) bool {
	if len(s) != idLen {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'A' || c > 'V') {
			return false
		}
	}
	return true
}

// shard is the folder that new files go to, until it is full.
type shard struct {
	name string
	dir  *os.File
	sync group

	mu    sync.Mutex // guards files, refs
	files int
	refs  int // writers, and one for being the current shard
}

func (s *shard) retire() {
	s.mu.Lock()
	s.refs--
	last := s.refs == 0
	s.mu.Unlock()
	if last {
		_ = s.dir.Close() // opened for reading: nothing to lose
	}
}

// enter names a new file and holds the folder that it belongs to.
func (c *content) enter() (*shard, string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.shard; s != nil && s.files >= shardFiles {
		s.retire()
		c.shard = nil
	}
	if c.shard == nil {
		s, err := c.newShard()
		if err != nil {
			return nil, "", err
		}
		c.shard = s
	}
	s := c.shard
	s.mu.Lock()
	s.files++
	s.refs++
	s.mu.Unlock()
	id := s.name + randomID(idLen-shardLen)
	c.live[id] = struct{}{}
	return s, id, nil
}

func (c *content) newShard() (*shard, error) {
	name := randomID(shardLen)
	dir := filepath.Join(c.root, name)
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	if err := syncDir(c.root); err != nil {
		return nil, err
	}
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	return &shard{name: name, dir: f, sync: group{do: f.Sync}, refs: 1}, nil
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// settle says that a row names the file now, or that it never will.
func (c *content) settle(file string) {
	c.mu.Lock()
	delete(c.live, file)
	c.mu.Unlock()
}

func (c *content) alive(file string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.live[file]
	return ok
}

// pin keeps the files of a version while it is read; false: it is going away.
func (c *content) pin(version string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pins[version] < 0 {
		return false
	}
	c.pins[version]++
	return true
}

func (c *content) unpin(version string) {
	c.mu.Lock()
	c.pins[version]--
	var files []string
	if c.pins[version] == 0 {
		delete(c.pins, version)
		if files = c.due[version]; files != nil {
			delete(c.due, version)
			c.pins[version] = -1
		}
	}
	c.mu.Unlock()
	if files != nil {
		c.remover.add(removal{version, files})
	}
}

// free removes what no row needs any more, as soon as nobody reads it.
func (c *content) free(freed []store.BlobContent) {
	for _, f := range freed {
		if len(f.Files) == 0 {
			continue
		}
		c.mu.Lock()
		pinned := c.pins[f.Version] > 0
		if pinned {
			c.due[f.Version] = append(c.due[f.Version], f.Files...)
		} else {
			c.pins[f.Version] = -1
		}
		c.mu.Unlock()
		if !pinned {
			c.remover.add(removal{f.Version, f.Files})
		}
	}
}

type removal struct {
	version string
	files   []string
}

// remove unlinks the files; a failed one waits for the sweep.
func (c *content) remove(r removal) error {
	var errs []error
	for _, f := range r.files {
		p, ok := c.path(f)
		if !ok {
			errs = append(errs, fmt.Errorf("content file %q: not a name", f))
			continue
		}
		if err := os.Remove(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	c.mu.Lock()
	if c.pins[r.version] < 0 {
		delete(c.pins, r.version)
	}
	c.mu.Unlock()
	return errors.Join(errs...)
}

// link gives an existing file a second name.
func (c *content) link(old string) (file string, err error) {
	from, ok := c.path(old)
	if !ok {
		return "", fmt.Errorf("content file %q: not a name", old)
	}
	s, id, err := c.enter()
	if err != nil {
		return "", err
	}
	defer s.retire()
	to, _ := c.path(id)
	if err := os.Link(from, to); err != nil {
		c.settle(id)
		return "", err
	}
	if err := s.sync.run(); err != nil {
		c.discard(id)
		return "", err
	}
	return id, nil
}

// discard drops a file that got no row.
func (c *content) discard(file string) {
	if file == "" {
		return
	}
	c.free([]store.BlobContent{{Version: file, Files: []string{file}}})
	c.settle(file)
}

// unlinkable says that a link failed for reasons that a copy does not have.
func unlinkable(err error) bool {
	return errors.Is(err, unix.EMLINK) || errors.Is(err, unix.EPERM) ||
		errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EXDEV)
}
