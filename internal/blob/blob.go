// Package blob is the contract for objects in buckets. An object version never
// changes once written; a write that returned is on disk; keys are never
// paths. blobtest is the suite of every adapter.
package blob

import (
	"context"
	"errors"
	"io"
	"time"
)

var (
	ErrNoSuchBucket   = errors.New("no such bucket")
	ErrNoSuchKey      = errors.New("no such key")
	ErrNoSuchUpload   = errors.New("no such upload")
	ErrBucketExists   = errors.New("bucket exists")
	ErrBucketNotEmpty = errors.New("bucket not empty")
	ErrInvalidPart    = errors.New("invalid part")
	ErrPartOrder      = errors.New("parts out of order")
	ErrPartTooSmall   = errors.New("part too small")
	ErrToken          = errors.New("invalid token")
	ErrFull           = errors.New("disk full")
)

// Bucket belongs to one account; names are unique on the server.
type Bucket struct {
	Name, Account, Region string
	Created               time.Time
}

// Meta is what is kept beside an object's bytes.
type Meta struct {
	ContentType, ContentEncoding, ContentDisposition, ContentLanguage, CacheControl string
	Expires                                                                         string
	User                                                                            map[string]string // x-amz-meta-, lower-case keys without the prefix
	Checksums                                                                       map[string]string // CRC32, CRC32C, CRC64NVME, SHA1, SHA256 → base64
	ChecksumType                                                                    string            // FULL_OBJECT, COMPOSITE
	Tags                                                                            map[string]string
}

// Object describes one stored object.
type Object struct {
	Bucket, Key string
	Size        int64
	ETag        string // without quotes
	Modified    time.Time
	Parts       int // of a multipart upload, else 0
	Meta        Meta
}

// Listing is one page.
type Listing struct {
	Objects  []Object
	Prefixes []string
	Next     string // key or prefix to start after; "" at the end
}

// Part is one uploaded part.
type Part struct {
	Number    int
	Size      int64
	ETag      string
	Modified  time.Time
	Checksums map[string]string
}

// Upload is an unfinished multipart upload.
type Upload struct {
	ID, Bucket, Key string
	Initiated       time.Time
	Meta            Meta
}

// Conditions guard reads and writes; zero members do not.
type Conditions struct {
	IfMatch, IfNoneMatch string // ETag or "*"
}

// Verify is called when all bytes of a write were read, before it is
// committed; its error aborts the write.
type Verify func(sum Sums) error

// Sums are what was computed while the bytes went by.
type Sums struct {
	Size int64
	MD5  [16]byte
	// Checksums holds the algorithms asked for in Want, base64.
	Checksums map[string]string
}

// Put is one write.
type Put struct {
	Bucket, Key string
	Meta        Meta
	Body        io.Reader
	Size        int64    // -1 unknown
	Want        []string // checksum algorithms to compute and keep
	Verify      Verify
	If          Conditions
}

// Store holds buckets and objects.
type Store interface {
	CreateBucket(ctx context.Context, b Bucket) error // ErrBucketExists
	Bucket(ctx context.Context, name string) (Bucket, error)
	Buckets(ctx context.Context, account string) ([]Bucket, error)
	DeleteBucket(ctx context.Context, name string) error // ErrBucketNotEmpty

	Put(ctx context.Context, p Put) (Object, error)
	Head(ctx context.Context, bucket, key string) (Object, error)
	// Open reads [from, from+length) of one version; length -1: to the end.
	Open(ctx context.Context, bucket, key string, from, length int64) (Object, io.ReadCloser, error)
	Delete(ctx context.Context, bucket, key string) error // nil when absent
	List(ctx context.Context, bucket, prefix, delimiter, after string, max int) (Listing, error)

	StartUpload(ctx context.Context, bucket, key string, m Meta) (Upload, error)
	PutPart(ctx context.Context, bucket, key, upload string, number int, p Put) (Part, error)
	Parts(ctx context.Context, bucket, key, upload string, after, max int) (Upload, []Part, error)
	Complete(ctx context.Context, bucket, key, upload string, parts []Part, c Conditions) (Object, error)
	Abort(ctx context.Context, bucket, key, upload string) error
	Uploads(ctx context.Context, bucket, prefix, afterKey, afterID string, max int) ([]Upload, error)
}
