package blobtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"clary/internal/blob"
)

func versioned(t *testing.T, s blob.Store, name string) string {
	t.Helper()
	bucket(t, s, name)
	must(t, s.SetVersioning(t.Context(), name, blob.VersioningEnabled))
	return name
}

func versions(t *testing.T, s blob.Store) {
	ctx := t.Context()
	b := bucket(t, s, "bucket")
	want(t, "versioning of no bucket", s.SetVersioning(ctx, "none", blob.VersioningEnabled), blob.ErrNoSuchBucket)
	null := put(t, s, b, "k", []byte("null"))
	if null.VersionID != "" {
		t.Errorf("a bucket without versioning gives version %q", null.VersionID)
	}
	must(t, s.SetVersioning(ctx, b, blob.VersioningEnabled))
	if got, err := s.Bucket(ctx, b); err != nil || got.Versioning != blob.VersioningEnabled {
		t.Errorf("%+v %v", got, err)
	}
	if o, err := s.Head(ctx, blob.Name{Bucket: b, Key: "k"}); err != nil || o.VersionID != blob.NullVersion {
		t.Errorf("%+v %v", o, err)
	}
	one := put(t, s, b, "k", []byte("one"))
	two := put(t, s, b, "k", []byte("two!"))
	if one.VersionID == "" || one.VersionID == two.VersionID || two.VersionID == blob.NullVersion {
		t.Fatalf("ids %q %q", one.VersionID, two.VersionID)
	}
	read := func(version, text string) {
		t.Helper()
		o, r, err := s.Open(ctx, blob.Name{Bucket: b, Key: "k", Version: version}, nil)
		must(t, err)
		if got := slurp(t, r); string(got) != text || o.Size != int64(len(text)) || (version != "" && o.VersionID != version) {
			t.Errorf("version %q is %q, %+v", version, got, o)
		}
	}
	read("", "two!")
	read(blob.NullVersion, "null")
	read(one.VersionID, "one")
	read(two.VersionID, "two!")
	_, err := s.Head(ctx, blob.Name{Bucket: b, Key: "other", Version: one.VersionID})
	want(t, "a version of another key", err, blob.ErrNoSuchVersion)
	_, err = s.Head(ctx, blob.Name{Bucket: b, Key: "k", Version: "../x"})
	want(t, "what is no id", err, blob.ErrVersion)
	_, err = s.Delete(ctx, blob.Name{Bucket: b, Key: "k", Version: "x"}, blob.Conditions{})
	want(t, "delete of what is no id", err, blob.ErrVersion)

	// Tags belong to one version.
	id, err := s.SetTags(ctx, blob.Name{Bucket: b, Key: "k", Version: one.VersionID}, map[string]string{"a": "1"})
	must(t, err)
	if id != one.VersionID {
		t.Errorf("tags went to %q", id)
	}
	for version, n := range map[string]int{one.VersionID: 1, two.VersionID: 0, "": 0} {
		if o, err := s.Head(ctx, blob.Name{Bucket: b, Key: "k", Version: version}); err != nil || len(o.Meta.Tags) != n {
			t.Errorf("version %q has tags %v, %v", version, o.Meta.Tags, err)
		}
	}

	// A deleted key is covered, not gone.
	d, err := s.Delete(ctx, blob.Name{Bucket: b, Key: "k"}, blob.Conditions{})
	must(t, err)
	if !d.Marker || d.VersionID == "" {
		t.Errorf("deleted %+v", d)
	}
	_, err = s.Head(ctx, blob.Name{Bucket: b, Key: "k"})
	want(t, "head of a deleted key", err, blob.ErrNoSuchKey)
	if m, ok := errors.AsType[*blob.DeletedError](err); !ok || m.Marker.VersionID != d.VersionID || m.Marker.Modified.IsZero() {
		t.Errorf("head of a deleted key tells %+v", m)
	}
	_, _, err = s.Open(ctx, blob.Name{Bucket: b, Key: "k", Version: d.VersionID}, nil)
	if _, ok := errors.AsType[*blob.DeletedError](err); !ok {
		t.Errorf("a marker is opened: %v", err)
	}
	_, err = s.Put(ctx, blob.Put{Bucket: b, Key: "k", If: blob.Conditions{IfMatch: "*"}})
	want(t, "if match of a deleted key", err, blob.ErrNoSuchKey)
	l, err := s.List(ctx, b, "", "", "", 10)
	must(t, err)
	if len(l.Objects) != 0 {
		t.Errorf("a deleted key is listed: %v", keys(l))
	}
	want(t, "a bucket of versions", s.DeleteBucket(ctx, b), blob.ErrBucketNotEmpty)
	read(two.VersionID, "two!")

	// Without its marker it is back; without its newest version, the next.
	gone, err := s.Delete(ctx, blob.Name{Bucket: b, Key: "k", Version: d.VersionID}, blob.Conditions{})
	must(t, err)
	if !gone.Marker || gone.VersionID != d.VersionID {
		t.Errorf("deleted a marker: %+v", gone)
	}
	read("", "two!")
	for _, v := range []struct{ id, next string }{{two.VersionID, "one"}, {one.VersionID, "null"}} {
		_, err := s.Delete(ctx, blob.Name{Bucket: b, Key: "k", Version: v.id}, blob.Conditions{})
		must(t, err)
		read("", v.next)
		_, err = s.Head(ctx, blob.Name{Bucket: b, Key: "k", Version: v.id})
		want(t, "a deleted version", err, blob.ErrNoSuchVersion)
	}
	_, err = s.Copy(ctx, blob.Name{Bucket: b, Key: "k", Version: blob.NullVersion}, nil, blob.Put{Bucket: b, Key: "copy"})
	must(t, err)
	_, err = s.Delete(ctx, blob.Name{Bucket: b, Key: "k", Version: blob.NullVersion}, blob.Conditions{})
	must(t, err)
	_, err = s.Head(ctx, blob.Name{Bucket: b, Key: "k"})
	want(t, "a key without versions", err, blob.ErrNoSuchKey)
	if got := get(t, s, b, "copy", nil); string(got) != "null" {
		t.Errorf("copy is %q", got)
	}
	if d, err := s.Delete(ctx, blob.Name{Bucket: b, Key: "never"}, blob.Conditions{}); err != nil || !d.Marker {
		t.Errorf("deleting what never was: %+v %v", d, err)
	}

	// An upload makes a version too, and concurrent writers each their own.
	u, err := s.StartUpload(ctx, b, "parts", blob.Meta{})
	must(t, err)
	part, err := s.PutPart(ctx, b, "parts", u.ID, 1, blob.Put{Body: strings.NewReader("part"), Size: 4})
	must(t, err)
	o, err := s.Complete(ctx, b, "parts", u.ID, blob.Complete{Parts: []blob.Part{part}, Size: -1})
	must(t, err)
	put(t, s, b, "parts", []byte("covers"))
	if h, ps, err := s.ObjectParts(ctx, blob.Name{Bucket: b, Key: "parts", Version: o.VersionID}, 0, 10); err != nil || len(ps) != 1 || h.ETag != o.ETag {
		t.Errorf("%+v %v %v", h, ps, err)
	}
	_, r, err := s.Open(ctx, blob.Name{Bucket: b, Key: "parts", Version: o.VersionID}, nil)
	must(t, err)
	if got := slurp(t, r); string(got) != "part" {
		t.Errorf("a covered upload reads %q", got)
	}
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			if _, err := s.Put(ctx, blob.Put{Bucket: b, Key: "race", Body: bytes.NewReader(pattern(i, 50)), Size: 50}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	page, err := s.Versions(ctx, b, "race", "", "", "", 100)
	must(t, err)
	if len(page.Versions) != 20 || !page.Versions[0].Latest || page.Versions[1].Latest {
		t.Errorf("20 writers made %d versions", len(page.Versions))
	}
}

func versionsSuspended(t *testing.T, s blob.Store) {
	ctx := t.Context()
	b := versioned(t, s, "bucket")
	first := put(t, s, b, "k", []byte("first"))
	must(t, s.SetVersioning(ctx, b, blob.VersioningSuspended))
	for _, text := range []string{"null 1", "null 2"} {
		if o := put(t, s, b, "k", []byte(text)); o.VersionID != blob.NullVersion {
			t.Errorf("wrote version %q", o.VersionID)
		}
	}
	show := func(wanted ...string) {
		t.Helper()
		page, err := s.Versions(ctx, b, "", "", "", "", 100)
		must(t, err)
		var got []string
		for _, v := range page.Versions {
			id := v.VersionID
			if id != blob.NullVersion {
				id = "id"
			}
			got = append(got, fmt.Sprintf("%s %s %d marker=%v latest=%v", v.Key, id, v.Size, v.Marker, v.Latest))
		}
		if !slices.Equal(got, wanted) {
			t.Errorf("versions %q, want %q", got, wanted)
		}
	}
	show("k null 6 marker=false latest=true", "k id 5 marker=false latest=false")
	d, err := s.Delete(ctx, blob.Name{Bucket: b, Key: "k"}, blob.Conditions{})
	must(t, err)
	if !d.Marker || d.VersionID != blob.NullVersion {
		t.Errorf("deleted %+v", d)
	}
	show("k null 0 marker=true latest=true", "k id 5 marker=false latest=false")
	must(t, s.SetVersioning(ctx, b, blob.VersioningEnabled))
	put(t, s, b, "k", []byte("new"))
	show("k id 3 marker=false latest=true", "k null 0 marker=true latest=false", "k id 5 marker=false latest=false")
	must(t, s.SetVersioning(ctx, b, blob.VersioningSuspended))
	put(t, s, b, "k", []byte("null"))
	show("k null 4 marker=false latest=true", "k id 3 marker=false latest=false", "k id 5 marker=false latest=false")
	_, err = s.Delete(ctx, blob.Name{Bucket: b, Key: "k", Version: blob.NullVersion}, blob.Conditions{})
	must(t, err)
	show("k id 3 marker=false latest=true", "k id 5 marker=false latest=false")
	if got := get(t, s, b, "k", nil); string(got) != "new" {
		t.Errorf("the key reads %q", got)
	}
	if d, err := s.Delete(ctx, blob.Name{Bucket: b, Key: "k", Version: first.VersionID}, blob.Conditions{IfMatch: "x"}); !errors.Is(err, blob.ErrPrecondition) {
		t.Errorf("%+v %v", d, err)
	}
}

// kept is one version in the model of versionsRandom.
type kept struct {
	id, text string
	marker   bool
}

// versionsRandom does random writes beside a map of lists, newest first.
func versionsRandom(t *testing.T, s blob.Store) {
	ctx := t.Context()
	b := bucket(t, s, "bucket")
	rnd := rand.New(rand.NewPCG(11, 3))
	model := map[string][]kept{}
	state := ""
	all := []string{"a", "a/1", "a/2", "a/b/1", "b/1", "c", "\u00fc/x"}
	add := func(k string, v kept) {
		if state != blob.VersioningEnabled {
			model[k] = slices.DeleteFunc(model[k], func(o kept) bool { return o.id == blob.NullVersion })
		}
		model[k] = append([]kept{v}, model[k]...)
	}
	shown := func(id string) string {
		if id == "" {
			return blob.NullVersion
		}
		return id
	}
	for i := range 400 {
		k := all[rnd.IntN(len(all))]
		switch n := rnd.IntN(20); {
		case n == 0 && i > 40:
			state = []string{blob.VersioningEnabled, blob.VersioningSuspended}[rnd.IntN(2)]
			must(t, s.SetVersioning(ctx, b, state))
		case n < 11:
			text := fmt.Sprint("text ", i)
			o := put(t, s, b, k, []byte(text))
			add(k, kept{id: shown(o.VersionID), text: text})
		case n < 15:
			d, err := s.Delete(ctx, blob.Name{Bucket: b, Key: k}, blob.Conditions{})
			must(t, err)
			if state == "" {
				delete(model, k)
			} else {
				add(k, kept{id: d.VersionID, marker: true})
			}
		case len(model[k]) > 0:
			j := rnd.IntN(len(model[k]))
			_, err := s.Delete(ctx, blob.Name{Bucket: b, Key: k, Version: model[k][j].id}, blob.Conditions{})
			must(t, err)
			model[k] = slices.Delete(model[k], j, j+1)
		}
		if i%20 == 19 {
			agree(ctx, t, s, b, all, model)
		}
	}
}

// agree compares all that can be listed and read with the model.
func agree(ctx context.Context, t *testing.T, s blob.Store, b string, all []string, model map[string][]kept) {
	t.Helper()
	var wanted, current []string
	for _, k := range all {
		for i, v := range model[k] {
			wanted = append(wanted, fmt.Sprint(k, " ", v.id, v.marker, i == 0))
			o, r, err := s.Open(ctx, blob.Name{Bucket: b, Key: k, Version: v.id}, nil)
			if v.marker {
				if _, ok := errors.AsType[*blob.DeletedError](err); !ok {
					t.Fatalf("marker %s of %s: %v", v.id, k, err)
				}
				continue
			}
			must(t, err)
			if got := slurp(t, r); string(got) != v.text {
				t.Fatalf("version %s of %s is %q, want %q (%+v)", v.id, k, got, v.text, o)
			}
		}
		if vs := model[k]; len(vs) > 0 && !vs[0].marker {
			current = append(current, k)
			if got := get(t, s, b, k, nil); string(got) != vs[0].text {
				t.Fatalf("%s is %q, want %q", k, got, vs[0].text)
			}
		} else if _, err := s.Head(ctx, blob.Name{Bucket: b, Key: k}); !errors.Is(err, blob.ErrNoSuchKey) {
			t.Fatalf("%s is there: %v", k, err)
		}
	}
	l, err := s.List(ctx, b, "", "", "", 1000)
	must(t, err)
	if !slices.Equal(keys(l), current) {
		t.Fatalf("listed %q, want %q", keys(l), current)
	}
	for _, size := range []int{1, 2, 5, 1000} {
		var got []string
		key, id := "", ""
		for {
			page, err := s.Versions(ctx, b, "", "", key, id, size)
			must(t, err)
			for _, v := range page.Versions {
				got = append(got, fmt.Sprint(v.Key, " ", v.VersionID, v.Marker, v.Latest))
			}
			if page.NextKey == "" {
				break
			}
			if len(page.Versions) != size {
				t.Fatalf("page of %d holds %d", size, len(page.Versions))
			}
			key, id = page.NextKey, page.NextVersion
		}
		if !slices.Equal(got, wanted) {
			t.Fatalf("versions in pages of %d:\ngot  %q\nwant %q", size, got, wanted)
		}
	}
	rolledUp, err := s.Versions(ctx, b, "", "/", "", "", 1000)
	must(t, err)
	plain, prefixes := 0, []string{}
	for _, k := range all {
		head, _, deep := strings.Cut(k, "/")
		switch {
		case !deep:
			plain += len(model[k])
		case len(model[k]) > 0 && !slices.Contains(prefixes, head+"/"):
			prefixes = append(prefixes, head+"/")
		}
	}
	if len(rolledUp.Versions) != plain || !slices.Equal(rolledUp.Prefixes, prefixes) {
		t.Fatalf("rolled up: %d versions and %q, want %d and %q", len(rolledUp.Versions), rolledUp.Prefixes, plain, prefixes)
	}
}

func settings(t *testing.T, s blob.Store) {
	ctx := t.Context()
	b := bucket(t, s, "bucket")
	other := bucket(t, s, "other")
	read := func(bucket, name, wanted string) {
		t.Helper()
		got, err := s.Setting(ctx, bucket, name)
		must(t, err)
		if string(got) != wanted {
			t.Errorf("%s of %s is %q, want %q", name, bucket, got, wanted)
		}
	}
	read(b, "tags", "")
	must(t, s.SetSetting(ctx, b, "tags", []byte(`{"a":"1"}`)))
	must(t, s.SetSetting(ctx, b, "tags", []byte(`{"a":"2"}`)))
	must(t, s.SetSetting(ctx, b, "policy", []byte(`{}`)))
	read(b, "tags", `{"a":"2"}`)
	read(other, "tags", "")
	must(t, s.SetSetting(ctx, b, "tags", nil))
	read(b, "tags", "")
	read(b, "policy", `{}`)
	must(t, s.DeleteBucket(ctx, b))
	bucket(t, s, b)
	read(b, "policy", "")
	_, err := s.Setting(ctx, "none", "tags")
	want(t, "setting of no bucket", err, blob.ErrNoSuchBucket)
	want(t, "write to no bucket", s.SetSetting(ctx, "none", "tags", []byte(`{}`)), blob.ErrNoSuchBucket)
}
