package segment

import (
	"container/list"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// fileKey names a segment's file.
type fileKey struct {
	stream uint64
	n      uint32
	packed bool
}

func (k fileKey) dir() string { return fmt.Sprintf("%02x", byte(k.stream>>56)) }

func (k fileKey) name() string {
	ext := "log"
	if k.packed {
		ext = "zst"
	}
	return fmt.Sprintf("%s/%016x-%d.%s", k.dir(), k.stream, k.n, ext)
}

// files keeps the segments that were used last open, up to a limit.
type files struct {
	dir   string
	limit int

	mu   sync.Mutex // guards what follows
	open map[fileKey]*list.Element
	used list.List // of *file, newest first
}

type file struct {
	*os.File
	key     fileKey
	refs    int
	dropped bool
}

func newFiles(dir string, limit int) *files {
	return &files{dir: dir, limit: limit, open: make(map[fileKey]*list.Element)}
}

func (c *files) path(k fileKey) string { return filepath.Join(c.dir, k.name()) }

// get opens a segment; put gives it back. made says that the file is new.
func (c *files) get(k fileKey, create bool) (f *file, made bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.open[k]; ok {
		c.used.MoveToFront(e)
		f = e.Value.(*file)
		f.refs++
		return f, false, nil
	}
	flag := os.O_RDWR
	if k.packed {
		flag = os.O_RDONLY
	}
	o, err := os.OpenFile(c.path(k), flag, 0)
	if errors.Is(err, os.ErrNotExist) && create {
		o, err = c.create(k)
		made = err == nil
	}
	if err != nil {
		return nil, false, err
	}
	f = &file{File: o, key: k, refs: 1}
	c.open[k] = c.used.PushFront(f)
	for e := c.used.Back(); e != nil && len(c.open) > c.limit; {
		old := e
		e = e.Prev()
		if old.Value.(*file).refs == 0 {
			c.closeLocked(old)
		}
	}
	return f, made, nil
}

func (c *files) create(k fileKey) (*os.File, error) {
	const flag = os.O_RDWR | os.O_CREATE | os.O_EXCL
	f, err := os.OpenFile(c.path(k), flag, 0o600)
	if errors.Is(err, os.ErrNotExist) {
		if err := os.MkdirAll(filepath.Join(c.dir, k.dir()), 0o700); err != nil {
			return nil, err
		}
		f, err = os.OpenFile(c.path(k), flag, 0o600)
	}
	return f, err
}

func (c *files) put(f *file) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f.refs--
	if f.dropped && f.refs == 0 {
		_ = f.Close()
	}
}

func (c *files) closeLocked(e *list.Element) {
	f := e.Value.(*file)
	c.used.Remove(e)
	delete(c.open, f.key)
	if f.refs == 0 {
		_ = f.Close()
		return
	}
	f.dropped = true
}

// remove deletes a segment's file; whoever reads it reads on.
func (c *files) remove(k fileKey) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.open[k]; ok {
		c.closeLocked(e)
	}
	if err := os.Remove(c.path(k)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

func (c *files) exists(k fileKey) (bool, error) {
	_, err := os.Stat(c.path(k))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

func (c *files) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for e := c.used.Front(); e != nil; e = c.used.Front() {
		c.closeLocked(e)
	}
}

func isMissing(err error) bool { return errors.Is(err, fs.ErrNotExist) }
