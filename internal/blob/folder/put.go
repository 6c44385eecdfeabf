package folder

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"clary/internal/aws/checksum"
	"clary/internal/blob"
	"clary/internal/store"
)

// Put writes one object.
func (s *Store) Put(ctx context.Context, p blob.Put) (blob.Object, error) {
	if err := s.ready(ctx, p); err != nil {
		return blob.Object{}, err
	}
	w, err := s.content.write(ctx, p, s.small)
	if err != nil {
		return blob.Object{}, wrap(err)
	}
	return s.commit(ctx, p, w)
}

// ready refuses a write that could not be committed before its body is read.
func (s *Store) ready(ctx context.Context, p blob.Put) error {
	if err := s.room(); err != nil {
		return wrap(err)
	}
	if p.If == (blob.Conditions{}) {
		_, err := s.Bucket(ctx, p.Bucket)
		return err
	}
	old, err := s.index.Object(ctx, p.Bucket, p.Key, "")
	if err != nil {
		return wrap(err)
	}
	if old != nil && old.Marker {
		old = nil
	}
	return check(p.If)(old)
}

// commit gives the written file its row.
func (s *Store) commit(ctx context.Context, p blob.Put, w written) (blob.Object, error) {
	o := blob.Object{
		Bucket: p.Bucket, Key: p.Key, Content: w.file, Size: w.sums.Size,
		ETag: w.etag(), Modified: now(), Meta: summed(p.Meta, w.sums),
	}
	if w.small != nil {
		o.Content = store.SmallMark + randomID(idLen)
	}
	row, err := toRow(o)
	if err != nil {
		s.content.discard(w.file)
		return blob.Object{}, err
	}
	row.Data = w.small
	var freed []store.BlobContent
	o.VersionID, freed, err = s.index.PutObject(ctx, row, check(p.If))
	if err != nil {
		s.unsure(context.WithoutCancel(ctx), w.file)
		return blob.Object{}, wrap(err)
	}
	s.content.settle(w.file)
	s.content.free(freed)
	return o, nil
}

// unsure drops a file whose row failed to commit, unless the row is there
// after all: a commit may fail in the caller's eyes and still be on disk.
func (s *Store) unsure(ctx context.Context, file string) {
	if file == "" {
		return
	}
	named, err := s.index.Referenced(ctx, []string{file})
	if err == nil && len(named) == 0 {
		s.content.discard(file)
		return
	}
	s.content.settle(file) // a row names it, or the sweep will see that none does
}

// now is the precision that rows keep.
func now() time.Time { return time.Now().UTC().Truncate(time.Millisecond) }

// check guards a write by what the key stands for.
func check(c blob.Conditions) store.BlobCheck {
	return func(old *store.BlobObject) error {
		switch {
		case old == nil && c.IfMatch != "":
			return blob.ErrNoSuchKey
		case old == nil:
			return nil
		case c.IfMatch != "" && c.IfMatch != "*" && c.IfMatch != old.ETag,
			c.IfNoneMatch == "*", c.IfNoneMatch != "" && c.IfNoneMatch == old.ETag:
			return blob.ErrPrecondition
		}
		return nil
	}
}

// Copy shares the bytes of a whole single-file object with its source by a
// hard link, and reads and writes them otherwise.
func (s *Store) Copy(ctx context.Context, source blob.Name, pick blob.Pick, p blob.Put) (blob.Object, error) {
	if err := s.ready(ctx, p); err != nil {
		return blob.Object{}, err
	}
	for range lookups {
		src, err := s.find(ctx, source, pick)
		if err != nil {
			return blob.Object{}, err
		}
		sums, ok := known(src.Object, p.Want)
		if src.Parts > 0 || isSmall(src.Object) || !ok || src.from != 0 || src.length != src.Size || src.Size == 0 {
			break
		}
		file, err := s.content.link(src.Content)
		if errors.Is(err, fs.ErrNotExist) {
			continue // replaced meanwhile
		}
		if err != nil && unlinkable(err) {
			break
		}
		if err != nil {
			return blob.Object{}, wrap(err)
		}
		if p.Verify != nil {
			if err := p.Verify(sums); err != nil {
				s.content.discard(file)
				return blob.Object{}, err
			}
		}
		return s.commit(ctx, p, written{file: file, sums: sums})
	}
	_, body, err := s.Open(ctx, source, pick)
	if err != nil {
		return blob.Object{}, err
	}
	defer body.Close() //nolint:errcheck // read only
	p.Body, p.Size = body, -1
	return s.Put(ctx, p)
}

func isSmall(o blob.Object) bool { return strings.HasPrefix(o.Content, store.SmallMark) }

// known gives the sums of a whole single-file object without reading it.
func known(o blob.Object, want []string) (blob.Sums, bool) {
	sums := blob.Sums{Size: o.Size, Checksums: map[string]string{}}
	if n, err := hex.Decode(sums.MD5[:], []byte(o.ETag)); err != nil || n != len(sums.MD5) {
		return sums, false
	}
	for _, w := range want {
		v := o.Meta.Checksums[w]
		if v == "" || o.Meta.ChecksumType != checksum.FullObject {
			return sums, false
		}
		sums.Checksums[w] = v
	}
	return sums, true
}

// Delete removes a version, or a key.
func (s *Store) Delete(ctx context.Context, n blob.Name, c blob.Conditions) (blob.Deleted, error) {
	d, freed, err := s.index.DeleteObject(ctx, n.Bucket, n.Key, n.Version, check(c))
	if err != nil {
		return blob.Deleted{}, wrap(err)
	}
	s.content.free(freed)
	return blob.Deleted(d), nil
}

// SetTags replaces a version's tags.
func (s *Store) SetTags(ctx context.Context, n blob.Name, tags map[string]string) (string, error) {
	raw, err := encodeTags(tags)
	if err != nil {
		return "", err
	}
	row, err := s.index.SetTags(ctx, n.Bucket, n.Key, n.Version, raw)
	if err != nil {
		return "", wrap(err)
	}
	o, err := there(n, row)
	return o.VersionID, err
}

func encodeTags(tags map[string]string) (json.RawMessage, error) {
	if len(tags) == 0 {
		return nil, nil
	}
	raw, err := json.Marshal(tags)
	if err != nil {
		return nil, fmt.Errorf("tags: %w", err)
	}
	return raw, nil
}

func encodeMeta(m blob.Meta) (meta, tags json.RawMessage, err error) {
	if meta, err = json.Marshal(m); err != nil {
		return nil, nil, fmt.Errorf("metadata: %w", err)
	}
	tags, err = encodeTags(m.Tags)
	return meta, tags, err
}

func decodeMeta(meta, tags json.RawMessage) (m blob.Meta, err error) {
	if len(meta) > 0 {
		if err := json.Unmarshal(meta, &m); err != nil {
			return m, fmt.Errorf("metadata: %w", err)
		}
	}
	if len(tags) > 0 {
		if err := json.Unmarshal(tags, &m.Tags); err != nil {
			return m, fmt.Errorf("tags: %w", err)
		}
	}
	return m, nil
}

func toRow(o blob.Object) (store.BlobObject, error) {
	meta, tags, err := encodeMeta(o.Meta)
	if err != nil {
		return store.BlobObject{}, err
	}
	return store.BlobObject{
		Bucket: o.Bucket, Key: o.Key, Version: o.Content, Size: o.Size, ETag: o.ETag,
		Modified: o.Modified, Parts: o.Parts, Sums: sumsColumn(o.Meta), Meta: meta, Tags: tags,
	}, nil
}

// sumsColumn is what a listing tells of checksums: names and type.
func sumsColumn(m blob.Meta) string {
	if len(m.Checksums) == 0 {
		return ""
	}
	names := make([]string, 0, len(m.Checksums))
	for n := range m.Checksums {
		names = append(names, n)
	}
	slices.Sort(names)
	return strings.Join(names, ",") + "/" + m.ChecksumType
}

func fromRow(r store.BlobObject) (blob.Object, error) {
	m, err := decodeMeta(r.Meta, r.Tags)
	if err != nil {
		return blob.Object{}, fmt.Errorf("object %q in %s: %w", r.Key, r.Bucket, err)
	}
	if len(r.Meta) == 0 && r.Sums != "" {
		names, typ, _ := strings.Cut(r.Sums, "/")
		m.ChecksumType, m.Checksums = typ, map[string]string{}
		for n := range strings.SplitSeq(names, ",") {
			m.Checksums[n] = ""
		}
	}
	return blob.Object{
		Bucket: r.Bucket, Key: r.Key, VersionID: r.VersionID, Marker: r.Marker, Latest: r.Latest, Content: r.Version, Size: r.Size, ETag: r.ETag,
		Modified: r.Modified, Parts: r.Parts, Meta: m,
	}, nil
}
