package segment

import (
	"encoding/binary"
	"errors"
	"hash/crc32"

	"clary/internal/logs"
)

// A frame is: length of the payload, checksum of length and payload, payload.
const (
	frameHead = 8
	maxFrame  = 256 << 20
)

var (
	errTorn    = errors.New("torn record")    // reaches beyond the end, or was never filled
	errDamaged = errors.New("damaged record") // whole, but not what was written
)

// crcTable is read-only.
var crcTable = crc32.MakeTable(crc32.Castagnoli)

func checksum(salt uint64, length [4]byte, payload []byte) uint32 {
	var seed [8]byte
	binary.LittleEndian.PutUint64(seed[:], salt)
	c := crc32.Update(0, crcTable, seed[:])
	c = crc32.Update(c, crcTable, length[:])
	return crc32.Update(c, crcTable, payload)
}

// begin reserves a frame's head in b, and end fills it in.
func begin(b []byte) []byte { return append(b, 0, 0, 0, 0, 0, 0, 0, 0) }

func end(b []byte, at int, salt uint64) []byte {
	var length [4]byte
	binary.LittleEndian.PutUint32(length[:], uint32(len(b)-at-frameHead))
	copy(b[at:], length[:])
	binary.LittleEndian.PutUint32(b[at+4:], checksum(salt, length, b[at+frameHead:]))
	return b
}

// next takes the first frame off b and gives its payload and whole length.
func next(b []byte, salt uint64) (payload []byte, n int, err error) {
	if len(b) < frameHead {
		return nil, 0, errTorn
	}
	var length [4]byte
	copy(length[:], b)
	size := int(binary.LittleEndian.Uint32(length[:]))
	if size == 0 || size > maxFrame || len(b)-frameHead < size {
		return nil, 0, errTorn
	}
	payload = b[frameHead : frameHead+size]
	if checksum(salt, length, payload) != binary.LittleEndian.Uint32(b[4:]) {
		return nil, 0, errDamaged
	}
	return payload, frameHead + size, nil
}

// Kinds of payloads.
const (
	kindHead   byte = 1 // of a segment
	kindBatch  byte = 2
	kindIngest byte = 3
	kindIndex  byte = 4 // of a packed segment
)

// fields reads a payload; the first fault sticks.
type fields struct {
	b   []byte
	bad bool
}

func (f *fields) fail() { f.b, f.bad = nil, true }

func (f *fields) byte() byte {
	if len(f.b) == 0 {
		f.fail()
		return 0
	}
	v := f.b[0]
	f.b = f.b[1:]
	return v
}

func (f *fields) uint() uint64 {
	v, n := binary.Uvarint(f.b)
	if n <= 0 {
		f.fail()
		return 0
	}
	f.b = f.b[n:]
	return v
}

func (f *fields) int() int64 {
	v, n := binary.Varint(f.b)
	if n <= 0 {
		f.fail()
		return 0
	}
	f.b = f.b[n:]
	return v
}

func (f *fields) bytes() []byte {
	n := f.uint()
	if f.bad || n > uint64(len(f.b)) {
		f.fail()
		return nil
	}
	v := f.b[:n]
	f.b = f.b[n:]
	return v
}

func (f *fields) string() string { return string(f.bytes()) }

func putString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// batch is a record of events, without them.
type batch struct {
	seq       int64 // of the first event
	count     int64
	ingestion int64
	min, max  int64 // timestamps
	bytes     int64 // as CloudWatch counts
	task      string
	next      int64 // offset of the task's output; -1: not ingested
}

// appendBatch frames events. b.min, b.max and b.bytes are set on the way.
func appendBatch(dst []byte, salt uint64, b *batch, events []logs.Event) []byte {
	at := len(dst)
	dst = begin(dst)
	kind := kindBatch
	if b.next >= 0 {
		kind = kindIngest
	}
	dst = append(dst, kind)
	dst = binary.AppendUvarint(dst, uint64(b.seq))
	dst = binary.AppendUvarint(dst, uint64(len(events)))
	dst = binary.AppendVarint(dst, b.ingestion)
	b.count, b.bytes, b.min, b.max = int64(len(events)), 0, 0, 0
	for i, e := range events {
		if i == 0 {
			b.min, b.max = e.Timestamp, e.Timestamp
		}
		b.min, b.max = min(b.min, e.Timestamp), max(b.max, e.Timestamp)
		b.bytes += int64(e.Size())
	}
	dst = binary.AppendVarint(dst, b.min)
	dst = binary.AppendUvarint(dst, uint64(b.max-b.min))
	dst = binary.AppendUvarint(dst, uint64(b.bytes))
	if kind == kindIngest {
		dst = putString(dst, b.task)
		dst = binary.AppendUvarint(dst, uint64(b.next))
	}
	last := b.min
	for _, e := range events {
		dst = binary.AppendVarint(dst, e.Timestamp-last)
		dst = putString(dst, e.Message)
		last = e.Timestamp
	}
	return end(dst, at, salt)
}

// readBatch reads a payload up to its events, which rest holds.
func readBatch(payload []byte) (b batch, rest []byte, ok bool) {
	f := fields{b: payload}
	kind := f.byte()
	if kind != kindBatch && kind != kindIngest {
		return b, nil, false
	}
	b.seq, b.count, b.ingestion = int64(f.uint()), int64(f.uint()), f.int()
	b.min = f.int()
	b.max = b.min + int64(f.uint())
	b.bytes = int64(f.uint())
	b.next = -1
	if kind == kindIngest {
		b.task, b.next = f.string(), int64(f.uint())
	}
	// An event takes two bytes at least.
	if f.bad || b.seq < 0 || b.count < 0 || b.count > int64(len(f.b)) || b.next < -1 {
		return b, nil, false
	}
	return b, f.b, true
}

// each calls fn with every event of a batch until it returns false; text is the
// same bytes as rest, so that the messages of a block share one string.
func (b batch) each(rest []byte, text string, fn func(logs.Event) bool) {
	last, at := b.min, 0
	for i := range b.count {
		d, n := binary.Varint(rest[at:])
		if n <= 0 {
			return
		}
		at += n
		size, n := binary.Uvarint(rest[at:])
		if n <= 0 || size > uint64(len(rest)-at-n) {
			return
		}
		at += n
		last += d
		if !fn(logs.Event{Timestamp: last, Ingestion: b.ingestion, Message: text[at : at+int(size)], Seq: b.seq + i}) {
			return
		}
		at += int(size)
	}
}

// summary is what a listing shows of a stream.
type summary struct {
	first, last, ingested int64
	bytes                 int64
}

func (s *summary) add(b batch) {
	if b.count == 0 {
		return
	}
	if s.bytes == 0 || b.min < s.first {
		s.first = b.min
	}
	s.last = max(s.last, b.max)
	s.ingested = max(s.ingested, b.ingestion)
	s.bytes += b.bytes
}

func (s summary) append(b []byte) []byte {
	for _, v := range []int64{s.first, s.last, s.ingested, s.bytes} {
		b = binary.AppendVarint(b, v)
	}
	return b
}

func (f *fields) summary() summary {
	return summary{f.int(), f.int(), f.int(), f.int()}
}

// offset is how much of a task's output is in.
type offset struct {
	task string
	next int64
}

// head begins a segment.
type head struct {
	account, region, group, name string
	created                      int64
	seq                          int64 // of its first event
	summary                      summary
	offsets                      []offset
}

func (h head) append(dst []byte, salt uint64) []byte {
	at := len(dst)
	dst = append(begin(dst), kindHead)
	for _, s := range []string{h.account, h.region, h.group, h.name} {
		dst = putString(dst, s)
	}
	dst = binary.AppendVarint(dst, h.created)
	dst = binary.AppendUvarint(dst, uint64(h.seq))
	dst = h.summary.append(dst)
	dst = binary.AppendUvarint(dst, uint64(len(h.offsets)))
	for _, o := range h.offsets {
		dst = putString(dst, o.task)
		dst = binary.AppendUvarint(dst, uint64(o.next))
	}
	return end(dst, at, salt)
}

func readHead(payload []byte) (h head, ok bool) {
	f := fields{b: payload}
	if f.byte() != kindHead {
		return h, false
	}
	h.account, h.region, h.group, h.name = f.string(), f.string(), f.string(), f.string()
	h.created, h.seq = f.int(), int64(f.uint())
	h.summary = f.summary()
	for n := f.uint(); n > 0 && !f.bad; n-- {
		h.offsets = append(h.offsets, offset{f.string(), int64(f.uint())})
	}
	return h, !f.bad && h.seq >= 0
}

// block is a run of records that one read takes.
type block struct {
	at       int64 // offset in the file
	size     int64 // in the file
	seq      int64 // of its first event
	min, max int64 // timestamps
}

// blockSize is where a block ends. Small blocks make short reads near the tail,
// large ones a short index.
const blockSize = 32 << 10

// addBlock takes a record of size bytes into the index.
func addBlock(index []block, at, size int64, b batch) []block {
	if n := len(index) - 1; n >= 0 && index[n].size < blockSize {
		l := &index[n]
		l.size += size
		l.min, l.max = min(l.min, b.min), max(l.max, b.max)
		return index
	}
	return append(index, block{at: at, size: size, seq: b.seq, min: b.min, max: b.max})
}
