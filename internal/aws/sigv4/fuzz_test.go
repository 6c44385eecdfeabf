package sigv4

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

// FuzzCanonicalQuery: the canonical form does not depend on the order of
// parameters, and is its own canonical form.
func FuzzCanonicalQuery(f *testing.F) {
	f.Add("a=b&a=a&B=%2f&c")
	f.Add("&&=&=x&%3D=%26")
	f.Add("prefix=a+b&X-Amz-Signature=00&list-type=2")
	f.Fuzz(func(t *testing.T, raw string) {
		q, err := parseQuery(raw)
		if err != nil {
			return
		}
		c := canonicalQuery(q)
		parts := strings.Split(raw, "&")
		slices.Reverse(parts)
		r, err := parseQuery(strings.Join(parts, "&"))
		if err != nil || canonicalQuery(r) != c {
			t.Fatalf("%q and reversed: %q, %q, %v", raw, c, canonicalQuery(r), err)
		}
		again, err := parseQuery(c)
		if err != nil || canonicalQuery(again) != c {
			t.Fatalf("%q became %q, then %q, %v", raw, c, canonicalQuery(again), err)
		}
		if strings.ContainsAny(c, " \r\n+") {
			t.Fatalf("%q became %q", raw, c)
		}
	})
}

// FuzzSignedChunks: of a body whose chunks and trailer are signed, not one bit
// may change without an error, and nothing that was not sent is given out as
// complete.
func FuzzSignedChunks(f *testing.F) {
	const data = "hello, chunked world"
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	cr := Credentials{AccessKeyID: "A", SecretAccessKey: "secret"}
	r := &http.Request{Method: http.MethodPut, Host: "h", URL: &url.URL{Path: "/b/k"}, RequestURI: "/b/k", Header: http.Header{
		"X-Amz-Decoded-Content-Length": {fmt.Sprint(len(data))}, "X-Amz-Trailer": {"x-amz-checksum-crc32"},
	}}
	seed := Sign(r, cr, "us-east-1", "s3", StreamingSignedTrailer, now)
	key := signingKey("secret", "20260102", "us-east-1", "s3")
	body := signedBody(key, seed, data, now)
	f.Add(body)
	f.Add(bytes.Replace(body, []byte("hello"), []byte("jello"), 1))
	f.Add(bytes.Replace(body, []byte("CRC32"), []byte("crc32"), 1))
	f.Add([]byte("0;chunk-signature=00\r\n\r\n"))
	f.Add(append(slices.Clone(body), "x"...))
	f.Fuzz(func(t *testing.T, in []byte) {
		q := r.Clone(t.Context())
		q.Body = io.NopCloser(bytes.NewReader(in))
		a, err := Parse(q)
		if err != nil {
			t.Fatal(err)
		}
		v, err := a.Verify(q, "secret", StreamingSignedTrailer, now)
		if err != nil {
			t.Fatal(err)
		}
		b, _, err := v.Body(q)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(b)
		if err == nil && string(got) != data {
			t.Fatalf("%q was taken for what was signed", got)
		}
		if err == nil && !strings.EqualFold(b.Trailer().Get("X-Amz-Checksum-Crc32"), "AAAAAA==") {
			t.Fatalf("trailer %v", b.Trailer())
		}
	})
}

// signedBody frames data as a client does, in chunks of seven bytes.
func signedBody(key []byte, previous, data string, now time.Time) []byte {
	var out bytes.Buffer
	stamp := now.Format(stampForm)
	sc := scope(stamp[:8], "us-east-1", "s3")
	sign := func(kind, rest string) {
		previous = hex.EncodeToString(mac(key, algorithm+kind+"\n"+stamp+"\n"+sc+"\n"+previous+"\n"+rest))
	}
	for left := data; ; {
		n := min(7, len(left))
		sum := sha256.Sum256([]byte(left[:n]))
		sign("-PAYLOAD", EmptyHash+"\n"+hex.EncodeToString(sum[:]))
		fmt.Fprintf(&out, "%x;chunk-signature=%s\r\n", n, previous)
		if n == 0 {
			break
		}
		out.WriteString(left[:n] + "\r\n")
		left = left[n:]
	}
	const trailer = "x-amz-checksum-crc32:AAAAAA==\n"
	sign("-TRAILER", hashHex(trailer))
	out.WriteString("x-amz-checksum-crc32:AAAAAA==\r\nx-amz-trailer-signature:" + previous + "\r\n\r\n")
	return out.Bytes()
}
