package folder

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"maps"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"clary/internal/aws/checksum"
	"clary/internal/blob" //nolint:gosec // S3 defines ETags by it
)

// flushEvery is how many bytes are handed to the disk at a time, so that the
// fsync of a large file finds little left to do.
const flushEvery = 8 << 20

// written is a durable file that has no row yet, or the bytes of a small
// object, which become durable with their row. It is neither without bytes.
type written struct {
	file  string
	small []byte
	sums  blob.Sums
}

func (w written) etag() string { return hex.EncodeToString(w.sums.MD5[:]) }

// write makes p.Body a durable content file, unless it has no more than small
// bytes. The caller settles or discards it.
func (c *content) write(ctx context.Context, p blob.Put, small int) (written, error) {
	d := &draft{content: c, ctx: ctx, size: p.Size, most: small}
	h, err := newHasher(p.Want)
	if err != nil {
		return written{}, err
	}
	d.hash = h
	err = d.copy(p.Body)
	sums := h.close()
	if err == nil && p.Verify != nil {
		err = p.Verify(sums)
	}
	if err != nil {
		d.abandon()
		return written{}, err
	}
	if err := d.finish(); err != nil {
		d.abandon()
		return written{}, fmt.Errorf("content file: %w", err)
	}
	return written{file: d.id, small: d.small, sums: sums}, nil
}

// draft is a file that is being written.
type draft struct {
	content *content
	ctx     context.Context //nolint:containedctx // lives as long as one call
	hash    *hasher
	size    int64 // announced; -1 unknown
	most    int   // bytes of what needs no file

	small   []byte
	id      string
	shard   *shard
	file    *os.File // nil until the first byte
	got     int64
	flushed int64
}

func (d *draft) copy(body io.Reader) error {
	if body == nil {
		body = eof{}
	}
	a := d.content.buffers.Get().(*[bufferSize]byte)
	b := d.content.buffers.Get().(*[bufferSize]byte)
	defer d.content.buffers.Put(a)
	defer d.content.buffers.Put(b)
	// The hasher still reads a while b is being filled.
	defer d.hash.wait()
	for {
		if err := d.ctx.Err(); err != nil {
			return err
		}
		n, err := fill(body, a[:])
		if n > 0 {
			if d.size >= 0 && d.got+int64(n) > d.size {
				return blob.ErrLong
			}
			d.hash.write(a[:n], n == len(a))
			if d.got == 0 && n <= d.most && errors.Is(err, io.EOF) {
				d.small = bytes.Clone(a[:n])
				d.got = int64(n)
			} else if err := d.put(a[:n]); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			if d.size >= 0 && d.got < d.size {
				return blob.ErrShort
			}
			return nil
		case errors.Is(err, io.ErrUnexpectedEOF):
			return fmt.Errorf("%w: %w", blob.ErrShort, err)
		case err != nil:
			return err
		}
		a, b = b, a
	}
}

// fill reads until b is full or the reader gives an error.
func fill(r io.Reader, b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		var m int
		m, err = r.Read(b[n:])
		n += m
	}
	if n == len(b) {
		err = nil
	}
	return n, err
}

type eof struct{}

func (eof) Read([]byte) (int, error) { return 0, io.EOF }

func (d *draft) put(b []byte) error {
	if d.file == nil {
		if err := d.create(); err != nil {
			return err
		}
	}
	n, err := d.file.Write(b)
	d.got += int64(n)
	if err != nil {
		return wrap(err)
	}
	if d.got-d.flushed >= flushEvery {
		// Only a head start: the fsync at the end is what counts.
		headStart(d.file, d.flushed, d.got-d.flushed)
		d.flushed = d.got
	}
	return nil
}

func (d *draft) create() error {
	s, id, err := d.content.enter()
	if err != nil {
		return wrap(err)
	}
	d.shard, d.id = s, id
	f, err := os.OpenFile(d.tmp(), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return wrap(err)
	}
	d.file = f
	if d.size > bufferSize {
		// Asks for the space before the bytes come; not every file system can.
		err := reserve(f, d.size)
		if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
			return wrap(err)
		}
	}
	return nil
}

func (d *draft) tmp() string { return filepath.Join(d.content.root, tmpDir, d.id) }

// finish gives the file its name first and syncs it then, which costs the
// file system one journal commit and not two: a name proves nothing here,
// only a row does.
func (d *draft) finish() error {
	if d.file == nil {
		return nil
	}
	final, _ := d.content.path(d.id)
	if err := os.Rename(d.tmp(), final); err != nil {
		return wrap(err)
	}
	err := d.file.Sync()
	if e := d.file.Close(); err == nil {
		err = e
	}
	d.file = nil
	if err == nil {
		err = d.shard.sync.run()
	}
	if err != nil {
		return wrap(err)
	}
	d.shard.retire()
	d.shard = nil
	return nil
}

func (d *draft) abandon() {
	if d.file != nil {
		_ = d.file.Close() // its bytes are not wanted
	}
	if d.shard == nil {
		return
	}
	_ = os.Remove(d.tmp()) // gone when finish renamed it; else the sweep takes it
	d.shard.retire()
	d.content.discard(d.id)
}

// hasher computes the MD5 of a body beside the other checksums. Bodies of
// more than one buffer have their MD5 computed by a goroutine of its own.
type hasher struct {
	md5  hash.Hash
	more map[string]hash.Hash
	size int64
	work chan []byte
	done chan struct{}
	out  int // buffers with the goroutine
}

func newHasher(want []string) (*hasher, error) {
	h := &hasher{md5: md5.New(), more: map[string]hash.Hash{}}
	for _, w := range want {
		n := checksum.New(w)
		if n == nil {
			return nil, fmt.Errorf("checksum %q is not known", w)
		}
		h.more[w] = n
	}
	return h, nil
}

// write takes b, which stays untouched until the next call after the next.
func (h *hasher) write(b []byte, more bool) {
	h.size += int64(len(b))
	if more && h.work == nil {
		h.work, h.done = make(chan []byte), make(chan struct{}, 1)
		go func(work <-chan []byte, done chan<- struct{}) {
			for b := range work {
				h.md5.Write(b)
				done <- struct{}{}
			}
			close(done)
		}(h.work, h.done)
	}
	if h.work != nil {
		h.wait()
		h.work <- b
		h.out = 1
	} else {
		h.md5.Write(b)
	}
	for _, m := range h.more {
		m.Write(b)
	}
}

func (h *hasher) wait() {
	if h.out > 0 {
		<-h.done
		h.out = 0
	}
}

func (h *hasher) close() blob.Sums {
	h.wait()
	if h.work != nil {
		close(h.work)
		<-h.done
		h.work = nil
	}
	s := blob.Sums{Size: h.size, Checksums: map[string]string{}}
	h.md5.Sum(s.MD5[:0])
	for name, m := range h.more {
		s.Checksums[name] = base64.StdEncoding.EncodeToString(m.Sum(nil))
	}
	return s
}

// summed gives m the checksums of one whole body.
func summed(m blob.Meta, s blob.Sums) blob.Meta {
	if len(s.Checksums) > 0 {
		m.Checksums, m.ChecksumType = maps.Clone(s.Checksums), checksum.FullObject
	}
	return m
}
