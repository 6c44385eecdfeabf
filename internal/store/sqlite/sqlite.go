package sqlite

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"sync"

	"clary/internal/resource"
	"clary/internal/store"
)

var errClosed = errors.New("store is closed")

// Options are what an opener may choose; the zero value is good.
type Options struct {
	// Readers is how many snapshots may be open at once; 0 suits the machine.
	Readers int
	// Ballast is a file that is given up when the disk is full, so that what
	// is under way can still be recorded; "" for none.
	Ballast string
	// BallastBytes is its size; 0 is 64 MiB.
	BallastBytes int64
}

// Store is a store.Store in one SQLite file.
type Store struct {
	jobs    chan *job
	closing chan struct{}
	written chan struct{} // closed when the writer has ended
	once    sync.Once
	dir     string
	inserts int // records added since the indexer was told; the writer's

	unindexed chan struct{} // enough names wait for the index
	indexed   chan struct{} // closed when the indexer has ended
	ballast   ballast

	pool    *pool
	cache   *cache
	leases  leases
	watches watches
}

var _ store.Store = (*Store)(nil)

// Open opens the database at path, makes it when it is absent and brings its
// schema up to date.
func Open(path string, o Options) (*Store, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	if o.Readers <= 0 {
		o.Readers = max(4, runtime.GOMAXPROCS(0))
	}
	w, err := openWriter(abs)
	if err != nil {
		return nil, fmt.Errorf("open store %s: %w", path, err)
	}
	if err := migrate(w); err != nil {
		return nil, errors.Join(fmt.Errorf("open store %s: %w", path, err), w.close())
	}
	if err := syncDir(filepath.Dir(abs)); err != nil {
		return nil, errors.Join(fmt.Errorf("open store %s: %w", path, err), w.close())
	}
	s := &Store{
		dir:       filepath.Dir(abs),
		jobs:      make(chan *job),
		closing:   make(chan struct{}),
		written:   make(chan struct{}),
		ballast:   ballast{path: o.Ballast, size: o.BallastBytes},
		unindexed: make(chan struct{}, 1),
		indexed:   make(chan struct{}),
		pool:      newPool(dsn(abs, true), o.Readers),
		cache:     newCache(),
		leases:    leases{lock: make(chan struct{}, 1), held: make(map[resource.Key]lease)},
		watches:   watches{all: make(map[*watch]struct{})},
	}
	if s.ballast.size <= 0 {
		s.ballast.size = defaultBallast
	}
	s.ballast.restore()
	w.writer(s.cache)
	go s.write(w)
	go s.indexNames()
	return s, nil
}

// Close lets the writes that have begun end, and closes the database.
func (s *Store) Close() error {
	s.once.Do(func() {
		close(s.closing)
		s.watches.close()
	})
	<-s.written
	<-s.indexed
	return s.pool.close()
}

// dsn names the database for the driver. Readers are told to only read.
func dsn(path string, reader bool) string {
	q := url.Values{}
	q.Add("_pragma", "busy_timeout(10000)")
	if reader {
		q.Add("_pragma", "query_only(on)")
	} else {
		q.Add("_pragma", "journal_mode(wal)")
		q.Add("_pragma", "synchronous(full)")
		q.Add("_pragma", "journal_size_limit(67108864)")
		q.Add("_pragma", "temp_store(memory)") // what savepoints keep aside
	}
	return (&url.URL{Scheme: "file", Path: path, RawQuery: q.Encode()}).String()
}

// syncDir makes the names in a folder durable.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// View implements store.Store.
func (s *Store) View(ctx context.Context, fn func(store.Tx) error) error {
	return s.read(ctx, func(t *tx) error { return fn(t) })
}

// Update implements store.Store.
func (s *Store) Update(ctx context.Context, fn func(store.Tx) error) error {
	return s.update(ctx, func(t *tx) error { return fn(t) })
}

// Objects is the index of buckets and objects in this database.
func (s *Store) Objects() store.Objects {
	return &objects{
		read: func(ctx context.Context, fn func(q querier) error) error {
			return s.read(ctx, func(t *tx) error { return fn(t) })
		},
		look: func(ctx context.Context, fn func(q querier) error) error {
			return s.reader(ctx, func(t *tx) error { return fn(t) })
		},
		write: func(ctx context.Context, fn func(q querier) error) error {
			return s.update(ctx, func(t *tx) error { return fn(t) })
		},
	}
}
