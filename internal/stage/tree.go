package stage

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"syscall"
)

// deepest is how many folders deep an output may be.
const deepest = 200

// mlPath is where the program finds what is the job's.
const mlPath = "/opt/ml"

// tree is a folder that the program may have filled or replaced with
// anything. It is reached through root alone, and nothing in it is opened in a
// way that could wait: a pipe or a device is seen for what it is.
type tree struct {
	root *os.Root
	base string // where root is, as the program sees it
	dir  string // below root
}

func (t tree) at(name string) string { return path.Join(t.dir, name) }

// path is where the program sees it.
func (t tree) path(name string) string { return path.Join(t.base, t.dir, name) }

// open opens one of its files.
func (t tree) open(name string) (*os.File, fs.FileInfo, error) {
	f, err := t.root.OpenFile(t.at(name), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a file", name)
	}
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, info, nil
}

// readStart reads the first bytes of a file.
func (t tree) readStart(name string, most int64) ([]byte, error) {
	f, _, err := t.open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // read only
	return io.ReadAll(io.LimitReader(f, most))
}

func (t tree) openDir(name string) (*os.File, error) {
	return t.root.OpenFile(t.at(name), os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NONBLOCK, 0)
}

// empty says whether there is nothing. A folder that is gone holds nothing; what
// the program put in its place may be all that it made, and is told of.
func (t tree) empty() (bool, error) {
	d, err := t.openDir(".")
	switch {
	case errors.Is(err, os.ErrNotExist):
		return true, nil
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.ENXIO):
		return false, userError("%s is no folder any more, and is not uploaded. Write files into it instead", t.path("."))
	case err != nil:
		return false, err
	}
	defer d.Close() //nolint:errcheck // read only
	_, err = d.Readdirnames(1)
	if errors.Is(err, io.EOF) {
		return true, nil
	}
	return false, err
}

// make makes it for the program, as what says that the request asks.
func (t tree) make(what string) error {
	if err := mkdir(t.root, t.dir); err != nil {
		return userError("%s: LocalPath %s cannot be made: %v. Use a folder below %s", what, t.path("."), err, mlPath)
	}
	return nil
}

// batch is how many names of a folder are in memory.
const batch = 1000

// walk visits everything below, folders before what they hold, and in order
// where a batch holds the folder. It follows no link, and what vanishes meanwhile
// is passed over.
func (t tree) walk(visit func(name string, info fs.FileInfo) error) error {
	return t.walkDir(".", 0, visit)
}

func (t tree) walkDir(dir string, depth int, visit func(string, fs.FileInfo) error) error {
	if depth > deepest {
		return userError("%s: folders are nested more than %d deep", t.path("."), deepest)
	}
	d, err := t.openDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer d.Close() //nolint:errcheck // read only
	for {
		names, err := d.Readdirnames(batch)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		slices.Sort(names)
		for _, n := range names {
			if err := t.walkOne(path.Join(dir, n), depth, visit); err != nil {
				return err
			}
		}
	}
}

func (t tree) walkOne(name string, depth int, visit func(string, fs.FileInfo) error) error {
	info, err := t.root.Lstat(t.at(name))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := visit(name, info); err != nil || !info.IsDir() {
		return err
	}
	return t.walkDir(name, depth+1, visit)
}
