// Package eventstream is the framing of AWS's event streams
// (application/vnd.amazon.eventstream): messages with headers and checksums.
// It knows no payload and keeps nothing. Start at Append.
package eventstream

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
)

// ContentType is what an event stream is called.
const ContentType = "application/vnd.amazon.eventstream"

// Header is a header of a message; all of ours are strings.
type Header struct{ Name, Value string }

// Message is one event, or an error that ends the stream.
type Message struct {
	Headers []Header
	Payload []byte
}

const (
	prelude    = 12 // both lengths and their checksum
	checksum   = 4
	stringType = 7
	// MaxMessage bounds a message as AWS does.
	MaxMessage = 16 << 20
)

// What cannot be framed, or is no message.
var (
	ErrTooLarge = errors.New("event stream: a message or a header is too large")
	ErrMessage  = errors.New("event stream: not a message")
)

// Append adds m to b as it goes over the wire.
func Append(b []byte, m Message) ([]byte, error) {
	begin := len(b)
	b = append(b, make([]byte, prelude)...)
	for _, h := range m.Headers {
		if h.Name == "" || len(h.Name) > 255 || len(h.Value) > 32767 {
			return b[:begin], ErrTooLarge
		}
		b = append(b, byte(len(h.Name)))
		b = append(b, h.Name...)
		b = append(b, stringType)
		b = binary.BigEndian.AppendUint16(b, uint16(len(h.Value)))
		b = append(b, h.Value...)
	}
	headers := len(b) - begin - prelude
	total := prelude + headers + len(m.Payload) + checksum
	if total > MaxMessage {
		return b[:begin], ErrTooLarge
	}
	b = append(b, m.Payload...)
	head := b[begin:]
	binary.BigEndian.PutUint32(head, uint32(total))
	binary.BigEndian.PutUint32(head[4:], uint32(headers))
	binary.BigEndian.PutUint32(head[8:], crc32.ChecksumIEEE(head[:8]))
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(head)), nil
}

// Take reads the first message of b and gives the rest. ok is false when b
// holds only its beginning.
func Take(b []byte) (m Message, rest []byte, ok bool, err error) {
	if len(b) < prelude {
		return m, b, false, nil
	}
	total, headers := binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])
	if crc32.ChecksumIEEE(b[:8]) != binary.BigEndian.Uint32(b[8:]) || total > MaxMessage || total < prelude+checksum || headers > total-prelude-checksum {
		return m, b, false, ErrMessage
	}
	if uint32(len(b)) < total {
		return m, b, false, nil
	}
	body, sum := b[:total-checksum], b[total-checksum:total]
	if crc32.ChecksumIEEE(body) != binary.BigEndian.Uint32(sum) {
		return m, b, false, ErrMessage
	}
	h := body[prelude : prelude+headers]
	for len(h) > 0 {
		n := int(h[0])
		if n == 0 || len(h) < n+4 || h[n+1] != stringType {
			return m, b, false, ErrMessage
		}
		size := int(binary.BigEndian.Uint16(h[n+2:]))
		if len(h) < n+4+size {
			return m, b, false, ErrMessage
		}
		m.Headers = append(m.Headers, Header{string(h[1 : n+1]), string(h[n+4 : n+4+size])})
		h = h[n+4+size:]
	}
	m.Payload = body[prelude+headers:]
	return m, b[total:], true, nil
}
