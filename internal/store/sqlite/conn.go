package sqlite

import (
	"context"
	"database/sql"
	"errors"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/driver"
	"github.com/ncruces/go-sqlite3/ext/fts5"

	"clary/internal/resource"
)

// conn is one connection with its prepared statements. One goroutine at a time
// has it.
type conn struct {
	db    *sql.DB
	c     *sql.Conn
	stmts map[string]*sql.Stmt
}

func openConn(name string) (*conn, error) {
	db, err := driver.Open(name, fts5.Register)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	c, err := db.Conn(context.Background())
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &conn{db: db, c: c, stmts: make(map[string]*sql.Stmt)}, nil
}

func (c *conn) close() error {
	var err error
	for _, s := range c.stmts {
		err = errors.Join(err, s.Close())
	}
	return errors.Join(err, c.c.Close(), c.db.Close())
}

// exec runs a command of the connection itself, without arguments.
func (c *conn) exec(command string) error {
	_, err := c.c.ExecContext(context.Background(), command)
	return err
}

func (c *conn) stmt(query string) (*sql.Stmt, error) {
	if s, ok := c.stmts[query]; ok {
		return s, nil
	}
	s, err := c.c.PrepareContext(context.Background(), query)
	if err != nil {
		return nil, err
	}
	c.stmts[query] = s
	return s, nil
}

// tx is one transaction, or in a reader one snapshot. It satisfies store.Tx.
type tx struct {
	*conn
	writes bool
	broken error // the first error after which the whole transaction is void

	inserts int // records added

	puts  []put          // records whose version was raised, to lower it again on undo
	hints []resource.Key // for watches, once all is on disk
}

type put struct {
	r       *resource.Record
	version int64
}

// undo takes back what fn did to memory.
func (t *tx) undo() {
	for i := len(t.puts) - 1; i >= 0; i-- {
		t.puts[i].r.Version = t.puts[i].version
	}
}

// note keeps err when it voids the transaction: a full disk, a failing one.
func (t *tx) note(err error) error {
	if t.broken == nil && voids(err) {
		t.broken = err
	}
	return err
}

func voids(err error) bool {
	for _, code := range []sqlite3.ErrorCode{sqlite3.FULL, sqlite3.IOERR, sqlite3.NOMEM, sqlite3.CORRUPT, sqlite3.NOTADB, sqlite3.READONLY} {
		if errors.Is(err, code) {
			return true
		}
	}
	return false
}

// ExecContext runs a constant statement. Its context is not looked at: a
// write that has begun is short and shared.
func (t *tx) ExecContext(_ context.Context, query string, args ...any) (sql.Result, error) {
	s, err := t.stmt(query)
	if err != nil {
		return nil, t.note(err)
	}
	res, err := s.ExecContext(context.Background(), args...)
	return res, t.note(err)
}

// QueryContext runs a constant statement.
func (t *tx) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	if t.writes {
		ctx = context.Background()
	}
	s, err := t.stmt(query)
	if err != nil {
		return nil, t.note(err)
	}
	rows, err := s.QueryContext(ctx, args...)
	return rows, t.note(err)
}

// QueryRowContext runs a constant statement for at most one row.
func (t *tx) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	if t.writes {
		ctx = context.Background()
	}
	s, err := t.stmt(query)
	if err != nil {
		// Only the connection can make a Row that carries an error.
		return t.c.QueryRowContext(ctx, query, args...)
	}
	return s.QueryRowContext(ctx, args...)
}

// exec runs a constant statement and tells how many rows it touched.
func (t *tx) exec(query string, args ...any) (int64, error) {
	res, err := t.ExecContext(context.Background(), query, args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}
