package sqlite

import (
	"context"
	"maps"
	"slices"
)

// PutTags implements store.Tx.
func (t *tx) PutTags(arn string, tags map[string]string) error {
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		if _, err := t.exec(`INSERT INTO tag(arn, key, value) VALUES(?, ?, ?) ON CONFLICT DO UPDATE SET value = excluded.value`,
			arn, k, tags[k]); err != nil {
			return err
		}
	}
	return nil
}

// DeleteTags implements store.Tx.
func (t *tx) DeleteTags(arn string, keys []string) error {
	for _, k := range keys {
		if _, err := t.exec(`DELETE FROM tag WHERE arn = ? AND key = ?`, arn, k); err != nil {
			return err
		}
	}
	return nil
}

// Tags implements store.Tx.
func (t *tx) Tags(arn string) (map[string]string, error) {
	rows, err := t.QueryContext(context.Background(), `SELECT key, value FROM tag WHERE arn = ?`, arn)
	if err != nil {
		return nil, err
	}
	defer rows.Close() //nolint:errcheck // rows.Err tells
	out := make(map[string]string)
	for rows.Next() {
		var k, v string
		if err := rows.Scan(&k, &v); err != nil {
			return nil, err
		}
		out[k] = v
	}
	return out, rows.Err()
}
