package folder

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"clary/internal/aws/checksum"
	"clary/internal/blob" //nolint:gosec // S3 defines ETags by it
	"clary/internal/store"
)

// uploadID grows with time, so that uploads of one key list by age.
func uploadID(t time.Time) string {
	const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUV"
	var b [10]byte
	ms := uint64(t.UnixMilli())
	for i := range b {
		b[len(b)-1-i] = digits[ms&31]
		ms >>= 5
	}
	return string(b[:]) + randomID(idLen)
}

// StartUpload begins a multipart upload.
func (s *Store) StartUpload(ctx context.Context, bucket, key string, m blob.Meta) (blob.Upload, error) {
	if err := s.room(); err != nil {
		return blob.Upload{}, wrap(err)
	}
	t := now()
	u := blob.Upload{ID: uploadID(t), Bucket: bucket, Key: key, Initiated: t, Meta: m}
	meta, tags, err := encodeMeta(m)
	if err != nil {
		return blob.Upload{}, err
	}
	err = s.index.StartUpload(ctx, store.BlobUpload{ID: u.ID, Bucket: bucket, Key: key, Initiated: t, Meta: meta, Tags: tags})
	return u, wrap(err)
}

// Upload reads an unfinished upload.
func (s *Store) Upload(ctx context.Context, bucket, key, id string) (blob.Upload, error) {
	row, err := s.index.Upload(ctx, bucket, key, id)
	if err != nil {
		return blob.Upload{}, wrap(err)
	}
	if row == nil {
		return blob.Upload{}, blob.ErrNoSuchUpload
	}
	return fromUpload(*row)
}

func fromUpload(row store.BlobUpload) (blob.Upload, error) {
	m, err := decodeMeta(row.Meta, row.Tags)
	if err != nil {
		return blob.Upload{}, fmt.Errorf("upload %s: %w", row.ID, err)
	}
	return blob.Upload{ID: row.ID, Bucket: row.Bucket, Key: row.Key, Initiated: row.Initiated, Meta: m}, nil
}

// PutPart writes one part.
func (s *Store) PutPart(ctx context.Context, bucket, key, upload string, number int, p blob.Put) (blob.Part, error) {
	if number < 1 || number > blob.MaxParts {
		return blob.Part{}, blob.ErrInvalidPart
	}
	if err := s.room(); err != nil {
		return blob.Part{}, wrap(err)
	}
	if _, err := s.Upload(ctx, bucket, key, upload); err != nil {
		return blob.Part{}, err
	}
	w, err := s.content.write(ctx, p, 0)
	if err != nil {
		return blob.Part{}, wrap(err)
	}
	part := blob.Part{Number: number, Size: w.sums.Size, ETag: w.etag(), Modified: now(), Checksums: w.sums.Checksums}
	row := store.BlobPart{Number: number, File: w.file, Size: part.Size, ETag: part.ETag, Modified: part.Modified}
	if len(part.Checksums) > 0 {
		if row.Sums, err = json.Marshal(part.Checksums); err != nil {
			s.content.discard(w.file)
			return blob.Part{}, err
		}
	}
	freed, found, err := s.index.PutPart(ctx, bucket, key, upload, row)
	if err == nil && !found {
		err = blob.ErrNoSuchUpload
	}
	if err != nil {
		s.unsure(context.WithoutCancel(ctx), w.file)
		return blob.Part{}, wrap(err)
	}
	s.content.settle(w.file)
	s.content.free(freed)
	return part, nil
}

// Parts reads a page of an upload's parts.
func (s *Store) Parts(ctx context.Context, bucket, key, upload string, after, limit int) (blob.Upload, []blob.Part, error) {
	u, err := s.Upload(ctx, bucket, key, upload)
	if err != nil {
		return u, nil, err
	}
	parts, err := s.parts(ctx, upload, after, limit)
	return u, parts, err
}

// ObjectParts reads a page of the parts that an object was made of.
func (s *Store) ObjectParts(ctx context.Context, n blob.Name, after, limit int) (blob.Object, []blob.Part, error) {
	o, err := s.Head(ctx, n)
	if err != nil || o.Parts == 0 {
		return o, nil, err
	}
	parts, err := s.parts(ctx, o.Content, after, limit)
	return o, parts, err
}

func (s *Store) parts(ctx context.Context, version string, after, limit int) ([]blob.Part, error) {
	rows, err := s.index.Parts(ctx, version, after, limit)
	if err != nil {
		return nil, wrap(err)
	}
	out := make([]blob.Part, len(rows))
	for i, r := range rows {
		if out[i], err = fromPart(r); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func fromPart(r store.BlobPart) (blob.Part, error) {
	p := blob.Part{Number: r.Number, Start: r.Start, Size: r.Size, ETag: r.ETag, Modified: r.Modified}
	if len(r.Sums) > 0 {
		if err := json.Unmarshal(r.Sums, &p.Checksums); err != nil {
			return p, fmt.Errorf("part %d: %w", r.Number, err)
		}
	}
	return p, nil
}

// Complete makes the parts one object without touching a byte: the parts'
// files become its segments.
func (s *Store) Complete(ctx context.Context, bucket, key, upload string, c blob.Complete) (blob.Object, error) {
	u, err := s.Upload(ctx, bucket, key, upload)
	if errors.Is(err, blob.ErrNoSuchUpload) {
		// A client that lost the answer asks again.
		if o, e := s.Head(ctx, blob.Name{Bucket: bucket, Key: key}); e == nil && o.Parts > 0 && o.Content == upload {
			return o, nil
		}
	}
	if err != nil {
		return blob.Object{}, err
	}
	have, err := s.index.Parts(ctx, upload, 0, blob.MaxParts)
	if err != nil {
		return blob.Object{}, wrap(err)
	}
	chosen, err := choose(have, c.Parts)
	if err != nil {
		return blob.Object{}, err
	}
	o := blob.Object{
		Bucket: bucket, Key: key, Content: upload, Modified: now(),
		Parts: len(chosen), Meta: u.Meta,
	}
	if err := assemble(&o, chosen, c); err != nil {
		return blob.Object{}, err
	}
	row, err := toRow(o)
	if err != nil {
		return blob.Object{}, err
	}
	version, freed, found, err := s.index.CompleteUpload(ctx, row, chosen, check(c.If))
	if err == nil && !found {
		err = blob.ErrNoSuchUpload
	}
	if err != nil {
		return blob.Object{}, wrap(err)
	}
	o.VersionID = version
	s.content.free(freed)
	return o, nil
}

// choose finds the stored parts that the client listed.
func choose(have []store.BlobPart, want []blob.Part) ([]store.BlobPart, error) {
	if len(want) == 0 {
		return nil, blob.ErrInvalidPart
	}
	byNumber := make(map[int]store.BlobPart, len(have))
	for _, h := range have {
		byNumber[h.Number] = h
	}
	out := make([]store.BlobPart, len(want))
	for i, w := range want {
		if i > 0 && w.Number <= want[i-1].Number {
			return nil, blob.ErrPartOrder
		}
		h, ok := byNumber[w.Number]
		if !ok || h.ETag != w.ETag {
			return nil, &blob.PartError{Number: w.Number, ETag: w.ETag, Err: blob.ErrInvalidPart}
		}
		if len(w.Checksums) > 0 {
			p, err := fromPart(h)
			if err != nil {
				return nil, err
			}
			for name, sum := range w.Checksums {
				if kept, ok := p.Checksums[name]; ok && kept != sum {
					return nil, &blob.PartError{Number: w.Number, ETag: w.ETag, Err: blob.ErrInvalidPart}
				}
			}
		}
		out[i] = h
	}
	for _, h := range out[:len(out)-1] {
		if h.Size < blob.MinPart {
			return nil, &blob.PartError{Number: h.Number, Size: h.Size, ETag: h.ETag, Err: blob.ErrPartTooSmall}
		}
	}
	return out, nil
}

// assemble sets offsets, and the object's size, ETag and checksums.
func assemble(o *blob.Object, parts []store.BlobPart, c blob.Complete) error {
	h := md5.New() //nolint:gosec // see above
	pieces := map[string][]checksum.Piece{}
	for i := range parts {
		p := &parts[i]
		p.Start = o.Size
		o.Size += p.Size
		raw, err := hex.DecodeString(p.ETag)
		if err != nil {
			return fmt.Errorf("part %d: %w", p.Number, err)
		}
		h.Write(raw)
		sums, err := fromPart(*p)
		if err != nil {
			return err
		}
		for name, sum := range sums.Checksums {
			pieces[name] = append(pieces[name], checksum.Piece{Sum: sum, Size: p.Size})
		}
	}
	if c.Size >= 0 && c.Size != o.Size {
		return blob.ErrBadSize
	}
	o.ETag = fmt.Sprintf("%x-%d", h.Sum(nil), len(parts))
	o.Meta.Checksums, o.Meta.Algorithm = nil, ""
	for _, name := range slices.Sorted(maps.Keys(pieces)) {
		if len(pieces[name]) != len(parts) {
			continue // not every part has it
		}
		typ := o.Meta.ChecksumType
		if typ == "" {
			typ = checksum.DefaultType(name)
		}
		if !checksum.Allowed(name, typ) {
			continue
		}
		sum, err := checksum.OfParts(name, typ, pieces[name])
		if err != nil {
			return err
		}
		if want, ok := c.Checksums[name]; ok && want != sum {
			return blob.ErrBadSum
		}
		if o.Meta.Checksums == nil {
			o.Meta.Checksums = map[string]string{}
		}
		o.Meta.Checksums[name], o.Meta.ChecksumType = sum, typ
	}
	if o.Meta.Checksums == nil {
		o.Meta.ChecksumType = ""
	}
	return nil
}

// Abort drops an upload and its parts.
func (s *Store) Abort(ctx context.Context, bucket, key, upload string) error {
	freed, found, err := s.index.AbortUpload(ctx, bucket, key, upload)
	if err != nil {
		return wrap(err)
	}
	if !found {
		return blob.ErrNoSuchUpload
	}
	s.content.free(freed)
	return nil
}

// Uploads reads one page of unfinished uploads.
func (s *Store) Uploads(ctx context.Context, bucket, prefix, delimiter, afterKey, afterID string, limit int) (blob.Uploads, error) {
	page, err := s.index.ListUploads(ctx, bucket, prefix, delimiter, afterKey, afterID, limit)
	if err != nil {
		return blob.Uploads{}, wrap(err)
	}
	out := blob.Uploads{Prefixes: page.Prefixes, NextKey: page.NextKey, NextID: page.NextID}
	for _, r := range page.Uploads {
		u, err := fromUpload(r)
		if err != nil {
			return blob.Uploads{}, err
		}
		out.Uploads = append(out.Uploads, u)
	}
	return out, nil
}
