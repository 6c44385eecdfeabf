package segment

import (
	"errors"
	"maps"
	"path/filepath"
	"sync"
	"time"
)

// syncAfter is how long an append may wait for the disk: well within the second
// that is promised.
const syncAfter = 400 * time.Millisecond

// wholeAt is how many files are cheaper to force out with the whole file system.
const wholeAt = 24

// syncer forces appended records to disk soon after, and then writes down how
// streams stand that were not written to any more.
type syncer struct {
	s    *Store
	wake chan struct{}
	stop chan struct{}
	done chan struct{}
	// watch, if set, is told when a round begins; what it gives is called when
	// all that was appended before is on disk.
	watch func() (forced func())

	mu     sync.Mutex // guards what follows
	files  map[fileKey]struct{}
	dirs   map[string]struct{}
	fresh  map[*stream]struct{} // written to since the last round
	marked map[*stream]struct{} // written to since they were last written down
}

func newSyncer(s *Store) *syncer {
	return &syncer{
		s: s, wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}),
		files: make(map[fileKey]struct{}), dirs: make(map[string]struct{}),
		fresh: make(map[*stream]struct{}), marked: make(map[*stream]struct{}),
	}
}

// start looks after what a crash left, in the background, and then waits.
func (y *syncer) start(stale []*stream, gone map[uint64]uint32) {
	for _, st := range stale {
		y.marked[st] = struct{}{}
	}
	go func() {
		defer close(y.done)
		for id, last := range gone {
			y.s.unlink(id, last)
		}
		if len(stale) > 0 || y.s.cat.grown() {
			y.kick()
		}
		y.run()
	}()
}

// kick says that there is something to force out.
func (y *syncer) kick() {
	select {
	case y.wake <- struct{}{}:
	default:
	}
}

// dirty says that a segment was written to.
func (y *syncer) dirty(st *stream, n uint32, made bool) {
	k := st.key(n)
	y.mu.Lock()
	y.files[k] = struct{}{}
	y.fresh[st] = struct{}{}
	y.marked[st] = struct{}{}
	if made {
		y.dirs[k.dir()] = struct{}{}
	}
	y.mu.Unlock()
	y.kick()
}

// forget drops a stream that was deleted.
func (y *syncer) forget(st *stream) {
	y.mu.Lock()
	defer y.mu.Unlock()
	delete(y.fresh, st)
	delete(y.marked, st)
}

func (y *syncer) run() {
	t := time.NewTimer(syncAfter)
	t.Stop()
	defer t.Stop()
	for {
		select {
		case <-y.stop:
			return
		case <-y.wake:
		}
		t.Reset(syncAfter)
		select {
		case <-y.stop:
			return
		case <-t.C:
		}
		if more := y.round(false); more {
			y.kick()
		}
	}
}

// round forces out what was written and says whether to come again.
func (y *syncer) round(last bool) (more bool) {
	forced := func() {}
	if y.watch != nil {
		forced = y.watch()
	}
	y.mu.Lock()
	files, dirs, fresh := y.files, y.dirs, y.fresh
	y.files, y.dirs, y.fresh = make(map[fileKey]struct{}), make(map[string]struct{}), make(map[*stream]struct{})
	y.mu.Unlock()
	// Names first: a segment that no catalogue knows is lost.
	err := errors.Join(y.s.cat.sync(), y.force(files, dirs))
	if err != nil {
		y.s.cfg.Log.Error("logs are not on disk", "err", err)
		y.mu.Lock()
		maps.Copy(y.files, files)
		maps.Copy(y.dirs, dirs)
		y.mu.Unlock()
		return true
	}
	forced()
	y.mu.Lock()
	var quiet []*stream
	for st := range y.marked {
		if _, ok := fresh[st]; !ok || last {
			quiet = append(quiet, st)
			delete(y.marked, st)
		}
	}
	more = len(y.marked) > 0
	y.mu.Unlock()
	for _, st := range quiet {
		if err := y.s.check(st); err != nil {
			y.s.cfg.Log.Warn("log stream is not written down", "stream", st.name, "err", err)
		}
	}
	y.s.loaded.trim()
	if y.s.cat.grown() {
		if err := y.s.compact(); err != nil {
			y.s.cfg.Log.Error("log catalogue is not compacted", "err", err)
		}
	}
	return more || len(quiet) > 0
}

func (y *syncer) force(files map[fileKey]struct{}, dirs map[string]struct{}) error {
	if len(files)+len(dirs) > wholeAt {
		return syncAll(y.s.cfg.Dir)
	}
	for k := range files {
		f, _, err := y.s.files.get(k, false)
		if isMissing(err) {
			continue // packed or deleted meanwhile
		}
		if err != nil {
			return err
		}
		err = f.Sync()
		y.s.files.put(f)
		if err != nil {
			return err
		}
	}
	for d := range dirs {
		if err := syncDir(filepath.Join(y.s.cfg.Dir, d)); err != nil {
			return err
		}
	}
	if len(dirs) > 0 {
		return syncDir(y.s.cfg.Dir)
	}
	return nil
}

// check writes down how a stream stands.
func (s *Store) check(st *stream) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.gone || !st.marked.Load() || (st.tail == nil && s.closed.Load()) {
		return nil
	}
	if _, err := s.load(st); err != nil {
		return err
	}
	s.sync.mu.Lock()
	_, again := s.sync.fresh[st]
	s.sync.mu.Unlock()
	if again {
		return nil // it comes round once more
	}
	if err := s.cat.add(checkRecord(st)); err != nil {
		return err
	}
	st.marked.Store(false)
	return nil
}

func (y *syncer) close() {
	close(y.stop)
	<-y.done
	if y.round(true) {
		y.round(true) // what the first wrote into the catalogue
	}
}
