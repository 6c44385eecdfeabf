package sigv4

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// query is a decoded query string in its order.
type query [][2]string

func (q query) all(name string) (v []string) {
	for _, p := range q {
		if p[0] == name {
			v = append(v, p[1])
		}
	}
	return v
}

func (q query) has(name string) bool { return len(q.all(name)) > 0 }

var errQuery = errors.New("malformed query string")

func parseQuery(raw string) (query, error) {
	var q query
	for p := range strings.SplitSeq(raw, "&") {
		if p == "" {
			continue
		}
		k, v, _ := strings.Cut(p, "=")
		dk, err1 := url.QueryUnescape(k)
		dv, err2 := url.QueryUnescape(v)
		if err1 != nil || err2 != nil {
			return nil, errQuery
		}
		q = append(q, [2]string{dk, dv})
	}
	return q, nil
}

func canonicalQuery(q query) string {
	type pair struct{ k, v string }
	ps := make([]pair, 0, len(q))
	for _, p := range q {
		if p[0] == "X-Amz-Signature" {
			continue
		}
		ps = append(ps, pair{Escape(p[0], false), Escape(p[1], false)})
	}
	slices.SortFunc(ps, func(a, b pair) int { return cmp.Or(cmp.Compare(a.k, b.k), cmp.Compare(a.v, b.v)) })
	if len(ps) == 0 {
		return ""
	}
	var b strings.Builder
	for i, p := range ps {
		if i > 0 {
			b.WriteByte('&')
		}
		b.WriteString(p.k)
		b.WriteByte('=')
		b.WriteString(p.v)
	}
	return b.String()
}

// canonicalPath encodes the path once for S3 and leaves its dots alone; for
// all others it cleans the path as sent and encodes it once more.
func canonicalPath(raw, service string) (string, error) {
	if raw == "" || raw == "/" {
		return "/", nil
	}
	if isS3(service) {
		p, err := url.PathUnescape(raw)
		if err != nil {
			return "", err
		}
		return Escape(p, true), nil
	}
	var out []string
	for s := range strings.SplitSeq(raw, "/") {
		switch s {
		case "", ".":
		case "..":
			if len(out) > 0 {
				out = out[:len(out)-1]
			}
		default:
			out = append(out, s)
		}
	}
	p := "/" + strings.Join(out, "/")
	if len(out) > 0 && strings.HasSuffix(raw, "/") {
		p += "/"
	}
	return Escape(p, true), nil
}

func isS3(service string) bool {
	return service == "s3" || service == "s3express" || service == "s3-object-lambda" || service == "s3-outposts"
}

// Escape is AWS's percent encoding: all but unreserved characters.
func Escape(s string, keepSlash bool) string {
	const digits = "0123456789ABCDEF"
	plain := func(c byte) bool {
		return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
			c == '-' || c == '_' || c == '.' || c == '~' || c == '/' && keepSlash
	}
	n := 0
	for i := range len(s) {
		if !plain(s[i]) {
			n++
		}
	}
	if n == 0 {
		return s
	}
	b := make([]byte, 0, len(s)+2*n)
	for i := range len(s) {
		if c := s[i]; plain(c) {
			b = append(b, c)
		} else {
			b = append(b, '%', digits[c>>4], digits[c&15])
		}
	}
	return string(b)
}

// rawPath is the path as it stands on the wire.
func rawPath(r *http.Request) string {
	if r.RequestURI == "" { // made by a client
		return r.URL.EscapedPath()
	}
	p, _, _ := strings.Cut(r.RequestURI, "?")
	if strings.HasPrefix(p, "/") {
		return p
	}
	return r.URL.EscapedPath()
}

// headerValue is a header as it is signed, "" if there is none; net/http keeps
// some of them apart.
func headerValue(r *http.Request, name string) string {
	switch name {
	case "host":
		if r.Host != "" {
			return r.Host
		}
		return r.URL.Host
	case "content-length":
		if r.ContentLength >= 0 && len(r.TransferEncoding) == 0 {
			return strconv.FormatInt(r.ContentLength, 10)
		}
	case "transfer-encoding":
		if len(r.TransferEncoding) > 0 {
			return strings.Join(r.TransferEncoding, ",")
		}
	}
	vs := r.Header[http.CanonicalHeaderKey(name)]
	if len(vs) == 1 && trimmed(vs[0]) {
		return vs[0]
	}
	out := make([]string, len(vs))
	for i, v := range vs {
		out[i] = strings.Join(strings.Fields(v), " ")
	}
	return strings.Join(out, ",")
}

// trimmed says that a value has no space but single ones within.
func trimmed(v string) bool {
	space := true
	for i := range len(v) {
		switch c := v[i]; {
		case c == ' ' && space, c >= 0x80, c < ' ':
			return false
		default:
			space = c == ' '
		}
	}
	return !space || v == ""
}

// canonicalRequest is what is hashed and signed. Absent signed headers count
// as empty. The text is appended to b.
func canonicalRequest(b []byte, r *http.Request, q query, signed []string, service, payload string) ([]byte, error) {
	path, err := canonicalPath(rawPath(r), service)
	if err != nil {
		return nil, err
	}
	line := func(parts ...string) {
		for _, p := range parts {
			b = append(b, p...)
		}
		b = append(b, '\n')
	}
	line(r.Method)
	line(path)
	line(canonicalQuery(q))
	for _, h := range signed {
		line(h, ":", headerValue(r, h))
	}
	line()
	for i, h := range signed {
		if i > 0 {
			b = append(b, ';')
		}
		b = append(b, h...)
	}
	line()
	return append(b, payload...), nil
}

func hashHex[T string | []byte](b T) string {
	h := sha256.Sum256([]byte(b))
	return hex.EncodeToString(h[:])
}

func mac(key []byte, s string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(s))
	return h.Sum(nil)
}

func signingKey(secret, date, region, service string) []byte {
	return mac(mac(mac(mac([]byte("AWS4"+secret), date), region), service), terminator)
}

func scope(date, region, service string) string {
	return date + "/" + region + "/" + service + "/" + terminator
}
