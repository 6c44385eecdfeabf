package sqlite

import (
	"context"
	"errors"
	"math"
	"time"

	"clary/internal/resource"
)

// OpenUsage implements store.Tx.
func (t *tx) OpenUsage(u resource.Usage) error {
	if u.ID == "" || u.Start.IsZero() {
		return errors.New("usage without id or start")
	}
	_, err := t.exec(`INSERT INTO usage(id, account, region, kind, name, uid, component, instance_type, unit, quantity, start, end)
		VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
		u.ID, u.Account, u.Region, string(u.Kind), u.Name, u.UID, u.Component, u.InstanceType, u.Unit, u.Quantity,
		nanos(u.Start), nanos(u.End))
	return err
}

// CloseUsage implements store.Tx.
func (t *tx) CloseUsage(id string, end time.Time) error {
	if end.IsZero() {
		return errors.New("usage closed without an end")
	}
	// A clock that was set back must not make a negative interval.
	_, err := t.exec(`UPDATE usage SET end = max(?, start) WHERE id = ? AND end = 0`, nanos(end), id)
	return err
}

const usageColumns = `SELECT id, account, region, kind, name, uid, component, instance_type, unit, quantity, start, end FROM usage `

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
	query += ` AND (?2 = '' OR account = ?2) AND (?3 = '' OR region = ?3) AND start < ?5 AND (end = 0 OR end > ?4) ORDER BY start, id`
	err = s.read(ctx, func(t *tx) error {
		out = nil
		rows, err := t.QueryContext(ctx, query, first, q.Account, q.Region, from, to)
		if err != nil {
			return err
		}
		defer rows.Close() //nolint:errcheck // rows.Err tells
		for rows.Next() {
			var u resource.Usage
			var kind string
			var start, end int64
			if err := rows.Scan(&u.ID, &u.Account, &u.Region, &kind, &u.Name, &u.UID, &u.Component, &u.InstanceType, &u.Unit,
				&u.Quantity, &start, &end); err != nil {
				return err
			}
			u.Kind, u.Start, u.End = resource.Kind(kind), instant(start), instant(end)
			out = append(out, u)
		}
		return rows.Err()
	})
	return out, err
}
