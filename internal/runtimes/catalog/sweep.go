package catalog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"clary/internal/runtimes"
)

const (
	// unusedAfter is how long a runtime is kept that no job asks for, and
	// keepBytes what all may take together before those go that were asked for
	// longest ago.
	unusedAfter = 30 * 24 * time.Hour
	keepBytes   = 20 << 30
	// fresh is the time in which a runtime is never taken, since a job that
	// asked for it may be about to start.
	fresh      = time.Hour
	sweepEvery = 24 * time.Hour
	goneDir    = "gone" // what is being removed
)

// kept is a runtime on disk.
type kept struct {
	id, dir string
	used    time.Time // when a job last asked for it
	bytes   int64
}

// sweeps removes once a day what is not needed, and first when a start is over.
func (c *Catalog) sweeps() {
	next := time.NewTimer(time.Minute)
	defer next.Stop()
	for {
		select {
		case <-c.ctx.Done():
			return
		case <-next.C:
		}
		// What cannot be removed now is tried tomorrow; doctor shows what there is.
		_ = c.sweep(c.ctx, time.Now())
		next.Reset(sweepEvery)
	}
}

// sweep removes runtimes that nobody asked for in a long time or that are too
// many, never one that a task has; the folders of builds that failed; and, once
// a month, the downloads that builds share.
func (c *Catalog) sweep(ctx context.Context, now time.Time) error {
	all, err := list(c.cfg.Dir)
	if err != nil {
		return err
	}
	envs, err := c.cfg.Envs(ctx)
	if err != nil {
		return err
	}
	errs := c.takeOut(all, envs, now)
	gone, err := os.ReadDir(filepath.Join(c.cfg.Dir, goneDir))
	errs = errors.Join(errs, err)
	for _, e := range gone {
		errs = errors.Join(errs, os.RemoveAll(filepath.Join(c.cfg.Dir, goneDir, e.Name())))
	}
	return errs
}

// takeOut renames what is to go, each by one step, so that a crash leaves
// nothing that looks whole.
func (c *Catalog) takeOut(all []kept, envs []string, now time.Time) error {
	var total int64
	for _, k := range all {
		total += k.bytes
	}
	slices.SortFunc(all, func(a, b kept) int { return a.used.Compare(b.used) })
	c.mu.Lock()
	defer c.mu.Unlock()
	var errs error
	for _, k := range all {
		age := now.Sub(lastUse(k))
		if age < fresh || age < unusedAfter && total <= keepBytes || slices.Contains(envs, filepath.Join(k.dir, "env")) {
			continue
		}
		if err := c.discard(k.dir); err != nil {
			errs = errors.Join(errs, err)
			continue
		}
		total -= k.bytes
	}
	running := false
	for _, b := range c.builds {
		running = running || b.running()
	}
	left, err := os.ReadDir(filepath.Join(c.cfg.Dir, "work"))
	errs = errors.Join(errs, err)
	for _, e := range left {
		if b := c.builds[e.Name()]; b == nil || !b.running() {
			errs = errors.Join(errs, c.discard(c.work(e.Name())))
		}
	}
	cache := filepath.Join(c.cfg.Dir, "cache")
	if st, err := os.Stat(cache); err == nil && !running && now.Sub(st.ModTime()) >= unusedAfter {
		errs = errors.Join(errs, c.discard(cache), os.Mkdir(cache, 0o700))
	}
	return errs
}

// lastUse looks again, for a job may have asked since the list was made.
func lastUse(k kept) time.Time {
	if st, err := os.Stat(filepath.Join(k.dir, metaFile)); err == nil {
		return st.ModTime()
	}
	return k.used
}

func (c *Catalog) discard(dir string) error {
	gone := filepath.Join(c.cfg.Dir, goneDir, filepath.Base(dir))
	return errors.Join(os.RemoveAll(gone), os.Rename(dir, gone))
}

// asked notes that a job wants a runtime, at most once an hour.
func (c *Catalog) asked(id string, now time.Time) {
	name := filepath.Join(c.cfg.Dir, id, metaFile)
	if st, err := os.Stat(name); err == nil && now.Sub(st.ModTime()) >= fresh/2 {
		_ = os.Chtimes(name, now, now) // at worst it is built again one day
	}
}

// list finds the built runtimes below dir.
func list(dir string) ([]kept, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var all []kept
	for _, e := range entries {
		k := kept{id: e.Name(), dir: filepath.Join(dir, e.Name())}
		data, err := os.ReadFile(filepath.Join(k.dir, metaFile))
		st, serr := os.Stat(filepath.Join(k.dir, metaFile))
		var m meta
		if err != nil || serr != nil || json.Unmarshal(data, &m) != nil || m.ID != k.id {
			continue
		}
		k.used = st.ModTime()
		if k.bytes, err = size(k.dir); err != nil {
			return nil, err
		}
		all = append(all, k)
	}
	return all, nil
}

// size adds up the files below dir; what vanishes meanwhile counts nothing.
func size(dir string) (int64, error) {
	var sum int64
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			var fi fs.FileInfo
			if fi, err = d.Info(); err == nil {
				sum += fi.Size()
			}
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	return sum, err
}

// Survey says what is kept below dir, without a catalog.
func Survey(dir string) (runtimes.Survey, error) {
	s := runtimes.Survey{UnusedAfter: unusedAfter, NoSpark: noSpark(FindJavas())}
	all, err := list(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return s, fmt.Errorf("runtimes: %w", err)
	}
	s.Runtimes = len(all)
	for _, k := range all {
		s.Bytes += k.bytes
	}
	for _, part := range []string{"cache", "work", goneDir} {
		n, err := size(filepath.Join(dir, part))
		if err != nil {
			return s, fmt.Errorf("runtimes: %w", err)
		}
		s.Spare += n
	}
	return s, nil
}
