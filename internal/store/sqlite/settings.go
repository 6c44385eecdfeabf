package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
)

func setVersioning(ctx context.Context, q querier, bucket, state string) error {
	b, err := bucketOf(ctx, q, bucket)
	if err != nil {
		return err
	}
	_, err = q.ExecContext(ctx, `UPDATE blob_bucket SET versioning = ? WHERE id = ?`, state, b.id)
	return err
}

func setting(ctx context.Context, q querier, bucket, name string) (json.RawMessage, error) {
	b, err := bucketOf(ctx, q, bucket)
	if err != nil {
		return nil, err
	}
	var value []byte
	err = q.QueryRowContext(ctx, `SELECT value FROM blob_setting WHERE bucket = ? AND name = ?`, b.id, name).Scan(&value)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return value, err
}

func setSetting(ctx context.Context, q querier, bucket, name string, value json.RawMessage) error {
	b, err := bucketOf(ctx, q, bucket)
	if err != nil {
		return err
	}
	if value == nil {
		_, err = q.ExecContext(ctx, `DELETE FROM blob_setting WHERE bucket = ? AND name = ?`, b.id, name)
		return err
	}
	_, err = q.ExecContext(ctx, `INSERT INTO blob_setting(bucket, name, value) VALUES(?, ?, ?)
		ON CONFLICT(bucket, name) DO UPDATE SET value = excluded.value`, b.id, name, []byte(value))
	return err
}
