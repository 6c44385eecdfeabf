package sqlite

import (
	"context"
	"time"

	"clary/internal/store"
)

// sampleSchema holds measurements as they came. The owner and the name of a
// series are long and repeat, so they stand apart.
const sampleSchema = `
CREATE TABLE sample_series(
	id    INTEGER PRIMARY KEY,
	owner TEXT NOT NULL,
	name  TEXT NOT NULL,
	UNIQUE(owner, name)
) STRICT;
CREATE TABLE sample(
	series INTEGER NOT NULL,
	at     INTEGER NOT NULL,
	step   INTEGER NOT NULL,
	value  REAL    NOT NULL,
	PRIMARY KEY(series, at, step, value)
) STRICT, WITHOUT ROWID;
`

// Samples is the table of measurements in this database.
func (s *Store) Samples() store.Samples { return sampleRows{s} }

type sampleRows struct{ s *Store }

// AddSamples implements store.Samples.
func (r sampleRows) AddSamples(ctx context.Context, owner string, add []store.Sample) error {
	return r.s.update(ctx, func(t *tx) error {
		for _, a := range add {
			var id int64
			err := t.QueryRowContext(ctx, `INSERT INTO sample_series(owner, name) VALUES(?, ?)
				ON CONFLICT DO UPDATE SET name = excluded.name RETURNING id`, owner, a.Name).Scan(&id)
			if err != nil {
				return t.note(err)
			}
			if _, err := t.exec(`INSERT INTO sample(series, at, step, value) VALUES(?, ?, ?, ?) ON CONFLICT DO NOTHING`,
				id, a.At.UnixMilli(), a.Step, a.Value); err != nil {
				return err
			}
		}
		return nil
	})
}

// Samples implements store.Samples.
func (r sampleRows) Samples(ctx context.Context, owner, name string, fn func(store.Sample) bool) error {
	return r.s.reader(ctx, func(t *tx) error {
		rows, err := t.QueryContext(ctx, `SELECT p.at, p.step, p.value FROM sample_series s JOIN sample p ON p.series = s.id
			WHERE s.owner = ? AND s.name = ? ORDER BY p.at, p.step, p.value`, owner, name)
		if err != nil {
			return err
		}
		defer rows.Close() //nolint:errcheck // rows.Err tells
		for rows.Next() {
			var at int64
			a := store.Sample{Name: name}
			if err := rows.Scan(&at, &a.Step, &a.Value); err != nil {
				return err
			}
			a.At = time.UnixMilli(at).UTC()
			if !fn(a) {
				return nil
			}
		}
		return rows.Err()
	})
}
