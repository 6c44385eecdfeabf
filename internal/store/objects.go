package store

import (
	"context"
	"encoding/json"
	"errors"
	"time"
)

// ErrNotEmpty says that a bucket still holds objects.
var ErrNotEmpty = errors.New("bucket not empty")

// BlobBucket is the row of a bucket.
type BlobBucket struct {
	Name, Account, Region string
	Created               time.Time
}

// BlobObject is the row of an object: what a key stands for now.
type BlobObject struct {
	Bucket, Key string
	// Version names the bytes: a content file, or, when Parts is not 0, the
	// upload whose parts follow one another. "" is an empty object.
	Version  string
	Size     int64
	ETag     string
	Modified time.Time
	Parts    int
	Sums     string // algorithms whose checksum Meta holds, and how: CRC32/COMPOSITE
	Meta     json.RawMessage
	Tags     json.RawMessage
}

// BlobPart is the row of an uploaded part, and later of a segment of the
// object that it became part of.
type BlobPart struct {
	Number   int
	File     string // content file, "" when empty
	Start    int64  // offset in the object; set when the upload is completed
	Size     int64
	ETag     string
	Modified time.Time
	Sums     json.RawMessage
}

// BlobUpload is the row of an unfinished upload. IDs grow with time.
type BlobUpload struct {
	ID, Bucket, Key string
	Initiated       time.Time
	Meta            json.RawMessage
	Tags            json.RawMessage
}

// BlobContent is bytes that no row needs any more: one version and its files.
type BlobContent struct {
	Version string
	Files   []string
}

// BlobPage is one page of a listing; Next is the key or prefix to go on after.
type BlobPage struct {
	Objects  []BlobObject // without Meta and Tags
	Prefixes []string
	Next     string
}

// BlobUploadPage is one page of unfinished uploads.
type BlobUploadPage struct {
	Uploads         []BlobUpload // without Meta and Tags
	Prefixes        []string
	NextKey, NextID string
}

// BlobCheck looks at the row that a write is about to replace, nil when there
// is none. Its error aborts the write. It may run more than once.
type BlobCheck func(old *BlobObject) error

// Objects is the index of buckets and objects. It knows names, sizes and the
// names of content files, never bytes. Writes are durable when they return.
// What a write frees is handed back only after it is durable. ErrNotFound
// means the bucket wherever a method's comment does not say otherwise.
type Objects interface {
	CreateBucket(ctx context.Context, b BlobBucket) error // ErrExists
	Bucket(ctx context.Context, name string) (BlobBucket, error)
	Buckets(ctx context.Context, account string) ([]BlobBucket, error)
	// DeleteBucket drops unfinished uploads along. ErrNotEmpty.
	DeleteBucket(ctx context.Context, name string) ([]BlobContent, error)

	PutObject(ctx context.Context, o BlobObject, check BlobCheck) ([]BlobContent, error)
	// Object gives nil when the bucket has no such key.
	Object(ctx context.Context, bucket, key string) (*BlobObject, error)
	SetTags(ctx context.Context, bucket, key string, tags json.RawMessage) (found bool, err error)
	DeleteObject(ctx context.Context, bucket, key string, check BlobCheck) ([]BlobContent, error)
	// ListObjects takes time that grows with the page alone.
	ListObjects(ctx context.Context, bucket, prefix, delimiter, after string, max int) (BlobPage, error)

	StartUpload(ctx context.Context, u BlobUpload) error
	// Upload gives nil when there is no such upload of that key.
	Upload(ctx context.Context, bucket, key, id string) (*BlobUpload, error)
	ListUploads(ctx context.Context, bucket, prefix, delimiter, afterKey, afterID string, max int) (BlobUploadPage, error)
	// PutPart replaces a part of the same number; found tells whether the
	// upload is there.
	PutPart(ctx context.Context, bucket, key, upload string, p BlobPart) (freed []BlobContent, found bool, err error)
	// Parts gives the parts of an upload or of a completed version.
	Parts(ctx context.Context, version string, after, max int) ([]BlobPart, error)
	// Segments gives the parts of a version that overlap [from, to).
	Segments(ctx context.Context, version string, from, to int64) ([]BlobPart, error)
	// CompleteUpload puts o, whose Version is the upload and whose segments
	// are the given parts (Number, File and Start count), and drops the
	// upload with its other parts. found is false, and nothing changed, when
	// the upload or one of these very parts is gone.
	CompleteUpload(ctx context.Context, o BlobObject, parts []BlobPart, check BlobCheck) (freed []BlobContent, found bool, err error)
	AbortUpload(ctx context.Context, bucket, key, upload string) (freed []BlobContent, found bool, err error)

	// Referenced gives those of the content files that a row names.
	Referenced(ctx context.Context, files []string) ([]string, error)
}
