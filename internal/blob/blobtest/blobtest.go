// Package blobtest is the suite that every blob.Store passes. Call Run from an
// adapter's test.
package blobtest

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"clary/internal/aws/checksum" //nolint:gosec // S3 defines ETags by it
	"clary/internal/blob"
)

// Run checks the store that open gives. Every call of open is a new, empty
// store, which the test's end closes.
func Run(t *testing.T, open func(t *testing.T) blob.Store) {
	t.Helper()
	for name, test := range map[string]func(t *testing.T, s blob.Store){
		"Buckets":           buckets,
		"PutGet":            putGet,
		"Meta":              meta,
		"BadBodies":         badBodies,
		"Conditions":        conditions,
		"Ranges":            ranges,
		"OddKeys":           oddKeys,
		"Replace":           replace,
		"ReadersKeepBytes":  readersKeepBytes,
		"Concurrent":        concurrent,
		"Tags":              tags,
		"List":              list,
		"ListRandom":        listRandom,
		"Copy":              copies,
		"Multipart":         multipart,
		"MultipartRefusals": multipartRefusals,
		"MultipartSums":     multipartSums,
		"Uploads":           uploads,
		"Versions":          versions,
		"VersionsSuspended": versionsSuspended,
		"VersionsRandom":    versionsRandom,
		"Settings":          settings,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

const account = "123456789012"

func bucket(t *testing.T, s blob.Store, name string) string {
	t.Helper()
	must(t, s.CreateBucket(t.Context(), blob.Bucket{Name: name, Account: account, Region: "us-east-1", Created: time.Now()}))
	return name
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func want(t *testing.T, what string, got, target error) {
	t.Helper()
	if !errors.Is(got, target) {
		t.Errorf("%s: got %v, want %v", what, got, target)
	}
}

func put(t *testing.T, s blob.Store, bucket, key string, data []byte) blob.Object {
	t.Helper()
	o, err := s.Put(t.Context(), blob.Put{Bucket: bucket, Key: key, Body: bytes.NewReader(data), Size: int64(len(data))})
	must(t, err)
	return o
}

func remove(ctx context.Context, s blob.Store, bucket, key string, c blob.Conditions) error {
	_, err := s.Delete(ctx, blob.Name{Bucket: bucket, Key: key}, c)
	return err
}

func tag(ctx context.Context, s blob.Store, n blob.Name, tags map[string]string) error {
	_, err := s.SetTags(ctx, n, tags)
	return err
}

func get(t *testing.T, s blob.Store, bucket, key string, pick blob.Pick) []byte {
	t.Helper()
	_, r, err := s.Open(t.Context(), blob.Name{Bucket: bucket, Key: key}, pick)
	must(t, err)
	return slurp(t, r)
}

func slurp(t *testing.T, r io.ReadCloser) []byte {
	t.Helper()
	data, err := io.ReadAll(struct{ io.Reader }{r})
	must(t, err)
	must(t, r.Close())
	return data
}

// pattern is n bytes that differ by seed and place.
func pattern(seed, n int) []byte {
	out := make([]byte, n)
	x := uint32(seed)*2654435761 + 1
	for i := range out {
		x = x*1664525 + 1013904223
		out[i] = byte(x >> 24)
	}
	return out
}

func etag(data []byte) string {
	sum := md5.Sum(data) //nolint:gosec // see above
	return hex.EncodeToString(sum[:])
}

func sum(algorithm string, data []byte) string {
	h := checksum.New(algorithm)
	h.Write(data)
	return base64.StdEncoding.EncodeToString(h.Sum(nil))
}

func keys(l blob.Listing) []string {
	out := make([]string, len(l.Objects))
	for i, o := range l.Objects {
		out[i] = o.Key
	}
	return out
}

func buckets(t *testing.T, s blob.Store) {
	ctx := t.Context()
	created := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	b := blob.Bucket{Name: "one", Account: account, Region: "eu-west-1", Created: created}
	must(t, s.CreateBucket(ctx, b))
	want(t, "again", s.CreateBucket(ctx, b), blob.ErrBucketExists)
	must(t, s.CreateBucket(ctx, blob.Bucket{Name: "another", Account: account, Created: created}))
	must(t, s.CreateBucket(ctx, blob.Bucket{Name: "foreign", Account: "999999999999", Created: created}))
	got, err := s.Bucket(ctx, "one")
	must(t, err)
	if got != b {
		t.Errorf("got %+v, want %+v", got, b)
	}
	_, err = s.Bucket(ctx, "none")
	want(t, "missing bucket", err, blob.ErrNoSuchBucket)
	mine, err := s.Buckets(ctx, account)
	must(t, err)
	if len(mine) != 2 || mine[0].Name != "another" || mine[1].Name != "one" {
		t.Errorf("buckets of the account: %+v", mine)
	}
	all, err := s.Buckets(ctx, "")
	must(t, err)
	if len(all) != 3 {
		t.Errorf("all buckets: %+v", all)
	}

	put(t, s, "one", "k", []byte("x"))
	want(t, "delete a full bucket", s.DeleteBucket(ctx, "one"), blob.ErrBucketNotEmpty)
	must(t, remove(ctx, s, "one", "k", blob.Conditions{}))
	u, err := s.StartUpload(ctx, "one", "unfinished", blob.Meta{})
	must(t, err)
	_, err = s.PutPart(ctx, "one", "unfinished", u.ID, 1, blob.Put{Body: strings.NewReader("part"), Size: 4})
	must(t, err)
	must(t, s.DeleteBucket(ctx, "one"))
	want(t, "delete it again", s.DeleteBucket(ctx, "one"), blob.ErrNoSuchBucket)
	must(t, s.CreateBucket(ctx, b))
	_, err = s.Upload(ctx, "one", "unfinished", u.ID)
	want(t, "upload of a deleted bucket", err, blob.ErrNoSuchUpload)

	_, err = s.Put(ctx, blob.Put{Bucket: "none", Key: "k", Body: strings.NewReader("x"), Size: 1})
	want(t, "put", err, blob.ErrNoSuchBucket)
	_, err = s.Head(ctx, blob.Name{Bucket: "none", Key: "k"})
	want(t, "head", err, blob.ErrNoSuchBucket)
	_, _, err = s.Open(ctx, blob.Name{Bucket: "none", Key: "k"}, nil)
	want(t, "open", err, blob.ErrNoSuchBucket)
	_, err = s.List(ctx, "none", "", "", "", 10)
	want(t, "list", err, blob.ErrNoSuchBucket)
	want(t, "delete", remove(ctx, s, "none", "k", blob.Conditions{}), blob.ErrNoSuchBucket)
	_, err = s.StartUpload(ctx, "none", "k", blob.Meta{})
	want(t, "upload", err, blob.ErrNoSuchBucket)
}

func putGet(t *testing.T, s blob.Store) {
	ctx := t.Context()
	b := bucket(t, s, "bucket")
	for _, n := range []int{0, 1, 4095, 256 << 10, 256<<10 + 1, 1 << 20, 3<<20 + 7} {
		for _, size := range []int64{int64(n), -1} {
			data := pattern(n, n)
			key := fmt.Sprintf("k/%d/%d", n, size)
			before := time.Now().Add(-time.Second)
			o, err := s.Put(ctx, blob.Put{
				Bucket: b, Key: key, Body: &dribble{data: data}, Size: size,
				Want: []string{checksum.CRC32C, checksum.SHA256},
				Verify: func(got blob.Sums) error {
					if got.Size != int64(n) || hex.EncodeToString(got.MD5[:]) != etag(data) ||
						got.Checksums[checksum.SHA256] != sum(checksum.SHA256, data) {
						t.Errorf("%s: verify got %+v", key, got)
					}
					return nil
				},
			})
			must(t, err)
			h, err := s.Head(ctx, blob.Name{Bucket: b, Key: key})
			must(t, err)
			for what, o := range map[string]blob.Object{"put": o, "head": h} {
				if o.Bucket != b || o.Key != key || o.Size != int64(n) || o.ETag != etag(data) || o.Parts != 0 ||
					o.Modified.Before(before) || o.Meta.ChecksumType != checksum.FullObject ||
					o.Meta.Checksums[checksum.CRC32C] != sum(checksum.CRC32C, data) || len(o.Meta.Checksums) != 2 {
					t.Errorf("%s of %s: %+v", what, key, o)
				}
			}
			if h.Content != o.Content || !h.Modified.Equal(o.Modified) {
				t.Errorf("put says %+v, head %+v", o, h)
			}
			if got := get(t, s, b, key, nil); !bytes.Equal(got, data) {
				t.Errorf("%s: read %d bytes that differ", key, len(got))
			}
			_, r, err := s.Open(ctx, blob.Name{Bucket: b, Key: key}, nil)
			must(t, err)
			var buf bytes.Buffer
			_, err = io.Copy(&buf, r)
			must(t, err)
			must(t, r.Close())
			if !bytes.Equal(buf.Bytes(), data) {
				t.Errorf("%s: copied %d bytes that differ", key, buf.Len())
			}
		}
	}
	_, err := s.Head(ctx, blob.Name{Bucket: b, Key: "none"})
	want(t, "head", err, blob.ErrNoSuchKey)
	_, _, err = s.Open(ctx, blob.Name{Bucket: b, Key: "none"}, nil)
	want(t, "open", err, blob.ErrNoSuchKey)
	must(t, remove(ctx, s, b, "none", blob.Conditions{}))
	must(t, remove(ctx, s, b, "k/1/1", blob.Conditions{}))
	_, err = s.Head(ctx, blob.Name{Bucket: b, Key: "k/1/1"})
	want(t, "head of a deleted key", err, blob.ErrNoSuchKey)
}

// dribble gives its data in pieces of odd sizes.
type dribble struct {
	data []byte
	n    int
}

func (d *dribble) Read(b []byte) (int, error) {
	if len(d.data) == 0 {
		return 0, io.EOF
	}
	d.n = (d.n*7 + 13) % 70001
	n := copy(b[:min(len(b), d.n+1)], d.data)
	d.data = d.data[n:]
	return n, nil
}

func meta(t *testing.T, s blob.Store) {
	b := bucket(t, s, "bucket")
	m := blob.Meta{
		ContentType: "text/plain; charset=utf-8", ContentEncoding: "gzip", ContentDisposition: `attachment; filename="ä"`,
		ContentLanguage: "de", CacheControl: "no-cache", Expires: "Wed, 21 Oct 2015 07:28:00 GMT",
		User: map[string]string{"a": "1", "with-dash": "x y"}, Recorded: map[string]string{"StorageClass": "GLACIER"},
		Tags: map[string]string{"team": "ü", "empty": ""},
	}
	_, err := s.Put(t.Context(), blob.Put{Bucket: b, Key: "k", Body: strings.NewReader("x"), Size: 1, Meta: m})
	must(t, err)
	o, err := s.Head(t.Context(), blob.Name{Bucket: b, Key: "k"})
	must(t, err)
	if fmt.Sprint(o.Meta) != fmt.Sprint(m) {
		t.Errorf("got %+v, want %+v", o.Meta, m)
	}
}

func badBodies(t *testing.T, s blob.Store) {
	ctx := t.Context()
	b := bucket(t, s, "bucket")
	first := put(t, s, b, "k", []byte("first"))
	broken := errors.New("connection lost")
	refused := errors.New("refused")
	for name, c := range map[string]struct {
		body func() io.Reader
		size int64
		want error
	}{
		"short":         {text("123"), 4, blob.ErrShort},
		"empty":         {text(""), 4, blob.ErrShort},
		"long":          {text("12345"), 4, blob.ErrLong},
		"long for none": {text("1"), 0, blob.ErrLong},
		"broken":        {breaking(1<<20, broken), 2 << 20, broken},
		"broken late":   {breaking(1<<20, broken), 1 << 20, broken},
		"cut":           {breaking(1, io.ErrUnexpectedEOF), -1, blob.ErrShort},
		"verify":        {text("1234"), 4, refused},
	} {
		for _, key := range []string{"k", "new"} {
			_, err := s.Put(ctx, blob.Put{Bucket: b, Key: key, Body: c.body(), Size: c.size, Verify: func(blob.Sums) error { return refused }})
			want(t, name, err, c.want)
		}
	}
	_, err := s.Head(ctx, blob.Name{Bucket: b, Key: "new"})
	want(t, "head of what was refused", err, blob.ErrNoSuchKey)
	if got := get(t, s, b, "k", nil); string(got) != "first" {
		t.Errorf("a failed write changed the object to %q", got)
	}
	if o, err := s.Head(ctx, blob.Name{Bucket: b, Key: "k"}); err != nil || o.Content != first.Content {
		t.Errorf("a failed write changed the row: %+v %v", o, err)
	}
}

func text(s string) func() io.Reader { return func() io.Reader { return strings.NewReader(s) } }

func breaking(n int, err error) func() io.Reader {
	return func() io.Reader { return io.MultiReader(bytes.NewReader(pattern(1, n)), failing{err}) }
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func conditions(t *testing.T, s blob.Store) {
	ctx := t.Context()
	b := bucket(t, s, "bucket")
	try := func(key, body string, c blob.Conditions) error {
		_, err := s.Put(ctx, blob.Put{Bucket: b, Key: key, Body: strings.NewReader(body), Size: int64(len(body)), If: c})
		return err
	}
	must(t, try("k", "1", blob.Conditions{IfNoneMatch: "*"}))
	want(t, "if none match *", try("k", "2", blob.Conditions{IfNoneMatch: "*"}), blob.ErrPrecondition)
	want(t, "if match other", try("k", "2", blob.Conditions{IfMatch: etag([]byte("0"))}), blob.ErrPrecondition)
	must(t, try("k", "2", blob.Conditions{IfMatch: etag([]byte("1"))}))
	must(t, try("k", "3", blob.Conditions{IfMatch: "*"}))
	want(t, "if none match own", try("k", "4", blob.Conditions{IfNoneMatch: etag([]byte("3"))}), blob.ErrPrecondition)
	want(t, "if match of no key", try("none", "1", blob.Conditions{IfMatch: "*"}), blob.ErrNoSuchKey)
	if got := get(t, s, b, "k", nil); string(got) != "3" {
		t.Errorf("object is %q", got)
	}
	want(t, "delete if match other", remove(ctx, s, b, "k", blob.Conditions{IfMatch: "other"}), blob.ErrPrecondition)
	must(t, remove(ctx, s, b, "k", blob.Conditions{IfMatch: etag([]byte("3"))}))

	// Of many that say "only if nobody was first", one wins.
	var wg sync.WaitGroup
	var mu sync.Mutex
	won := 0
	for i := range 16 {
		wg.Go(func() {
			_, err := s.Put(ctx, blob.Put{Bucket: b, Key: "race", Body: bytes.NewReader(pattern(i, 100)), Size: 100, If: blob.Conditions{IfNoneMatch: "*"}})
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				won++
			} else if !errors.Is(err, blob.ErrPrecondition) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if won != 1 {
		t.Errorf("%d of 16 won", won)
	}
}

func span(from, length int64) blob.Pick {
	return func(blob.Object) (int64, int64, error) { return from, length, nil }
}

func ranges(t *testing.T, s blob.Store) {
	b := bucket(t, s, "bucket")
	data := pattern(9, 300<<10)
	put(t, s, b, "k", data)
	n := int64(len(data))
	for _, r := range [][2]int64{{0, 0}, {0, 1}, {1, 1}, {0, n}, {n - 1, 1}, {n, 0}, {100, 250 << 10}, {5, -1}, {n, -1}} {
		end := r[0] + r[1]
		if r[1] < 0 {
			end = n
		}
		if got := get(t, s, b, "k", span(r[0], r[1])); !bytes.Equal(got, data[r[0]:end]) {
			t.Errorf("range %v: %d bytes that differ", r, len(got))
		}
	}
	for _, r := range [][2]int64{{-1, 1}, {n, 1}, {n + 1, -1}, {0, n + 1}} {
		if _, body, err := s.Open(t.Context(), blob.Name{Bucket: b, Key: "k"}, span(r[0], r[1])); err == nil {
			t.Errorf("range %v was opened", r)
			must(t, body.Close())
		}
	}
	refused := errors.New("refused")
	_, _, err := s.Open(t.Context(), blob.Name{Bucket: b, Key: "k"}, func(o blob.Object) (int64, int64, error) {
		if o.Size != n {
			t.Errorf("pick sees %d bytes", o.Size)
		}
		return 0, 0, refused
	})
	want(t, "pick's error", err, refused)
}

func oddKeys(t *testing.T, s blob.Store) {
	ctx := t.Context()
	b := bucket(t, s, "bucket")
	odd := []string{
		"/", "//", "a//b", "../../etc/passwd", ".", "..", "a/./b", "a/", "a", "A", "a b+c%2F", "\x00", "a\x00b", "\n", "\u00e9", "e\u0301",
		"\U0001F600", "tmp", "LOCK", "con", "a\\b", "?x=1#y", "*", "'\"`$(x)", strings.Repeat("k", 1024), strings.Repeat("\u00fc/", 341), "\u007f", "\ufffd",
	}
	for i, k := range odd {
		put(t, s, b, k, pattern(i, 10+i))
	}
	for i, k := range odd {
		if got := get(t, s, b, k, nil); !bytes.Equal(got, pattern(i, 10+i)) {
			t.Errorf("key %q has other bytes", k)
		}
	}
	l, err := s.List(ctx, b, "", "", "", 1000)
	must(t, err)
	slices.Sort(odd)
	if !slices.Equal(keys(l), odd) || l.Next != "" {
		t.Errorf("listed %q\nwant %q", keys(l), odd)
	}
	for _, k := range odd {
		must(t, remove(ctx, s, b, k, blob.Conditions{}))
	}
	must(t, s.DeleteBucket(ctx, b))
}

func replace(t *testing.T, s blob.Store) {
	b := bucket(t, s, "bucket")
	seen := map[string]bool{}
	for i := range 5 {
		data := pattern(i, 1000*i)
		o := put(t, s, b, "k", data)
		if seen[o.Content] {
			t.Errorf("content %q is used twice", o.Content)
		}
		seen[o.Content] = true
		if got := get(t, s, b, "k", nil); !bytes.Equal(got, data) {
			t.Errorf("round %d reads other bytes", i)
		}
	}
	l, err := s.List(t.Context(), b, "", "", "", 10)
	must(t, err)
	if len(l.Objects) != 1 {
		t.Errorf("listed %q", keys(l))
	}
}

func readersKeepBytes(t *testing.T, s blob.Store) {
	ctx := t.Context()
	b := bucket(t, s, "bucket")
	one := pattern(1, 700<<10)
	put(t, s, b, "whole", one)
	parts := upload(t, s, b, "parted", blob.Meta{}, pattern(2, blob.MinPart), pattern(3, blob.MinPart), pattern(4, 10))
	readers := map[string]io.ReadCloser{}
	for _, k := range []string{"whole", "parted"} {
		_, r, err := s.Open(ctx, blob.Name{Bucket: b, Key: k}, nil)
		must(t, err)
		_, err = io.ReadFull(r, make([]byte, 1))
		must(t, err)
		readers[k] = r
	}
	put(t, s, b, "whole", []byte("other"))
	must(t, remove(ctx, s, b, "parted", blob.Conditions{}))
	if got := slurp(t, readers["whole"]); !bytes.Equal(got, one[1:]) {
		t.Error("a replaced object changed under its reader")
	}
	if got := slurp(t, readers["parted"]); !bytes.Equal(got, parts[1:]) {
		t.Error("a deleted object changed under its reader")
	}
	_, err := s.Head(ctx, blob.Name{Bucket: b, Key: "parted"})
	want(t, "head of the deleted", err, blob.ErrNoSuchKey)
}

func concurrent(t *testing.T, s blob.Store) {
	ctx := t.Context()
	b := bucket(t, s, "bucket")
	const writers, rounds = 8, 12
	valid := map[string]bool{}
	for w := range writers {
		for r := range rounds {
			valid[etag(pattern(w*100+r, 2000+w))] = true
		}
	}
	put(t, s, b, "k", pattern(0, 2000))
	var writing, reading sync.WaitGroup
	stop := make(chan struct{})
	for w := range writers {
		writing.Go(func() {
			for r := range rounds {
				data := pattern(w*100+r, 2000+w)
				if _, err := s.Put(ctx, blob.Put{Bucket: b, Key: "k", Body: bytes.NewReader(data), Size: int64(len(data))}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 4 {
		reading.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				o, r, err := s.Open(ctx, blob.Name{Bucket: b, Key: "k"}, nil)
				if err != nil {
					t.Error(err)
					return
				}
				data, err := io.ReadAll(r)
				if err != nil || etag(data) != o.ETag || !valid[o.ETag] {
					t.Errorf("read %d bytes, %v, ETag %s", len(data), err, o.ETag)
				}
				if err := r.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writing.Wait()
	close(stop)
	reading.Wait()
}

func tags(t *testing.T, s blob.Store) {
	ctx := t.Context()
	b := bucket(t, s, "bucket")
	before := put(t, s, b, "k", []byte("x"))
	for _, set := range []map[string]string{{"a": "1", "b": ""}, {"c": "3"}, nil} {
		must(t, tag(ctx, s, blob.Name{Bucket: b, Key: "k"}, set))
		o, err := s.Head(ctx, blob.Name{Bucket: b, Key: "k"})
		must(t, err)
		if !maps.Equal(o.Meta.Tags, set) || o.Content != before.Content || !o.Modified.Equal(before.Modified) {
			t.Errorf("got %+v, want tags %v", o, set)
		}
	}
	want(t, "tags of no key", tag(ctx, s, blob.Name{Bucket: b, Key: "none"}, nil), blob.ErrNoSuchKey)
	want(t, "tags of no bucket", tag(ctx, s, blob.Name{Bucket: "none", Key: "k"}, nil), blob.ErrNoSuchBucket)
}
