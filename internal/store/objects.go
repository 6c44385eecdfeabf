package store

import (
	"context"
	"encoding/json"
	"errors"
	"time"
)

var (
	// ErrNotEmpty says that a bucket still holds objects or their versions.
	ErrNotEmpty = errors.New("bucket not empty")
	// ErrVersion says that a text can be no version's id.
	ErrVersion = errors.New("invalid version id")
)

// States of a bucket's versioning. A bucket that had it never loses it again.
const (
	VersioningEnabled   = "Enabled"
	VersioningSuspended = "Suspended"
)

// NullVersion is the id of the version that was written without versioning.
const NullVersion = "null"

// SmallMark begins the Version of an object whose bytes the index itself keeps.
const SmallMark = "="

// BlobBucket is the row of a bucket.
type BlobBucket struct {
	Name, Account, Region string
	Created               time.Time
	Versioning            string // "" until it is first enabled
}

// BlobObject is the row of one version of an object.
type BlobObject struct {
	Bucket, Key string
	// VersionID is "" in a bucket that never had versioning. Writes choose it.
	VersionID string
	Marker    bool // says that the key was deleted; it has no bytes
	Latest    bool // set by ListVersions
	// Version names the bytes: a content file, or, when Parts is not 0, the
	// upload whose parts follow one another, or after SmallMark what was put as
	// Data. "" is an empty object.
	Version  string
	Data     []byte // only in PutObject and ObjectData
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

// BlobVersionPage is one page of versions, the newest of a key first.
type BlobVersionPage struct {
	Versions             []BlobObject // without Meta and Tags
	Prefixes             []string
	NextKey, NextVersion string
}

// BlobDeleted is what a deletion did.
type BlobDeleted struct {
	VersionID string // of the version that went, or of the marker that came
	Marker    bool   // that version is a delete marker
}

// BlobUploadPage is one page of unfinished uploads.
type BlobUploadPage struct {
	Uploads         []BlobUpload // without Tags
	Prefixes        []string
	NextKey, NextID string
}

// BlobCheck looks at the row that a write is about to replace or to cover, nil
// when there is none or the key is deleted. Its error aborts the write. It may
// run more than once.
type BlobCheck func(old *BlobObject) error

// Objects is the index of buckets and objects. It knows names, sizes and the
// names of content files, and the bytes of objects so small that a file of
// their own would cost more than they. Writes are durable when they return.
// What a write frees is handed back only after it is durable. ErrNotFound
// means the bucket wherever a method's comment does not say otherwise, and
// ErrVersion a version that cannot be.
type Objects interface {
	CreateBucket(ctx context.Context, b BlobBucket) error // ErrExists
	Bucket(ctx context.Context, name string) (BlobBucket, error)
	Buckets(ctx context.Context, account string) ([]BlobBucket, error)
	// DeleteBucket drops unfinished uploads along. ErrNotEmpty.
	DeleteBucket(ctx context.Context, name string) ([]BlobContent, error)
	SetVersioning(ctx context.Context, bucket, state string) error
	// Setting reads a document of a bucket, nil when it has none of that name.
	Setting(ctx context.Context, bucket, name string) (json.RawMessage, error)
	// SetSetting writes it; nil removes it.
	SetSetting(ctx context.Context, bucket, name string, value json.RawMessage) error

	// PutObject puts the newest version of a key, and gives its id. What it
	// replaces is freed, or kept when the bucket has versioning.
	PutObject(ctx context.Context, o BlobObject, check BlobCheck) (version string, freed []BlobContent, err error)
	// Object gives nil when the bucket has no such key or version. Version ""
	// is the newest one, which may be a marker.
	Object(ctx context.Context, bucket, key, version string) (*BlobObject, error)
	// ObjectData is Object, with the Data of a Version that begins with
	// SmallMark.
	ObjectData(ctx context.Context, bucket, key, version string) (*BlobObject, error)
	// SetTags gives the row that it changed, nil when there is none. A marker
	// stays as it is.
	SetTags(ctx context.Context, bucket, key, version string, tags json.RawMessage) (*BlobObject, error)
	// DeleteObject removes one version; with version "" it removes the key, or
	// covers it with a marker when the bucket has versioning.
	DeleteObject(ctx context.Context, bucket, key, version string, check BlobCheck) (BlobDeleted, []BlobContent, error)
	// ListObjects takes time that grows with the page alone.
	ListObjects(ctx context.Context, bucket, prefix, delimiter, after string, max int) (BlobPage, error)
	// ListVersions does so too. afterVersion "" is behind all of afterKey.
	ListVersions(ctx context.Context, bucket, prefix, delimiter, afterKey, afterVersion string, max int) (BlobVersionPage, error)

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
	CompleteUpload(ctx context.Context, o BlobObject, parts []BlobPart, check BlobCheck) (version string, freed []BlobContent, found bool, err error)
	AbortUpload(ctx context.Context, bucket, key, upload string) (freed []BlobContent, found bool, err error)

	// Referenced gives those of the content files that a row names.
	Referenced(ctx context.Context, files []string) ([]string, error)
}
