package segment

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// packedBlock is how many bytes of records are compressed together.
const packedBlock = 128 << 10

// A packed segment is: head, blocks of records compressed each by itself, index,
// and the index's place in eight bytes.
const packedTrailer = 8

// packer rewrites full segments, one at a time, in the background.
type packer struct {
	s    *Store
	wake chan struct{}
	stop chan struct{}
	done chan struct{}

	mu    sync.Mutex // guards queue
	queue map[*stream]struct{}
}

func newPacker(s *Store) *packer {
	p := &packer{
		s: s, wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}),
		queue: make(map[*stream]struct{}),
	}
	go p.run()
	return p
}

func (p *packer) kick(st *stream) {
	p.mu.Lock()
	p.queue[st] = struct{}{}
	p.mu.Unlock()
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

func (p *packer) take() *stream {
	p.mu.Lock()
	defer p.mu.Unlock()
	for st := range p.queue {
		delete(p.queue, st)
		return st
	}
	return nil
}

func (p *packer) run() {
	defer close(p.done)
	for {
		select {
		case <-p.stop:
			return
		case <-p.wake:
		}
		var enc *zstd.Encoder // held only while there is work: it is large
		for st := p.take(); st != nil; st = p.take() {
			select {
			case <-p.stop:
				return
			default:
			}
			if enc == nil {
				var err error
				enc, err = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true), zstd.WithEncoderLevel(zstd.SpeedFastest))
				if err != nil {
					p.s.cfg.Log.Error("log segments are not compressed", "err", err)
					break
				}
			}
			if err := p.packStream(st, enc); err != nil && !errors.Is(err, os.ErrNotExist) {
				p.s.cfg.Log.Warn("log segment is not compressed", "stream", st.name, "err", err)
			}
		}
	}
}

// packStream packs the full segments of a stream.
func (p *packer) packStream(st *stream, enc *zstd.Encoder) error {
	for {
		st.mu.Lock()
		var todo *part
		if st.tail != nil && !st.gone && st.tail.size > 0 {
			for _, o := range st.tail.old {
				if !o.packed && !o.damaged {
					todo = &o
					break
				}
			}
		}
		st.mu.Unlock()
		if todo == nil {
			return nil
		}
		if err := p.pack(st, *todo, enc); err != nil {
			return err
		}
	}
}

func (p *packer) pack(st *stream, o part, enc *zstd.Encoder) error {
	s := p.s
	k := fileKey{st.id, o.n, true}
	// What follows must be on disk before this one is replaced: the state of
	// the stream is in the head of the last raw segment.
	after, _, err := s.files.get(st.key(o.n+1), false)
	if err != nil {
		return err
	}
	err = after.Sync()
	s.files.put(after)
	if err != nil {
		return err
	}
	raw, _, err := s.files.get(st.key(o.n), false)
	if err != nil {
		return err
	}
	defer s.files.put(raw)
	tmp := s.files.path(k) + ".tmp"
	err = writePacked(tmp, raw, st.id, o, enc)
	if err == nil {
		err = os.Rename(tmp, s.files.path(k))
	}
	if err == nil {
		err = syncDir(filepath.Dir(tmp))
	}
	if err != nil {
		_ = os.Remove(tmp)
		return err
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.gone {
		return s.files.remove(k)
	}
	if st.tail != nil {
		for i := range st.tail.old {
			if t := &st.tail.old[i]; t.n == o.n {
				t.packed, t.index, t.size = true, nil, 0
			}
		}
	}
	return s.files.remove(st.key(o.n))
}

func writePacked(path string, raw *file, salt uint64, o part, enc *zstd.Encoder) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	var at int64
	put := func(b []byte) error {
		n, err := f.Write(b)
		at += int64(n)
		return err
	}
	top := make([]byte, o.index[0].at)
	if _, err := raw.ReadAt(top, 0); err != nil {
		return err
	}
	if err := put(top); err != nil {
		return err
	}
	var index []block
	var buf, out []byte
	for i := 0; i < len(o.index); {
		b := o.index[i]
		for i++; i < len(o.index) && b.size+o.index[i].size <= packedBlock; i++ {
			b.size += o.index[i].size
			b.min, b.max = min(b.min, o.index[i].min), max(b.max, o.index[i].max)
		}
		if int64(cap(buf)) < b.size {
			buf = make([]byte, b.size)
		}
		buf = buf[:b.size]
		if _, err := raw.ReadAt(buf, b.at); err != nil {
			return err
		}
		out = enc.EncodeAll(buf, out[:0])
		b.at, b.size = at, int64(len(out))
		if err := put(out); err != nil {
			return err
		}
		index = append(index, b)
	}
	foot := appendIndex(nil, salt, o, index)
	foot = binary.LittleEndian.AppendUint64(foot, uint64(at))
	if err := put(foot); err != nil {
		return err
	}
	return f.Sync()
}

func appendIndex(dst []byte, salt uint64, o part, index []block) []byte {
	at := len(dst)
	dst = append(begin(dst), kindIndex)
	dst = binary.AppendUvarint(dst, uint64(o.first))
	dst = binary.AppendVarint(dst, o.min)
	dst = binary.AppendVarint(dst, o.max)
	dst = binary.AppendUvarint(dst, uint64(len(index)))
	for _, b := range index {
		dst = binary.AppendUvarint(dst, uint64(b.at))
		dst = binary.AppendUvarint(dst, uint64(b.size))
		dst = binary.AppendUvarint(dst, uint64(b.seq))
		dst = binary.AppendVarint(dst, b.min)
		dst = binary.AppendUvarint(dst, uint64(b.max-b.min))
	}
	return end(dst, at, salt)
}

// readIndex reads the end of a packed segment.
func readIndex(f *file, salt uint64) (part, []block, error) {
	fi, err := f.Stat()
	if err != nil {
		return part{}, nil, err
	}
	var place [packedTrailer]byte
	if fi.Size() < packedTrailer {
		return part{}, nil, errDamaged
	}
	if _, err := f.ReadAt(place[:], fi.Size()-packedTrailer); err != nil {
		return part{}, nil, err
	}
	at := binary.LittleEndian.Uint64(place[:])
	if at >= uint64(fi.Size()-packedTrailer) {
		return part{}, nil, errDamaged
	}
	buf := make([]byte, fi.Size()-packedTrailer-int64(at))
	if _, err := f.ReadAt(buf, int64(at)); err != nil {
		return part{}, nil, err
	}
	payload, _, err := next(buf, salt)
	if err != nil {
		return part{}, nil, fmt.Errorf("index: %w", err)
	}
	r := fields{b: payload}
	if r.byte() != kindIndex {
		return part{}, nil, errDamaged
	}
	p := part{first: int64(r.uint()), min: r.int(), max: r.int(), packed: true}
	n := r.uint()
	var index []block
	for ; n > 0 && !r.bad; n-- {
		b := block{at: int64(r.uint()), size: int64(r.uint()), seq: int64(r.uint()), min: r.int()}
		b.max = b.min + int64(r.uint())
		if b.at < 0 || b.size < 0 || b.at > int64(at) || b.size > int64(at)-b.at {
			return part{}, nil, errDamaged
		}
		index = append(index, b)
	}
	if r.bad {
		return part{}, nil, errDamaged
	}
	return p, index, nil
}

func readPart(f *file, salt uint64, n uint32) (part, error) {
	p, _, err := readIndex(f, salt)
	p.n = n
	return p, err
}

func (p *packer) close() {
	close(p.stop)
	<-p.done
}
