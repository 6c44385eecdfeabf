// Package clienttest is an S3 in memory for tests of the client and of stage:
// path style, listings, ranges, multipart, and faults on demand.
package clienttest

import (
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"clary/internal/aws/sigv4"
)

// S3 is an http.Handler. Fault, when it answers true, has answered itself.
type S3 struct {
	Fault    func(w http.ResponseWriter, r *http.Request) bool
	PageSize int // keys a page, 1000 when zero

	mu      sync.Mutex
	objects map[string]map[string]object // bucket → key
	uploads map[string]map[int][]byte    // id → parts
	seen    []string                     // "METHOD path"
}

type object struct {
	data []byte
	etag string
}

// New makes an S3 with these buckets.
func New(buckets ...string) *S3 {
	s := &S3{objects: map[string]map[string]object{}, uploads: map[string]map[int][]byte{}}
	for _, b := range buckets {
		s.objects[b] = map[string]object{}
	}
	return s
}

// Set stores an object.
func (s *S3) Set(bucket, key, data string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put(bucket, key, []byte(data), "")
}

func (s *S3) put(bucket, key string, data []byte, etag string) string {
	if etag == "" {
		sum := md5.Sum(data)
		etag = hex.EncodeToString(sum[:])
	}
	s.objects[bucket][key] = object{slices.Clone(data), etag}
	return etag
}

// Object reads one back.
func (s *S3) Object(bucket, key string) ([]byte, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, ok := s.objects[bucket][key]
	return o.data, ok
}

// Keys lists a bucket.
func (s *S3) Keys(bucket string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.objects[bucket]))
}

// Uploads counts unfinished multipart uploads.
func (s *S3) Uploads() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.uploads)
}

// Requests lists what was asked so far, "METHOD path".
func (s *S3) Requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.seen)
}

// Fail answers an S3 error document.
func Fail(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, "<Error><Code>%s</Code><Message>%s</Message></Error>", code, message)
}

func (s *S3) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.Fault != nil && s.Fault(w, r) {
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = append(s.seen, r.Method+" "+r.URL.Path)
	if err := verify(r, body); err != nil {
		Fail(w, http.StatusForbidden, "SignatureDoesNotMatch", err.Error())
		return
	}
	bucket, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	objs, ok := s.objects[bucket]
	if !ok {
		Fail(w, http.StatusNotFound, "NoSuchBucket", "The specified bucket does not exist")
		return
	}
	q := r.URL.Query()
	switch {
	case key == "" && r.Method == http.MethodGet:
		s.list(w, objs, q)
	case r.Method == http.MethodPost && q.Has("uploads"):
		id := "u" + strconv.Itoa(len(s.seen))
		s.uploads[id] = map[int][]byte{}
		_, _ = fmt.Fprintf(w, "<InitiateMultipartUploadResult><UploadId>%s</UploadId></InitiateMultipartUploadResult>", id)
	case q.Has("uploadId"):
		s.part(w, r, bucket, key, q, body)
	case r.Method == http.MethodPut:
		w.Header().Set("ETag", `"`+s.put(bucket, key, body, "")+`"`)
	case r.Method == http.MethodDelete:
		delete(objs, key)
		w.WriteHeader(http.StatusNoContent)
	default:
		o, ok := objs[key]
		if !ok {
			Fail(w, http.StatusNotFound, "NoSuchKey", "The specified key does not exist.")
			return
		}
		if m := r.Header.Get("If-Match"); m != "" && m != `"`+o.etag+`"` {
			Fail(w, http.StatusPreconditionFailed, "PreconditionFailed", "changed")
			return
		}
		w.Header().Set("ETag", `"`+o.etag+`"`)
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(string(o.data)))
	}
}

// Secret is the key that requests must be signed with.
const Secret = "s"

func verify(r *http.Request, body []byte) error {
	a, err := sigv4.Parse(r)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(body)
	_, err = a.Verify(r, Secret, hex.EncodeToString(sum[:]), time.Now())
	return err
}

func (s *S3) part(w http.ResponseWriter, r *http.Request, bucket, key string, q url.Values, body []byte) {
	id := q.Get("uploadId")
	parts, ok := s.uploads[id]
	if !ok {
		Fail(w, http.StatusNotFound, "NoSuchUpload", "no such upload")
		return
	}
	switch r.Method {
	case http.MethodPut:
		n, _ := strconv.Atoi(q.Get("partNumber"))
		parts[n] = body
		sum := md5.Sum(body)
		w.Header().Set("ETag", `"`+hex.EncodeToString(sum[:])+`"`)
	case http.MethodDelete:
		delete(s.uploads, id)
		w.WriteHeader(http.StatusNoContent)
	case http.MethodPost:
		var all []byte
		sums := md5.New()
		for _, n := range slices.Sorted(maps.Keys(parts)) {
			all = append(all, parts[n]...)
			sum := md5.Sum(parts[n])
			sums.Write(sum[:])
		}
		s.put(bucket, key, all, hex.EncodeToString(sums.Sum(nil))+"-"+strconv.Itoa(len(parts)))
		delete(s.uploads, id)
		_, _ = fmt.Fprint(w, "<CompleteMultipartUploadResult/>")
	}
}

func (s *S3) list(w http.ResponseWriter, objs map[string]object, q url.Values) {
	type content struct {
		Key, ETag string
		Size      int
	}
	type prefix struct{ Prefix string }
	out := struct {
		XMLName               xml.Name `xml:"ListBucketResult"`
		EncodingType          string
		IsTruncated           bool
		NextContinuationToken string `xml:",omitempty"`
		Contents              []content
		CommonPrefixes        []prefix
	}{EncodingType: "url"}
	limit := s.PageSize
	if limit == 0 {
		limit = 1000
	}
	last := ""
	for _, k := range slices.Sorted(maps.Keys(objs)) {
		rest, ok := strings.CutPrefix(k, q.Get("prefix"))
		if !ok || k <= q.Get("continuation-token") {
			continue
		}
		if d := q.Get("delimiter"); d != "" {
			if i := strings.Index(rest, d); i >= 0 {
				p := q.Get("prefix") + rest[:i+1]
				if p != last {
					out.CommonPrefixes = append(out.CommonPrefixes, prefix{url.QueryEscape(p)})
					last = p
				}
				continue
			}
		}
		if len(out.Contents) == limit {
			out.IsTruncated = true
			break
		}
		out.Contents = append(out.Contents, content{url.QueryEscape(k), `"` + objs[k].etag + `"`, len(objs[k].data)})
		out.NextContinuationToken = k
	}
	if !out.IsTruncated {
		out.NextContinuationToken = ""
	}
	_ = xml.NewEncoder(w).Encode(out)
}
