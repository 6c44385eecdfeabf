package router

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"mime"
	"path"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"

	"clary/internal/aws/apierr"
	"clary/internal/resource"
	"clary/internal/serving"
)

const (
	captureEvery = 10 * time.Second
	captureFile  = 4 << 20  // is written before its time
	captureRoom  = 64 << 20 // of what is not written yet; what comes beyond is lost
)

// File is captured data on its way to S3.
type File struct {
	Account, Region string
	RoleArn         string // who writes it
	Bucket, Key     string
	Body            []byte // lines of JSON
}

// captures hold what is not written yet.
type captures struct {
	full chan struct{} // says that a file is large

	mu      sync.Mutex // guards what follows
	held    int64
	lost    int
	batches map[batchKey]*batch
}

// batchKey is what goes into one file.
type batchKey struct {
	endpoint           resource.Key
	variant, uri, role string
}

type batch struct {
	key   string // of the object
	lines []byte
}

// event is a line of a capture file
// (https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-data-capture-endpoint.html).
type event struct {
	Data struct {
		Input  *side `json:"endpointInput,omitzero"`
		Output *side `json:"endpointOutput,omitzero"`
	} `json:"captureData"`
	Meta struct {
		Attributes  []string `json:"customAttributes,omitzero"`
		ID          string   `json:"eventId"`
		InferenceID string   `json:"inferenceId,omitzero"`
		Time        string   `json:"inferenceTime"`
	} `json:"eventMetadata"`
	Version string `json:"eventVersion"`
}

type side struct {
	ContentType string `json:"observedContentType,omitzero"`
	Mode        string `json:"mode"`
	Data        string `json:"data"`
	Encoding    string `json:"encoding"`
}

// sampled says whether this request is one of those that are captured.
func (v *visit) sampled() bool {
	c := v.rt.capture
	return c != nil && v.r.cfg.Keep != nil && (c.Input || c.Output) && mathrand.Int64N(100) < c.Percent
}

// capture keeps a request and its answer for S3.
func (v *visit) capture(contentType string, body []byte) {
	if v.captured == nil {
		return
	}
	c := v.rt.capture
	e := event{Version: "0"}
	if c.Input {
		e.Data.Input = sideOf(c, "INPUT", v.captured.contentType, v.captured.body)
	}
	if c.Output {
		e.Data.Output = sideOf(c, "OUTPUT", contentType, body)
	}
	if a := v.captured.attributes; a != "" {
		e.Meta.Attributes = []string{a}
	}
	e.Meta.ID, e.Meta.InferenceID, e.Meta.Time = uuid(), v.captured.inference, v.begun.UTC().Format(time.RFC3339)
	line, err := json.Marshal(&e)
	if err != nil { // texts alone
		v.r.log.Error("capture", "endpoint", v.key.Name, "err", err)
		return
	}
	v.r.captures.add(batchKey{v.key, v.v.name, c.S3Uri, c.RoleArn}, append(line, '\n'))
}

func sideOf(c *serving.Capture, mode, contentType string, body []byte) *side {
	s := &side{ContentType: contentType, Mode: mode, Encoding: "BASE64"}
	t, _, err := mime.ParseMediaType(contentType)
	same := func(other string) bool { return err == nil && strings.EqualFold(other, t) }
	switch {
	case !utf8.Valid(body):
	case slices.ContainsFunc(c.CSV, same):
		s.Encoding = "CSV"
	case slices.ContainsFunc(c.JSON, same):
		s.Encoding = "JSON"
	}
	s.Data = string(body)
	if s.Encoding == "BASE64" {
		s.Data = base64.StdEncoding.EncodeToString(body)
	}
	return s
}

// add takes a line, if there is room for it.
func (c *captures) add(k batchKey, line []byte) {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held+int64(len(line)) > captureRoom {
		c.lost++
		return
	}
	c.held += int64(len(line))
	b := c.batches[k]
	if b == nil {
		b = &batch{key: objectKey(k, now)}
		if c.batches == nil {
			c.batches = map[batchKey]*batch{}
		}
		c.batches[k] = b
	}
	b.lines = append(b.lines, line...)
	if len(b.lines) >= captureFile {
		select {
		case c.full <- struct{}{}:
		default: // it was said
		}
	}
}

// miss counts a request whose capture is given up.
func (c *captures) miss() {
	c.mu.Lock()
	c.lost++
	c.mu.Unlock()
}

// objectKey is where a file goes: by endpoint, variant and the time of its
// first line.
func objectKey(k batchKey, at time.Time) string {
	_, prefix, _ := strings.Cut(strings.TrimPrefix(k.uri, "s3://"), "/")
	at = at.UTC()
	name := fmt.Sprintf("%s-%03d-%s.jsonl", at.Format("04-05"), at.Nanosecond()/1_000_000, uuid())
	return strings.TrimPrefix(path.Join(prefix, k.endpoint.Name, k.variant, at.Format("2006/01/02/15"), name), "/")
}

// keepCaptured writes what was captured, from time to time and when it is much.
func (r *Router) keepCaptured(ctx context.Context) {
	t := time.NewTicker(captureEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			r.keep(ctx, func(*batch) bool { return true })
		case <-r.captures.full:
			r.keep(ctx, func(b *batch) bool { return len(b.lines) >= captureFile })
		}
	}
}

// keepAll writes all that is there.
func (r *Router) keepAll(ctx context.Context) { r.keep(ctx, func(*batch) bool { return true }) }

func (r *Router) keep(ctx context.Context, which func(*batch) bool) {
	c := &r.captures
	c.mu.Lock()
	taken := map[batchKey]*batch{}
	for k, b := range c.batches {
		if which(b) {
			taken[k] = b
			delete(c.batches, k)
		}
	}
	lost := c.lost
	c.lost = 0
	c.mu.Unlock()
	if lost > 0 {
		r.log.Warn("captured data was lost: it came faster than it could be written", "requests", lost)
	}
	for k, b := range taken {
		bucket, _, _ := strings.Cut(strings.TrimPrefix(k.uri, "s3://"), "/")
		err := r.cfg.Keep(ctx, File{Account: k.endpoint.Account, Region: k.endpoint.Region, RoleArn: k.role, Bucket: bucket, Key: b.key, Body: b.lines})
		c.settle(k, b, err, r.log)
	}
}

// settle lets go of a file that was written or is refused; another error is
// ours, and it stays for the next time.
func (c *captures) settle(k batchKey, b *batch, err error, log *slog.Logger) {
	if err != nil {
		log.Warn("captured data was not written", "endpoint", k.endpoint.Name, "variant", k.variant, "to", k.uri, "err", err)
	}
	_, refused := errors.AsType[*apierr.Error](err)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil || refused {
		c.held -= int64(len(b.lines))
		return
	}
	if now := c.batches[k]; now != nil { // more came meanwhile; the file may be there half, so its name stays
		b.lines = append(b.lines, now.lines...)
	}
	c.batches[k] = b
}

func uuid() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	s := hex.EncodeToString(b[:])
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}
