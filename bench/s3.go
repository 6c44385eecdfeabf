package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"clary/internal/aws/sigv4"
)

const (
	versitygwVersion = "v1.8.0"
	small            = 4 << 10
	large            = 64 << 20
	listedKeys       = 1000
	getKeys          = 64
)

// object makes one signed request about an object. The body is not hashed by
// the client, as over TLS: the figure is the server's.
func (c *client) object(ctx context.Context, method, path, query string, body []byte) (int64, error) {
	return c.stream(ctx, method, path, query, bytes.NewReader(body), int64(len(body)), io.Discard)
}

// stream is object with bodies that are not in memory.
func (c *client) stream(ctx context.Context, method, path, query string, body io.Reader, size int64, answer io.Writer) (int64, error) {
	_, n, err := c.exchange(ctx, method, path, query, nil, body, size, answer)
	return n, err
}

// exchange is stream with headers, of which X-Amz-Content-Sha256 may be one,
// and gives those of the answer.
func (c *client) exchange(ctx context.Context, method, path, query string, header map[string]string, body io.Reader, size int64, answer io.Writer) (http.Header, int64, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.url, body)
	if err != nil {
		return nil, 0, err
	}
	req.URL.Path, req.URL.RawQuery = path, query
	req.ContentLength = size
	for name, value := range header {
		req.Header.Set(name, value)
	}
	sigv4.Sign(req, c.creds, region, "s3", cmp.Or(header["X-Amz-Content-Sha256"], sigv4.UnsignedPayload), time.Now())
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, 0, err
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end
	if resp.StatusCode/100 != 2 {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 500))
		return nil, 0, fmt.Errorf("%s %s: HTTP %d: %s", method, path, resp.StatusCode, text)
	}
	n, err := io.Copy(answer, resp.Body)
	return resp.Header, n, err
}

// listing is what the rows need of a page.
type listing struct {
	IsTruncated           bool
	NextContinuationToken string
	Contents              []struct {
		Key  string
		Size int64
	}
	CommonPrefixes []struct{ Prefix string }
}

func (c *client) list(ctx context.Context, bucket string, query url.Values) (l listing, err error) {
	query.Set("list-type", "2")
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url+"/"+bucket+"?"+query.Encode(), http.NoBody)
	if err != nil {
		return l, err
	}
	data, err := c.send(req, "s3", nil)
	if err != nil {
		return l, err
	}
	return l, xml.Unmarshal(data, &l)
}

// versitygw gives the peer's program, which is fetched once into a folder of
// the user's cache.
func (b *bench) versitygw() (string, error) {
	if b.gateway != "" {
		return b.gateway, nil
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "clary-bench", "versitygw-"+versitygwVersion)
	program := filepath.Join(dir, "versitygw")
	if _, err := os.Stat(program); err == nil {
		return program, nil
	}
	fmt.Printf("   building versitygw %s into %s; this takes minutes, once\n", versitygwVersion, dir)
	cmd := exec.CommandContext(b.ctx, "go", "install", "github.com/versity/versitygw/cmd/versitygw@"+versitygwVersion)
	cmd.Dir = b.dir // outside of our module
	cmd.Env = append(os.Environ(), "GOBIN="+dir, "GOFLAGS=", "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("install versitygw: %w\n%.2000s", err, out)
	}
	return program, nil
}

func (b *bench) startVersitygw() (*server, error) {
	program, err := b.versitygw()
	if err != nil {
		return nil, err
	}
	addr, err := port()
	if err != nil {
		return nil, err
	}
	data := filepath.Join(b.dir, "versitygw")
	if err := os.MkdirAll(data, 0o700); err != nil {
		return nil, err
	}
	creds, _ := fixedCreds()
	return b.start("versitygw", addr, fixedCreds, buckets, program,
		"--access", creds.AccessKeyID, "--secret", creds.SecretAccessKey, "--region", region, "--port", addr, "posix", data)
}

func buckets(c *client) error {
	_, err := c.object(context.Background(), http.MethodGet, "/", "", nil)
	return err
}

const floorVerb = "s3-floor-server"

func (b *bench) startFloor() (*server, error) {
	addr, err := port()
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	data := filepath.Join(b.dir, "floor")
	if err := os.MkdirAll(data, 0o700); err != nil {
		return nil, err
	}
	return b.start("floor", addr, fixedCreds, buckets, self, floorVerb, addr, data)
}

// serveFloor keeps objects as plain files and looks at nothing: no signature,
// no checksum, no record. A PUT is answered after fsync of the file and of its
// folder; a listing is always the same text.
func serveFloor(addr, dir string) error {
	page := cannedPage()
	var n atomic.Int64
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	put := func(r *http.Request, name string) error {
		tmp := filepath.Join(dir, fmt.Sprintf("tmp%d", n.Add(1)))
		f, err := os.Create(tmp)
		if err != nil {
			return err
		}
		if _, err = io.Copy(f, r.Body); err == nil {
			err = f.Sync()
		}
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
		if err := os.Rename(tmp, filepath.Join(dir, name)); err != nil {
			return err
		}
		return d.Sync()
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	srv := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := strings.ReplaceAll(strings.Trim(r.URL.Path, "/"), "/", "_")
		switch {
		case r.Method == http.MethodPut:
			if err := put(r, name); err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
			}
		case r.URL.Query().Has("list-type") || name == "":
			_, _ = w.Write(page)
		default:
			http.ServeFile(w, r, filepath.Join(dir, name))
		}
	})}
	return srv.Serve(l)
}

func cannedPage() []byte {
	var s strings.Builder
	s.WriteString(`<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>x</Name>`)
	for i := range listedKeys {
		fmt.Fprintf(&s, `<Contents><Key>list/%06d</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>&#34;d41d8cd98f00b204e9800998ecf8427e&#34;</ETag><Size>0</Size><StorageClass>STANDARD</StorageClass></Contents>`, i)
	}
	return []byte(s.String() + `</ListBucketResult>`)
}

// s3Contenders are three servers with the same small objects.
func (b *bench) s3Contenders() (all []*contender, stop func() error, err error) {
	stop = func() error {
		var err error
		for _, c := range all {
			err = errors.Join(err, c.s.stop())
		}
		return err
	}
	for _, c := range []struct {
		name  string
		start func() (*server, error)
	}{
		{"clary", func() (*server, error) { return b.startClary(filepath.Join(b.dir, "s3")) }},
		{"versitygw", b.startVersitygw},
		{"floor", b.startFloor},
	} {
		s, err := c.start()
		if err != nil {
			return all, stop, err
		}
		s.client.http.Timeout = 5 * time.Minute
		all = append(all, &contender{name: c.name, s: s, loads: make(map[int]load)})
	}
	body := bytes.Repeat([]byte("4 KiB of text..."), small/16)
	for _, c := range all {
		for _, bucket := range []string{bucketName, listBucket} {
			if c.name == "floor" {
				continue
			}
			if err := c.s.client.bucket(b.ctx, bucket); err != nil {
				return all, stop, fmt.Errorf("%s: %w", c.name, err)
			}
		}
		for i := range listedKeys {
			if _, err := c.s.client.object(b.ctx, http.MethodPut, fmt.Sprintf("/%s/list/%06d", listBucket, i), "", nil); err != nil {
				return all, stop, fmt.Errorf("%s: %w", c.name, err)
			}
		}
		for i := range getKeys {
			if _, err := c.s.client.object(b.ctx, http.MethodPut, fmt.Sprintf("/%s/get/%d", bucketName, i), "", body); err != nil {
				return all, stop, fmt.Errorf("%s: %w", c.name, err)
			}
		}
	}
	return all, stop, nil
}

const listBucket = "clary-bench-list"

// duel runs one load against all, at each concurrency, round by round.
func (b *bench) duel(what string, all []*contender, at []int, period time.Duration, fn func(ctx context.Context, c *client, worker, i int) error) error {
	for _, c := range all {
		clear(c.loads)
	}
	for _, n := range at {
		for round := range b.rounds + 1 {
			for _, c := range all {
				s, err := hammer(b.ctx, n, period, func(ctx context.Context, w, i int) error { return fn(ctx, c.s.client, w, i) })
				if err != nil {
					return fmt.Errorf("%s on %s: %w", what, c.name, err)
				}
				if round == 0 {
					continue // warming up
				}
				c.loads[n] = append(c.loads[n], s)
				fmt.Printf("   %s %s c%d round %d: %.1f/s, %s\n", what, c.name, n, round, s.rate(), times(s.lat))
			}
		}
	}
	return nil
}

// s3Row writes a duel's figures.
func (b *bench) s3Row(what string, n int, all []*contender, times float64, show func(load) string, note string) {
	ours, peer, floor := pick(all, "clary", n), pick(all, "versitygw", n), pick(all, "floor", n)
	r := row{
		name: fmt.Sprintf("S3 %s, c%d", what, n), ours: show(ours), note: note,
		floor: fmt.Sprintf("plain files %s; Clary is %s", show(floor), ratio(ours, floor)),
		peer:  fmt.Sprintf("versitygw %s; Clary is %s", show(peer), ratio(ours, peer)),
	}
	if times > 0 {
		r.goal, r.met = fmt.Sprintf("≥ %g× versitygw", times), beats(ours, map[float64]load{times: peer})
	}
	b.add(r)
}

// mibRate is a load of large objects in MiB/s.
func mibRate(l load) string {
	if len(l) == 0 {
		return ""
	}
	lo, hi := l[0].rate(), l[0].rate()
	for _, s := range l {
		lo, hi = min(lo, s.rate()), max(hi, s.rate())
	}
	const size = large >> 20
	return fmt.Sprintf("%s MiB/s (%s..%s)", count(l.median()*size), count(lo*size), count(hi*size))
}

// s3Rows measures objects against versitygw, which does not fsync, and against
// plain files, which do.
func (b *bench) s3Rows() (err error) {
	all, stop, err := b.s3Contenders()
	defer func() { err = errors.Join(err, stop()) }()
	if err != nil {
		return err
	}
	text := bytes.Repeat([]byte("4 KiB of text..."), small/16)
	var made atomic.Int64
	if err := b.duel("put", all, []int{1, 16}, b.period, func(ctx context.Context, c *client, _, _ int) error {
		_, err := c.object(ctx, http.MethodPut, fmt.Sprintf("/%s/put/%d", bucketName, made.Add(1)), "", text)
		return err
	}); err != nil {
		return err
	}
	b.s3Row("PUT 4 KiB", 1, all, 0, load.String, "")
	b.s3Row("PUT 4 KiB", 16, all, 2, load.String, notes["s3put"])
	if err := b.duel("get", all, []int{1, 16}, b.period, func(ctx context.Context, c *client, w, i int) error {
		n, err := c.object(ctx, http.MethodGet, fmt.Sprintf("/%s/get/%d", bucketName, (w*7+i)%getKeys), "", nil)
		if err == nil && n != small {
			err = fmt.Errorf("%d bytes", n)
		}
		return err
	}); err != nil {
		return err
	}
	b.s3Row("GET 4 KiB", 1, all, 0, load.String, "")
	b.s3Row("GET 4 KiB", 16, all, 2, load.String, notes["s3get"])
	if err := b.duel("list", all, []int{1, 16}, b.period, func(ctx context.Context, c *client, _, _ int) error {
		n, err := c.object(ctx, http.MethodGet, "/"+listBucket, "list-type=2", nil)
		if err == nil && n < 100*listedKeys {
			err = fmt.Errorf("a page of %d bytes", n)
		}
		return err
	}); err != nil {
		return err
	}
	b.s3Row("LIST of 1,000", 1, all, 3, load.String, "")
	b.s3Row("LIST of 1,000", 16, all, 3, load.String, notes["s3list"])
	return b.largeRows(all)
}

func (b *bench) largeRows(all []*contender) error {
	body := make([]byte, large)
	for i := range body {
		body[i] = byte(i * 7 >> 3)
	}
	if err := b.duel("put 64 MiB", all, []int{1, 2}, 2*b.period, func(ctx context.Context, c *client, w, i int) error {
		_, err := c.object(ctx, http.MethodPut, fmt.Sprintf("/%s/large/%d-%d", bucketName, w, i%4), "", body)
		return err
	}); err != nil {
		return err
	}
	b.s3Row("PUT 64 MiB", 1, all, 1, mibRate, notes["s3large"])
	b.s3Row("PUT 64 MiB", 2, all, 1, mibRate, notes["s3large"])
	for _, c := range all {
		for w := range 2 {
			if _, err := c.s.client.object(b.ctx, http.MethodPut, fmt.Sprintf("/%s/large/%d-0", bucketName, w), "", body); err != nil {
				return err
			}
		}
	}
	if err := b.duel("get 64 MiB", all, []int{1, 2}, 2*b.period, func(ctx context.Context, c *client, w, _ int) error {
		n, err := c.object(ctx, http.MethodGet, fmt.Sprintf("/%s/large/%d-0", bucketName, w), "", nil)
		if err == nil && n != large {
			err = fmt.Errorf("%d bytes", n)
		}
		return err
	}); err != nil {
		return err
	}
	b.s3Row("GET 64 MiB", 1, all, 1, mibRate, "")
	b.s3Row("GET 64 MiB", 2, all, 1, mibRate, "")
	return nil
}
