package s3_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strings"
	"testing"
	"time"

	"clary/internal/aws/sigv4"
)

const (
	streamed = 64 << 20 // bytes of each object
	growth   = 8 << 20  // bytes of heap that moving it may take
	chunk    = 64 << 10 // of an aws-chunked body
)

// stream is bytes that are not in memory.
type stream struct{ left int64 }

func (s *stream) Read(b []byte) (int, error) {
	if s.left == 0 {
		return 0, io.EOF
	}
	n := min(int64(len(b)), s.left)
	for i := range b[:n] {
		at := s.left - int64(i)
		b[i] = byte(at ^ at>>8 ^ at>>16)
	}
	s.left -= n
	return int(n), nil
}

// TestConstantMemory moves objects in every way in which their bytes come in,
// are copied and go out. Client and server share the heap that it looks at, so
// it runs beside no other test.
func TestConstantMemory(t *testing.T) { //nolint:paralleltest // see above
	c := newCaller(t)
	c.ok(http.MethodPut, "/bucket/warm", nil, "up")
	sha, crc := sha256.New(), crc32.NewIEEE()
	if _, err := io.Copy(io.MultiWriter(sha, crc), &stream{streamed}); err != nil {
		t.Fatal(err)
	}
	sum := base64.StdEncoding.EncodeToString(crc.Sum(nil))
	defer debug.SetGCPercent(debug.SetGCPercent(10)) // little garbage beside what lives
	runtime.GC()
	idle := objects()
	step := func(what string, do func()) {
		t.Helper()
		peak := idle
		stop, stopped := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(stopped)
			for tick := time.NewTicker(2 * time.Millisecond); ; {
				select {
				case <-stop:
					tick.Stop()
					return
				case <-tick.C:
					peak = max(peak, objects())
				}
			}
		}()
		begin := time.Now()
		do()
		close(stop)
		<-stopped
		t.Logf("%s: %d KiB more than %d KiB, %s", what, (peak-idle)>>10, idle>>10, time.Since(begin))
		if peak-idle > growth {
			t.Errorf("%s of %d MiB takes %d MiB of memory, want at most %d", what, streamed>>20, (peak-idle)>>20, growth>>20)
		}
	}
	put := func(path, payload string, header map[string]string, size int64) string {
		t.Helper()
		var res reply
		var text string
		if strings.HasPrefix(payload, "STREAMING-") {
			res, text = c.chunked(path, payload, sum)
		} else {
			req, _ := c.signed("http://"+c.addr+path, http.MethodPut, header, payload)
			res, text = c.trip(req, &stream{size}, size)
		}
		if res.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s %s", path, res.Status, text)
		}
		return res.Header.Get("Etag")
	}
	get := func(path string) {
		t.Helper()
		req, _ := c.signed("http://"+c.addr+path, http.MethodGet, nil, sigv4.UnsignedPayload)
		res, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		crc.Reset()
		n, err := io.Copy(crc, res.Body)
		if got := base64.StdEncoding.EncodeToString(crc.Sum(nil)); err != nil || n != streamed || got != sum {
			t.Errorf("%s: %d bytes came back, %s of %s, %v", path, n, got, sum, err)
		}
		if err := res.Body.Close(); err != nil {
			t.Error(err)
		}
	}
	start := func(path string) string {
		t.Helper()
		_, text := c.ok(http.MethodPost, path+"?uploads", nil, "")
		var upload struct{ UploadId string } //nolint:revive // AWS's spelling
		if err := xml.Unmarshal([]byte(text), &upload); err != nil {
			t.Fatal(err)
		}
		return path + "?uploadId=" + upload.UploadId
	}
	complete := func(upload string, tags ...string) {
		t.Helper()
		var parts strings.Builder
		for i, tag := range tags {
			fmt.Fprintf(&parts, "<Part><PartNumber>%d</PartNumber><ETag>%s</ETag></Part>", i+1, tag)
		}
		c.ok(http.MethodPost, upload, nil, "<CompleteMultipartUpload>"+parts.String()+"</CompleteMultipartUpload>")
	}

	step("PUT", func() { put("/bucket/k", hex.EncodeToString(sha.Sum(nil)), nil, streamed) })
	step("PUT in signed chunks", func() { put("/bucket/k", sigv4.StreamingSignedTrailer, nil, streamed) })
	step("PUT in chunks", func() { put("/bucket/k", sigv4.StreamingUnsignedTrailer, nil, streamed) })
	step("GET", func() { get("/bucket/k") })
	step("UploadPartCopy", func() {
		upload := start("/bucket/copied")
		_, text := c.ok(http.MethodPut, upload+"&partNumber=1", map[string]string{"X-Amz-Copy-Source": "/bucket/k"}, "")
		var part struct{ ETag string }
		if err := xml.Unmarshal([]byte(text), &part); err != nil {
			t.Fatal(err)
		}
		complete(upload, part.ETag)
	})
	step("an upload in parts", func() {
		upload := start("/bucket/parts")
		var tags []string
		for n := range 2 {
			tags = append(tags, put(fmt.Sprintf("%s&partNumber=%d", upload, n+1), sigv4.UnsignedPayload, nil, streamed/2))
		}
		complete(upload, tags...)
	})
	step("CopyObject", func() {
		c.ok(http.MethodPut, "/bucket/k", map[string]string{"X-Amz-Copy-Source": "/bucket/copied"}, "")
	})
	step("GET of a copy", func() { get("/bucket/k") })
	step("GET of parts", func() { get("/bucket/copied") })
}

// objects is what the heap holds, garbage included.
func objects() uint64 {
	s := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

// chunked puts a stream in chunks, which are signed if payload says so, and a
// sum behind them.
func (c caller) chunked(path, payload, sum string) (reply, string) {
	c.t.Helper()
	const trailer = "x-amz-checksum-crc32"
	req, previous := c.signed("http://"+c.addr+path, http.MethodPut, map[string]string{
		"X-Amz-Trailer": trailer, "X-Amz-Decoded-Content-Length": fmt.Sprint(streamed), "Content-Encoding": "aws-chunked",
	}, payload)
	stamp := req.Header.Get("X-Amz-Date")
	mac := func(key []byte, text string) []byte {
		h := hmac.New(sha256.New, key)
		h.Write([]byte(text))
		return h.Sum(nil)
	}
	key := []byte("AWS4" + secretKey)
	for _, s := range []string{stamp[:8], "us-east-1", "s3", "aws4_request"} {
		key = mac(key, s)
	}
	signature := func(kind, hashes string) string {
		previous = hex.EncodeToString(mac(key, strings.Join([]string{
			"AWS4-HMAC-SHA256-" + kind, stamp, stamp[:8] + "/us-east-1/s3/aws4_request", previous, hashes,
		}, "\n")))
		return previous
	}
	hash := func(b []byte) string {
		h := sha256.Sum256(b)
		return hex.EncodeToString(h[:])
	}
	signs := payload == sigv4.StreamingSignedTrailer
	head := func(b []byte) string {
		if !signs {
			return fmt.Sprintf("%x\r\n", len(b))
		}
		return fmt.Sprintf("%x;chunk-signature=%s\r\n", len(b), signature("PAYLOAD", sigv4.EmptyHash+"\n"+hash(b)))
	}
	end := func() string {
		text := head(nil) + trailer + ":" + sum + "\r\n"
		if signs {
			text += "x-amz-trailer-signature:" + signature("TRAILER", hash([]byte(trailer+":"+sum+"\n"))) + "\r\n"
		}
		return text + "\r\n"
	}
	first, b := previous, make([]byte, chunk)
	size := streamed/chunk*(len(head(b))+chunk+len("\r\n")) + len(end())
	previous = first
	out, in := io.Pipe()
	go func() {
		source := &stream{streamed}
		_, err := io.ReadFull(source, b)
		for ; err == nil; _, err = io.ReadFull(source, b) {
			_, _ = io.WriteString(in, head(b)) // a pipe that is closed says so at the end
			_, _ = in.Write(b)
			_, _ = io.WriteString(in, "\r\n")
		}
		_, _ = io.WriteString(in, end())
		_ = in.Close()
	}()
	return c.trip(req, out, int64(size))
}
