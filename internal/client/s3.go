package client

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"clary/internal/aws/sigv4"
)

// Object is what a listing or a HEAD tells.
type Object struct {
	Key  string
	Size int64
	ETag string // without quotes
}

// ParseURI splits s3://bucket/key. The key may be empty.
func ParseURI(uri string) (bucket, key string, err error) {
	rest, ok := strings.CutPrefix(uri, "s3://")
	if !ok {
		return "", "", fmt.Errorf("%q is not an S3 URI: it must start with s3://", uri)
	}
	bucket, key, _ = strings.Cut(rest, "/")
	if bucket == "" {
		return "", "", fmt.Errorf("%q names no bucket", uri)
	}
	return bucket, key, nil
}

func objectPath(bucket, key string) string {
	p := "/" + sigv4.Escape(bucket, false)
	if key != "" {
		p += "/" + sigv4.Escape(key, true)
	}
	return p
}

func unquote(etag string) string { return strings.Trim(etag, `"`) }

// Put stores a small object in one request.
func (c *Client) Put(ctx context.Context, bucket, key string, body []byte) error {
	resp, err := c.send(ctx, call{service: "s3", operation: "PutObject", method: http.MethodPut, path: objectPath(bucket, key), body: body})
	if err != nil {
		return err
	}
	return drain(resp)
}

// Head looks at an object.
func (c *Client) Head(ctx context.Context, bucket, key string) (Object, error) {
	resp, err := c.send(ctx, call{service: "s3", operation: "HeadObject", method: http.MethodHead, path: objectPath(bucket, key)})
	if err != nil {
		return Object{}, err
	}
	return Object{Key: key, Size: resp.ContentLength, ETag: unquote(resp.Header.Get("ETag"))}, drain(resp)
}

// Delete removes an object; a missing one is no error.
func (c *Client) Delete(ctx context.Context, bucket, key string) error {
	resp, err := c.send(ctx, call{service: "s3", operation: "DeleteObject", method: http.MethodDelete, path: objectPath(bucket, key)})
	if err != nil {
		return err
	}
	return drain(resp)
}

// listPage is the part of ListObjectsV2's answer that we read.
type listPage struct {
	EncodingType          string
	IsTruncated           bool
	NextContinuationToken string
	Contents              []struct {
		Key  string
		Size int64
		ETag string
	}
	CommonPrefixes []struct{ Prefix string }
}

func (c *Client) page(ctx context.Context, bucket string, q url.Values) (*listPage, error) {
	q.Set("list-type", "2")
	q.Set("encoding-type", "url") // XML cannot carry every key
	resp, err := c.send(ctx, call{service: "s3", operation: "ListObjectsV2", method: http.MethodGet, path: objectPath(bucket, ""), query: q})
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close() //nolint:errcheck // decoded below
	var p listPage
	if err := xml.NewDecoder(resp.Body).Decode(&p); err != nil {
		return nil, fmt.Errorf("s3 ListObjectsV2 of %s: %w", bucket, err)
	}
	if p.EncodingType != "url" {
		return &p, nil
	}
	for i := range p.Contents {
		if p.Contents[i].Key, err = url.QueryUnescape(p.Contents[i].Key); err != nil {
			return nil, fmt.Errorf("s3 ListObjectsV2 of %s: %w", bucket, err)
		}
	}
	for i := range p.CommonPrefixes {
		if p.CommonPrefixes[i].Prefix, err = url.QueryUnescape(p.CommonPrefixes[i].Prefix); err != nil {
			return nil, fmt.Errorf("s3 ListObjectsV2 of %s: %w", bucket, err)
		}
	}
	return &p, nil
}

// List yields the objects below a prefix in key order, page by page.
func (c *Client) List(ctx context.Context, bucket, prefix string) iter.Seq2[Object, error] {
	return func(yield func(Object, error) bool) {
		token := ""
		for {
			q := url.Values{}
			if prefix != "" {
				q.Set("prefix", prefix)
			}
			if token != "" {
				q.Set("continuation-token", token)
			}
			p, err := c.page(ctx, bucket, q)
			if err != nil {
				yield(Object{}, err)
				return
			}
			for _, o := range p.Contents {
				if !yield(Object{Key: o.Key, Size: o.Size, ETag: unquote(o.ETag)}, nil) {
					return
				}
			}
			if !p.IsTruncated {
				return
			}
			if p.NextContinuationToken == "" {
				yield(Object{}, errors.New("s3 ListObjectsV2: truncated answer without a token"))
				return
			}
			token = p.NextContinuationToken
		}
	}
}

// Buckets names the buckets that the caller may list.
func (c *Client) Buckets(ctx context.Context) ([]string, error) {
	resp, err := c.send(ctx, call{service: "s3", operation: "ListBuckets", method: http.MethodGet, path: "/"})
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close() //nolint:errcheck // decoded below
	var out struct {
		Buckets struct{ Bucket []struct{ Name string } }
	}
	if err := xml.NewDecoder(resp.Body).Decode(&out); err != nil {
		return nil, fmt.Errorf("s3 ListBuckets: %w", err)
	}
	var names []string
	for _, b := range out.Buckets.Bucket {
		names = append(names, b.Name)
	}
	return names, nil
}

// Near lists up to most names directly below a folder prefix: keys and, with
// a slash at the end, folders.
func (c *Client) Near(ctx context.Context, bucket, folder string, most int) ([]string, error) {
	q := url.Values{"delimiter": {"/"}, "max-keys": {strconv.Itoa(most)}}
	if folder != "" {
		q.Set("prefix", folder)
	}
	p, err := c.page(ctx, bucket, q)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, d := range p.CommonPrefixes {
		names = append(names, d.Prefix)
	}
	for _, o := range p.Contents {
		names = append(names, o.Key)
	}
	return names, nil
}

// Get opens an object for reading. The reader goes on by itself, at the byte
// where a connection broke, and fails if the object changed meanwhile.
func (c *Client) Get(ctx context.Context, bucket, key string) (io.ReadCloser, Object, error) {
	r := &reader{c: c, ctx: ctx, bucket: bucket, key: key}
	resp, err := r.open() //nolint:bodyclose // the reader closes it
	if err != nil {
		return nil, Object{}, err
	}
	r.body = resp.Body
	r.size = resp.ContentLength
	r.etag = resp.Header.Get("ETag")
	return r, Object{Key: key, Size: r.size, ETag: unquote(r.etag)}, nil
}

type reader struct {
	c           *Client
	ctx         context.Context
	bucket, key string
	etag        string
	size, off   int64
	body        io.ReadCloser
	broken      int // reconnects without progress
}

func (r *reader) open() (*http.Response, error) {
	h := http.Header{}
	if r.off > 0 {
		h.Set("Range", fmt.Sprintf("bytes=%d-", r.off))
		h.Set("If-Match", r.etag)
	}
	resp, err := r.c.send(r.ctx, call{service: "s3", operation: "GetObject", method: http.MethodGet, path: objectPath(r.bucket, r.key), header: h})
	if Code(err) == "PreconditionFailed" {
		return nil, fmt.Errorf("s3://%s/%s changed while it was read", r.bucket, r.key)
	}
	if err == nil && r.off > 0 && resp.StatusCode != http.StatusPartialContent {
		return nil, errors.Join(fmt.Errorf("s3://%s/%s: the server ignored a range", r.bucket, r.key), resp.Body.Close())
	}
	return resp, err
}

func (r *reader) Read(p []byte) (int, error) {
	for {
		n, err := r.body.Read(p)
		r.off += int64(n)
		if n > 0 {
			r.broken = 0
			return n, nil // what err says comes again
		}
		if errors.Is(err, io.EOF) && (r.size < 0 || r.off >= r.size) {
			return 0, io.EOF
		}
		if err == nil {
			continue
		}
		if r.ctx.Err() != nil {
			return 0, context.Cause(r.ctx)
		}
		if r.broken++; r.broken > 10 || r.etag == "" || r.size < 0 {
			return 0, fmt.Errorf("reading s3://%s/%s: %w", r.bucket, r.key, err)
		}
		_ = r.body.Close()    // already broken
		resp, err := r.open() //nolint:bodyclose // the reader closes it
		if err != nil {
			r.body = http.NoBody
			return 0, err
		}
		r.body = resp.Body
	}
}

func (r *reader) Close() error { return r.body.Close() }
