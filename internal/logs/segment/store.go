package segment

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"

	"clary/internal/logs"
)

// Config says where the logs are. Zero members have defaults.
type Config struct {
	Dir         string
	Log         *slog.Logger
	OpenFiles   int   // 256
	Loaded      int   // streams whose tail is in memory: 1024
	SegmentSize int64 // 8 MiB

	watchSync func() (forced func()) // the syncer's, for tests
}

// Store implements logs.Store.
type Store struct {
	cfg     Config
	lock    *os.File
	cat     *catalog
	files   *files
	sync    *syncer
	pack    *packer
	decode  func() (*zstd.Decoder, error)
	follow  followers
	buffers buffers

	mu     sync.RWMutex // guards the maps and each group's lists
	groups map[groupKey]*group
	number uint64 // of the newest group

	loaded loaded
	closed atomic.Bool
}

var _ logs.Store = (*Store)(nil)

// Open opens the logs in a folder, which it makes if need be.
func Open(cfg Config) (*Store, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.OpenFiles == 0 {
		cfg.OpenFiles = 256
	}
	if cfg.Loaded == 0 {
		cfg.Loaded = 1024
	}
	if cfg.SegmentSize == 0 {
		cfg.SegmentSize = 8 << 20
	}
	s := &Store{cfg: cfg, groups: make(map[groupKey]*group), files: newFiles(cfg.Dir, cfg.OpenFiles)}
	s.loaded.limit = cfg.Loaded
	s.decode = sync.OnceValues(func() (*zstd.Decoder, error) {
		return zstd.NewReader(nil, zstd.WithDecoderConcurrency(2), zstd.WithDecoderLowmem(true))
	})
	if err := s.open(); err != nil {
		return nil, fmt.Errorf("logs %s: %w", cfg.Dir, err)
	}
	return s, nil
}

func (s *Store) open() error {
	if err := os.MkdirAll(s.cfg.Dir, 0o700); err != nil {
		return err
	}
	var err error
	if s.lock, err = lock(filepath.Join(s.cfg.Dir, "lock")); err != nil {
		return err
	}
	if s.cat, err = openCatalog(filepath.Join(s.cfg.Dir, "catalog")); err != nil {
		return errors.Join(err, s.lock.Close())
	}
	gone, err := s.replay()
	if err == nil {
		err = syncDir(s.cfg.Dir)
	}
	if err != nil {
		return errors.Join(err, s.cat.close(), s.lock.Close())
	}
	s.sync = newSyncer(s)
	s.sync.watch = s.cfg.watchSync
	s.pack = newPacker(s)
	for id, last := range gone {
		s.cat.purge(id, last)
	}
	var stale []*stream
	for _, g := range s.groups {
		stale = append(stale, g.stale...)
	}
	s.sync.start(stale, gone)
	return nil
}

// replay builds the groups, and tells which streams' files are to be removed.
func (s *Store) replay() (map[uint64]uint32, error) {
	numbers := make(map[uint64]*group)
	streams := make(map[uint64]*stream)
	gone := make(map[uint64]uint32)
	err := s.cat.replay(func(payload []byte) error {
		f := fields{b: payload}
		switch kind := f.byte(); kind {
		case catGroup:
			g := &group{number: f.uint(), groupKey: groupKey{f.string(), f.string(), f.string()}, created: f.int()}
			numbers[g.number] = g
			s.number = max(s.number, g.number)
		case catNoGroup:
			number := f.uint()
			for id, st := range streams {
				if st.group.number == number {
					delete(streams, id)
					gone[id] = st.segment.Load()
				}
			}
			delete(numbers, number)
		case catStream:
			g := numbers[f.uint()]
			st := &stream{group: g, id: f.uint64(), name: f.string(), created: f.int()}
			st.marked.Store(f.byte() == 1)
			st.segment.Store(uint32(f.uint()))
			sum := f.summary()
			if g == nil || f.bad {
				return errDamaged
			}
			st.setSummary(sum)
			streams[st.id] = st
		case catNoStream:
			id, last := f.uint64(), uint32(f.uint())
			if st := streams[id]; st != nil {
				st.group.bytes.Add(-st.bytes.Load())
				delete(streams, id)
			}
			gone[id] = last
		case catMark:
			if st := streams[f.uint64()]; st != nil {
				st.marked.Store(true)
			}
		case catCheck:
			id, n, sum := f.uint64(), uint32(f.uint()), f.summary()
			if st := streams[id]; st != nil && !f.bad {
				st.segment.Store(n)
				st.setSummary(sum)
				st.marked.Store(false)
			}
		default:
			return fmt.Errorf("kind %d is not known to this version", kind)
		}
		if f.bad {
			return errDamaged
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, g := range numbers {
		s.groups[g.groupKey] = g
	}
	for _, st := range streams {
		st.group.streams = append(st.group.streams, st)
		if st.marked.Load() {
			st.group.stale = append(st.group.stale, st)
		}
	}
	for _, g := range numbers {
		slices.SortFunc(g.streams, func(a, b *stream) int { return cmpString(a.name, b.name) })
	}
	return gone, nil
}

// Close writes down how all streams stand and releases the folder.
func (s *Store) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	s.pack.close()
	s.sync.close()
	s.files.close()
	s.follow.close()
	if d, derr := s.decode(); derr == nil {
		d.Close()
	}
	err := s.cat.close()
	// a program that is being started still has the lock
	return errors.Join(err, unix.Flock(int(s.lock.Fd()), unix.LOCK_UN), s.lock.Close())
}

// compact writes the catalogue anew.
func (s *Store) compact() error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.cat.rewrite(func(emit func([]byte) error) error {
		for _, g := range s.groups {
			if err := emit(groupRecord(g)); err != nil {
				return err
			}
			for _, st := range g.streams {
				if err := emit(streamRecord(st)); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// CreateGroup implements logs.Store.
func (s *Store) CreateGroup(_ context.Context, account, region, name string) error {
	s.mu.Lock()
	_, made, err := s.group(groupKey{account, region, name}, true)
	s.mu.Unlock()
	if err != nil {
		return fmt.Errorf("log group %s: %w", name, err)
	}
	if !made {
		return logs.ErrGroupExists
	}
	return s.cat.sync()
}

// group finds or makes a group; mu is held, for writing if it may be made.
func (s *Store) group(k groupKey, create bool) (g *group, made bool, err error) {
	if g := s.groups[k]; g != nil {
		return g, false, nil
	}
	if !create {
		return nil, false, logs.ErrNoGroup
	}
	if s.closed.Load() {
		return nil, false, os.ErrClosed
	}
	g = &group{groupKey: k, number: s.number + 1, created: time.Now().UnixMilli()}
	if err := s.cat.add(groupRecord(g)); err != nil {
		return nil, false, err
	}
	s.number++
	s.groups[k] = g
	s.sync.kick()
	return g, true, nil
}

func (s *Store) lookup(k logs.Stream) (*stream, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	g, _, err := s.group(groupKey{k.Account, k.Region, k.Group}, false)
	if err != nil {
		return nil, err
	}
	i, ok := g.find(k.Name)
	if !ok {
		return nil, logs.ErrNoStream
	}
	return g.streams[i], nil
}

// create finds or makes a stream.
func (s *Store) create(k logs.Stream, andGroup bool) (st *stream, made bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g, _, err := s.group(groupKey{k.Account, k.Region, k.Group}, andGroup)
	if err != nil {
		return nil, false, err
	}
	if s.closed.Load() {
		return nil, false, os.ErrClosed
	}
	i, ok := g.find(k.Name)
	if ok {
		return g.streams[i], false, nil
	}
	var id [8]byte
	_, _ = rand.Read(id[:])
	st = &stream{group: g, id: binary.LittleEndian.Uint64(id[:]), name: k.Name, created: time.Now().UnixMilli()}
	if err := s.cat.add(streamRecord(st)); err != nil {
		return nil, false, err
	}
	g.streams = slices.Insert(g.streams, i, st)
	s.sync.kick()
	return st, true, nil
}

// CreateStream implements logs.Store.
func (s *Store) CreateStream(_ context.Context, k logs.Stream) error {
	_, made, err := s.create(k, false)
	switch {
	case errors.Is(err, logs.ErrNoGroup):
		return err
	case err != nil:
		return fmt.Errorf("log stream %s: %w", k.Name, err)
	case !made:
		return logs.ErrStreamExists
	}
	return s.cat.sync()
}

// DeleteStream implements logs.Store.
func (s *Store) DeleteStream(_ context.Context, k logs.Stream) error {
	s.mu.Lock()
	g, _, err := s.group(groupKey{k.Account, k.Region, k.Group}, false)
	if err != nil {
		s.mu.Unlock()
		return err
	}
	i, ok := g.find(k.Name)
	if !ok {
		s.mu.Unlock()
		return logs.ErrNoStream
	}
	st := g.streams[i]
	if err := s.cat.add(noStreamRecord(st.id, st.segment.Load()+1)); err != nil {
		s.mu.Unlock()
		return fmt.Errorf("log stream %s: %w", k.Name, err)
	}
	s.cat.purge(st.id, st.segment.Load()+1)
	g.streams = slices.Delete(g.streams, i, i+1)
	s.mu.Unlock()
	if err := s.cat.sync(); err != nil {
		return fmt.Errorf("log stream %s: %w", k.Name, err)
	}
	s.discard(st)
	return nil
}

// DeleteGroup implements logs.Store.
func (s *Store) DeleteGroup(_ context.Context, account, region, name string) error {
	s.mu.Lock()
	g, _, err := s.group(groupKey{account, region, name}, false)
	if err == nil {
		err = s.cat.add(noGroupRecord(g))
	}
	if err != nil {
		s.mu.Unlock()
		if errors.Is(err, logs.ErrNoGroup) {
			return err
		}
		return fmt.Errorf("log group %s: %w", name, err)
	}
	streams := g.streams
	for _, st := range streams {
		s.cat.purge(st.id, st.segment.Load()+1)
	}
	g.streams, g.stale = nil, nil
	delete(s.groups, g.groupKey)
	s.mu.Unlock()
	if err := s.cat.sync(); err != nil {
		return fmt.Errorf("log group %s: %w", name, err)
	}
	for _, st := range streams {
		s.discard(st)
	}
	return nil
}

// discard removes the files of a stream that is no longer in the catalogue.
func (s *Store) discard(st *stream) {
	st.mu.Lock()
	st.gone, st.tail = true, nil
	st.group.bytes.Add(-st.bytes.Load())
	last := st.segment.Load()
	st.mu.Unlock()
	s.sync.forget(st)
	s.unlink(st.id, last+1)
}

// unlink removes segments up to and including last, and those after it that a
// crash left uncounted. On failure the next start tries again.
func (s *Store) unlink(id uint64, last uint32) {
	for n := uint32(0); ; n++ {
		raw, packed := fileKey{id, n, false}, fileKey{id, n, true}
		if n > last {
			r, _ := s.files.exists(raw)
			p, _ := s.files.exists(packed)
			if !r && !p {
				break
			}
		}
		if err := errors.Join(s.files.remove(raw), s.files.remove(packed)); err != nil {
			s.cfg.Log.Warn("log segment stays", "file", raw.name(), "err", err)
			return
		}
	}
	s.cat.purged(id)
}
