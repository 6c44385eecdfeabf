package sigv4

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Verified is a request whose signature held. It opens the streamed body.
type Verified struct {
	auth *Auth
	key  []byte
}

// CheckTime refuses a request from outside its window. Verify does it too; it
// is apart so that a stale request costs no reading of its body.
func (a *Auth) CheckTime(now time.Time) error {
	now = now.UTC()
	if a.v2 {
		if now.Unix() > a.v2Expires {
			e := a.refuse(Expired, "Request has expired")
			e.Fields = map[string]string{"Expires": time.Unix(a.v2Expires, 0).UTC().Format(time.RFC3339), "ServerTime": now.Format(time.RFC3339)}
			return e
		}
		return nil
	}
	if a.Presigned {
		if end := a.Time.Add(a.Expires); now.After(end) {
			e := a.refuse(Expired, "Request has expired")
			e.Fields = map[string]string{
				"X-Amz-Expires": strconv.FormatInt(int64(a.Expires/time.Second), 10),
				"Expires":       end.Format(time.RFC3339), "ServerTime": now.Format(time.RFC3339),
			}
			return e
		}
		if a.Time.After(now.Add(Window)) {
			return a.refuse(Early, "Request is not valid yet")
		}
		return nil
	}
	var e *Error
	switch {
	case a.Time.Before(now.Add(-Window)):
		ours := now.Format(stampForm)
		e = a.refuse(Skewed, "Signature expired: %s is now earlier than %s (%s - 15 min.)", a.stamp, now.Add(-Window).Format(stampForm), ours)
	case a.Time.After(now.Add(Window)):
		ours := now.Format(stampForm)
		e = a.refuse(Skewed, "Signature not yet current: %s is still later than %s (%s + 15 min.)", a.stamp, now.Add(Window).Format(stampForm), ours)
	default:
		return nil
	}
	e.Fields = map[string]string{
		"RequestTime": a.stamp, "ServerTime": now.Format(time.RFC3339),
		"MaxAllowedSkewMilliseconds": strconv.FormatInt(Window.Milliseconds(), 10),
	}
	return e
}

// Verify checks the signature of r under secret. payload is the hash that the
// signature must cover: the SHA-256 of the body in hex, or for S3 what
// SignedPayload gives. The error is an *Error.
func (a *Auth) Verify(r *http.Request, secret, payload string, now time.Time) (*Verified, error) {
	return a.VerifyWith(nil, r, secret, payload, now)
}

// VerifyWith is Verify with keys that were derived before.
func (a *Auth) VerifyWith(keys *Keys, r *http.Request, secret, payload string, now time.Time) (*Verified, error) {
	if err := a.CheckTime(now); err != nil {
		return nil, err
	}
	q, err := parseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, a.refuse(Malformed, "The query string cannot be decoded.")
	}
	if a.v2 {
		return a.verifyV2(r, q, secret)
	}
	if err := a.covered(r); err != nil {
		return nil, err
	}
	var room [1024]byte
	canonical, err := canonicalRequest(room[:0], r, q, a.signed, a.Service, payload)
	if err != nil {
		return nil, a.refuse(Malformed, "The path cannot be decoded.")
	}
	of := keyOf{secret, a.date, a.Region, a.Service}
	key := keys.get(of)
	text := algorithm + "\n" + a.stamp + "\n" + scope(a.date, a.Region, a.Service) + "\n" + hashHex(canonical)
	if !hmac.Equal(mac(key, text), a.signature) {
		e := a.refuse(Mismatch, "The request signature we calculated does not match the signature you provided.")
		e.Fields = map[string]string{"AWSAccessKeyId": a.AccessKeyID, "StringToSign": text, "CanonicalRequest": string(canonical)}
		return nil, e
	}
	keys.put(of, key)
	return &Verified{auth: a, key: key}, nil
}

// covered refuses headers that change a request's meaning and are not signed:
// the holder of a presigned URL may add none of them.
func (a *Auth) covered(r *http.Request) error {
	var open []string
	need := func(h string) {
		if _, ok := slices.BinarySearch(a.signed, h); !ok {
			open = append(open, h)
		}
	}
	need("host")
	for k := range r.Header {
		const amz = "x-amz-"
		if len(k) < len(amz) || !strings.EqualFold(k[:len(amz)], amz) {
			continue
		}
		if h := strings.ToLower(k); !a.Presigned || h != "x-amz-content-sha256" {
			need(h)
		}
	}
	if len(open) == 0 {
		return nil
	}
	slices.Sort(open)
	e := a.refuse(Uncovered, "There were headers present in the request which were not signed")
	e.Fields = map[string]string{"HeadersNotSigned": strings.Join(open, ", ")}
	return e
}

// SignedPayload is the payload hash that an S3 request's signature covers
// without reading its body; ok is false when the client gave none.
func (a *Auth) SignedPayload() (string, bool) {
	if a.Payload == "" {
		return UnsignedPayload, a.Presigned
	}
	if a.Presigned && a.Payload != UnsignedPayload && !isHash(a.Payload) {
		return "", false
	}
	return a.Payload, true
}

func isHash(s string) bool {
	if len(s) != 64 {
		return false
	}
	_, err := hex.DecodeString(s)
	return err == nil
}

func (a *Auth) fromQueryV2(q query) error {
	one := func(k string) string {
		if v := q.all(k); len(v) == 1 {
			return v[0]
		}
		return ""
	}
	a.AccessKeyID, a.Service = one("AWSAccessKeyId"), "s3"
	a.SessionToken = one("x-amz-security-token")
	sig, err := base64.StdEncoding.DecodeString(one("Signature"))
	n, err2 := strconv.ParseInt(one("Expires"), 10, 64)
	if err != nil || err2 != nil || a.AccessKeyID == "" || len(q.all("x-amz-security-token")) > 1 {
		return a.refuse(Malformed, "Query-string authentication requires the Signature, Expires and AWSAccessKeyId parameters")
	}
	a.signature, a.v2Expires = sig, n
	return nil
}

// subresources are the query parameters that version 2 signs.
var subresources = []string{
	"accelerate", "acl", "cors", "delete", "lifecycle", "location", "logging", "notification", "partNumber", "policy",
	"requestPayment", "response-cache-control", "response-content-disposition", "response-content-encoding",
	"response-content-language", "response-content-type", "response-expires", "restore", "tagging", "torrent",
	"uploadId", "uploads", "versionId", "versioning", "versions", "website",
}

// verifyV2 signs the bucket as part of the path, wherever it stands.
func (a *Auth) verifyV2(r *http.Request, q query, secret string) (*Verified, error) {
	var amz []string
	for k := range r.Header {
		if h := strings.ToLower(k); strings.HasPrefix(h, "x-amz-") {
			amz = append(amz, h+":"+headerValue(r, h)+"\n")
		}
	}
	if t := q.all("x-amz-security-token"); len(t) == 1 {
		amz = append(amz, "x-amz-security-token:"+t[0]+"\n")
	}
	slices.Sort(amz)
	var sub []string
	for _, p := range q {
		if slices.Contains(subresources, p[0]) {
			s := p[0]
			if p[1] != "" {
				s += "=" + p[1]
			}
			sub = append(sub, s)
			continue
		}
		switch p[0] {
		case "AWSAccessKeyId", "Signature", "Expires", "x-amz-security-token":
		case "content-type", "content-md5":
			// boto3 repeats these headers here; the headers are what counts and what is signed
		case "prefix", "delimiter", "marker", "max-keys", "encoding-type", "list-type", "continuation-token", "start-after", "fetch-owner", "x-id":
			// version 2 leaves a listing's parameters unsigned, on AWS too
		default:
			return nil, a.refuse(Malformed, "The query parameter %s is not covered by a version 2 signature.", p[0])
		}
	}
	slices.Sort(sub)
	resource := rawPath(r)
	if a.Bucket != "" {
		resource = "/" + a.Bucket + resource
	}
	if len(sub) > 0 {
		resource += "?" + strings.Join(sub, "&")
	}
	text := r.Method + "\n" + r.Header.Get("Content-Md5") + "\n" + r.Header.Get("Content-Type") + "\n" +
		strconv.FormatInt(a.v2Expires, 10) + "\n" + strings.Join(amz, "") + resource
	h := hmac.New(sha1.New, []byte(secret))
	h.Write([]byte(text))
	if !hmac.Equal(h.Sum(nil), a.signature) {
		e := a.refuse(Mismatch, "The request signature we calculated does not match the signature you provided.")
		e.Fields = map[string]string{"AWSAccessKeyId": a.AccessKeyID, "StringToSign": text}
		return nil, e
	}
	return &Verified{auth: a}, nil
}
