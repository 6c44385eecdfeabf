package client

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"
)

const (
	partSize    = 8 << 20
	maxParts    = 10_000
	growEvery   = 1000 // parts double in size after so many, so 10,000 carry terabytes
	maxPartSize = 1 << 30
	partsAtOnce = 2 // client and server each have work to do for one
)

// Upload stores a stream of any length: one PUT when it is small, else a
// multipart upload, two parts in memory at a time. On an error nothing is left
// behind. It returns the object's ETag without quotes.
func (c *Client) Upload(ctx context.Context, bucket, key string, body io.Reader) (string, error) {
	body = whole{body}
	buf, n, err := firstPart(body)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		sum := md5.Sum(buf[:n])
		return hex.EncodeToString(sum[:]), c.Put(ctx, bucket, key, buf[:n])
	}
	if err != nil {
		return "", err
	}
	id, err := c.createUpload(ctx, bucket, key)
	if err != nil {
		return "", err
	}
	etag, err := c.sendParts(ctx, bucket, key, id, buf, body)
	if err != nil {
		// the upload's end must not hang on the cause of its failure
		actx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		return "", errors.Join(err, c.abortUpload(actx, bucket, key, id))
	}
	return etag, nil
}

// whole lets no error of a body pass for its end: io.ReadFull says
// io.ErrUnexpectedEOF when a body is shorter than a part, as bodies do that were
// cut.
type whole struct{ from io.Reader }

func (w whole) Read(p []byte) (int, error) {
	n, err := w.from.Read(p)
	if err != nil && err != io.EOF { //nolint:errorlint // a wrapped one is no end either
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = fmt.Errorf("what is uploaded broke off: %v", err) //nolint:errorlint // not to be taken for its end
		}
	}
	return n, err
}

// firstPart reads a part of which a small object takes no more memory than it
// needs. As io.ReadFull, it fails when the body is shorter.
func firstPart(body io.Reader) (buf []byte, n int, err error) {
	for size := partSize >> 7; ; size *= 4 {
		buf = append(make([]byte, 0, min(size, partSize)), buf...)
		buf = buf[:cap(buf)]
		var m int
		m, err = io.ReadFull(body, buf[n:])
		n += m
		if err != nil || len(buf) == partSize {
			return buf, n, err
		}
	}
}

type completedPart struct {
	PartNumber int
	ETag       string
}

// sendParts sends a body whose first part lies in buf, and gives the object's
// ETag.
func (c *Client) sendParts(ctx context.Context, bucket, key, id string, buf []byte, body io.Reader) (string, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex // guards parts
		parts []completedPart
	)
	size, n := len(buf), len(buf)
	free := make(chan []byte, partsAtOnce)
	for range partsAtOnce - 1 {
		free <- nil // made when it is needed
	}
	for number := 1; n > 0 && ctx.Err() == nil; number++ {
		if number > maxParts {
			cancel(fmt.Errorf("s3://%s/%s: too large for one object", bucket, key))
			break
		}
		full, n1 := buf, n
		wg.Go(func() {
			tag, err := c.putPart(ctx, bucket, key, id, number, full[:n1])
			if err != nil {
				cancel(err)
			}
			mu.Lock()
			parts = append(parts, completedPart{number, tag})
			mu.Unlock()
			free <- full
		})
		if number%growEvery == 0 && size < maxPartSize {
			size *= 2
		}
		if buf = <-free; ctx.Err() != nil {
			break // a part that was refused may still be read from it, to be sent
		}
		if len(buf) < size {
			buf = make([]byte, size)
		}
		var err error
		n, err = io.ReadFull(body, buf)
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			cancel(err)
		}
	}
	wg.Wait()
	if err := context.Cause(ctx); err != nil {
		return "", err
	}
	slices.SortFunc(parts, func(a, b completedPart) int { return a.PartNumber - b.PartNumber })
	sums := md5.New() // S3's ETag is the sum of the parts' sums
	for _, p := range parts {
		sum, err := hex.DecodeString(unquote(p.ETag))
		if err != nil {
			return "", fmt.Errorf("s3 UploadPart of s3://%s/%s: ETag %s: %w", bucket, key, p.ETag, err)
		}
		sums.Write(sum)
	}
	want := hex.EncodeToString(sums.Sum(nil)) + "-" + strconv.Itoa(len(parts))
	return want, c.completeUpload(ctx, bucket, key, id, want, parts)
}

func (c *Client) createUpload(ctx context.Context, bucket, key string) (string, error) {
	resp, err := c.send(ctx, call{
		service: "s3", operation: "CreateMultipartUpload", method: http.MethodPost,
		path: objectPath(bucket, key), query: url.Values{"uploads": {""}},
	})
	if err != nil {
		return "", err
	}
	defer resp.Body.Close() //nolint:errcheck // decoded below
	var out struct{ UploadId string }
	if err := xml.NewDecoder(resp.Body).Decode(&out); err != nil || out.UploadId == "" {
		return "", errors.Join(fmt.Errorf("s3 CreateMultipartUpload of s3://%s/%s: no upload id", bucket, key), err)
	}
	return out.UploadId, nil
}

func (c *Client) putPart(ctx context.Context, bucket, key, id string, number int, data []byte) (string, error) {
	resp, err := c.send(ctx, call{
		service: "s3", operation: "UploadPart", method: http.MethodPut, path: objectPath(bucket, key), body: data,
		query: url.Values{"uploadId": {id}, "partNumber": {strconv.Itoa(number)}},
	})
	if err != nil {
		return "", err
	}
	return resp.Header.Get("ETag"), drain(resp)
}

func (c *Client) completeUpload(ctx context.Context, bucket, key, id, want string, parts []completedPart) error {
	var body bytes.Buffer
	doc := struct {
		XMLName xml.Name        `xml:"CompleteMultipartUpload"`
		Part    []completedPart `xml:"Part"`
	}{Part: parts}
	if err := xml.NewEncoder(&body).Encode(doc); err != nil {
		return err
	}
	resp, err := c.send(ctx, call{
		service: "s3", operation: "CompleteMultipartUpload", method: http.MethodPost, path: objectPath(bucket, key),
		query: url.Values{"uploadId": {id}}, body: body.Bytes(), header: http.Header{"Content-Type": {"application/xml"}},
	})
	if Code(err) == "NoSuchUpload" {
		// a first try may have succeeded and its answer been lost
		if o, herr := c.Head(ctx, bucket, key); herr == nil && o.ETag == want {
			return nil
		}
	}
	if err != nil {
		return err
	}
	// S3 may answer 200 and then an Error document
	defer resp.Body.Close() //nolint:errcheck // read below
	data, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return fmt.Errorf("s3 CompleteMultipartUpload of s3://%s/%s: %w", bucket, key, err)
	}
	var out struct {
		XMLName xml.Name
		Code    string
		Message string
	}
	if xml.Unmarshal(data, &out) == nil && out.XMLName.Local == "Error" {
		return &Error{Service: "s3", Operation: "CompleteMultipartUpload", Status: resp.StatusCode, Code: out.Code, Message: out.Message}
	}
	return nil
}

func (c *Client) abortUpload(ctx context.Context, bucket, key, id string) error {
	resp, err := c.send(ctx, call{
		service: "s3", operation: "AbortMultipartUpload", method: http.MethodDelete,
		path: objectPath(bucket, key), query: url.Values{"uploadId": {id}},
	})
	if err != nil {
		if IsNotFound(err) {
			return nil
		}
		return err
	}
	return drain(resp)
}
