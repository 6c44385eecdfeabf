package sigv4

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"net/http"
	"net/textproto"
	"slices"
	"strconv"
	"strings"

	"clary/internal/aws/apierr"
)

// Body is an S3 request's body as the application sees it: unframed, and
// checked against what was signed. A wrong byte anywhere shows as an error no
// later than with the last byte, so whoever commits only after io.EOF or a
// full Content-Length commits nothing forged. Errors are *apierr.Error in
// S3's words or the connection's own.
type Body struct {
	src     io.Reader
	trailer http.Header
}

func (b *Body) Read(p []byte) (int, error) { return b.src.Read(p) }

// Trailer holds what followed the body, after io.EOF.
func (b *Body) Trailer() http.Header { return b.trailer }

// Body opens the body of a verified S3 request and gives its decoded length,
// -1 if unknown. It reads nothing yet.
func (v *Verified) Body(r *http.Request) (*Body, int64, error) {
	a := v.auth
	b := &Body{trailer: http.Header{}}
	switch {
	case a.Payload == "" || a.Payload == UnsignedPayload:
		b.src = r.Body
		return b, r.ContentLength, nil
	case a.Payload == StreamingSigned, a.Payload == StreamingSignedTrailer, a.Payload == StreamingUnsignedTrailer:
		n, err := decodedLength(r)
		if err != nil {
			return nil, 0, err
		}
		c := &chunks{
			in: bufio.NewReaderSize(r.Body, 4096), left: n, trailer: b.trailer, hash: sha256.New(),
			signed:  a.Payload != StreamingUnsignedTrailer,
			trailed: a.Payload != StreamingSigned,
			v:       v, previous: hex.EncodeToString(a.signature),
		}
		for _, t := range r.Header.Values("X-Amz-Trailer") {
			for name := range strings.SplitSeq(t, ",") {
				c.announced = append(c.announced, strings.ToLower(strings.TrimSpace(name)))
			}
		}
		b.src = c
		return b, n, nil
	case isHash(a.Payload):
		b.src = &whole{in: r.Body, want: strings.ToLower(a.Payload), length: r.ContentLength, hash: sha256.New()}
		return b, r.ContentLength, nil
	case strings.HasPrefix(a.Payload, "STREAMING-"):
		return nil, 0, apierr.New(http.StatusNotImplemented, "NotImplemented", "A header you provided implies functionality that is not implemented: x-amz-content-sha256: %s", a.Payload)
	default:
		return nil, 0, apierr.New(http.StatusBadRequest, "InvalidArgument", "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER or a valid sha256 value.")
	}
}

func decodedLength(r *http.Request) (int64, error) {
	h := r.Header.Values("X-Amz-Decoded-Content-Length")
	if len(h) == 0 {
		return 0, apierr.New(http.StatusLengthRequired, "MissingContentLength", "You must provide the Content-Length HTTP header.")
	}
	n, err := strconv.ParseInt(h[0], 10, 64)
	if err != nil || n < 0 || len(h) > 1 {
		return 0, apierr.New(http.StatusBadRequest, "InvalidArgument", "x-amz-decoded-content-length must be a non-negative number.")
	}
	return n, nil
}

// whole checks a body against one hash.
type whole struct {
	in     io.Reader
	want   string
	length int64 // -1 unknown
	read   int64
	hash   hash.Hash
	end    error
}

func (w *whole) Read(p []byte) (int, error) {
	if w.end != nil {
		return 0, w.end
	}
	n, err := w.in.Read(p)
	w.hash.Write(p[:n])
	w.read += int64(n)
	if errors.Is(err, io.EOF) || err == nil && w.read == w.length {
		if got := hex.EncodeToString(w.hash.Sum(nil)); got != w.want {
			e := apierr.New(http.StatusBadRequest, "XAmzContentSHA256Mismatch", "The provided 'x-amz-content-sha256' header does not match what was computed.")
			e.Fields = map[string]string{"ClientComputedContentSHA256": w.want, "S3ComputedContentSHA256": got}
			w.end = e
			return n, w.end
		}
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = incomplete()
	}
	w.end = err
	return n, err
}

func incomplete() error {
	return apierr.New(http.StatusBadRequest, "IncompleteBody", "The request body terminated unexpectedly")
}

const (
	maxLine     = 4 << 10 // of a chunk's head or a trailer
	maxTrailers = 16
)

// chunks unframes aws-chunked bodies.
type chunks struct {
	in        *bufio.Reader
	left      int64 // decoded bytes still to come
	chunk     int64 // bytes of the present chunk still to come
	open      bool  // a chunk is being read
	signed    bool
	trailed   bool
	announced []string
	v         *Verified
	previous  string // signature
	claimed   string // signature of the present chunk
	hash      hash.Hash
	trailer   http.Header
	end       error
}

func (c *chunks) Read(p []byte) (int, error) {
	if c.end != nil {
		return 0, c.end
	}
	if len(p) == 0 {
		return 0, nil
	}
	n, err := c.read(p)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = incomplete()
	}
	c.end = err
	return n, err
}

func (c *chunks) read(p []byte) (int, error) {
	if !c.open {
		if err := c.head(); err != nil {
			return 0, err
		}
		if c.chunk == 0 {
			return 0, c.finish()
		}
		c.open = true
	}
	n, err := c.in.Read(p[:min(int64(len(p)), c.chunk)])
	c.chunk -= int64(n)
	c.left -= int64(n)
	if c.signed {
		c.hash.Write(p[:n])
	}
	if err != nil {
		return n, unexpected(err)
	}
	if c.chunk > 0 {
		return n, nil
	}
	c.open = false
	if err := c.blank(); err != nil {
		return n, err
	}
	if err := c.check(); err != nil {
		return n, err
	}
	if c.left > 0 {
		return n, nil
	}
	// the last byte goes out only with what closes the body, so that a reader
	// who stops at the decoded length has seen it checked
	if err := c.head(); err != nil {
		return n, err
	}
	return n, c.finish()
}

// head reads the line before a chunk.
func (c *chunks) head() error {
	line, err := c.line()
	if err != nil {
		return err
	}
	size, ext, has := strings.Cut(line, ";")
	n, err := strconv.ParseUint(size, 16, 63)
	if err != nil || size == "" || len(size) > 16 || strings.TrimLeft(size, "0123456789abcdefABCDEF") != "" {
		return malformed("a chunk's size cannot be read")
	}
	if c.signed {
		name, sig, ok := strings.Cut(ext, "=")
		if !ok || name != "chunk-signature" {
			return malformed("a chunk has no signature")
		}
		c.claimed = sig
	} else if has {
		return malformed("a chunk carries an extension")
	}
	if int64(n) > c.left {
		return malformed("the body is longer than x-amz-decoded-content-length")
	}
	c.chunk = int64(n)
	return nil
}

// check compares the chunk just read with its signature.
func (c *chunks) check() error {
	if !c.signed {
		return nil
	}
	a := c.v.auth
	text := algorithm + "-PAYLOAD\n" + a.stamp + "\n" + scope(a.date, a.Region, a.Service) + "\n" + c.previous + "\n" +
		EmptyHash + "\n" + hex.EncodeToString(c.hash.Sum(nil))
	c.hash.Reset()
	return c.compare(text, c.claimed)
}

func (c *chunks) compare(text, claimed string) error {
	sum := mac(c.v.key, text)
	got, err := hex.DecodeString(claimed)
	if err != nil || !hmac.Equal(sum, got) {
		e := apierr.New(http.StatusForbidden, "SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided. Check your key and signing method.")
		e.Fields = map[string]string{"AWSAccessKeyId": c.v.auth.AccessKeyID, "StringToSign": text}
		return e
	}
	c.previous = hex.EncodeToString(sum)
	return nil
}

// finish reads what follows the empty chunk: trailers, and nothing more. It
// returns io.EOF when all was right.
func (c *chunks) finish() error {
	if c.chunk != 0 {
		return malformed("the body is longer than x-amz-decoded-content-length")
	}
	if c.left != 0 {
		return incomplete()
	}
	if err := c.check(); err != nil {
		return err
	}
	if c.trailed {
		if err := c.trailers(); err != nil {
			return err
		}
	} else if err := c.blank(); err != nil {
		return err
	}
	if _, err := c.in.ReadByte(); err != nil {
		return err // io.EOF
	}
	return malformed("bytes follow the last chunk")
}

func (c *chunks) trailers() error {
	var signedText bytes.Buffer
	signature := ""
	for range maxTrailers {
		line, err := c.line()
		if err != nil {
			return err
		}
		if line == "" {
			if c.signed {
				a := c.v.auth
				text := algorithm + "-TRAILER\n" + a.stamp + "\n" + scope(a.date, a.Region, a.Service) + "\n" + c.previous + "\n" + hashHex(signedText.String())
				return c.compare(text, signature)
			}
			return nil
		}
		name, value, ok := strings.Cut(line, ":")
		name, value = strings.ToLower(strings.TrimSpace(name)), strings.TrimSpace(value)
		switch {
		case !ok:
			return badTrailer()
		case name == "x-amz-trailer-signature" && c.signed && signature == "":
			signature = value
		case slices.Contains(c.announced, name) && c.trailer.Get(name) == "" && signature == "":
			c.trailer[textproto.CanonicalMIMEHeaderKey(name)] = []string{value}
			signedText.WriteString(name + ":" + value + "\n")
		default:
			return badTrailer()
		}
	}
	return badTrailer()
}

func badTrailer() error {
	return apierr.New(http.StatusBadRequest, "MalformedTrailerError", "The request contained trailing data that was not well-formed or did not conform to our published schema.")
}

func malformed(why string) error {
	return apierr.New(http.StatusBadRequest, "InvalidRequest", "The aws-chunked body is malformed: %s.", why)
}

func (c *chunks) blank() error {
	line, err := c.line()
	if err != nil {
		return err
	}
	if line != "" {
		return malformed("a chunk is longer than its size")
	}
	return nil
}

// line reads up to CRLF.
func (c *chunks) line() (string, error) {
	s, err := c.in.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) || len(s) > maxLine {
		return "", malformed("a line is too long")
	}
	if err != nil {
		return "", unexpected(err)
	}
	line, ok := strings.CutSuffix(string(s), "\r\n")
	if !ok {
		return "", malformed("a line does not end in CRLF")
	}
	return line, nil
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
