package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"clary/tool/internal/step"
)

// A snapshot is a copy of the repository's files, as they are now, in one place
// for every checkout of this user. What Go and the linters have cached they know
// by path and time: in a snapshot, whose files change only when their content
// does, what was proven of a file holds in the next clone and on the next branch,
// too. And whoever goes on editing disturbs no run.
type snapshot struct {
	dir  string
	lock *os.File
}

// takeSnapshot copies what git tracks or would track. nil: this is no checkout.
func takeSnapshot(ctx context.Context, root string) (*snapshot, error) {
	var list strings.Builder
	if step.Run(ctx, step.Cmd{Dir: root, Out: &list, Args: []string{"git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"}}) != nil {
		return nil, nil //nolint:nilerr // no git, or no checkout: an archive's files, perhaps
	}
	cache, err := step.CacheDir()
	if err != nil {
		return nil, err
	}
	s, err := lockSnapshot(filepath.Join(cache, "tree"))
	if err != nil {
		return nil, err
	}
	if err := s.fill(root, strings.Split(strings.TrimRight(list.String(), "\x00"), "\x00")); err != nil {
		return nil, errors.Join(fmt.Errorf("copy the repository to %s: %w", s.dir, err), s.release())
	}
	return s, nil
}

// lockSnapshot finds the first place that no other run is in.
func lockSnapshot(trees string) (*snapshot, error) {
	if err := os.MkdirAll(trees, 0o755); err != nil {
		return nil, err
	}
	for n := 1; ; n++ {
		dir := filepath.Join(trees, fmt.Sprint(n))
		lock, err := os.OpenFile(dir+".lock", os.O_CREATE|os.O_RDWR, 0o644)
		if err != nil {
			return nil, err
		}
		err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return &snapshot{dir, lock}, os.MkdirAll(dir, 0o755)
		}
		if err = errors.Join(err, lock.Close()); !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, err
		}
	}
}

func (s *snapshot) release() error { return s.lock.Close() }

// made says that a file is what step.Build makes, or lies above it.
func made(path string) bool {
	const embedded = "internal/server/taskbin"
	return path == "bin" || strings.HasPrefix(path, "bin/") || path == embedded || strings.HasPrefix(path, embedded+"/clary-task")
}

// fill makes the snapshot hold these files of root and no others, save what was
// built there.
func (s *snapshot) fill(root string, files []string) error {
	infos := map[string]fs.FileInfo{}
	folders := map[string]bool{".": true}
	for _, f := range files {
		info, err := os.Lstat(filepath.Join(root, f))
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
			continue // removed, and not yet from git's index
		}
		if err != nil {
			return err
		}
		infos[f] = info
		for p := filepath.Dir(f); !folders[p]; p = filepath.Dir(p) {
			folders[p] = true
		}
	}
	err := filepath.WalkDir(s.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(s.dir, path)
		if err != nil || made(rel) || d.IsDir() && folders[rel] || !d.IsDir() && infos[rel] != nil {
			return err
		}
		if err := os.RemoveAll(path); err != nil {
			return err
		}
		if d.IsDir() {
			return fs.SkipDir
		}
		return nil
	})
	if err != nil {
		return err
	}
	for f, info := range infos {
		if err := same(filepath.Join(root, f), filepath.Join(s.dir, f), info); err != nil {
			return err
		}
	}
	return nil
}

// same makes to as from is, and leaves it alone if it is that already.
func same(from, to string, info fs.FileInfo) error {
	switch have, err := os.Lstat(to); {
	case info.Mode().Type() == fs.ModeSymlink:
		text, err := os.Readlink(from)
		if err != nil {
			return err
		}
		if old, err := os.Readlink(to); err == nil && old == text {
			return nil
		}
		return replace(to, func(half string) error { return os.Symlink(text, half) })
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is neither a file nor a link", from)
	default:
		b, rerr := os.ReadFile(from)
		if rerr != nil {
			return rerr
		}
		if err == nil && have.Mode() == info.Mode() {
			if old, err := os.ReadFile(to); err == nil && bytes.Equal(old, b) {
				return nil
			}
		}
		return replace(to, func(half string) error {
			return errors.Join(os.WriteFile(half, b, 0o600), os.Chmod(half, info.Mode().Perm()))
		})
	}
}

// replace puts what is made in the place of whatever is there.
func replace(to string, create func(half string) error) error {
	half := filepath.Join(filepath.Dir(to), ".half-"+filepath.Base(to))
	if err := errors.Join(os.MkdirAll(filepath.Dir(to), 0o755), os.RemoveAll(half), create(half)); err != nil {
		return err
	}
	return os.Rename(half, to)
}
