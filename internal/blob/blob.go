// Package blob is the contract for objects in buckets. An object version never
// changes once written; a write that returned is on disk; keys are never
// paths. blobtest is the suite of every adapter.
package blob

import (
	"context"
	"errors"
	"io"
	"strconv"
	"time"
)

// What every adapter says in the same words.
var (
	ErrNoSuchBucket   = errors.New("no such bucket")
	ErrNoSuchKey      = errors.New("no such key")
	ErrNoSuchUpload   = errors.New("no such upload")
	ErrBucketExists   = errors.New("bucket exists")
	ErrBucketNotEmpty = errors.New("bucket not empty")
	ErrInvalidPart    = errors.New("invalid part")
	ErrPartOrder      = errors.New("parts out of order")
	ErrPartTooSmall   = errors.New("part too small")
	ErrVersion        = errors.New("invalid version id")
	ErrNoSuchVersion  = errors.New("no such version")
	ErrFull           = errors.New("disk full")
	// ErrPrecondition says that Conditions did not hold.
	ErrPrecondition = errors.New("precondition failed")
	// ErrShort says that a body ended before its announced size.
	ErrShort = errors.New("body shorter than announced")
	// ErrLong says that a body went on after its announced size.
	ErrLong = errors.New("body longer than announced")
	// ErrBadSum says that a checksum handed to Complete is not the stored one.
	ErrBadSum = errors.New("checksum differs")
	// ErrBadSize says that the size handed to Complete is not the stored one.
	ErrBadSize = errors.New("size differs")
)

// DeletedError says that what was asked for is a delete marker. As the newest
// version of a key it is an ErrNoSuchKey.
type DeletedError struct{ Marker Object }

func (e *DeletedError) Error() string { return "object is deleted" }

// Unwrap makes a deleted key one that is not there.
func (e *DeletedError) Unwrap() error { return ErrNoSuchKey }

// PartError says which part Complete refused, as the client named it.
type PartError struct {
	Number int
	Size   int64 // as it is stored
	ETag   string
	Err    error // ErrInvalidPart, ErrPartTooSmall
}

func (e *PartError) Error() string { return "part " + strconv.Itoa(e.Number) + ": " + e.Err.Error() }

// Unwrap gives the reason.
func (e *PartError) Unwrap() error { return e.Err }

// States of a bucket's versioning. A bucket that had it never loses it again.
const (
	VersioningEnabled   = "Enabled"
	VersioningSuspended = "Suspended"
)

// NullVersion is the id of the version that was written without versioning.
const NullVersion = "null"

// MinPart is the least size of every part of an upload but the last.
const MinPart = 5 << 20

// MaxParts is the greatest part number.
const MaxParts = 10000

// MaxKey is the greatest length of a key in bytes.
const MaxKey = 1024

// Bucket belongs to one account; names are unique on the server.
type Bucket struct {
	Name, Account, Region string
	Created               time.Time
	Versioning            string // "" until it is first enabled
}

// Meta is what is kept beside an object's bytes.
type Meta struct {
	ContentType        string            `json:"type,omitzero"`
	ContentEncoding    string            `json:"encoding,omitzero"`
	ContentDisposition string            `json:"disposition,omitzero"`
	ContentLanguage    string            `json:"language,omitzero"`
	CacheControl       string            `json:"cache,omitzero"`
	Expires            string            `json:"expires,omitzero"`
	User               map[string]string `json:"user,omitzero"`      // x-amz-meta-, lower-case keys without the prefix
	Checksums          map[string]string `json:"sums,omitzero"`      // CRC32, CRC32C, CRC64NVME, SHA1, SHA256, SHA512, MD5 → base64
	ChecksumType       string            `json:"sumtype,omitzero"`   // FULL_OBJECT, COMPOSITE
	Recorded           map[string]string `json:"recorded,omitzero"`  // members without effect here, given back as they came
	Algorithm          string            `json:"algorithm,omitzero"` // of an upload's parts
	Tags               map[string]string `json:"-"`
}

// Object describes one stored object.
type Object struct {
	Bucket, Key string
	VersionID   string // "" in a bucket that never had versioning
	Marker      bool   // a delete marker; only in listings of versions
	Latest      bool   // set in listings of versions
	Content     string // opaque; names these very bytes
	Size        int64
	ETag        string // without quotes
	Modified    time.Time
	Parts       int // of a multipart upload, else 0
	Meta        Meta
}

// Listing is one page.
type Listing struct {
	Objects  []Object // without Meta, but for its checksum algorithms
	Prefixes []string
	Next     string // key or prefix to start after; "" at the end
}

// Versions is one page of versions, the newest of a key first.
type Versions struct {
	Versions             []Object // without Meta, but for its checksum algorithms
	Prefixes             []string
	NextKey, NextVersion string // "" at the end; NextVersion "" behind a prefix
}

// Deleted is what a deletion did.
type Deleted struct {
	VersionID string // of the version that went, or of the marker that came
	Marker    bool   // that version is a delete marker
}

// Name names an object: its newest version, or the one whose id is Version.
type Name struct{ Bucket, Key, Version string }

// Part is one uploaded part.
type Part struct {
	Number    int
	Start     int64 // offset in the finished object
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

// Uploads is one page of unfinished uploads, by key and then by age.
type Uploads struct {
	Uploads  []Upload
	Prefixes []string
	NextKey  string // "" at the end
	NextID   string
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

// Pick chooses the bytes [from, from+length) of the version that is being
// opened; length -1 is to the end. Its error aborts the opening.
type Pick func(o Object) (from, length int64, err error)

// Whole picks all of a version.
func Whole(Object) (from, length int64, err error) { return 0, -1, nil }

// Store holds buckets and objects.
type Store interface {
	CreateBucket(ctx context.Context, b Bucket) error // ErrBucketExists
	Bucket(ctx context.Context, name string) (Bucket, error)
	// Buckets are by name; account "" is all.
	Buckets(ctx context.Context, account string) ([]Bucket, error)
	DeleteBucket(ctx context.Context, name string) error // ErrBucketNotEmpty
	SetVersioning(ctx context.Context, bucket, state string) error
	// Setting reads a document of a bucket, nil when it has none of that name.
	Setting(ctx context.Context, bucket, name string) ([]byte, error)
	SetSetting(ctx context.Context, bucket, name string, value []byte) error // nil removes

	// What takes a Name gives ErrNoSuchKey, ErrNoSuchVersion, a *DeletedError,
	// or ErrVersion for what can be no version's id.

	Put(ctx context.Context, p Put) (Object, error)
	Head(ctx context.Context, n Name) (Object, error)
	// Open reads what pick chooses of one version, which stays readable until
	// the reader is closed, whatever happens to the key meanwhile.
	Open(ctx context.Context, n Name, pick Pick) (Object, io.ReadCloser, error)
	// Copy writes what pick chooses of a stored object; p.Body and p.Size are
	// unused. Whole objects are shared with their source where possible.
	Copy(ctx context.Context, source Name, pick Pick, p Put) (Object, error)
	// Delete removes one version; without one, it removes the key, or covers it
	// with a marker when the bucket has versioning. What is absent is no error.
	Delete(ctx context.Context, n Name, c Conditions) (Deleted, error)
	// List walks keys in the order of their bytes, in time that grows with
	// the page and not with what its prefixes hide.
	List(ctx context.Context, bucket, prefix, delimiter, after string, limit int) (Listing, error)
	// Versions lists in the same way. afterVersion "" is behind all of afterKey.
	Versions(ctx context.Context, bucket, prefix, delimiter, afterKey, afterVersion string, limit int) (Versions, error)
	// SetTags replaces the tags of a version and gives its id.
	SetTags(ctx context.Context, n Name, tags map[string]string) (version string, err error)
	// ObjectParts gives the parts that an object was completed from.
	ObjectParts(ctx context.Context, n Name, after, limit int) (Object, []Part, error)

	StartUpload(ctx context.Context, bucket, key string, m Meta) (Upload, error)
	Upload(ctx context.Context, bucket, key, upload string) (Upload, error)
	PutPart(ctx context.Context, bucket, key, upload string, number int, p Put) (Part, error)
	Parts(ctx context.Context, bucket, key, upload string, after, limit int) (Upload, []Part, error)
	// Complete makes an object of parts, which are checked by number, ETag and
	// what checksums they carry. Repeating it gives the same object.
	Complete(ctx context.Context, bucket, key, upload string, c Complete) (Object, error)
	Abort(ctx context.Context, bucket, key, upload string) error
	Uploads(ctx context.Context, bucket, prefix, delimiter, afterKey, afterID string, limit int) (Uploads, error)
}

// Complete says what a finished upload consists of.
type Complete struct {
	Parts []Part // Number, ETag and Checksums count
	If    Conditions
	Size  int64 // -1 unknown
	// Checksums of the whole, as the client expects them.
	Checksums map[string]string
}
