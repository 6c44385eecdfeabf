package sqlite

import (
	"context"
	"errors"
	"sync"
)

// pool holds the readers. They are opened when first needed and stay open.
type pool struct {
	name  string
	slots chan *conn // nil stands for one not yet opened
	size  int
	once  sync.Once
	err   error
	done  chan struct{}
}

func newPool(name string, size int) *pool {
	p := &pool{name: name, slots: make(chan *conn, size), size: size, done: make(chan struct{})}
	for range size {
		p.slots <- nil
	}
	return p
}

func (p *pool) take(ctx context.Context) (*conn, error) {
	select {
	case <-p.done:
		return nil, errClosed
	default:
	}
	select {
	case c := <-p.slots:
		if c != nil {
			return c, nil
		}
		c, err := openConn(p.name)
		if err != nil {
			p.slots <- nil
			return nil, err
		}
		return c, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-p.done:
		return nil, errClosed
	}
}

// close waits for the readers that are out.
func (p *pool) close() error {
	p.once.Do(func() {
		close(p.done)
		for range p.size {
			if c := <-p.slots; c != nil {
				p.err = errors.Join(p.err, c.close())
			}
		}
	})
	return p.err
}

// read runs fn in a snapshot.
func (s *Store) read(ctx context.Context, fn func(*tx) error) error {
	return s.reader(ctx, func(t *tx) (err error) {
		if err := t.command(`BEGIN`); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, t.command(`ROLLBACK`)) }()
		return fn(t)
	})
}

// reader runs fn with a reader of the pool; each statement sees a snapshot of
// its own.
func (s *Store) reader(ctx context.Context, fn func(*tx) error) error {
	c, err := s.pool.take(ctx)
	if err != nil {
		return err
	}
	defer func() { s.pool.slots <- c }()
	return fn(&tx{conn: c})
}
