package sqlite

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"time"

	"clary/internal/resource"
)

// changed numbers what happens to the ledger: an interval has the number of
// its opening, then of its newest tags, then of its closing.
const usageSchema = `
ALTER TABLE usage ADD COLUMN changed INTEGER NOT NULL DEFAULT 0;
UPDATE usage SET changed = n.n FROM (SELECT id, row_number() OVER (ORDER BY start, id) AS n FROM usage) AS n WHERE n.id = usage.id;
CREATE UNIQUE INDEX usage_changed ON usage(changed);
CREATE INDEX usage_end ON usage(account, end, start) WHERE end <> 0;
`

// tags are ” or a JSON object with its keys in order. Intervals from before
// they were kept get those that their resource has now.
const usageTagSchema = `
ALTER TABLE usage ADD COLUMN tags TEXT NOT NULL DEFAULT '';
UPDATE usage SET tags = t.tags FROM (
	SELECT r.uid, (SELECT json_group_object(key, value) FROM (SELECT key, value FROM tag WHERE arn = r.arn ORDER BY key)) AS tags
	FROM resource AS r WHERE r.uid <> '' AND r.arn <> '' AND EXISTS (SELECT 1 FROM tag WHERE arn = r.arn)
) AS t WHERE t.uid = usage.uid;
`

const nextChange = `(SELECT ifnull(max(changed), 0) + 1 FROM usage)`

// OpenUsage implements store.Tx.
func (t *tx) OpenUsage(u resource.Usage) error {
	if u.ID == "" || u.Start.IsZero() {
		return errors.New("usage without id or start")
	}
	tags, err := tagText(u.Tags)
	if err != nil {
		return err
	}
	_, err = t.exec(`INSERT INTO usage(id, account, region, kind, name, uid, component, instance_type, unit, quantity, start, end, tags, changed)
		VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, `+nextChange+`) ON CONFLICT(id) DO NOTHING`,
		u.ID, u.Account, u.Region, string(u.Kind), u.Name, u.UID, u.Component, u.InstanceType, u.Unit, u.Quantity,
		nanos(u.Start), nanos(u.End), tags)
	return err
}

// TagUsage implements store.Tx.
func (t *tx) TagUsage(uid string, tags map[string]string) error {
	text, err := tagText(tags)
	if err != nil {
		return err
	}
	const open = ` FROM usage WHERE uid = ? AND end = 0 AND unit <> 'request' AND tags <> ?`
	for {
		// One by one: each change has a number of its own.
		n, err := t.exec(`UPDATE usage SET tags = ?, changed = `+nextChange+` WHERE id = (SELECT id`+open+` LIMIT 1)`, text, uid, text)
		if err != nil || n == 0 {
			return err
		}
	}
}

// tagText is how tags are kept.
func tagText(tags map[string]string) (string, error) {
	if len(tags) == 0 {
		return "", nil
	}
	b, err := json.Marshal(tags)
	return string(b), err
}

// tagsOf reads what tagText wrote.
func tagsOf(text string) (tags map[string]string, err error) {
	if text != "" {
		err = json.Unmarshal([]byte(text), &tags)
	}
	return tags, err
}

// CloseUsage implements store.Tx.
func (t *tx) CloseUsage(id string, end time.Time) error {
	if end.IsZero() {
		return errors.New("usage closed without an end")
	}
	// A clock that was set back must not make a negative interval.
	_, err := t.exec(`UPDATE usage SET end = max(?, start), changed = `+nextChange+` WHERE id = ? AND end = 0`, nanos(end), id)
	return err
}

const usageColumns = `SELECT id, account, region, kind, name, uid, component, instance_type, unit, quantity, start, end, tags FROM usage `

// ListUsage implements store.Store. The order is by start, then id.
func (s *Store) ListUsage(ctx context.Context, q resource.UsageQuery) (out []resource.Usage, err error) {
	from, to := nanos(q.From), int64(math.MaxInt64)
	if !q.To.IsZero() {
		to = nanos(q.To)
	}
	// Whoever asks without an account has no index to start from but the uid's.
	query, first := usageColumns+`WHERE account = ?1`, q.Account
	switch {
	case q.UID != "":
		query, first = usageColumns+`WHERE uid = ?1 AND (?2 = '' OR account = ?2)`, q.UID
	case q.Account == "":
		query = usageColumns + `WHERE ?1 = ''`
	}
	args := []any{first, q.Account, q.Region, from, to}
	if len(q.Names) > 0 {
		names, err := json.Marshal(q.Names)
		if err != nil {
			return nil, err
		}
		query = usageColumns + `INDEXED BY usage_name WHERE account = ?2 AND region = ?3 AND kind = ?6 AND name IN (SELECT value FROM json_each(?7))`
		args = append(args, string(q.Kind), string(names))
	}
	query += ` AND (?2 = '' OR account = ?2) AND (?3 = '' OR region = ?3) AND start < ?5 AND (end = 0 OR end > ?4) ORDER BY start, id`
	err = s.read(ctx, func(t *tx) error {
		out = nil
		rows, err := t.QueryContext(ctx, query, args...)
		if err != nil {
			return err
		}
		defer rows.Close() //nolint:errcheck // rows.Err tells
		for rows.Next() {
			var u resource.Usage
			var kind, tags string
			var start, end int64
			if err := rows.Scan(&u.ID, &u.Account, &u.Region, &kind, &u.Name, &u.UID, &u.Component, &u.InstanceType, &u.Unit,
				&u.Quantity, &start, &end, &tags); err != nil {
				return err
			}
			u.Kind, u.Start, u.End = resource.Kind(kind), instant(start), instant(end)
			if u.Tags, err = tagsOf(tags); err != nil {
				return err
			}
			out = append(out, u)
		}
		return rows.Err()
	})
	return out, err
}

const (
	usageRow  = `SELECT id, region, kind, name, uid, component, instance_type, unit, quantity, start, end, tags FROM usage `
	usageOver = usageRow + `INDEXED BY usage_open WHERE account = ?1 AND end = 0 AND start < ?3 UNION ALL ` +
		usageRow + `INDEXED BY usage_end WHERE account = ?1 AND end <> 0 AND end > ?2 AND start < ?3`
	usageNew = usageRow + `INDEXED BY usage_changed WHERE changed > ?2 AND account = ?1`
)

// UsageSince implements store.Store.
func (s *Store) UsageSince(ctx context.Context, account string, from, to time.Time, since int64, f func(resource.Usage)) (place int64, err error) {
	err = s.read(ctx, func(t *tx) error {
		defer t.interruptible(ctx)()
		last := t.query(`SELECT ifnull(max(changed), 0) FROM usage`)
		if last.next() {
			place = last.num(0)
		}
		if err := last.end(); err != nil || place <= since {
			return err
		}
		text, bounds := usageNew, []int64{since}
		if since == 0 {
			text, bounds = usageOver, []int64{nanos(from), math.MaxInt64}
			if !to.IsZero() {
				bounds[1] = nanos(to)
			}
		}
		q := t.query(text)
		q.text(account)
		for _, b := range bounds {
			q.int(b)
		}
		u, tags := resource.Usage{Account: account}, ""
		for q.next() {
			q.again(1, &u.Region)
			q.again(2, (*string)(&u.Kind))
			q.again(5, &u.Component)
			q.again(6, &u.InstanceType)
			q.again(7, &u.Unit)
			u.ID, u.Name, u.UID = q.str(0), q.str(3), q.str(4)
			u.Quantity, u.Start, u.End = q.num(8), instant(q.num(9)), instant(q.num(10))
			if q.again(11, &tags) {
				if u.Tags, err = tagsOf(tags); err != nil {
					return errors.Join(err, q.end())
				}
			}
			f(u)
		}
		return q.end()
	})
	return place, err
}

// again reads a text that is most often that of the row before, and tells
// whether it is another one.
func (q *query) again(col int, v *string) bool {
	b := q.s.ColumnRawText(col)
	if string(b) == *v {
		return false
	}
	*v = string(b)
	return true
}
