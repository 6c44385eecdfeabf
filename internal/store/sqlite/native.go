package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/driver"
)

// query is one run of a statement on the connection itself, past
// database/sql: what every request needs is bound and read without boxing,
// locks and second copies. Bind, step with next, read, and always end.
type query struct {
	s   *sqlite3.Stmt
	n   int // parameters bound
	err error
}

// raw takes the driver's own connection out of c. Who has c has it too.
func raw(c *sql.Conn) (*sqlite3.Conn, error) {
	var own *sqlite3.Conn
	err := c.Raw(func(dc any) error {
		if d, ok := dc.(driver.Conn); ok {
			own = d.Raw()
			return nil
		}
		return errNoDriver
	})
	return own, err
}

// query prepares a constant text once per connection.
func (c *conn) query(text string) query {
	s, ok := c.quick[text]
	if ok {
		return query{s: s}
	}
	s, _, err := c.own.PrepareFlags(text, sqlite3.PREPARE_PERSISTENT)
	if err != nil {
		return query{err: err}
	}
	c.quick[text] = s
	return query{s: s}
}

// command runs a constant statement without parameters or rows.
func (c *conn) command(text string) error {
	q := c.query(text)
	return q.run()
}

func (c *conn) commands(texts []string) error {
	for _, t := range texts {
		if err := c.command(t); err != nil {
			return err
		}
	}
	return nil
}

func (q *query) text(v string) {
	if q.n++; q.err == nil {
		q.err = q.s.BindText(q.n, v)
	}
}

func (q *query) int(v int64) {
	if q.n++; q.err == nil {
		q.err = q.s.BindInt64(q.n, v)
	}
}

func (q *query) blob(v []byte) {
	if q.n++; q.err == nil {
		q.err = q.s.BindBlob(q.n, v)
	}
}

// bind takes values as the filters of a listing hold them.
func (q *query) bind(args []any) {
	for _, a := range args {
		switch v := a.(type) {
		case string:
			q.text(v)
		case int64:
			q.int(v)
		case int:
			q.int(int64(v))
		}
	}
}

// next steps to a row.
func (q *query) next() bool {
	if q.err != nil {
		return false
	}
	if q.s.Step() {
		return true
	}
	q.err = q.s.Err()
	return false
}

// end leaves the statement ready for its next run and tells how this one went.
func (q *query) end() error {
	if q.s != nil {
		if err := q.s.Reset(); q.err == nil {
			q.err = err
		}
	}
	return q.err
}

// run runs a statement that gives no rows.
func (q *query) run() error {
	q.next()
	return q.end()
}

func (q *query) str(col int) string { return q.s.ColumnText(col) }

func (q *query) num(col int) int64 { return q.s.ColumnInt64(col) }

func (q *query) bytes(col int) json.RawMessage { return q.s.ColumnBlob(col, nil) }

// interruptible lets ctx end what runs on the connection until the returned
// function is called.
func (c *conn) interruptible(ctx context.Context) func() {
	old := c.own.SetInterrupt(ctx)
	return func() { c.own.SetInterrupt(old) }
}
