package eventstream

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// The bytes are those of the format's own description: an empty message, and
// one whose payload is {'foo':'bar'}, with their checksums.
func TestKnownMessages(t *testing.T) {
	t.Parallel()
	for want, m := range map[string]Message{
		"000000100000000005c248eb7d98c8ff":                           {},
		"0000001d00000000fd528c5a7b27666f6f273a27626172277dc3653936": {Payload: []byte("{'foo':'bar'}")},
	} {
		b, err := Append(nil, m)
		if err != nil || hex.EncodeToString(b) != want {
			t.Errorf("%x, %v, want %s", b, err, want)
		}
	}
}

func TestThereAndBack(t *testing.T) {
	t.Parallel()
	list := []Message{
		{Headers: []Header{{":message-type", "event"}, {":event-type", "sessionStart"}, {"empty", ""}}, Payload: []byte("{}")},
		{Payload: []byte{}},
		{Headers: []Header{{strings.Repeat("n", 255), strings.Repeat("v", 32767)}}, Payload: bytes.Repeat([]byte("x"), 1<<20)},
	}
	var b []byte
	for _, m := range list {
		var err error
		if b, err = Append(b, m); err != nil {
			t.Fatal(err)
		}
	}
	first, _ := Append(nil, list[0])
	for n := range first {
		if _, rest, ok, err := Take(first[:n]); ok || err != nil || len(rest) != n {
			t.Fatalf("%d of %d bytes: %t, %v", n, len(first), ok, err)
		}
	}
	for i, want := range list {
		m, rest, ok, err := Take(b)
		if !ok || err != nil || !reflect.DeepEqual(m, want) {
			t.Fatalf("message %d: %t, %v", i, ok, err)
		}
		b = rest
	}
	if len(b) != 0 {
		t.Errorf("%d bytes are left", len(b))
	}
	for i := range first {
		bad := bytes.Clone(first)
		bad[i] ^= 1
		if _, _, ok, err := Take(bad); ok || !errors.Is(err, ErrMessage) {
			t.Errorf("byte %d is wrong: %t, %v", i, ok, err)
		}
	}
}

func TestTooLarge(t *testing.T) {
	t.Parallel()
	for what, m := range map[string]Message{
		"name":    {Headers: []Header{{strings.Repeat("n", 256), ""}}},
		"no name": {Headers: []Header{{"", "v"}}},
		"value":   {Headers: []Header{{"n", strings.Repeat("v", 32768)}}},
		"payload": {Payload: make([]byte, MaxMessage)},
	} {
		if b, err := Append([]byte("before"), m); !errors.Is(err, ErrTooLarge) || string(b) != "before" {
			t.Errorf("%s: %d bytes, %v", what, len(b), err)
		}
	}
}

// What is taken is what was written; nothing else is a message.
func FuzzTake(f *testing.F) {
	b, _ := Append(nil, Message{Headers: []Header{{"a", "b"}}, Payload: []byte("c")})
	f.Add(b, []byte{})
	f.Add([]byte("\x01a\x07\x00\x01b"), []byte("c"))
	f.Fuzz(func(t *testing.T, head, payload []byte) {
		for _, b := range [][]byte{slices.Concat(head, payload), framed(head, payload)} {
			m, rest, ok, err := Take(b)
			if !ok || err != nil {
				continue
			}
			again, err := Append(nil, m)
			if err != nil || !bytes.Equal(again, b[:len(b)-len(rest)]) {
				t.Errorf("%x became %x, %v", b, again, err)
			}
		}
	})
}

// framed has the lengths and checksums of a message, whatever its headers are.
func framed(headers, payload []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(prelude+len(headers)+len(payload)+checksum))
	b = binary.BigEndian.AppendUint32(b, uint32(len(headers)))
	b = binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
	b = slices.Concat(b, headers, payload)
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
}
