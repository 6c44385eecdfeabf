package main

import (
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"clary/internal/aws/sigv4"
)

const (
	streamed      = 2 << 30
	streamedPart  = 128 << 20
	streamedChunk = 1 << 20 // as boto3 frames a body
)

// pattern is streamed bytes without memory.
type pattern struct{ left int64 }

func (p *pattern) Read(b []byte) (int, error) {
	if p.left == 0 {
		return 0, io.EOF
	}
	n := min(int64(len(b)), p.left)
	for i := range b[:n] {
		b[i] = byte(p.left>>3) + byte(i)
	}
	p.left -= n
	return int(n), nil
}

// s3MemoryRows moves 2 GiB in every way that S3 has, and looks at the server's
// memory all the while. It fails when that grows with the object.
func (b *bench) s3MemoryRows() (err error) {
	s, err := b.startClary(filepath.Join(b.dir, "s3memory"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	s.client.http.Timeout = 10 * time.Minute
	if err := s.client.bucket(b.ctx, bucketName); err != nil {
		return err
	}
	idle, err := pss(s.cmd.Process.Pid)
	if err != nil {
		return err
	}
	m := &mover{b: b, c: s.client}
	var missed []error
	for _, row := range []struct {
		name  string
		steps []step
	}{
		{"go up and come down", []step{{"up", func() error { return m.put("whole") }}, {"down", func() error { return m.get("whole") }}}},
		{"go up in chunks (aws-chunked)", []step{{"up", func() error { return m.chunked("whole") }}}},
		{"go up in parts and come down", []step{{"up", func() error { return m.parts("parts") }}, {"down", func() error { return m.get("parts") }}}},
		{"are copied", []step{
			{"UploadPartCopy", func() error { return m.copyPart("copy", "whole") }},
			{"CopyObject", func() error { return m.copy("whole", "copy") }}, // what is in parts shares no file
		}},
	} {
		if err := b.memoryRow(s.cmd.Process.Pid, idle, row.name, row.steps); errors.Is(err, errMemory) {
			missed = append(missed, err)
		} else if err != nil {
			return err
		}
	}
	return errors.Join(missed...)
}

type step struct {
	name string
	do   func() error
}

var errMemory = errors.New("the server's memory grows with the object")

// memoryRow looks at the server's memory during steps. Too much is errMemory.
func (b *bench) memoryRow(pid int, idle int64, name string, steps []step) error {
	peak := idle
	var took []string
	for _, step := range steps {
		var series []string
		begin := time.Now()
		done := make(chan error, 1)
		go func() { done <- step.do() }()
		tick := time.NewTicker(250 * time.Millisecond)
		for end := false; !end; {
			select {
			case err := <-done:
				if err != nil {
					tick.Stop()
					return fmt.Errorf("%s: %w", step.name, err)
				}
				end = true
			case <-tick.C:
			}
			kib, err := pss(pid)
			if err != nil {
				tick.Stop()
				return err
			}
			peak = max(peak, kib)
			series = append(series, fmt.Sprint(kib/1024))
		}
		tick.Stop()
		took = append(took, step.name+" "+time.Since(begin).Round(100*time.Millisecond).String())
		fmt.Printf("   PSS of the server in MiB while 2 GiB %s, %s: %s\n", name, step.name, strings.Join(series, " "))
	}
	const most = 32 << 10
	r := row{
		name:  "S3: memory while 2 GiB " + name,
		ours:  fmt.Sprintf("peak %d MiB PSS; %s", peak/1024, strings.Join(took, ", ")),
		floor: fmt.Sprintf("idle before: %d MiB", idle/1024),
		goal:  "≤ idle + 32 MiB", met: reached(peak <= idle+most),
	}
	b.add(r)
	if peak > idle+most {
		return fmt.Errorf("%s: %s, %s: %w", r.name, r.ours, r.floor, errMemory)
	}
	return nil
}

// mover moves objects of 2 GiB.
type mover struct {
	b *bench
	c *client
}

func (m *mover) path(key string) string { return "/" + bucketName + "/" + key }

func (m *mover) put(key string) error {
	_, err := m.c.stream(m.b.ctx, http.MethodPut, m.path(key), "", &pattern{left: streamed}, streamed, io.Discard)
	return err
}

func (m *mover) get(key string) error {
	n, err := m.c.object(m.b.ctx, http.MethodGet, m.path(key), "", nil)
	if err == nil && n != streamed {
		err = fmt.Errorf("%d bytes came back", n)
	}
	return err
}

// chunked sends what SDKs send over TLS: chunks and a trailing sum.
func (m *mover) chunked(key string) error {
	const trailer = "x-amz-checksum-crc32"
	chunk := make([]byte, streamedChunk)
	head := fmt.Sprintf("%x\r\n", streamedChunk)
	end := func(sum []byte) string {
		return "0\r\n" + trailer + ":" + base64.StdEncoding.EncodeToString(sum) + "\r\n\r\n"
	}
	out, in := io.Pipe()
	go func() {
		source, sum := &pattern{left: streamed}, crc32.NewIEEE()
		for source.left > 0 {
			_, _ = source.Read(chunk) // never fails, nor does a sum
			_, _ = sum.Write(chunk)
			for _, b := range [][]byte{[]byte(head), chunk, []byte("\r\n")} {
				if _, err := in.Write(b); err != nil {
					return // the request is over
				}
			}
		}
		_, _ = in.Write([]byte(end(sum.Sum(nil))))
		_ = in.Close()
	}()
	defer out.Close() //nolint:errcheck // returns nil
	size := int64(streamed/streamedChunk*(len(head)+streamedChunk+len("\r\n")) + len(end(make([]byte, crc32.Size))))
	_, _, err := m.c.exchange(m.b.ctx, http.MethodPut, m.path(key), "", map[string]string{
		"X-Amz-Content-Sha256": sigv4.StreamingUnsignedTrailer, "Content-Encoding": "aws-chunked",
		"X-Amz-Decoded-Content-Length": fmt.Sprint(streamed), "X-Amz-Trailer": trailer,
	}, out, size, io.Discard)
	return err
}

// upload makes an object of parts, which part uploads and gives the ETags of.
func (m *mover) upload(key string, n int, part func(query string) (tag string, err error)) error {
	var answer strings.Builder
	if _, err := m.c.stream(m.b.ctx, http.MethodPost, m.path(key), "uploads=", nil, 0, &answer); err != nil {
		return err
	}
	var upload struct{ UploadId string } //nolint:revive // AWS's spelling
	if err := xml.Unmarshal([]byte(answer.String()), &upload); err != nil {
		return err
	}
	var parts strings.Builder
	for i := range n {
		tag, err := part(fmt.Sprintf("partNumber=%d&uploadId=%s", i+1, upload.UploadId))
		if err != nil {
			return err
		}
		fmt.Fprintf(&parts, "<Part><PartNumber>%d</PartNumber><ETag>%s</ETag></Part>", i+1, tag)
	}
	_, err := m.c.object(m.b.ctx, http.MethodPost, m.path(key), "uploadId="+upload.UploadId,
		[]byte("<CompleteMultipartUpload>"+parts.String()+"</CompleteMultipartUpload>"))
	return err
}

func (m *mover) parts(key string) error {
	return m.upload(key, streamed/streamedPart, func(query string) (string, error) {
		h, _, err := m.c.exchange(m.b.ctx, http.MethodPut, m.path(key), query, nil, &pattern{left: streamedPart}, streamedPart, io.Discard)
		return h.Get("Etag"), err
	})
}

func (m *mover) copyPart(key, from string) error {
	return m.upload(key, 1, func(query string) (string, error) {
		var answer strings.Builder
		_, _, err := m.c.exchange(m.b.ctx, http.MethodPut, m.path(key), query, map[string]string{"X-Amz-Copy-Source": m.path(from)}, nil, 0, &answer)
		if err != nil {
			return "", err
		}
		var part struct{ ETag string }
		err = xml.Unmarshal([]byte(answer.String()), &part)
		return part.ETag, err
	})
}

func (m *mover) copy(key, from string) error {
	_, _, err := m.c.exchange(m.b.ctx, http.MethodPut, m.path(key), "", map[string]string{"X-Amz-Copy-Source": m.path(from)}, nil, 0, io.Discard)
	return err
}
