package blobtest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"clary/internal/blob"
)

func list(t *testing.T, s blob.Store) {
	ctx := t.Context()
	b := bucket(t, s, "bucket")
	for _, k := range []string{"a", "a/1", "a/2", "a/b/1", "b/1", "c"} {
		put(t, s, b, k, []byte(k))
	}
	for _, c := range []struct {
		prefix, delimiter, after string
		max                      int
		keys, prefixes           []string
		next                     string
	}{
		{"", "", "", 100, []string{"a", "a/1", "a/2", "a/b/1", "b/1", "c"}, nil, ""},
		{"", "/", "", 100, []string{"a", "c"}, []string{"a/", "b/"}, ""},
		{"a/", "/", "", 100, []string{"a/1", "a/2"}, []string{"a/b/"}, ""},
		{"a", "/", "", 100, []string{"a"}, []string{"a/"}, ""},
		{"", "/", "", 2, []string{"a"}, []string{"a/"}, "a/"},
		{"", "/", "a/", 2, []string{"c"}, []string{"b/"}, ""},
		{"", "/", "a/1", 100, []string{"c"}, []string{"a/", "b/"}, ""},
		{"", "", "a/2", 2, []string{"a/b/1", "b/1"}, nil, "b/1"},
		{"", "", "b/1", 1, []string{"c"}, nil, ""},
		{"", "", "zzz", 1, nil, nil, ""},
		{"a/", "", "b", 5, nil, nil, ""},
		{"none", "/", "", 5, nil, nil, ""},
		{"", "/", "", 0, nil, nil, ""},
		{"a/b/1", "/", "", 5, []string{"a/b/1"}, nil, ""},
	} {
		l, err := s.List(ctx, b, c.prefix, c.delimiter, c.after, c.max)
		must(t, err)
		if !slices.Equal(keys(l), c.keys) || !slices.Equal(l.Prefixes, c.prefixes) || l.Next != c.next {
			t.Errorf("%q %q after %q max %d: %q %q next %q", c.prefix, c.delimiter, c.after, c.max, keys(l), l.Prefixes, l.Next)
		}
		for _, o := range l.Objects {
			if o.Size != int64(len(o.Key)) || o.ETag != etag([]byte(o.Key)) || o.Modified.IsZero() {
				t.Errorf("listed %+v", o)
			}
		}
	}
}

// listRandom compares whole paged listings with plain loops over all keys.
func listRandom(t *testing.T, s blob.Store) {
	ctx := t.Context()
	b := bucket(t, s, "bucket")
	rnd := rand.New(rand.NewPCG(7, 7))
	alphabet := []string{"a", "b", "/", "//", "-", "\u00fc", "\U0001F600", "\uffff", "z"}
	var all []string
	for len(all) < 250 {
		var k strings.Builder
		for range 1 + rnd.IntN(6) {
			k.WriteString(alphabet[rnd.IntN(len(alphabet))])
		}
		if !slices.Contains(all, k.String()) {
			all = append(all, k.String())
			put(t, s, b, k.String(), nil)
		}
	}
	slices.Sort(all)
	prefixes := []string{"", "a", "a/", "b//", "/", "\u00fc", "\U0001F600", "\uffff", "z/"}
	delimiters := []string{"", "/", "//", "a", "\u00fc"}
	for _, prefix := range prefixes {
		for _, delimiter := range delimiters {
			wantKeys, wantPrefixes := rolled(all, prefix, delimiter)
			for _, page := range []int{1, 2, 7, 1000} {
				var gotKeys, gotPrefixes []string
				after := ""
				for {
					l, err := s.List(ctx, b, prefix, delimiter, after, page)
					must(t, err)
					if n := len(l.Objects) + len(l.Prefixes); n > page || (l.Next != "" && n != page) {
						t.Fatalf("page of %d holds %d", page, n)
					}
					gotKeys, gotPrefixes = append(gotKeys, keys(l)...), append(gotPrefixes, l.Prefixes...)
					if l.Next == "" {
						break
					}
					if l.Next <= after {
						t.Fatalf("next %q after %q", l.Next, after)
					}
					after = l.Next
				}
				if !slices.Equal(gotKeys, wantKeys) || !slices.Equal(gotPrefixes, wantPrefixes) {
					t.Fatalf("prefix %q delimiter %q pages of %d:\ngot  %q %q\nwant %q %q",
						prefix, delimiter, page, gotKeys, gotPrefixes, wantKeys, wantPrefixes)
				}
			}
		}
	}
}

func rolled(all []string, prefix, delimiter string) (keys, prefixes []string) {
	for _, k := range all {
		if !strings.HasPrefix(k, prefix) {
			continue
		}
		if i := strings.Index(k[len(prefix):], delimiter); delimiter != "" && i >= 0 {
			p := k[:len(prefix)+i+len(delimiter)]
			if !slices.Contains(prefixes, p) {
				prefixes = append(prefixes, p)
			}
			continue
		}
		keys = append(keys, k)
	}
	return keys, prefixes
}

func uploads(t *testing.T, s blob.Store) {
	ctx := t.Context()
	b := bucket(t, s, "bucket")
	ids := map[string][]string{}
	order := []string{}
	for _, k := range []string{"a/1", "a/1", "a/2", "b", "c/d/e", "a/1"} {
		u, err := s.StartUpload(ctx, b, k, blob.Meta{ContentType: "x"})
		must(t, err)
		ids[k] = append(ids[k], u.ID)
	}
	for _, k := range []string{"a/1", "a/2", "b", "c/d/e"} {
		slices.Sort(ids[k])
		for _, id := range ids[k] {
			order = append(order, k+" "+id)
		}
	}
	for _, page := range []int{1, 2, 4, 100} {
		var got []string
		key, id := "", ""
		for {
			l, err := s.Uploads(ctx, b, "", "", key, id, page)
			must(t, err)
			for _, u := range l.Uploads {
				got = append(got, u.Key+" "+u.ID)
				if u.Initiated.IsZero() || u.Bucket != b {
					t.Errorf("listed %+v", u)
				}
			}
			if l.NextKey == "" {
				break
			}
			key, id = l.NextKey, l.NextID
		}
		if !slices.Equal(got, order) {
			t.Errorf("pages of %d: %q, want %q", page, got, order)
		}
	}
	l, err := s.Uploads(ctx, b, "", "/", "", "", 100)
	must(t, err)
	if len(l.Uploads) != 1 || l.Uploads[0].Key != "b" || fmt.Sprint(l.Prefixes) != "[a/ c/]" {
		t.Errorf("rolled up: %+v", l)
	}
	l, err = s.Uploads(ctx, b, "a/", "", "a/1", "", 100)
	must(t, err)
	if len(l.Uploads) != 1 || l.Uploads[0].Key != "a/2" {
		t.Errorf("after a key without an id: %+v", l)
	}
	u, err := s.Upload(ctx, b, "b", ids["b"][0])
	must(t, err)
	if u.Meta.ContentType != "x" {
		t.Errorf("upload is %+v", u)
	}
	_, err = s.Upload(ctx, b, "other", ids["b"][0])
	want(t, "upload of another key", err, blob.ErrNoSuchUpload)
}
