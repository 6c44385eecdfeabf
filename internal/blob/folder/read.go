package folder

import (
	"bytes"
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

// Head reads one version's row.
func (s *Store) Head(ctx context.Context, n blob.Name) (blob.Object, error) {
	row, err := s.index.Object(ctx, n.Bucket, n.Key, n.Version)
	if err != nil {
		return blob.Object{}, wrap(err)
	}
	return there(n, row)
}

// there says what a row, or its absence, means for a reader.
func there(n blob.Name, row *store.BlobObject) (blob.Object, error) {
	switch {
	case row == nil && n.Version != "":
		return blob.Object{}, blob.ErrNoSuchVersion
	case row == nil:
		return blob.Object{}, blob.ErrNoSuchKey
	}
	o, err := fromRow(*row)
	if err == nil && row.Marker {
		return blob.Object{}, &blob.DeletedError{Marker: o}
	}
	return o, err
}

// found is an object and what was picked of it.
type found struct {
	blob.Object

	data         []byte // of a small object
	from, length int64
}

// find looks the object up and asks pick what to read of it.
func (s *Store) find(ctx context.Context, n blob.Name, pick blob.Pick) (f found, err error) {
	row, err := s.index.ObjectData(ctx, n.Bucket, n.Key, n.Version)
	if err != nil {
		return f, wrap(err)
	}
	if f.Object, err = there(n, row); err != nil {
		return f, err
	}
	f.data = row.Data
	if pick == nil {
		pick = blob.Whole
	}
	if f.from, f.length, err = pick(f.Object); err != nil {
		return f, err
	}
	if f.length < 0 {
		f.length = f.Size - f.from
	}
	if f.from < 0 || f.length < 0 || f.from > f.Size-f.length {
		return f, fmt.Errorf("range %d+%d of %d bytes", f.from, f.length, f.Size)
	}
	return f, nil
}

// Open reads one version.
func (s *Store) Open(ctx context.Context, n blob.Name, pick blob.Pick) (blob.Object, io.ReadCloser, error) {
	var last error
	for range lookups {
		f, err := s.find(ctx, n, pick)
		if err != nil {
			return f.Object, nil, err
		}
		r, err := s.reader(ctx, f)
		if err == nil {
			return f.Object, r, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return f.Object, nil, wrap(err)
		}
		last = err
	}
	return blob.Object{}, nil, fmt.Errorf("object %q in %s: its content is not there: %w", n.Key, n.Bucket, last)
}

// reader gives fs.ErrNotExist when the version went away.
func (s *Store) reader(ctx context.Context, o found) (io.ReadCloser, error) {
	from, length := o.from, o.length
	r := &reader{content: s.content, left: length}
	if length == 0 {
		return r, nil
	}
	if isSmall(o.Object) {
		return smallReader{bytes.NewReader(o.data[from : from+length])}, nil
	}
	if o.Parts == 0 {
		r.segments = []store.BlobPart{{File: o.Content, Size: o.Size}}
		r.skip = from
		return r, r.next()
	}
	if !s.content.pin(o.Content) {
		return nil, fs.ErrNotExist
	}
	r.pinned = o.Content
	segments, err := s.index.Segments(ctx, o.Content, from, from+length)
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

// smallReader is what there is of a small object.
type smallReader struct{ *bytes.Reader }

func (smallReader) Close() error { return nil }

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

// Versions reads one page.
func (s *Store) Versions(ctx context.Context, bucket, prefix, delimiter, afterKey, afterVersion string, limit int) (blob.Versions, error) {
	page, err := s.index.ListVersions(ctx, bucket, prefix, delimiter, afterKey, afterVersion, limit)
	if err != nil {
		return blob.Versions{}, wrap(err)
	}
	out := blob.Versions{Prefixes: page.Prefixes, NextKey: page.NextKey, NextVersion: page.NextVersion, Versions: make([]blob.Object, len(page.Versions))}
	for i, r := range page.Versions {
		if out.Versions[i], err = fromRow(r); err != nil {
			return blob.Versions{}, err
		}
	}
	return out, nil
}
