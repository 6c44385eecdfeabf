package sigv4

import (
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Credentials sign.
type Credentials struct {
	AccessKeyID, SecretAccessKey, SessionToken string
}

// Sign adds the headers that sign r. payload is the hex SHA-256 of its body or
// a value that stands for one; x-amz-content-sha256 is sent for S3 alone, as
// AWS's clients do. It returns the signature, with which a chunked body goes
// on.
func Sign(r *http.Request, cr Credentials, region, service, payload string, now time.Time) string {
	stamp := now.UTC().Format(stampForm)
	r.Header.Set("X-Amz-Date", stamp)
	if isS3(service) {
		r.Header.Set("X-Amz-Content-Sha256", payload)
	}
	if cr.SessionToken != "" {
		r.Header.Set("X-Amz-Security-Token", cr.SessionToken)
	}
	signed := signedNames(r)
	q, _ := parseQuery(r.URL.RawQuery) // a bad query is the caller's; the server refuses it
	sig := signature(r, q, signed, cr.SecretAccessKey, stamp, region, service, payload)
	r.Header.Set("Authorization", algorithm+" Credential="+cr.AccessKeyID+"/"+scope(stamp[:8], region, service)+
		", SignedHeaders="+strings.Join(signed, ";")+", Signature="+sig)
	return sig
}

// Presign puts the signature into r's query. Headers that r carries now are
// signed with it.
func Presign(r *http.Request, cr Credentials, region, service string, life time.Duration, now time.Time) {
	stamp := now.UTC().Format(stampForm)
	signed := signedNames(r)
	q := url.Values{}
	if r.URL.RawQuery != "" {
		q = r.URL.Query()
	}
	q.Set("X-Amz-Algorithm", algorithm)
	q.Set("X-Amz-Credential", cr.AccessKeyID+"/"+scope(stamp[:8], region, service))
	q.Set("X-Amz-Date", stamp)
	q.Set("X-Amz-Expires", strconv.FormatInt(int64(life/time.Second), 10))
	q.Set("X-Amz-SignedHeaders", strings.Join(signed, ";"))
	if cr.SessionToken != "" {
		q.Set("X-Amz-Security-Token", cr.SessionToken)
	}
	r.URL.RawQuery = strings.ReplaceAll(q.Encode(), "+", "%20")
	payload := EmptyHash
	if isS3(service) {
		payload = UnsignedPayload
	}
	pq, _ := parseQuery(r.URL.RawQuery) // just encoded
	r.URL.RawQuery += "&X-Amz-Signature=" + signature(r, pq, signed, cr.SecretAccessKey, stamp, region, service, payload)
}

func signature(r *http.Request, q query, signed []string, secret, stamp, region, service, payload string) string {
	var room [1024]byte
	canonical, err := canonicalRequest(room[:0], r, q, signed, service, payload)
	if err != nil {
		canonical = nil // a path that no server accepts
	}
	key := signingKey(secret, stamp[:8], region, service)
	return hex.EncodeToString(mac(key, algorithm+"\n"+stamp+"\n"+scope(stamp[:8], region, service)+"\n"+hashHex(canonical)))
}

func signedNames(r *http.Request) []string {
	names := []string{"host"}
	for k := range r.Header {
		switch h := strings.ToLower(k); h {
		case "authorization", "expect", "transfer-encoding", "user-agent", "x-amzn-trace-id", "connection", "host":
		default:
			names = append(names, h)
		}
	}
	slices.Sort(names)
	return names
}
