package sqlite

import (
	"context"
	"errors"
	"slices"
	"syscall"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/ext/fts5"

	"clary/internal/resource"
	"clary/internal/store"
)

// A single goroutine, write, has the only connection that writes. It opens a
// transaction for the first caller and lets those in who wait meanwhile, each
// behind a savepoint; then it commits once for all. A caller runs its own
// function in its own goroutine when it has the turn, so a panic is its own.

const (
	maxBatch = 512 // callers that share a commit
	retries  = 16  // of a function that met ErrConflict

	fullBelow = 1 << 18 // free bytes with which a failed write is one of a full disk
)

// errAbandoned is the verdict of a function that panicked or left its goroutine.
var errAbandoned = errors.New("transaction function did not return")

type job struct {
	turn  chan *tx   // writer to caller: run now
	back  chan error // caller to writer: how it went
	done  chan error // writer to caller: it is on disk, or not
	err   error      // how the last run went
	hints []resource.Key
	added int // records
}

// openWriter knows full-text tables, which earlier schemas had.
func openWriter(path string) (*conn, error) { return openConn(dsn(path, false), fts5.Register) }

// writer makes the connection one that changes records.
func (c *conn) writer(known *cache) {
	c.cache, c.touched, c.lags = known, make(map[resource.Key]touch), make(map[resource.Kind]lag)
}

// update runs fn in the write transaction and returns once it is durable.
func (s *Store) update(ctx context.Context, fn func(*tx) error) error {
	fn, kept := withEvent(ctx, fn)
	var err error
	for range retries {
		if err = s.commit(ctx, fn); !errors.Is(err, store.ErrConflict) {
			break
		}
	}
	if err == nil {
		kept()
	}
	return err
}

func (s *Store) commit(ctx context.Context, fn func(*tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	j := &job{turn: make(chan *tx), back: make(chan error), done: make(chan error, 1)}
	select {
	case s.jobs <- j:
	case <-ctx.Done():
		return ctx.Err()
	case <-s.closing:
		return errClosed
	}
	// From here on the writer answers soon, and what it does may no longer be
	// called off: ctx has had its say.
	for {
		select {
		case t := <-j.turn:
			j.run(t, fn)
		case err := <-j.done:
			return err
		}
	}
}

func (j *job) run(t *tx, fn func(*tx) error) {
	verdict := errAbandoned
	defer func() { j.back <- verdict }()
	verdict = fn(t)
}

func (s *Store) write(w *conn) {
	defer close(s.written)
	defer w.close() //nolint:errcheck // everything answered is on disk
	for {
		select {
		case j := <-s.jobs:
			s.batch(w, j)
		case <-s.closing:
			return
		}
	}
}

// batch answers j and all who come while it is under way.
func (s *Store) batch(w *conn, j *job) {
	batch := []*job{j}
	err := s.attempt(w, &batch, true)
	if s.full(err) && s.ballast.release() {
		err = s.attempt(w, &batch, false)
	}
	if s.full(err) {
		err = errors.Join(store.ErrFull, err)
	}
	if err == nil {
		for _, j := range batch {
			s.watches.tell(j.hints)
			s.wrote(j.added)
		}
	}
	for _, j := range batch {
		if err != nil {
			j.done <- err
		} else {
			j.done <- j.err
		}
	}
	s.ballast.restore()
}

// full tells whether err comes of a full disk. The driver does not always say
// so: then the disk is asked.
func (s *Store) full(err error) bool {
	if !errors.Is(err, sqlite3.IOERR) {
		return errors.Is(err, sqlite3.FULL)
	}
	var st syscall.Statfs_t
	return syscall.Statfs(s.dir, &st) == nil && st.Bavail*uint64(st.Bsize) < fullBelow
}

// attempt runs the batch in one transaction. Its error is of the transaction
// as a whole: nothing of it was kept.
func (s *Store) attempt(w *conn, batch *[]*job, gather bool) (err error) {
	if err := w.command(`BEGIN IMMEDIATE`); err != nil {
		return err
	}
	clear(w.touched)
	var undo []*tx
	defer func() {
		if err == nil {
			return
		}
		for _, u := range slices.Backward(undo) {
			u.undo()
		}
		// SQLite may have rolled back by itself; then this one has nothing to do.
		_ = w.command(`ROLLBACK`)
	}()
	for i := 0; ; i++ {
		if i == len(*batch) && (!gather || !s.join(batch)) {
			break
		}
		j := (*batch)[i]
		if errors.Is(j.err, errAbandoned) {
			continue
		}
		t, err := turn(w, j, len(undo) == 0)
		if t != nil {
			undo = append(undo, t)
		}
		if err != nil {
			return err
		}
	}
	s.cache.change(w.touched)
	err = w.command(`COMMIT`)
	s.cache.changed(w.touched, err == nil)
	return err
}

// join adds one who waits right now.
func (s *Store) join(batch *[]*job) bool {
	if len(*batch) == maxBatch {
		return false
	}
	select {
	case j := <-s.jobs:
		*batch = append(*batch, j)
		return true
	default:
		return false
	}
}

// turn lets j run, behind a savepoint unless it is the first whose effects the
// transaction holds. It gives back the transaction when its effects stand, and
// an error when all of the batch is void.
func turn(w *conn, j *job, first bool) (*tx, error) {
	begin, drop, keep := []string{`SAVEPOINT turn`}, []string{`ROLLBACK TO turn`, `RELEASE turn`}, []string{`RELEASE turn`}
	if first {
		begin, drop, keep = nil, []string{`ROLLBACK`, `BEGIN IMMEDIATE`}, nil
	}
	if err := w.commands(begin); err != nil {
		return nil, err
	}
	t := &tx{conn: w, writes: true}
	j.turn <- t
	j.err = <-j.back
	j.hints, j.added = t.hints, t.inserts
	if t.broken != nil {
		t.undo()
		return nil, t.broken
	}
	if j.err != nil {
		t.undo()
		j.hints, j.added = nil, 0
		return nil, w.commands(drop)
	}
	return t, w.commands(keep)
}
