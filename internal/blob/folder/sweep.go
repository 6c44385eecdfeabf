package folder

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

const sweepBatch = 500

// sweeper removes what a crash left, at start, and what a failing removal
// left, from time to time.
func (s *Store) sweeper(ctx context.Context, dirty bool) {
	defer close(s.swept)
	if dirty {
		s.sweepLogged(ctx, 0)
	}
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.sweepLogged(ctx, sweepAge)
		}
	}
}

func (s *Store) sweepLogged(ctx context.Context, age time.Duration) {
	n, err := s.Sweep(ctx, age)
	if err != nil && ctx.Err() == nil {
		s.log.Warn("sweep of content files", "err", err)
	}
	if n > 0 {
		s.log.Info("removed content files that no object names", "count", n)
	}
}

// Sweep removes files older than age that no row names and that nobody is
// writing or reading, and tells how many they were.
func (s *Store) Sweep(ctx context.Context, age time.Duration) (int, error) {
	c := s.content
	count := 0
	var errs []error
	dirs, err := os.ReadDir(c.root)
	if err != nil {
		return 0, fmt.Errorf("sweep: %w", err)
	}
	for _, d := range dirs {
		if !d.IsDir() || (d.Name() != tmpDir && len(d.Name()) != shardLen) {
			continue
		}
		n, err := s.sweepDir(ctx, filepath.Join(c.root, d.Name()), age, d.Name() == tmpDir)
		count += n
		if err != nil {
			errs = append(errs, err)
		}
		if ctx.Err() != nil {
			break
		}
	}
	return count, errors.Join(errs...)
}

func (s *Store) sweepDir(ctx context.Context, dir string, age time.Duration, tmp bool) (count int, err error) {
	f, err := os.Open(dir)
	if err != nil {
		return 0, err
	}
	defer f.Close() //nolint:errcheck // read only
	for {
		if err := ctx.Err(); err != nil {
			return count, err
		}
		names, err := f.Readdirnames(sweepBatch)
		if errors.Is(err, io.EOF) {
			return count, nil
		}
		if err != nil {
			return count, err
		}
		old := s.idleOlder(dir, names, age)
		if !tmp && len(old) > 0 {
			if old, err = s.unnamed(ctx, old); err != nil {
				return count, err
			}
		}
		for _, name := range old {
			if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return count, err
			}
			count++
		}
	}
}

// idleOlder gives the files that are old enough and in no one's hands.
func (s *Store) idleOlder(dir string, names []string, age time.Duration) []string {
	var out []string
	limit := time.Now().Add(-age)
	for _, name := range names {
		if !isID(name) || s.content.alive(name) {
			continue
		}
		info, err := os.Lstat(filepath.Join(dir, name))
		if err == nil && info.Mode().IsRegular() && (age == 0 || info.ModTime().Before(limit)) {
			out = append(out, name)
		}
	}
	return out
}

// unnamed leaves out the files that a row names or that wait for a reader. A
// file leaves the set of live ones only after its row is committed, so one
// that was not live before this look and has no row now never gets one.
func (s *Store) unnamed(ctx context.Context, files []string) ([]string, error) {
	named, err := s.index.Referenced(ctx, files)
	if err != nil {
		return nil, fmt.Errorf("sweep: %w", err)
	}
	keep := map[string]struct{}{}
	for _, n := range named {
		keep[n] = struct{}{}
	}
	c := s.content
	c.mu.Lock()
	for _, waiting := range c.due {
		for _, n := range waiting {
			keep[n] = struct{}{}
		}
	}
	c.mu.Unlock()
	var out []string
	for _, n := range files {
		if _, ok := keep[n]; !ok {
			out = append(out, n)
		}
	}
	return out, nil
}
