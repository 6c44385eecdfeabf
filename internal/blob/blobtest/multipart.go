package blobtest

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"

	"clary/internal/aws/checksum" //nolint:gosec // S3 defines ETags by it
	"clary/internal/blob"
)

// upload makes one object of parts and returns all its bytes.
func upload(t *testing.T, s blob.Store, b, key string, m blob.Meta, parts ...[]byte) []byte {
	t.Helper()
	u, err := s.StartUpload(t.Context(), b, key, m)
	must(t, err)
	done := putParts(t, s, u, nil, parts...)
	_, err = s.Complete(t.Context(), b, key, u.ID, blob.Complete{Parts: done, Size: -1})
	must(t, err)
	return bytes.Join(parts, nil)
}

func putParts(t *testing.T, s blob.Store, u blob.Upload, algorithms []string, parts ...[]byte) []blob.Part {
	t.Helper()
	var out []blob.Part
	for i, data := range parts {
		p, err := s.PutPart(t.Context(), u.Bucket, u.Key, u.ID, i+1, blob.Put{Body: bytes.NewReader(data), Size: int64(len(data)), Want: algorithms})
		must(t, err)
		if p.ETag != etag(data) || p.Size != int64(len(data)) || p.Number != i+1 || len(p.Checksums) != len(algorithms) {
			t.Errorf("part is %+v", p)
		}
		out = append(out, p)
	}
	return out
}

func manyETag(parts ...[]byte) string {
	h := md5.New() //nolint:gosec // see above
	for _, p := range parts {
		raw, _ := hex.DecodeString(etag(p)) // of our own making
		h.Write(raw)
	}
	return fmt.Sprintf("%x-%d", h.Sum(nil), len(parts))
}

func multipart(t *testing.T, s blob.Store) {
	ctx := t.Context()
	b := bucket(t, s, "bucket")
	put(t, s, b, "k", []byte("before"))
	m := blob.Meta{ContentType: "x/y", User: map[string]string{"a": "b"}, Tags: map[string]string{"t": "1"}}
	u, err := s.StartUpload(ctx, b, "k", m)
	must(t, err)
	one, two, three := pattern(1, blob.MinPart), pattern(2, blob.MinPart+3), pattern(3, 1000)
	p := putParts(t, s, u, nil, pattern(8, 50), two, three, pattern(4, 7))
	p[0], err = s.PutPart(ctx, b, "k", u.ID, 1, blob.Put{Body: bytes.NewReader(one), Size: int64(len(one))})
	must(t, err)
	_, listed, err := s.Parts(ctx, b, "k", u.ID, 1, 2)
	must(t, err)
	if len(listed) != 2 || listed[0].Number != 2 || listed[1].Number != 3 || listed[0].ETag != etag(two) {
		t.Errorf("listed %+v", listed)
	}
	if got := get(t, s, b, "k", nil); string(got) != "before" {
		t.Errorf("object reads %q before completion", got)
	}
	// Part 4 is left out.
	o, err := s.Complete(ctx, b, "k", u.ID, blob.Complete{Parts: p[:3], Size: -1})
	must(t, err)
	all := bytes.Join([][]byte{one, two, three}, nil)
	h, err := s.Head(ctx, blob.Name{Bucket: b, Key: "k"})
	must(t, err)
	for what, o := range map[string]blob.Object{"complete": o, "head": h} {
		if o.ETag != manyETag(one, two, three) || o.Size != int64(len(all)) || o.Parts != 3 ||
			o.Meta.ContentType != "x/y" || o.Meta.User["a"] != "b" || o.Meta.Tags["t"] != "1" {
			t.Errorf("%s: %+v", what, o)
		}
	}
	if got := get(t, s, b, "k", nil); !bytes.Equal(got, all) {
		t.Error("the whole differs")
	}
	n := int64(blob.MinPart)
	for _, r := range [][2]int64{{0, 1}, {n - 1, 1}, {n, 1}, {n - 1, 2}, {n - 10, n + 20}, {2*n + 3, -1}, {2*n + 2, 2}, {int64(len(all)) - 1, 1}, {int64(len(all)), 0}} {
		end := r[0] + r[1]
		if r[1] < 0 {
			end = int64(len(all))
		}
		if got := get(t, s, b, "k", span(r[0], r[1])); !bytes.Equal(got, all[r[0]:end]) {
			t.Errorf("range %v differs", r)
		}
	}
	_, parts, err := s.ObjectParts(ctx, blob.Name{Bucket: b, Key: "k"}, 0, 100)
	must(t, err)
	if len(parts) != 3 || parts[1].Start != n || parts[2].Start != 2*n+3 || parts[2].Size != 1000 {
		t.Errorf("parts of the object: %+v", parts)
	}
	again, err := s.Complete(ctx, b, "k", u.ID, blob.Complete{Parts: p[:3], Size: -1})
	must(t, err)
	if again.ETag != o.ETag || again.Content != o.Content {
		t.Errorf("repeated: %+v", again)
	}
	_, err = s.PutPart(ctx, b, "k", u.ID, 1, blob.Put{Body: strings.NewReader("x"), Size: 1})
	want(t, "part of a completed upload", err, blob.ErrNoSuchUpload)
	put(t, s, b, "k", []byte("after"))
	if got := get(t, s, b, "k", nil); string(got) != "after" {
		t.Errorf("replaced reads %q", got)
	}
	upload(t, s, b, "empty", blob.Meta{}, nil)
	if o, err := s.Head(ctx, blob.Name{Bucket: b, Key: "empty"}); err != nil || o.Size != 0 || o.Parts != 1 || len(get(t, s, b, "empty", nil)) != 0 {
		t.Errorf("upload of nothing: %+v %v", o, err)
	}
}

func multipartRefusals(t *testing.T, s blob.Store) {
	ctx := t.Context()
	b := bucket(t, s, "bucket")
	u, err := s.StartUpload(ctx, b, "k", blob.Meta{})
	must(t, err)
	p := putParts(t, s, u, []string{checksum.SHA1}, pattern(1, blob.MinPart), []byte("small"), []byte("tail"))
	wrong := p[0]
	wrong.ETag = etag([]byte("other"))
	missing := p[0]
	missing.Number = 9
	badSum := p[0]
	badSum.Checksums = map[string]string{checksum.SHA1: sum(checksum.SHA1, nil)}
	for name, c := range map[string]struct {
		c    blob.Complete
		want error
	}{
		"none":      {blob.Complete{Size: -1}, blob.ErrInvalidPart},
		"order":     {blob.Complete{Size: -1, Parts: []blob.Part{p[1], p[0]}}, blob.ErrPartOrder},
		"twice":     {blob.Complete{Size: -1, Parts: []blob.Part{p[0], p[0]}}, blob.ErrPartOrder},
		"etag":      {blob.Complete{Size: -1, Parts: []blob.Part{wrong, p[1]}}, blob.ErrInvalidPart},
		"missing":   {blob.Complete{Size: -1, Parts: []blob.Part{p[1], missing}}, blob.ErrInvalidPart},
		"checksum":  {blob.Complete{Size: -1, Parts: []blob.Part{badSum}}, blob.ErrInvalidPart},
		"small":     {blob.Complete{Size: -1, Parts: []blob.Part{p[0], p[1], p[2]}}, blob.ErrPartTooSmall},
		"size":      {blob.Complete{Size: 3, Parts: []blob.Part{p[0]}}, blob.ErrBadSize},
		"sum":       {blob.Complete{Size: -1, Parts: []blob.Part{p[0]}, Checksums: map[string]string{checksum.SHA1: "AAAA-1"}}, blob.ErrBadSum},
		"condition": {blob.Complete{Size: -1, Parts: []blob.Part{p[0]}, If: blob.Conditions{IfMatch: "*"}}, blob.ErrNoSuchKey},
	} {
		_, err := s.Complete(ctx, b, "k", u.ID, c.c)
		want(t, name, err, c.want)
	}
	_, err = s.Complete(ctx, b, "other", u.ID, blob.Complete{Parts: p[:1], Size: -1})
	want(t, "complete under another key", err, blob.ErrNoSuchUpload)
	for _, n := range []int{0, -1, blob.MaxParts + 1} {
		_, err = s.PutPart(ctx, b, "k", u.ID, n, blob.Put{Body: strings.NewReader("x"), Size: 1})
		want(t, fmt.Sprint("part ", n), err, blob.ErrInvalidPart)
	}
	refused := errors.New("refused")
	_, err = s.PutPart(ctx, b, "k", u.ID, 1, blob.Put{Body: strings.NewReader("x"), Size: 1, Verify: func(blob.Sums) error { return refused }})
	want(t, "verify", err, refused)
	_, still, err := s.Parts(ctx, b, "k", u.ID, 0, 1)
	must(t, err)
	if still[0].ETag != p[0].ETag {
		t.Error("a refused part replaced the old one")
	}
	_, err = s.Head(ctx, blob.Name{Bucket: b, Key: "k"})
	want(t, "head before completion", err, blob.ErrNoSuchKey)
	must(t, s.Abort(ctx, b, "k", u.ID))
	want(t, "abort again", s.Abort(ctx, b, "k", u.ID), blob.ErrNoSuchUpload)
	_, err = s.Complete(ctx, b, "k", u.ID, blob.Complete{Parts: p[:1], Size: -1})
	want(t, "complete an aborted upload", err, blob.ErrNoSuchUpload)
}

func multipartSums(t *testing.T, s blob.Store) {
	ctx := t.Context()
	b := bucket(t, s, "bucket")
	one, two := pattern(1, blob.MinPart), pattern(2, 999)
	for _, c := range [][2]string{
		{checksum.CRC32, checksum.FullObject},
		{checksum.CRC32C, checksum.FullObject},
		{checksum.CRC64NVME, checksum.FullObject},
		{checksum.CRC32, checksum.Composite},
		{checksum.CRC32C, checksum.Composite},
		{checksum.SHA1, checksum.Composite},
		{checksum.SHA256, checksum.Composite},
		{checksum.SHA512, checksum.Composite},
		{checksum.MD5, checksum.Composite},
		{checksum.CRC64NVME, ""},
		{checksum.SHA256, ""},
	} {
		algorithm, typ := c[0], c[1]
		u, err := s.StartUpload(ctx, b, "k", blob.Meta{Algorithm: algorithm, ChecksumType: typ})
		must(t, err)
		p := putParts(t, s, u, []string{algorithm}, one, two)
		o, err := s.Complete(ctx, b, "k", u.ID, blob.Complete{Parts: p, Size: int64(len(one) + len(two))})
		must(t, err)
		if typ == "" {
			typ = checksum.DefaultType(algorithm)
		}
		wantSum, err := checksum.OfParts(algorithm, typ, []checksum.Piece{
			{Sum: sum(algorithm, one), Size: int64(len(one))}, {Sum: sum(algorithm, two), Size: int64(len(two))},
		})
		must(t, err)
		if typ == checksum.FullObject && wantSum != sum(algorithm, append(append([]byte{}, one...), two...)) {
			t.Errorf("%s of parts is not that of the whole", algorithm)
		}
		if o.Meta.Checksums[algorithm] != wantSum || o.Meta.ChecksumType != typ {
			t.Errorf("%v: %+v", c, o.Meta)
		}
		l, err := s.List(ctx, b, "", "", "", 1)
		must(t, err)
		if _, ok := l.Objects[0].Meta.Checksums[algorithm]; !ok || l.Objects[0].Meta.ChecksumType != typ {
			t.Errorf("%v listed as %+v", c, l.Objects[0].Meta)
		}
	}
}

func copies(t *testing.T, s blob.Store) {
	ctx := t.Context()
	b, other := bucket(t, s, "bucket"), bucket(t, s, "other")
	data := pattern(5, 400<<10)
	_, err := s.Put(ctx, blob.Put{
		Bucket: b, Key: "whole", Body: bytes.NewReader(data), Size: int64(len(data)), Want: []string{checksum.CRC32},
		Meta: blob.Meta{ContentType: "old", User: map[string]string{"a": "b"}},
	})
	must(t, err)
	parted := upload(t, s, b, "parted", blob.Meta{}, pattern(6, blob.MinPart), pattern(7, 77))
	put(t, s, b, "empty", nil)
	for _, c := range []struct {
		from string
		pick blob.Pick
		want []string
		data []byte
	}{
		{"whole", nil, nil, data},
		{"whole", nil, []string{checksum.CRC32}, data},
		{"whole", nil, []string{checksum.SHA256}, data},
		{"whole", span(10, 20), []string{checksum.CRC32}, data[10:30]},
		{"parted", nil, nil, parted},
		{"parted", span(blob.MinPart-5, 10), nil, parted[blob.MinPart-5 : blob.MinPart+5]},
		{"empty", nil, []string{checksum.SHA1}, nil},
	} {
		o, err := s.Copy(ctx, blob.Name{Bucket: b, Key: c.from}, c.pick, blob.Put{
			Bucket: other, Key: "to", Want: c.want, Meta: blob.Meta{ContentType: "new"},
			Verify: func(got blob.Sums) error {
				if got.Size != int64(len(c.data)) {
					t.Errorf("verify got %+v", got)
				}
				return nil
			},
		})
		must(t, err)
		if o.ETag != etag(c.data) || o.Parts != 0 || o.Meta.ContentType != "new" || len(o.Meta.User) != 0 || len(o.Meta.Checksums) != len(c.want) {
			t.Errorf("copy of %s: %+v", c.from, o)
		}
		for _, a := range c.want {
			if o.Meta.Checksums[a] != sum(a, c.data) {
				t.Errorf("%s of the copy of %s: %s", a, c.from, o.Meta.Checksums[a])
			}
		}
		if got := get(t, s, other, "to", nil); !bytes.Equal(got, c.data) {
			t.Errorf("copy of %s has other bytes", c.from)
		}
	}
	// Neither of the two depends on the other.
	_, err = s.Copy(ctx, blob.Name{Bucket: b, Key: "whole"}, nil, blob.Put{Bucket: other, Key: "kept"})
	must(t, err)
	must(t, remove(ctx, s, b, "whole", blob.Conditions{}))
	if got := get(t, s, other, "kept", nil); !bytes.Equal(got, data) {
		t.Error("the copy went with its source")
	}
	_, err = s.Copy(ctx, blob.Name{Bucket: other, Key: "kept"}, nil, blob.Put{Bucket: other, Key: "kept", Meta: blob.Meta{ContentType: "self"}})
	must(t, err)
	if got := get(t, s, other, "kept", nil); !bytes.Equal(got, data) {
		t.Error("a copy onto itself lost the bytes")
	}
	_, err = s.Copy(ctx, blob.Name{Bucket: b, Key: "none"}, nil, blob.Put{Bucket: other, Key: "x"})
	want(t, "copy of no key", err, blob.ErrNoSuchKey)
	_, err = s.Copy(ctx, blob.Name{Bucket: other, Key: "kept"}, nil, blob.Put{Bucket: "none", Key: "x"})
	want(t, "copy to no bucket", err, blob.ErrNoSuchBucket)
	refused := errors.New("refused")
	_, err = s.Copy(ctx, blob.Name{Bucket: other, Key: "kept"}, nil, blob.Put{Bucket: other, Key: "x", Verify: func(blob.Sums) error { return refused }})
	want(t, "verify", err, refused)
	_, err = s.Copy(ctx, blob.Name{Bucket: other, Key: "kept"}, nil, blob.Put{Bucket: other, Key: "kept", If: blob.Conditions{IfNoneMatch: "*"}})
	want(t, "condition", err, blob.ErrPrecondition)
}
