package s3

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"clary/internal/api"
	"clary/internal/aws/apierr"
	"clary/internal/aws/facts"
	"clary/internal/aws/op"
	"clary/internal/blob"
)

func TestParseRange(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]string{ // of 100 bytes
		"bytes=0-0": "0+1", "bytes=0-": "0+100", "bytes=99-": "99+1", "bytes=-1": "99+1", "bytes=-100": "0+100", "bytes=-999": "0+100",
		"bytes=10-999": "10+90", "bytes=5-99999999999999999999": "5+95",
		"bytes=100-": "no", "bytes=-0": "no", "bytes=99999999999999999999-": "no",
		"bytes=2-1": "all", "bytes=-": "all", "bytes=a-b": "all", "bytes=0-1,3-4": "all", "items=0-1": "all", "bytes=+1-2": "all", "bytes=": "all",
	} {
		from, length, ok, satisfiable := parseRange(header, 100)
		got := fmt.Sprintf("%d+%d", from, length)
		switch {
		case !satisfiable:
			got = "no"
		case !ok:
			got = "all"
		}
		if got != want {
			t.Errorf("%q: got %s, want %s", header, got, want)
		}
	}
	if _, _, _, satisfiable := parseRange("bytes=0-", 0); satisfiable {
		t.Error("an empty object has a first byte")
	}
}

func FuzzRange(f *testing.F) {
	for _, s := range []string{"bytes=0-1", "bytes=-5", "bytes=9-", "bytes=99999999999999999999-1", "x"} {
		f.Add(s, int64(10))
	}
	f.Fuzz(func(t *testing.T, header string, size int64) {
		if size < 0 {
			return
		}
		from, length, ok, satisfiable := parseRange(header, size)
		if ok && satisfiable && (from < 0 || length < 1 || from > size-length) {
			t.Fatalf("%q of %d: %d+%d", header, size, from, length)
		}
	})
}

func TestValidName(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{
		"abc": true, "a.b-c.1": true, "sagemaker-us-east-1-123456789012": true, strings.Repeat("a", 63): true, "1.2.3": true,
		"ab": false, strings.Repeat("a", 64): false, "Abc": false, "a_b": false, "-abc": false, "abc-": false, ".abc": false, "abc.": false,
		"a..b": false, "192.168.5.4": false, "xn--abc": false, "sthree-x": false, "abc-s3alias": false, "abc--ol-s3": false, "abc.mrap": false,
		"": false, "a b": false, "ü-bucket": false, "../etc": false,
	} {
		if got := validName(name); got != want {
			t.Errorf("%q: got %v", name, got)
		}
	}
}

func TestLocation(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ caller, constraint, want string }{
		{"us-east-1", "", "us-east-1"},
		{"us-east-1", "eu-west-1", "eu-west-1"},
		{"eu-west-1", "eu-west-1", "eu-west-1"},
		{"us-east-1", "EU", "eu-west-1"},
		{"eu-west-1", "", "IllegalLocationConstraintException"},
		{"eu-west-1", "us-west-2", "IllegalLocationConstraintException"},
		{"us-east-1", "us-east-1", "InvalidLocationConstraint"},
		{"us-east-1", "moon", "InvalidLocationConstraint"},
	} {
		got, e := location(op.Call{Region: c.caller}, c.constraint)
		if e != nil {
			got = e.Code
		}
		if got != c.want {
			t.Errorf("%+v: got %s", c, got)
		}
	}
}

func TestReadConditions(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC)
	o := blob.Object{ETag: "e", Modified: at}
	whole := api.At(at.Truncate(time.Second))
	before, after := api.At(at.Add(-time.Hour)), api.At(at.Add(time.Hour))
	var none api.Time
	for name, c := range map[string]struct {
		match, noneMatch    string
		modified, unmodfied api.Time
		want                int
	}{
		"nothing": {want: 200}, "match": {match: `"e"`, want: 200}, "star": {match: "*", want: 200}, "one of": {match: `"x", "e"`, want: 200},
		"no match": {match: `"x"`, want: 412}, "match beats date": {match: `"e"`, unmodfied: before, want: 200},
		"unmodified": {unmodfied: whole, want: 200}, "modified": {unmodfied: before, want: 412},
		"none match": {noneMatch: `"x"`, want: 200}, "same": {noneMatch: `W/"e"`, want: 304}, "none beats date": {noneMatch: `"x"`, modified: after, want: 200},
		"since before": {modified: before, want: 200}, "since then": {modified: whole, want: 304}, "no date": {modified: none, want: 200},
	} {
		got := 200
		if e, ok := errors.AsType[*apierr.Error](readConditions(c.match, c.noneMatch, c.modified, c.unmodfied, o)); ok {
			got = e.Status
		}
		if got != c.want {
			t.Errorf("%s: got %d, want %d", name, got, c.want)
		}
	}
}

func TestParseSource(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]blob.Name{
		"b/k": {Bucket: "b", Key: "k"}, "/b/k/x": {Bucket: "b", Key: "k/x"}, "b//k": {Bucket: "b", Key: "/k"},
		"b/a%2Fb%3Fc": {Bucket: "b", Key: "a/b?c"}, "b/%C3%BC?versionId=v1": {Bucket: "b", Key: "ü", Version: "v1"}, "b/k?other=1": {Bucket: "b", Key: "k"},
	} {
		if got, err := parseSource(header); err != nil || got != want {
			t.Errorf("%q: got %+v, %v", header, got, err)
		}
	}
	for _, bad := range []string{"", "b", "b/", "/", "//k", "b/%zz", "b/%ff", "b/k?versionId=%zz", "b/" + strings.Repeat("k", 1025)} {
		if got, err := parseSource(bad); err == nil {
			t.Errorf("%q gives %+v", bad, got)
		}
	}
}

func FuzzParseSource(f *testing.F) {
	for _, s := range []string{"b/k", "/b/k?versionId=x", "b/%2e%2e/k", "b//?", "%62/%6B?versionId=1&versionId=2"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, header string) {
		n, err := parseSource(header)
		if err != nil {
			return
		}
		again, err := parseSource(n.Bucket + "/" + escape(n.Key) + "?versionId=" + url.QueryEscape(n.Version))
		if n.Key == "" || len(n.Key) > blob.MaxKey || strings.ContainsAny(n.Bucket, "%?") {
			return // what no bucket is called is refused behind this
		}
		if err != nil || again != n {
			t.Fatalf("%q is %+v, written again %+v, %v", header, n, again, err)
		}
	})
}

func FuzzHeaderTags(f *testing.F) {
	for _, s := range []string{"a=1&b=2", "a=%C3%BC", "a", "=", "a=1&a=2", "k%3D=v;w"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, header string) {
		tags, err := headerTags(header)
		if err != nil {
			return
		}
		back := url.Values{}
		for k, v := range tags {
			if k == "" || len(tags) > maxTags {
				t.Fatalf("%q gives %v", header, tags)
			}
			back.Set(k, v)
		}
		again, err := headerTags(back.Encode())
		if err != nil || !maps.Equal(again, tags) {
			t.Fatalf("%q is %v, written again %v, %v", header, tags, again, err)
		}
	})
}

func TestCorsRules(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pattern, s string
		want       bool
	}{
		{"*", "https://x", true},
		{"https://*.x", "https://a.x", true},
		{"https://*.x", "https://x", false},
		{"a*a", "a", false},
		{"a*a", "aa", true},
		{"x", "x", true},
		{"x", "xx", false},
		{"*", "", true},
	} {
		if got := like(c.pattern, c.s); got != c.want {
			t.Errorf("%q like %q: %v", c.s, c.pattern, got)
		}
	}
}

func TestTokens(t *testing.T) {
	t.Parallel()
	for _, key := range []string{"a", "ü/\x00", strings.Repeat("k", 1024)} {
		got, err := readToken(makeToken(key))
		if err != nil || got != key {
			t.Errorf("%q: got %q, %v", key, got, err)
		}
	}
	for _, bad := range []string{"x", "%", "YTpi", makeToken("a")[1:]} {
		if _, err := readToken(bad); err == nil {
			t.Errorf("%q is taken for a token", bad)
		}
	}
}

func TestHeaderTags(t *testing.T) {
	t.Parallel()
	if tags, err := headerTags("a=1&b+c=%C3%BC&d="); err != nil || len(tags) != 3 || tags["b c"] != "ü" {
		t.Errorf("%v %v", tags, err)
	}
	for _, bad := range []string{"a=1&a=2", "a=%zz", "=v", "aws:x=1", "a=" + strings.Repeat("v", 257), strings.Repeat("k", 129) + "=", "a=1&b=2&c=3&d=4&e=5&f=6&g=7&h=8&i=9&j=0&k=1", "a=%01"} {
		if tags, err := headerTags(bad); err == nil {
			t.Errorf("%q gives %v", bad, tags)
		}
	}
}

// TestOperationsAreKnown holds that every handler is named as the model names
// it, and is checked on a bucket or an object.
func TestOperationsAreKnown(t *testing.T) {
	t.Parallel()
	m, err := facts.Load("s3")
	if err != nil {
		t.Fatal(err)
	}
	free := []string{"ListBuckets", "DeleteObjects"}
	for name, h := range New(nil, nil).Operations() {
		if m.Operations[name] == nil {
			t.Errorf("%s is not in the model", name)
		}
		if h.Resource == nil && !slices.Contains(free, name) {
			t.Errorf("%s is checked on no resource", name)
		}
	}
}
