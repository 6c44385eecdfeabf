package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"slices"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/driver"

	"clary/internal/resource"
)

// conn is one connection with its prepared statements. One goroutine at a time
// has it.
type conn struct {
	db    *sql.DB
	c     *sql.Conn
	stmts map[string]*sql.Stmt

	own   *sqlite3.Conn // the same connection, see query
	quick map[string]*sqlite3.Stmt

	cache   *cache                 // of the writer
	touched map[resource.Key]touch // by the writer's open transaction
	lags    map[resource.Kind]lag  // as the writer knows them to be on disk
}

var errNoDriver = errors.New("the driver's connection is of another kind")

func openConn(name string, with ...func(*sqlite3.Conn) error) (*conn, error) {
	db, err := driver.Open(name, with...)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	c, err := db.Conn(context.Background())
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	own, err := raw(c)
	if err != nil {
		return nil, errors.Join(err, c.Close(), db.Close())
	}
	return &conn{db: db, c: c, stmts: make(map[string]*sql.Stmt), own: own, quick: make(map[string]*sqlite3.Stmt)}, nil
}

func (c *conn) close() error {
	var err error
	for _, s := range c.stmts {
		err = errors.Join(err, s.Close())
	}
	for _, s := range c.quick {
		err = errors.Join(err, s.Close())
	}
	return errors.Join(err, c.c.Close(), c.db.Close())
}

// exec runs commands of the connection itself, without arguments.
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
	keys  []resource.Key // of records that it changed
}

// touch notes how the transaction left a record.
func (t *tx) touch(k resource.Key, how touch) {
	t.keys = append(t.keys, k)
	t.touched[k] = how
}

type put struct {
	r       *resource.Record
	version int64
}

// undo takes back what fn did to memory.
func (t *tx) undo() {
	for _, v := range slices.Backward(t.puts) {
		v.r.Version = v.version
	}
	for _, k := range t.keys {
		t.touched[k] = touch{}
	}
	clear(t.lags)
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

// QueryRowContext runs a constant statement for at most one row. Its context is
// not looked at: an index finds the row soon, and database/sql starts a goroutine
// for each query that may be given up.
func (t *tx) QueryRowContext(_ context.Context, query string, args ...any) *sql.Row {
	s, err := t.stmt(query)
	if err != nil {
		// Only the connection can make a Row that carries an error.
		return t.c.QueryRowContext(context.Background(), query, args...)
	}
	return s.QueryRowContext(context.Background(), args...)
}

// exec runs a constant statement and tells how many rows it touched.
func (t *tx) exec(query string, args ...any) (int64, error) {
	res, err := t.ExecContext(context.Background(), query, args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}
