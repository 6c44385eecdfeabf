package sqlite

import (
	"context"
	"encoding/json"
	"strings"

	"clary/internal/store"
)

// objects is the store.Objects of a database. read gives a snapshot, look one
// to each statement; write gives a transaction that is durable when write
// returns.
type objects struct {
	read, look, write func(ctx context.Context, fn func(q querier) error) error
}

var _ store.Objects = (*objects)(nil)

func (x *objects) CreateBucket(ctx context.Context, b store.BlobBucket) error {
	return x.write(ctx, func(q querier) error { return insertBucket(ctx, q, b) })
}

func (x *objects) Bucket(ctx context.Context, name string) (b store.BlobBucket, err error) {
	err = x.read(ctx, func(q querier) error {
		found, err := selectBuckets(ctx, q, `WHERE name = ?`, name)
		if err == nil && len(found) == 0 {
			err = store.ErrNotFound
		}
		if err == nil {
			b = found[0]
		}
		return err
	})
	return b, err
}

func (x *objects) Buckets(ctx context.Context, account string) (out []store.BlobBucket, err error) {
	err = x.read(ctx, func(q querier) error {
		out, err = selectBuckets(ctx, q, `WHERE account = ? OR ? = ''`, account, account)
		return err
	})
	return out, err
}

func (x *objects) DeleteBucket(ctx context.Context, name string) (freed []store.BlobContent, err error) {
	err = x.write(ctx, func(q querier) error {
		freed, err = deleteBucket(ctx, q, name)
		return err
	})
	return freed, err
}

func (x *objects) SetVersioning(ctx context.Context, bucket, state string) error {
	return x.write(ctx, func(q querier) error { return setVersioning(ctx, q, bucket, state) })
}

func (x *objects) Setting(ctx context.Context, bucket, name string) (value json.RawMessage, err error) {
	err = x.read(ctx, func(q querier) error {
		value, err = setting(ctx, q, bucket, name)
		return err
	})
	return value, err
}

func (x *objects) SetSetting(ctx context.Context, bucket, name string, value json.RawMessage) error {
	return x.write(ctx, func(q querier) error { return setSetting(ctx, q, bucket, name, value) })
}

func (x *objects) PutObject(ctx context.Context, o store.BlobObject, check store.BlobCheck) (version string, freed []store.BlobContent, err error) {
	err = x.write(ctx, func(q querier) error {
		version, freed, err = putObject(ctx, q, o, check)
		return err
	})
	return version, freed, err
}

func (x *objects) Object(ctx context.Context, bucket, key, version string) (o *store.BlobObject, err error) {
	err = x.read(ctx, func(q querier) error {
		o, err = object(ctx, q, bucket, key, version)
		return err
	})
	return o, err
}

func (x *objects) ObjectData(ctx context.Context, bucket, key, version string) (o *store.BlobObject, err error) {
	if version == "" {
		err = x.look(ctx, func(q querier) error {
			o, err = current(ctx, q, bucket, key)
			return err
		})
		if o != nil || err != nil {
			return o, err
		}
	}
	err = x.read(ctx, func(q querier) error {
		o, err = object(ctx, q, bucket, key, version)
		if err == nil && o != nil && strings.HasPrefix(o.Version, store.SmallMark) {
			o.Data, err = data(ctx, q, o.Version)
		}
		return err
	})
	return o, err
}

func (x *objects) SetTags(ctx context.Context, bucket, key, version string, tags json.RawMessage) (o *store.BlobObject, err error) {
	err = x.write(ctx, func(q querier) error {
		o, err = setTags(ctx, q, bucket, key, version, tags)
		return err
	})
	return o, err
}

func (x *objects) DeleteObject(ctx context.Context, bucket, key, version string, check store.BlobCheck) (d store.BlobDeleted, freed []store.BlobContent, err error) {
	err = x.write(ctx, func(q querier) error {
		d, freed, err = deleteObject(ctx, q, bucket, key, version, check)
		return err
	})
	return d, freed, err
}

func (x *objects) ListVersions(ctx context.Context, bucket, prefix, delimiter, afterKey, afterVersion string, limit int) (page store.BlobVersionPage, err error) {
	err = x.read(ctx, func(q querier) error {
		page, err = listVersions(ctx, q, bucket, walk{prefix, delimiter, limit}, afterKey, afterVersion)
		return err
	})
	return page, err
}

func (x *objects) ListObjects(ctx context.Context, bucket, prefix, delimiter, after string, limit int) (page store.BlobPage, err error) {
	err = x.read(ctx, func(q querier) error {
		page, err = listObjects(ctx, q, bucket, walk{prefix, delimiter, limit}, after)
		return err
	})
	return page, err
}

func (x *objects) StartUpload(ctx context.Context, u store.BlobUpload) error {
	return x.write(ctx, func(q querier) error { return insertUpload(ctx, q, u) })
}

func (x *objects) Upload(ctx context.Context, bucket, key, id string) (u *store.BlobUpload, err error) {
	err = x.read(ctx, func(q querier) error {
		u, err = selectUpload(ctx, q, bucket, key, id)
		return err
	})
	return u, err
}

func (x *objects) ListUploads(ctx context.Context, bucket, prefix, delimiter, afterKey, afterID string, limit int) (page store.BlobUploadPage, err error) {
	err = x.read(ctx, func(q querier) error {
		page, err = listUploads(ctx, q, bucket, walk{prefix, delimiter, limit}, afterKey, afterID)
		return err
	})
	return page, err
}

func (x *objects) PutPart(ctx context.Context, bucket, key, upload string, p store.BlobPart) (freed []store.BlobContent, found bool, err error) {
	err = x.write(ctx, func(q querier) error {
		freed, found, err = putPart(ctx, q, bucket, key, upload, p)
		return err
	})
	return freed, found, err
}

func (x *objects) Parts(ctx context.Context, version string, after, limit int) (out []store.BlobPart, err error) {
	err = x.read(ctx, func(q querier) error {
		out, err = selectPage(ctx, q, version, after, limit)
		return err
	})
	return out, err
}

func (x *objects) Segments(ctx context.Context, version string, from, to int64) (out []store.BlobPart, err error) {
	err = x.read(ctx, func(q querier) error {
		out, err = selectSegments(ctx, q, version, from, to)
		return err
	})
	return out, err
}

func (x *objects) CompleteUpload(ctx context.Context, o store.BlobObject, parts []store.BlobPart, check store.BlobCheck) (version string, freed []store.BlobContent, found bool, err error) {
	err = x.write(ctx, func(q querier) error {
		version, freed, found, err = completeUpload(ctx, q, o, parts, check)
		return err
	})
	return version, freed, found, err
}

func (x *objects) AbortUpload(ctx context.Context, bucket, key, upload string) (freed []store.BlobContent, found bool, err error) {
	err = x.write(ctx, func(q querier) error {
		freed, found, err = abortUpload(ctx, q, bucket, key, upload)
		return err
	})
	return freed, found, err
}

func (x *objects) Referenced(ctx context.Context, files []string) (out []string, err error) {
	err = x.read(ctx, func(q querier) error {
		out, err = referenced(ctx, q, files)
		return err
	})
	return out, err
}
