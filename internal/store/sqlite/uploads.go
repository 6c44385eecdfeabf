package sqlite

import (
	"context"
	"database/sql"
	"errors"

	"clary/internal/store"
)

func insertUpload(ctx context.Context, q querier, u store.BlobUpload) error {
	b, err := bucketOf(ctx, q, u.Bucket)
	if err != nil {
		return err
	}
	_, err = q.ExecContext(ctx, `INSERT INTO blob_upload(id, bucket, key, initiated, tags, meta) VALUES(?, ?, ?, ?, ?, ?)`,
		u.ID, b.id, []byte(u.Key), millis(u.Initiated), orNull(u.Tags), orNull(u.Meta))
	return err
}

// selectUpload gives nil when there is no such upload of that key.
func selectUpload(ctx context.Context, q querier, bucket, key, upload string) (*store.BlobUpload, error) {
	b, err := bucketOf(ctx, q, bucket)
	if err != nil {
		return nil, err
	}
	u := store.BlobUpload{ID: upload, Bucket: bucket, Key: key}
	var initiated int64
	var tags, meta []byte
	err = q.QueryRowContext(ctx, `SELECT initiated, tags, meta FROM blob_upload WHERE id = ? AND bucket = ? AND key = ?`,
		upload, b.id, []byte(key)).Scan(&initiated, &tags, &meta)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil //nolint:nilnil // the contract's way to say "none"
	}
	if err != nil {
		return nil, err
	}
	u.Initiated, u.Tags, u.Meta = fromMillis(initiated), tags, meta
	return &u, nil
}

func listUploads(ctx context.Context, q querier, bucket string, w walk, afterKey, afterID string) (page store.BlobUploadPage, err error) {
	b, err := bucketOf(ctx, q, bucket)
	if err != nil {
		return page, err
	}
	got, err := roll(w, w.after(afterKey, afterID),
		func(u store.BlobUpload) place { return place{key: u.Key, id: u.ID} },
		func(start place, end string, yield func(store.BlobUpload) bool) error {
			query, args := `SELECT key, id, initiated, meta FROM blob_upload WHERE bucket = ? AND (key, id) >= (?, ?)`,
				[]any{b.id, []byte(start.key), start.id}
			if end != "" {
				query, args = query+` AND key < ?`, append(args, []byte(end))
			}
			rows, err := q.QueryContext(ctx, query+` ORDER BY key, id`, args...)
			if err != nil {
				return err
			}
			defer rows.Close() //nolint:errcheck // rows.Err tells
			for rows.Next() {
				u := store.BlobUpload{Bucket: bucket}
				var key sql.RawBytes
				var initiated int64
				var meta []byte
				if err := rows.Scan(&key, &u.ID, &initiated, &meta); err != nil {
					return err
				}
				u.Meta = meta
				u.Key, u.Initiated = string(key), fromMillis(initiated)
				if !yield(u) {
					return nil
				}
			}
			return rows.Err()
		})
	page.Uploads, page.Prefixes = got.rows, got.prefixes
	if got.more {
		page.NextKey, page.NextID = got.last, got.lastID
	}
	return page, err
}

func putPart(ctx context.Context, q querier, bucket, key, upload string, p store.BlobPart) (freed []store.BlobContent, found bool, err error) {
	u, err := selectUpload(ctx, q, bucket, key, upload)
	if err != nil || u == nil {
		return nil, false, err
	}
	old, err := texts(ctx, q, `SELECT file FROM blob_part WHERE version = ? AND number = ?`, upload, p.Number)
	if err != nil {
		return nil, false, err
	}
	_, err = q.ExecContext(ctx, `INSERT INTO blob_part(version, number, file, start, size, etag, modified, sums)
		VALUES(?, ?, ?, -1, ?, ?, ?, ?)
		ON CONFLICT(version, number) DO UPDATE SET file = excluded.file, size = excluded.size, etag = excluded.etag,
			modified = excluded.modified, sums = excluded.sums`,
		upload, p.Number, p.File, p.Size, p.ETag, millis(p.Modified), orNull(p.Sums))
	return single(old), true, err
}

const partColumns = `SELECT number, file, start, size, etag, modified, sums FROM blob_part WHERE version = ?`

func selectParts(ctx context.Context, q querier, query string, args ...any) (out []store.BlobPart, err error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close() //nolint:errcheck // rows.Err tells
	for rows.Next() {
		var p store.BlobPart
		var modified int64
		var sums []byte
		if err := rows.Scan(&p.Number, &p.File, &p.Start, &p.Size, &p.ETag, &modified, &sums); err != nil {
			return nil, err
		}
		p.Modified, p.Sums = fromMillis(modified), sums
		out = append(out, p)
	}
	return out, rows.Err()
}

func selectPage(ctx context.Context, q querier, version string, after, limit int) ([]store.BlobPart, error) {
	return selectParts(ctx, q, partColumns+` AND number > ? ORDER BY number LIMIT ?`, version, after, limit)
}

func selectSegments(ctx context.Context, q querier, version string, from, to int64) ([]store.BlobPart, error) {
	return selectParts(ctx, q, partColumns+` AND start < ?
		AND start >= (SELECT max(start) FROM blob_part WHERE version = ? AND start <= ?)
		ORDER BY start, number`, version, to, version, from)
}

func completeUpload(ctx context.Context, q querier, o store.BlobObject, parts []store.BlobPart, check store.BlobCheck) (version string, freed []store.BlobContent, found bool, err error) {
	u, err := selectUpload(ctx, q, o.Bucket, o.Key, o.Version)
	if err != nil || u == nil {
		return "", nil, false, err
	}
	have, err := selectPage(ctx, q, o.Version, 0, -1)
	if err != nil {
		return "", nil, false, err
	}
	files := make(map[int]string, len(have))
	for _, h := range have {
		files[h.Number] = h.File
	}
	for _, p := range parts {
		if file, ok := files[p.Number]; !ok || file != p.File {
			return "", nil, false, nil
		}
	}
	if version, freed, err = putObject(ctx, q, o, check); err != nil {
		return "", nil, false, err
	}
	for _, p := range parts {
		if _, err := q.ExecContext(ctx, `UPDATE blob_part SET start = ? WHERE version = ? AND number = ?`, p.Start, o.Version, p.Number); err != nil {
			return "", nil, false, err
		}
	}
	unused, err := texts(ctx, q, `SELECT file FROM blob_part WHERE version = ? AND start < 0`, o.Version)
	if err != nil {
		return "", nil, false, err
	}
	if _, err := q.ExecContext(ctx, `DELETE FROM blob_part WHERE version = ? AND start < 0`, o.Version); err != nil {
		return "", nil, false, err
	}
	_, err = q.ExecContext(ctx, `DELETE FROM blob_upload WHERE id = ?`, o.Version)
	return version, append(freed, single(unused)...), true, err
}

func abortUpload(ctx context.Context, q querier, bucket, key, upload string) (freed []store.BlobContent, found bool, err error) {
	u, err := selectUpload(ctx, q, bucket, key, upload)
	if err != nil || u == nil {
		return nil, false, err
	}
	files, err := texts(ctx, q, `SELECT file FROM blob_part WHERE version = ?`, upload)
	if err != nil {
		return nil, false, err
	}
	if _, err := q.ExecContext(ctx, `DELETE FROM blob_part WHERE version = ?`, upload); err != nil {
		return nil, false, err
	}
	_, err = q.ExecContext(ctx, `DELETE FROM blob_upload WHERE id = ?`, upload)
	return single(files), true, err
}
