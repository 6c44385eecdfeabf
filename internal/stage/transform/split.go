package transform

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// A splitter finds the records of an object.
type splitter interface {
	// next gives a record as it stands in the object, and what it holds without
	// what stands around it there. Both are good until the next call. After the
	// last one it says io.EOF.
	next() (raw, data []byte, err error)
}

// How objects are split.
const (
	SplitNone     = "None"
	SplitLine     = "Line"
	SplitRecordIO = "RecordIO"
	SplitTFRecord = "TFRecord"
)

// errTooMuch is a record that does not fit in a payload.
var errTooMuch = errors.New("too much data for max payload size")

// malformedError is an object that is not what SplitType says it is.
type malformedError struct{ text string }

func (e *malformedError) Error() string { return e.text }

func malformed(format string, args ...any) error {
	return &malformedError{fmt.Sprintf(format, args...)}
}

// newSplitter reads records of at most most bytes.
func newSplitter(kind string, r io.Reader, most int) (splitter, error) {
	in := bufio.NewReaderSize(r, 64<<10)
	switch kind {
	case "", SplitNone:
		return &whole{in: in, most: most}, nil
	case SplitLine:
		return &lines{in: in, most: most}, nil
	case SplitRecordIO:
		return &recordIO{in: in, most: most}, nil
	case SplitTFRecord:
		return &tfRecord{in: in, most: most}, nil
	}
	return nil, malformed("SplitType %q is not known", kind)
}

// whole takes an object as one record.
type whole struct {
	in   *bufio.Reader
	most int
	buf  []byte
	done bool
}

func (s *whole) next() (raw, data []byte, err error) {
	if s.done {
		return nil, nil, io.EOF
	}
	s.done = true
	s.buf, err = readUpTo(s.in, s.buf[:0], s.most+1)
	switch {
	case err != nil:
		return nil, nil, err
	case len(s.buf) > s.most:
		return nil, nil, errTooMuch
	case len(s.buf) == 0:
		return nil, nil, io.EOF // an empty object has no record
	}
	return s.buf, s.buf, nil
}

// readUpTo adds up to n bytes of in to buf, and fewer only where in ends. It
// takes no more room than came.
func readUpTo(in io.Reader, buf []byte, n int) ([]byte, error) {
	for end := len(buf) + n; len(buf) < end; {
		if len(buf) == cap(buf) {
			grown := make([]byte, len(buf), min(max(2*cap(buf), 4<<10), max(end, 4<<10)))
			copy(grown, buf)
			buf = grown
		}
		m, err := in.Read(buf[len(buf):min(cap(buf), end)])
		buf = buf[:len(buf)+m]
		if errors.Is(err, io.EOF) {
			return buf, nil
		}
		if err != nil {
			return buf, err
		}
	}
	return buf, nil
}

// lines are records that end with a newline, which the last one need not have.
type lines struct {
	in   *bufio.Reader
	most int
	buf  []byte
}

func (s *lines) next() (raw, data []byte, err error) {
	raw, err = s.in.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		s.buf = append(s.buf[:0], raw...)
		for errors.Is(err, bufio.ErrBufferFull) && len(s.buf) <= s.most {
			raw, err = s.in.ReadSlice('\n')
			s.buf = append(s.buf, raw...)
		}
		raw = s.buf
	}
	switch {
	case len(raw) > s.most:
		return nil, nil, errTooMuch
	case err != nil && !errors.Is(err, io.EOF):
		return nil, nil, err
	case len(raw) == 0:
		return nil, nil, io.EOF
	}
	return raw, chomp(raw), nil
}

// block adds as many whole lines as there is room for up to most bytes in all.
// After the last one it says io.EOF. It is not mixed with next.
func (s *lines) block(block []byte) ([]byte, error) {
	block = append(block, s.buf...)
	s.buf = s.buf[:0]
	block, err := readUpTo(s.in, block, s.most-len(block))
	switch {
	case err != nil:
		return nil, err
	case len(block) == 0:
		return nil, io.EOF
	case len(block) < s.most:
		return block, nil
	}
	end := bytes.LastIndexByte(block, '\n') + 1
	if end == len(block) {
		return block, nil
	}
	_, err = s.in.Peek(1)
	switch {
	case errors.Is(err, io.EOF):
		return block, nil
	case err != nil:
		return nil, err
	case end == 0:
		return nil, errTooMuch
	}
	s.buf = append(s.buf, block[end:]...)
	return block[:end], nil
}

// chomp is a line without its end.
func chomp(line []byte) []byte {
	if n := len(line); n > 0 && line[n-1] == '\n' {
		line = line[:n-1]
		if n > 1 && line[n-2] == '\r' {
			line = line[:n-2]
		}
	}
	return line
}

// recordIO are the records of MXNet's RecordIO: a magic number, a word of which
// the upper three bits say which part of a record follows and the others how
// long it is, the part, and zeros up to a multiple of four bytes. A record whose
// data holds the magic number at such a multiple is cut there, and the number
// left out.
type recordIO struct {
	in        *bufio.Reader
	most      int
	raw, data []byte
	at        int64 // in the object
}

const recordMagic = 0xced7230a

// Which part of a record it is.
const (
	partWhole = iota
	partFirst
	partMiddle
	partLast
)

func (s *recordIO) next() (raw, data []byte, err error) {
	s.raw, s.data = s.raw[:0], s.data[:0]
	for first := true; ; first = false {
		begin, at := len(s.raw), s.at+int64(len(s.raw))
		if s.raw, err = readUpTo(s.in, s.raw, 8); err != nil {
			return nil, nil, err
		}
		head := s.raw[begin:]
		switch {
		case len(head) == 0 && first:
			return nil, nil, io.EOF
		case len(head) < 8:
			return nil, nil, malformed("it is not RecordIO, or was cut short: a record's head at byte %d has %d bytes of 8", at, len(head))
		}
		if magic := binary.LittleEndian.Uint32(head); magic != recordMagic {
			return nil, nil, malformed("it is not RecordIO: at byte %d there is 0x%08x and not the magic number 0x%08x", at, magic, uint32(recordMagic))
		}
		word := binary.LittleEndian.Uint32(head[4:])
		part, size := word>>29, int(word&(1<<29-1))
		if (part == partWhole || part == partFirst) != first || part > partLast {
			return nil, nil, malformed("it is not RecordIO: the part at byte %d is of kind %d, which cannot stand there", at, part)
		}
		padded := (size + 3) &^ 3
		if len(s.raw)+padded > s.most {
			return nil, nil, errTooMuch
		}
		begin = len(s.raw)
		if s.raw, err = readUpTo(s.in, s.raw, padded); err != nil {
			return nil, nil, err
		}
		if got := len(s.raw) - begin; got < padded {
			return nil, nil, malformed("it is not RecordIO, or was cut short: the record at byte %d has %d bytes of %d", at, got, padded)
		}
		if !first {
			s.data = binary.LittleEndian.AppendUint32(s.data, recordMagic)
		}
		s.data = append(s.data, s.raw[begin:begin+size]...)
		if part == partWhole || part == partLast {
			s.at += int64(len(s.raw))
			return s.raw, s.data, nil
		}
	}
}

// tfRecord are TensorFlow's: a length of eight bytes and its sum, the data and
// its sum.
type tfRecord struct {
	in   *bufio.Reader
	most int
	raw  []byte
	at   int64 // in the object
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli) //nolint:gochecknoglobals // constant table

// masked is the CRC-32C of data, turned and added to, as TFRecord has it.
func masked(data []byte) uint32 {
	sum := crc32.Checksum(data, castagnoli)
	return (sum>>15 | sum<<17) + 0xa282ead8
}

const tfHead, tfTail = 12, 4

func (s *tfRecord) next() (raw, data []byte, err error) {
	if s.raw, err = readUpTo(s.in, s.raw[:0], tfHead); err != nil {
		return nil, nil, err
	}
	switch {
	case len(s.raw) == 0:
		return nil, nil, io.EOF
	case len(s.raw) < tfHead:
		return nil, nil, malformed("it is not TFRecord, or was cut short: a record's head at byte %d has %d bytes of %d", s.at, len(s.raw), tfHead)
	case binary.LittleEndian.Uint32(s.raw[8:]) != masked(s.raw[:8]):
		return nil, nil, malformed("it is not TFRecord: the checksum of a record's length at byte %d is wrong", s.at)
	}
	size := binary.LittleEndian.Uint64(s.raw)
	if size > uint64(s.most) || int(size)+tfHead+tfTail > s.most {
		return nil, nil, errTooMuch
	}
	if s.raw, err = readUpTo(s.in, s.raw, int(size)+tfTail); err != nil {
		return nil, nil, err
	}
	if len(s.raw) < tfHead+int(size)+tfTail {
		return nil, nil, malformed("it is not TFRecord, or was cut short: the record at byte %d has %d bytes of %d", s.at, max(0, len(s.raw)-tfHead), size)
	}
	data = s.raw[tfHead : tfHead+int(size)]
	if binary.LittleEndian.Uint32(s.raw[tfHead+int(size):]) != masked(data) {
		return nil, nil, malformed("the checksum of the TFRecord at byte %d is wrong: the object is damaged", s.at)
	}
	s.at += int64(len(s.raw))
	return s.raw, data, nil
}

// blank says that a line holds nothing.
func blank(line []byte) bool { return len(bytes.TrimSpace(line)) == 0 }
