// Package folder keeps objects in a local folder: rows in the store's index,
// and beside them one immutable content file for every object version and
// every part, under a random name. The bytes of small objects lie in the index
// too: one commit makes them durable with their row. It never makes a path of a key, never
// changes a file that a row names, and never answers a write before bytes and
// row are both on disk.
//
// A write goes tmp → final name → fsync of file and folder → row. What was
// written without a row that names it is garbage: the file of a failed write
// is removed at once, that of a crash by Sweep. Start at Open, then put.go,
// content.go and read.go.
package folder

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"clary/internal/blob"
	"clary/internal/store"
)

// Config says where objects are and who keeps their rows.
type Config struct {
	Root  string // created when missing; nobody else may write below it
	Index store.Objects
	// Small is the greatest size of an object that has no file of its own, at
	// most 256 KiB: 0 is 16 KiB, less than 0 is none.
	Small int
	// Room is asked before a write and answers store.ErrFull when the disk is
	// too full for new work. nil: always room.
	Room func() error
	Log  *slog.Logger // nil: silent
}

// Store is a blob.Store.
type Store struct {
	index   store.Objects
	small   int
	room    func() error
	log     *slog.Logger
	content *content
	buckets buckets
	lock    *os.File
	stop    context.CancelFunc
	swept   chan struct{}
}

var _ blob.Store = (*Store)(nil)

const (
	// crashed is the mark of a folder whose last user did not close it.
	crashed = "OPEN"
	// sweepEvery and sweepAge bound what a failing removal may leave behind.
	sweepEvery = 6 * time.Hour
	sweepAge   = time.Hour
	// defaultSmall is where a file's two syncs begin to cost less than writing
	// the bytes twice, to the index's log and to the index.
	defaultSmall = 16 << 10
)

// Open takes hold of the folder. When the last user did not close it, what it
// left behind is swept in the background.
func Open(cfg Config) (*Store, error) {
	s, dirty, err := open(cfg)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	go s.sweeper(ctx, dirty)
	return s, nil
}

func open(cfg Config) (*Store, bool, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Small == 0 {
		cfg.Small = defaultSmall
	}
	if cfg.Room == nil {
		cfg.Room = func() error { return nil }
	}
	if err := os.MkdirAll(filepath.Join(cfg.Root, tmpDir), 0o700); err != nil {
		return nil, false, fmt.Errorf("blob folder: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(cfg.Root, "LOCK"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, false, fmt.Errorf("blob folder: %w", err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, false, errors.Join(fmt.Errorf("blob folder %s is in use by another process: %w", cfg.Root, err), lock.Close())
	}
	mark := filepath.Join(cfg.Root, crashed)
	_, err = os.Stat(mark)
	dirty := err == nil
	c, err := newContent(cfg.Root)
	if err == nil && !dirty {
		err = os.WriteFile(mark, nil, 0o600)
		if err == nil {
			err = syncDir(cfg.Root)
		}
	}
	if err != nil {
		return nil, false, errors.Join(fmt.Errorf("blob folder: %w", err), lock.Close())
	}
	return &Store{
		index: cfg.Index, small: cfg.Small, room: cfg.Room, log: cfg.Log,
		content: c, lock: lock, swept: make(chan struct{}),
	}, dirty, nil
}

// Close ends the background work and leaves the folder clean. Requests must
// have ended.
func (s *Store) Close() error {
	s.stop()
	<-s.swept
	clean := s.content.close()
	if clean {
		if err := os.Remove(filepath.Join(s.content.root, crashed)); err != nil {
			s.log.Warn("blob folder stays marked as open", "err", err)
		}
	}
	// a program that is being started still has the lock
	return errors.Join(unix.Flock(int(s.lock.Fd()), unix.LOCK_UN), s.lock.Close())
}

// wrap gives errors of the index the words of the contract.
func wrap(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, store.ErrNotFound):
		return blob.ErrNoSuchBucket
	case errors.Is(err, store.ErrExists):
		return blob.ErrBucketExists
	case errors.Is(err, store.ErrNotEmpty):
		return blob.ErrBucketNotEmpty
	case errors.Is(err, store.ErrVersion):
		return blob.ErrVersion
	case errors.Is(err, store.ErrFull), errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return fmt.Errorf("%w: %w", blob.ErrFull, err)
	}
	return err
}

// CreateBucket makes b.
func (s *Store) CreateBucket(ctx context.Context, b blob.Bucket) error {
	return wrap(s.index.CreateBucket(ctx, store.BlobBucket(b)))
}

// Bucket reads one bucket. Every request asks for one, so they are kept: the
// folder's lock means that nobody else changes them.
func (s *Store) Bucket(ctx context.Context, name string) (blob.Bucket, error) {
	b, known, at := s.buckets.get(name)
	if known {
		return b, nil
	}
	row, err := s.index.Bucket(ctx, name)
	if err != nil {
		return blob.Bucket{}, wrap(err)
	}
	s.buckets.keep(blob.Bucket(row), at)
	return blob.Bucket(row), nil
}

// Buckets reads the buckets of an account.
func (s *Store) Buckets(ctx context.Context, account string) ([]blob.Bucket, error) {
	rows, err := s.index.Buckets(ctx, account)
	if err != nil {
		return nil, wrap(err)
	}
	out := make([]blob.Bucket, len(rows))
	for i, r := range rows {
		out[i] = blob.Bucket(r)
	}
	return out, nil
}

// DeleteBucket removes an empty bucket and what was being uploaded to it.
func (s *Store) DeleteBucket(ctx context.Context, name string) error {
	defer s.buckets.change(name)()
	freed, err := s.index.DeleteBucket(ctx, name)
	if err != nil {
		return wrap(err)
	}
	s.content.free(freed)
	return nil
}

// SetVersioning turns a bucket's versioning on, or suspends it.
func (s *Store) SetVersioning(ctx context.Context, bucket, state string) error {
	defer s.buckets.change(bucket)()
	return wrap(s.index.SetVersioning(ctx, bucket, state))
}

// Setting reads a document of a bucket.
func (s *Store) Setting(ctx context.Context, bucket, name string) ([]byte, error) {
	value, err := s.index.Setting(ctx, bucket, name)
	return value, wrap(err)
}

// SetSetting writes a document of a bucket.
func (s *Store) SetSetting(ctx context.Context, bucket, name string, value []byte) error {
	return wrap(s.index.SetSetting(ctx, bucket, name, value))
}
