package transform

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/bits"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

// recordIOOf is a record as MXNet writes it.
func recordIOOf(data []byte) []byte {
	magic := binary.LittleEndian.AppendUint32(nil, recordMagic)
	var parts [][]byte
	begin := 0
	for i := 0; i+4 <= len(data); i += 4 {
		if bytes.Equal(data[i:i+4], magic) {
			parts = append(parts, data[begin:i])
			begin = i + 4
		}
	}
	parts = append(parts, data[begin:])
	var out []byte
	for i, p := range parts {
		kind := uint32(partMiddle)
		switch {
		case len(parts) == 1:
			kind = partWhole
		case i == 0:
			kind = partFirst
		case i == len(parts)-1:
			kind = partLast
		}
		out = append(out, magic...)
		out = binary.LittleEndian.AppendUint32(out, kind<<29|uint32(len(p)))
		out = append(out, p...)
		out = append(out, make([]byte, (4-len(p)%4)%4)...)
	}
	return out
}

// tfRecordOf is a record as TensorFlow writes it.
func tfRecordOf(data []byte) []byte {
	out := binary.LittleEndian.AppendUint64(nil, uint64(len(data)))
	out = binary.LittleEndian.AppendUint32(out, masked(out))
	out = append(out, data...)
	return binary.LittleEndian.AppendUint32(out, masked(data))
}

func lineOf(data []byte) []byte { return append(bytes.Clone(data), '\n') }

var framings = map[string]func([]byte) []byte{SplitLine: lineOf, SplitRecordIO: recordIOOf, SplitTFRecord: tfRecordOf} //nolint:gochecknoglobals // constant table

func split(t *testing.T, kind string, r io.Reader, most int) (raws, datas [][]byte, err error) {
	t.Helper()
	s, err := newSplitter(kind, r, most)
	if err != nil {
		t.Fatal(err)
	}
	for {
		raw, data, err := s.next()
		if errors.Is(err, io.EOF) {
			return raws, datas, nil
		}
		if err != nil {
			return raws, datas, err
		}
		raws, datas = append(raws, bytes.Clone(raw)), append(datas, bytes.Clone(data))
	}
}

// What is split and put together again is what it was, and holds what was
// written, however it is read.
func TestSplitIsTheIdentity(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	magic := binary.LittleEndian.AppendUint32(nil, recordMagic)
	for round := range 200 {
		var records [][]byte
		for range rng.IntN(20) {
			data := make([]byte, rng.IntN(300))
			if rng.IntN(20) == 0 {
				data = make([]byte, 70<<10)
			}
			for i := range data {
				data[i] = byte('!' + rng.IntN(90))
			}
			for i := 0; i+4 <= len(data) && rng.IntN(3) > 0; i += 4 * (1 + rng.IntN(3)) {
				copy(data[i:], magic) // at multiples of four, and one after the other too
			}
			records = append(records, data)
		}
		for kind, frame := range framings {
			var object []byte
			var want [][]byte
			for _, r := range records {
				if kind == SplitLine {
					r = bytes.ReplaceAll(r, []byte{'\n'}, nil)
				}
				want = append(want, r)
				object = append(object, frame(r)...)
			}
			if kind == SplitLine && round%2 == 1 && len(object) > 0 {
				object = append(object, "the last has no end"...)
				want = append(want, []byte("the last has no end"))
			}
			for how, r := range map[string]io.Reader{
				"at once": bytes.NewReader(object), "by bytes": iotest.OneByteReader(bytes.NewReader(object)), "with its end": iotest.DataErrReader(bytes.NewReader(object)),
			} {
				raws, datas, err := split(t, kind, r, 1<<20)
				if err != nil {
					t.Fatalf("%s %s: %v", kind, how, err)
				}
				if got := bytes.Join(raws, nil); !bytes.Equal(got, object) {
					t.Fatalf("%s %s: %d bytes became %d", kind, how, len(object), len(got))
				}
				if len(datas) != len(want) {
					t.Fatalf("%s %s: %d records became %d", kind, how, len(want), len(datas))
				}
				for i := range want {
					if !bytes.Equal(datas[i], want[i]) {
						t.Fatalf("%s %s: record %d is %q, want %q", kind, how, i, datas[i], want[i])
					}
				}
			}
		}
	}
}

func TestLines(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"": "", "\n": "|", "a": "a|", "a\n": "a|", "a\r\nb": "a|b|", "a\n\nb\n": "a||b|", "\r\n\r\r\n": "|\r|",
	} {
		_, datas, err := split(t, SplitLine, strings.NewReader(text), 100)
		var got strings.Builder
		for _, d := range datas {
			got.WriteString(string(d) + "|")
		}
		if err != nil || got.String() != want {
			t.Errorf("%q: %q, %v", text, got.String(), err)
		}
	}
}

// Records may be as large as they may, and not a byte larger; what they claim to
// be takes no room.
func TestTooMuch(t *testing.T) {
	t.Parallel()
	for kind, frame := range framings {
		for _, size := range []int{64<<10 - 16, 200 << 10} {
			framed := frame(bytes.Repeat([]byte("x"), size))
			if _, _, err := split(t, kind, bytes.NewReader(framed), len(framed)); err != nil {
				t.Errorf("%s: %v", kind, err)
			}
			if _, _, err := split(t, kind, bytes.NewReader(framed), len(framed)-1); !errors.Is(err, errTooMuch) {
				t.Errorf("%s, one byte too many: %v", kind, err)
			}
		}
	}
	if _, _, err := split(t, SplitNone, strings.NewReader("abc"), 3); err != nil {
		t.Error(err)
	}
	if _, _, err := split(t, SplitNone, strings.NewReader("abcd"), 3); !errors.Is(err, errTooMuch) {
		t.Error(err)
	}
	if raws, _, err := split(t, SplitNone, strings.NewReader(""), 3); err != nil || len(raws) != 0 {
		t.Errorf("nothing is %q, %v", raws, err)
	}
	lie := binary.LittleEndian.AppendUint64(nil, 1<<62)
	lie = binary.LittleEndian.AppendUint32(lie, masked(lie))
	if _, _, err := split(t, SplitTFRecord, bytes.NewReader(lie), 1<<30); !errors.Is(err, errTooMuch) {
		t.Errorf("a record of 2^62 bytes: %v", err)
	}
	// A claim that may be true takes no more room than what comes of it.
	lie = binary.LittleEndian.AppendUint64(nil, 90<<20)
	lie = append(binary.LittleEndian.AppendUint32(lie, masked(lie)), "short"...)
	s := &tfRecord{in: bufio.NewReader(bytes.NewReader(lie)), most: 100 << 20}
	if _, _, err := s.next(); err == nil || cap(s.raw) > 1<<20 {
		t.Errorf("%v, and %d bytes were taken", err, cap(s.raw))
	}
}

// packed is what lines fill blocks of at most most bytes with.
func packed(raws [][]byte, most int) (blocks [][]byte) {
	for _, r := range raws {
		if n := len(blocks) - 1; n >= 0 && len(blocks[n])+len(r) <= most {
			blocks[n] = append(blocks[n], r...)
		} else {
			blocks = append(blocks, bytes.Clone(r))
		}
	}
	return blocks
}

// checkBlocks sees that blocks hold what lines one by one do, in as few.
func checkBlocks(t *testing.T, r io.Reader, object []byte, most int) {
	t.Helper()
	raws, _, want := split(t, SplitLine, bytes.NewReader(object), most)
	s := &lines{in: bufio.NewReader(r), most: most}
	var got [][]byte
	var err error
	for {
		var b []byte
		if b, err = s.block(nil); err != nil {
			break
		}
		got = append(got, b)
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	if !slices.EqualFunc(got, packed(raws, most), bytes.Equal) || !errors.Is(err, want) {
		t.Fatalf("blocks of %d bytes: %q became %q, %v; lines end with %v", most, object, got, err, want)
	}
}

func TestBlocks(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		object := make([]byte, rng.IntN(60))
		for i := range object {
			object[i] = "ab\r\n\n"[rng.IntN(5)]
		}
		most := 1 + rng.IntN(20)
		checkBlocks(t, bytes.NewReader(object), object, most)
		checkBlocks(t, iotest.OneByteReader(bytes.NewReader(object)), object, most)
		checkBlocks(t, iotest.DataErrReader(bytes.NewReader(object)), object, most)
	}
	broken := errors.New("broken")
	for _, text := range []string{"abc", "a\nb"} {
		s := &lines{in: bufio.NewReader(io.MultiReader(strings.NewReader(text), iotest.ErrReader(broken))), most: 3}
		if b, err := s.block(nil); !errors.Is(err, broken) {
			t.Errorf("%q breaks off: %q, %v", text, b, err)
		}
	}
}

func TestMalformed(t *testing.T) {
	t.Parallel()
	good, tf := recordIOOf([]byte("abcde")), tfRecordOf([]byte("abcde"))
	changed := func(b []byte, i int) []byte {
		b = bytes.Clone(b)
		b[i] ^= 1
		return b
	}
	for name, tt := range map[string]struct {
		kind   string
		object []byte
		want   string
	}{
		"text":             {SplitRecordIO, []byte("1,2,3\n4,5,6\n"), "the magic number"},
		"half a head":      {SplitRecordIO, good[:5], "5 bytes of 8"},
		"half a record":    {SplitRecordIO, good[:12], "4 bytes of 8"},
		"second":           {SplitRecordIO, append(bytes.Clone(good), "more"...), "at byte 16"},
		"a middle":         {SplitRecordIO, append(bytes.Clone(good[:4]), 4, 0, 0, 2<<5, 1, 2, 3, 4), "of kind 2"},
		"no middle":        {SplitRecordIO, append(append(bytes.Clone(good[:4]), 4, 0, 0, 1<<5, 1, 2, 3, 4), good...), "of kind 0"},
		"no last":          {SplitRecordIO, append(bytes.Clone(good[:4]), 4, 0, 0, 1<<5, 1, 2, 3, 4), "0 bytes of 8"},
		"tf text":          {SplitTFRecord, []byte("1,2,3\n4,5,6\n7,8\n"), "the checksum of a record's length"},
		"tf half a head":   {SplitTFRecord, tf[:5], "5 bytes of 12"},
		"tf half a record": {SplitTFRecord, tf[:14], "2 bytes of 5"},
		"tf length":        {SplitTFRecord, changed(tf, 0), "the checksum of a record's length"},
		"tf data":          {SplitTFRecord, changed(tf, 13), "the checksum of the TFRecord"},
		"tf sum":           {SplitTFRecord, changed(tf, len(tf)-1), "the checksum of the TFRecord"},
	} {
		_, _, err := split(t, tt.kind, bytes.NewReader(tt.object), 1<<20)
		if _, ok := errors.AsType[*malformedError](err); !ok || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %s", name, err, tt.want)
		}
	}
	if _, err := newSplitter("Tab", strings.NewReader(""), 1); err == nil {
		t.Error("SplitType Tab is known")
	}
	broken := errors.New("the storage broke")
	for _, kind := range []string{SplitNone, SplitLine, SplitRecordIO, SplitTFRecord} {
		if _, _, err := split(t, kind, iotest.ErrReader(broken), 10); !errors.Is(err, broken) {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

// The sum is CRC-32C's, of which that of "123456789" is known, turned by 15 bits
// and added to.
func TestMasked(t *testing.T) {
	t.Parallel()
	const sum = 0xe3069283
	if got, want := masked([]byte("123456789")), bits.RotateLeft32(sum, 17)+0xa282ead8; got != want {
		t.Errorf("%08x, want %08x", got, want)
	}
}

// No object breaks a splitter: it is split and is as it was, or is refused.
func FuzzSplit(f *testing.F) {
	for _, frame := range framings {
		f.Add(append(frame([]byte("abc")), frame([]byte("\x0a\x23\xd7\xcedefg"))...), uint16(1000))
	}
	f.Add([]byte("a\r\nb\n\nc"), uint16(3))
	f.Fuzz(func(t *testing.T, object []byte, most uint16) {
		checkBlocks(t, bytes.NewReader(object), object, max(int(most), 1))
		for _, kind := range []string{SplitNone, SplitLine, SplitRecordIO, SplitTFRecord} {
			raws, _, err := split(t, kind, bytes.NewReader(object), int(most))
			got := bytes.Join(raws, nil)
			if err == nil && !bytes.Equal(got, object) || !bytes.HasPrefix(object, got) {
				t.Fatalf("%s: %q became %q, %v", kind, object, got, err)
			}
			for _, r := range raws {
				if len(r) > int(most) {
					t.Fatalf("%s: a record of %d bytes where %d may be", kind, len(r), most)
				}
			}
		}
	})
}
