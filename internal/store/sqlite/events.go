package sqlite

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"clary/internal/resource"
	"clary/internal/store"
)

const eventSchema = `
CREATE TABLE event(
	account       TEXT    NOT NULL,
	region        TEXT    NOT NULL,
	seq           INTEGER NOT NULL,
	hash          TEXT    NOT NULL,
	id            TEXT    NOT NULL,
	at            INTEGER NOT NULL,
	name          TEXT    NOT NULL,
	source        TEXT    NOT NULL,
	user          TEXT    NOT NULL,
	access_key    TEXT    NOT NULL,
	resource_type TEXT    NOT NULL,
	resource_name TEXT    NOT NULL,
	text          BLOB    NOT NULL,
	PRIMARY KEY(account, region, seq)
) STRICT;
CREATE INDEX event_name ON event(account, region, name, seq);
CREATE INDEX event_resource ON event(account, region, resource_name, seq) WHERE resource_name <> '';
CREATE INDEX event_at ON event(account, region, at, seq);
CREATE UNIQUE INDEX event_id ON event(id);
CREATE INDEX usage_name ON usage(account, region, kind, name, start);
`

// eventTimeSchema has every filter walk by time.
const eventTimeSchema = `
DROP INDEX event_name;
DROP INDEX event_resource;
CREATE INDEX event_name ON event(account, region, name, at, seq);
CREATE INDEX event_source ON event(account, region, source, at, seq);
CREATE INDEX event_user ON event(account, region, user, at, seq);
CREATE INDEX event_key ON event(account, region, access_key, at, seq) WHERE access_key <> '';
CREATE INDEX event_type ON event(account, region, resource_type, at, seq) WHERE resource_type <> '';
CREATE INDEX event_resource ON event(account, region, resource_name, at, seq) WHERE resource_name <> '';
`

const eventPage = 50

// before the first event of a chain
var noHash = strings.Repeat("0", 2*sha256.Size) //nolint:gochecknoglobals // a constant

// AppendEvent implements store.Events.
func (s *Store) AppendEvent(ctx context.Context, p *store.Pending) error {
	if p.Kept() {
		return nil
	}
	return s.update(store.WithEvent(ctx, p), func(*tx) error { return nil })
}

// withEvent has fn's transaction append the event that ctx carries.
func withEvent(ctx context.Context, fn func(*tx) error) (run func(*tx) error, kept func()) {
	p := store.PendingEvent(ctx)
	if p == nil {
		return fn, func() {}
	}
	return func(t *tx) error {
		if err := fn(t); err != nil {
			return err
		}
		return t.append(p)
	}, p.Keep
}

func (t *tx) append(p *store.Pending) error {
	seq, previous := int64(0), noHash
	err := t.QueryRowContext(context.Background(), `SELECT seq, hash FROM event WHERE account = ? AND region = ? ORDER BY seq DESC LIMIT 1`,
		p.Account, p.Region).Scan(&seq, &previous)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	seq++
	text, err := p.Render(seq, previous)
	if err != nil {
		return fmt.Errorf("event %s: %w", p.Name, err)
	}
	sum := sha256.Sum256(text)
	_, err = t.exec(`INSERT INTO event(account, region, seq, hash, id, at, name, source, user, access_key, resource_type, resource_name, text)
		VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		p.Account, p.Region, seq, hex.EncodeToString(sum[:]), p.ID, nanos(p.At), p.Name, p.Source, p.User, p.AccessKeyID,
		p.ResourceType, p.ResourceName, text)
	return err
}

// eventSearch selects one page, newest first, and one event more.
type eventSearch struct {
	sql    string
	args   []any
	byTime bool // the order is by time, then by place in the chain; else by place
}

// newEventSearch walks an index of the query's own filter, so that what does
// not fit is not visited. Without any it walks the chain itself. An event's
// time is that of its call's arrival and its place that of its end, so places
// are no bounds of a time.
func newEventSearch(q resource.EventQuery, limit int) (eventSearch, error) {
	x := eventSearch{args: []any{q.Account, q.Region}}
	index, where := "", []string{"account = ?", "region = ?"}
	for _, f := range []struct{ column, value, index string }{
		{"id", q.ID, "event_id"},
		{"resource_name", q.ResourceName, "event_resource"},
		{"user", q.User, "event_user"},
		{"access_key", q.AccessKeyID, "event_key"},
		{"name", q.Name, "event_name"},
		{"resource_type", q.ResourceType, "event_type"},
		{"source", q.Source, "event_source"},
	} {
		if f.value == "" {
			continue
		}
		where, x.args = append(where, f.column+" = ?", f.column+" <> ''"), append(x.args, f.value) // an index may leave out ''
		if index == "" {
			index = f.index
		}
	}
	if index == "" && (!q.From.IsZero() || !q.To.IsZero()) {
		index = "event_at"
	}
	at, seq := int64(math.MaxInt64), int64(math.MaxInt64)
	if q.Token != "" {
		var err error
		if at, seq, err = eventPlace(q.Token, index != ""); err != nil {
			return x, err
		}
	}
	order := "seq DESC"
	if index == "" {
		where, x.args = append(where, "seq < ?"), append(x.args, seq)
	} else {
		x.byTime, index, order = true, "INDEXED BY "+index, "at DESC, seq DESC"
		if !q.To.IsZero() && nanos(q.To) < at {
			at, seq = nanos(q.To), math.MaxInt64
		}
		where, x.args = append(where, "(at, seq) < (?, ?)"), append(x.args, at, seq)
		if !q.From.IsZero() {
			where, x.args = append(where, "at >= ?"), append(x.args, nanos(q.From))
		}
	}
	x.sql = `SELECT account, region, seq, hash, id, at, name, source, user, access_key, resource_type, resource_name, text FROM event ` + index +
		` WHERE ` + strings.Join(where, " AND ") + ` ORDER BY ` + order + ` LIMIT ?`
	x.args = append(x.args, limit+1)
	return x, nil
}

// eventPlace reads a token: the place of the last event of the page before,
// with its time where that orders.
func eventPlace(token string, byTime bool) (at, seq int64, err error) {
	text, place, timed := strings.Cut(token, ".")
	if timed != byTime {
		return 0, 0, store.ErrToken
	}
	if !timed {
		place = text
	} else if at, err = strconv.ParseInt(text, 36, 64); err != nil {
		return 0, 0, store.ErrToken
	}
	if seq, err = strconv.ParseInt(place, 36, 64); err != nil || seq < 1 {
		return 0, 0, store.ErrToken
	}
	return at, seq, nil
}

// token names the place after e.
func (x eventSearch) token(e resource.Event) string {
	t := strconv.FormatInt(e.Seq, 36)
	if x.byTime {
		t = strconv.FormatInt(nanos(e.At), 36) + "." + t
	}
	return t
}

// EventHeads implements store.Events: a step in the chains' index for each.
func (s *Store) EventHeads(ctx context.Context, account string) (out []resource.EventHead, err error) {
	err = s.read(ctx, func(t *tx) error {
		out = nil
		for h := (resource.EventHead{}); ; out = append(out, h) {
			err := t.QueryRowContext(ctx, `SELECT region, seq, hash FROM event WHERE account = ?1 AND region =
				(SELECT min(region) FROM event WHERE account = ?1 AND region > ?2) ORDER BY seq DESC LIMIT 1`, account, h.Region).Scan(&h.Region, &h.Seq, &h.Hash)
			if errors.Is(err, sql.ErrNoRows) {
				return nil
			}
			if err != nil {
				return err
			}
		}
	})
	return out, err
}

// ListEvents implements store.Events.
func (s *Store) ListEvents(ctx context.Context, q resource.EventQuery) (out []resource.Event, token string, err error) {
	limit := q.Limit
	if limit <= 0 {
		limit = eventPage
	}
	x, err := newEventSearch(q, limit)
	if err != nil {
		return nil, "", err
	}
	err = s.read(ctx, func(t *tx) error {
		out = nil
		rows, err := t.QueryContext(ctx, x.sql, x.args...)
		if err != nil {
			return err
		}
		defer rows.Close() //nolint:errcheck // rows.Err tells
		for rows.Next() {
			var e resource.Event
			var at int64
			if err := rows.Scan(&e.Account, &e.Region, &e.Seq, &e.Hash, &e.ID, &at, &e.Name, &e.Source, &e.User, &e.AccessKeyID,
				&e.ResourceType, &e.ResourceName, &e.Text); err != nil {
				return err
			}
			e.At = instant(at)
			out = append(out, e)
		}
		return rows.Err()
	})
	if err != nil || len(out) <= limit {
		return out, "", err
	}
	out = out[:limit]
	return out, x.token(out[limit-1]), nil
}
