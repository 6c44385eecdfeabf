package sqlite

import (
	"context"
	"database/sql"
	"errors"

	"clary/internal/store"
)

// metricSchema holds one-minute rollups. The offset of a task's output is
// written with what was found before it.
const metricSchema = `
CREATE TABLE metric_series(
	id         INTEGER PRIMARY KEY,
	account    TEXT    NOT NULL,
	region     TEXT    NOT NULL,
	namespace  TEXT    NOT NULL,
	name       TEXT    NOT NULL,
	dimensions TEXT    NOT NULL,
	last_at    INTEGER NOT NULL,
	last_value REAL    NOT NULL,
	last_unit  TEXT    NOT NULL,
	UNIQUE(account, region, namespace, name, dimensions)
) STRICT;
CREATE INDEX metric_series_dimensions ON metric_series(account, region, dimensions, namespace, name);
CREATE TABLE metric_point(
	series INTEGER NOT NULL,
	minute INTEGER NOT NULL,
	unit   TEXT    NOT NULL,
	sum    REAL    NOT NULL,
	min    REAL    NOT NULL,
	max    REAL    NOT NULL,
	count  REAL    NOT NULL,
	PRIMARY KEY(series, minute, unit)
) STRICT, WITHOUT ROWID;
CREATE TABLE metric_offset(
	task TEXT    NOT NULL PRIMARY KEY,
	next INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
`

// Metrics is the table of rollups in this database.
func (s *Store) Metrics() store.Metrics { return metricRows{s} }

type metricRows struct{ s *Store }

// AddMetrics implements store.Metrics.
func (m metricRows) AddMetrics(ctx context.Context, task string, next int64, add []store.MetricAddition) error {
	return m.s.update(ctx, func(t *tx) error {
		if task != "" {
			n, err := t.exec(`INSERT INTO metric_offset(task, next) VALUES(?1, ?2)
				ON CONFLICT DO UPDATE SET next = excluded.next WHERE next < excluded.next`, task, next)
			if err != nil || n == 0 {
				return err
			}
		}
		for _, a := range add {
			if err := t.addMetric(ctx, a); err != nil {
				return err
			}
		}
		return nil
	})
}

func (t *tx) addMetric(ctx context.Context, a store.MetricAddition) error {
	s := a.Series
	var id int64
	err := t.QueryRowContext(ctx, `
		INSERT INTO metric_series(account, region, namespace, name, dimensions, last_at, last_value, last_unit)
		VALUES(?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT DO UPDATE SET
			last_value = iif(excluded.last_at >= last_at, excluded.last_value, last_value),
			last_unit  = iif(excluded.last_at >= last_at, excluded.last_unit, last_unit),
			last_at    = max(excluded.last_at, last_at)
		RETURNING id`,
		s.Account, s.Region, s.Namespace, s.Name, s.Dimensions, nanos(s.LastAt), s.LastValue, s.LastUnit).Scan(&id)
	if err != nil {
		return t.note(err)
	}
	for _, p := range a.Points {
		if _, err := t.exec(`
			INSERT INTO metric_point(series, minute, unit, sum, min, max, count) VALUES(?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT DO UPDATE SET
				sum = sum + excluded.sum, min = min(min, excluded.min),
				max = max(max, excluded.max), count = count + excluded.count`,
			id, p.Minute, p.Unit, p.Sum, p.Min, p.Max, p.Count); err != nil {
			return err
		}
	}
	return nil
}

// MetricOffset implements store.Metrics.
func (m metricRows) MetricOffset(ctx context.Context, task string) (next int64, err error) {
	err = m.s.reader(ctx, func(t *tx) error {
		err := t.QueryRowContext(ctx, `SELECT next FROM metric_offset WHERE task = ?`, task).Scan(&next)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		return err
	})
	return next, err
}

// MetricPoints implements store.Metrics.
func (m metricRows) MetricPoints(ctx context.Context, s store.MetricSeries, from, to int64) (out []store.MetricPoint, err error) {
	err = m.s.reader(ctx, func(t *tx) error {
		rows, err := t.QueryContext(ctx, `
			SELECT p.minute, p.unit, p.sum, p.min, p.max, p.count
			FROM metric_series s JOIN metric_point p ON p.series = s.id
			WHERE s.account = ? AND s.region = ? AND s.namespace = ? AND s.name = ? AND s.dimensions = ?
				AND p.minute >= ? AND p.minute < ?
			ORDER BY p.minute, p.unit`,
			s.Account, s.Region, s.Namespace, s.Name, s.Dimensions, from, to)
		if err != nil {
			return err
		}
		defer rows.Close() //nolint:errcheck // rows.Err tells
		for rows.Next() {
			var p store.MetricPoint
			if err := rows.Scan(&p.Minute, &p.Unit, &p.Sum, &p.Min, &p.Max, &p.Count); err != nil {
				return err
			}
			out = append(out, p)
		}
		return rows.Err()
	})
	return out, err
}

const (
	metricColumns = `SELECT account, region, namespace, name, dimensions, last_at, last_value, last_unit FROM metric_series `
	metricFilter  = `account = ?1 AND region = ?2 AND (?3 = '' OR namespace = ?3) AND (?4 = '' OR name = ?4) AND last_at >= ?5
		AND (namespace, name, dimensions) > (?6, ?7, ?8) `
	metricOrder = ` ORDER BY namespace, name, dimensions LIMIT ?9`
)

// MetricSeries implements store.Metrics.
func (m metricRows) MetricSeries(ctx context.Context, q store.MetricSelection) (out []store.MetricSeries, err error) {
	query := metricColumns + `WHERE ` + metricFilter + metricOrder
	args := []any{
		q.Account, q.Region, q.Namespace, q.Name, nanos(q.Since),
		q.After.Namespace, q.After.Name, q.After.Dimensions, q.Limit,
	}
	if q.Dimensions != "" {
		query = metricColumns + `INDEXED BY metric_series_dimensions WHERE dimensions = ?10 AND ` + metricFilter + metricOrder
		args = append(args, q.Dimensions)
	}
	err = m.s.reader(ctx, func(t *tx) error {
		rows, err := t.QueryContext(ctx, query, args...)
		if err != nil {
			return err
		}
		defer rows.Close() //nolint:errcheck // rows.Err tells
		for rows.Next() {
			var s store.MetricSeries
			var at int64
			if err := rows.Scan(&s.Account, &s.Region, &s.Namespace, &s.Name, &s.Dimensions, &at, &s.LastValue, &s.LastUnit); err != nil {
				return err
			}
			s.LastAt = instant(at)
			out = append(out, s)
		}
		return rows.Err()
	})
	return out, err
}
