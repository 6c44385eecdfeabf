package folder

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"clary/internal/blob"
	"clary/internal/store"
)

// lookups bounds how often a read starts over because its key was replaced
// between the look at the row and that at the file.
const lookups = 16

// Head reads one object's row.
func (s *Store) Head(ctx context.Context, bucket, key string) (blob.Object, error) {
	row, err := s.index.Object(ctx, bucket, key)
	if err != nil {
		return blob.Object{}, wrap(err)
	}
	if row == nil {
		return blob.Object{}, blob.ErrNoSuchKey
	}
	return fromRow(*row)
}

// find looks the key up and asks pick what to read of it.
func (s *Store) find(ctx context.Context, bucket, key string, pick blob.Pick) (o blob.Object, from, length int64, err error) {
	o, err = s.Head(ctx, bucket, key)
	if err != nil {
		return o, 0, 0, err
	}
	if pick == nil {
		pick = blob.Whole
	}
	from, length, err = pick(o)
	if err != nil {
		return o, 0, 0, err
	}
	if length < 0 {
		length = o.Size - from
	}
	if from < 0 || length < 0 || from > o.Size-length {
		return o, 0, 0, fmt.Errorf("range %d+%d of %d bytes", from, length, o.Size)
	}
	return o, from, length, nil
}

// Open reads one version.
func (s *Store) Open(ctx context.Context, bucket, key string, pick blob.Pick) (blob.Object, io.ReadCloser, error) {
	var last error
	for range lookups {
		o, from, length, err := s.find(ctx, bucket, key, pick)
		if err != nil {
			return o, nil, err
		}
		r, err := s.reader(ctx, o, from, length)
		if err == nil {
			return o, r, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return o, nil, wrap(err)
		}
		last = err
	}
	return blob.Object{}, nil, fmt.Errorf("object %q in %s: its content is not there: %w", key, bucket, last)
}

// reader gives fs.ErrNotExist when the version went away.
func (s *Store) reader(ctx context.Context, o blob.Object, from, length int64) (io.ReadCloser, error) {
	r := &reader{content: s.content, left: length}
	if length == 0 {
		return r, nil
	}
	if o.Parts == 0 {
		r.segments = []store.BlobPart{{File: o.Version, Size: o.Size}}
		r.skip = from
		return r, r.next()
	}
	if !s.content.pin(o.Version) {
		return nil, fs.ErrNotExist
	}
	r.pinned = o.Version
	segments, err := s.index.Segments(ctx, o.Version, from, from+length)
	if err == nil && !covers(segments, from, from+length) {
		err = fs.ErrNotExist
	}
	if err == nil {
		r.segments, r.skip = segments, from-segments[0].Start
		err = r.next()
	}
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

func covers(segments []store.BlobPart, from, to int64) bool {
	if len(segments) == 0 || segments[0].Start > from {
		return false
	}
	at := segments[0].Start
	for _, p := range segments {
		if p.Start != at {
			return false
		}
		at += p.Size
	}
	return at >= to
}

// reader reads segments one after another; only one file is open at a time.
type reader struct {
	content  *content
	pinned   string // version, "" when the open file is all of it
	segments []store.BlobPart
	skip     int64 // bytes of the first segment that are not wanted
	left     int64 // bytes still to give
	file     *os.File
	room     int64 // bytes left in file
}

// next opens the next segment that has bytes.
func (r *reader) next() error {
	if r.file != nil {
		err := r.file.Close()
		r.file = nil
		if err != nil {
			return err
		}
	}
	for len(r.segments) > 0 && r.segments[0].Size == r.skip {
		r.segments, r.skip = r.segments[1:], 0
	}
	if len(r.segments) == 0 {
		return io.ErrUnexpectedEOF
	}
	seg := r.segments[0]
	p, ok := r.content.path(seg.File)
	if !ok {
		return fmt.Errorf("content file %q: not a name", seg.File)
	}
	f, err := os.Open(p)
	if err != nil {
		return err
	}
	if r.skip > 0 {
		if _, err := f.Seek(r.skip, io.SeekStart); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	r.file, r.room = f, min(seg.Size-r.skip, r.left)
	r.segments, r.skip = r.segments[1:], 0
	return nil
}

func (r *reader) Read(b []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	if r.room == 0 {
		if err := r.next(); err != nil {
			return 0, err
		}
	}
	n, err := r.file.Read(b[:min(int64(len(b)), r.room)])
	r.left -= int64(n)
	r.room -= int64(n)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF // the row says that there is more
	}
	return n, err
}

// WriteTo lets the kernel move the bytes when w is a connection.
func (r *reader) WriteTo(w io.Writer) (int64, error) {
	var total int64
	for r.left > 0 {
		if r.room == 0 {
			if err := r.next(); err != nil {
				return total, err
			}
		}
		n, err := io.CopyN(w, r.file, r.room)
		total += n
		r.left -= n
		r.room -= n
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

func (r *reader) Close() error {
	var err error
	if r.file != nil {
		err = r.file.Close()
		r.file = nil
	}
	r.left = 0
	if r.pinned != "" {
		r.content.unpin(r.pinned)
		r.pinned = ""
	}
	return err
}

// List reads one page.
func (s *Store) List(ctx context.Context, bucket, prefix, delimiter, after string, limit int) (blob.Listing, error) {
	page, err := s.index.ListObjects(ctx, bucket, prefix, delimiter, after, limit)
	if err != nil {
		return blob.Listing{}, wrap(err)
	}
	out := blob.Listing{Prefixes: page.Prefixes, Next: page.Next, Objects: make([]blob.Object, len(page.Objects))}
	for i, r := range page.Objects {
		if out.Objects[i], err = fromRow(r); err != nil {
			return blob.Listing{}, err
		}
	}
	return out, nil
}
