package restxml

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"strings"

	"clary/internal/aws/apierr"
	"clary/internal/aws/checksum"
	"clary/internal/aws/codec/rest"
	"clary/internal/aws/facts"
)

// Decode implements codec.Codec. r's path has the bucket in it.
func (c *Codec) Decode(op *facts.Operation, r *http.Request, body []byte, in any) error {
	if op.Input == nil || in == nil {
		return nil
	}
	v := reflect.ValueOf(in)
	if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct {
		return fmt.Errorf("decode %s: input is %T", op.Name, in)
	}
	v = v.Elem()
	path, _, _ := strings.Cut(op.HTTP.URI, "?")
	params, ok := rest.Bind(path, r.URL.Path)
	if !ok {
		return fmt.Errorf("decode %s: path is not its own", op.Name)
	}
	query := r.URL.Query()
	p := c.plan(op.Input, v.Type())
	for i := range p.fields {
		f := &p.fields[i]
		slot := v.Field(f.index)
		var err error
		switch f.Location {
		case "uri":
			err = setScalar(slot, f.Member, params[f.WireName()])
		case "querystring":
			err = decodeQuery(slot, f, query)
		case "header":
			err = decodeHeader(slot, f, r)
		case "headers":
			decodeHeaders(slot, f.WireName(), r.Header)
		}
		if err != nil {
			return err
		}
	}
	if err := verifyBody(op, r, body); err != nil {
		return err
	}
	return c.decodeBody(op, p, v, r, body)
}

// verifyBody checks a body that does not stream against the sums that came
// with it; streamed ones are checked as they go by.
func verifyBody(op *facts.Operation, r *http.Request, body []byte) error {
	if streams(op.Input.Payload) {
		return nil
	}
	seen := false
	if want := r.Header.Get("Content-Md5"); want != "" {
		seen = true
		if !checksum.Valid(checksum.MD5, want) {
			return apierr.New(http.StatusBadRequest, "InvalidDigest", "The Content-MD5 you specified was invalid.")
		}
		if got := checksum.Of(checksum.MD5, body); got != want {
			e := apierr.New(http.StatusBadRequest, "BadDigest", "The Content-MD5 you specified did not match what we received.")
			e.Fields = map[string]string{"ExpectedDigest": want, "CalculatedDigest": got}
			return e
		}
	}
	for _, algorithm := range checksum.All() {
		name := "X-Amz-Checksum-" + algorithm
		want := r.Header.Get(name)
		if want == "" {
			want = r.Trailer.Get(name)
		}
		if want == "" {
			continue
		}
		seen = true
		if !op.Checksum.RequestRequired && op.Checksum.RequestAlgorithmMember == "" {
			continue // the header is a member of its own meaning
		}
		if !checksum.Valid(algorithm, want) {
			return apierr.New(http.StatusBadRequest, "InvalidRequest", "Value for %s header is invalid.", strings.ToLower(name))
		}
		if checksum.Of(algorithm, body) != want {
			return apierr.New(http.StatusBadRequest, "BadDigest", "The %s you specified did not match the calculated checksum.", algorithm)
		}
	}
	if !seen && op.Checksum.RequestRequired {
		return apierr.New(http.StatusBadRequest, "InvalidRequest", "Missing required header for this request: Content-MD5 OR x-amz-checksum-*")
	}
	return nil
}

// Body is a streamed body and the checksums that are to follow it.
type Body struct {
	io.Reader
	announced []string
	trailer   func() http.Header
}

// Announced names the trailers that the client said it will send.
func (b *Body) Announced() []string { return b.announced }

// Trailer holds them, after io.EOF.
func (b *Body) Trailer() http.Header { return b.trailer() }

func newBody(r *http.Request) *Body {
	b := &Body{Reader: r.Body, trailer: func() http.Header { return r.Trailer }}
	if r.Body == nil {
		b.Reader = http.NoBody
	}
	for _, value := range r.Header.Values("X-Amz-Trailer") {
		for name := range strings.SplitSeq(value, ",") {
			if name = strings.ToLower(strings.TrimSpace(name)); name != "" {
				b.announced = append(b.announced, name)
			}
		}
	}
	return b
}

func decodeQuery(slot reflect.Value, f *field, query url.Values) error {
	name := f.WireName()
	values, ok := query[name]
	if !ok {
		return nil
	}
	if f.Shape.Type == facts.List {
		return decodeList(slot, f, values)
	}
	// An empty value is one for text, and none for anything else.
	if values[0] == "" && f.Shape.Type != facts.String {
		return nil
	}
	if err := setScalar(slot, f.Member, values[0]); err != nil {
		return badValue(f, name, values[0])
	}
	return nil
}

func badValue(f *field, name, value string) error {
	switch f.Shape.Type { //nolint:exhaustive // the others share one text
	case facts.Integer, facts.Long:
		return invalidArgument(name, value, "Provided %s not an integer or within integer range", name)
	case facts.Timestamp:
		return invalidArgument(name, value, "Provided %s is not a valid timestamp", name)
	}
	return invalidArgument(name, value, "Provided %s is not valid", name)
}

func decodeHeader(slot reflect.Value, f *field, r *http.Request) error {
	name := f.WireName()
	if f.head == "Content-Length" {
		// net/http keeps it out of the headers.
		if r.ContentLength >= 0 {
			return setScalar(slot, f.Member, strconv.FormatInt(r.ContentLength, 10))
		}
		return nil
	}
	values := r.Header[f.head]
	if len(values) == 0 {
		return nil
	}
	if f.Shape.Type == facts.List {
		var parts []string
		for _, v := range values {
			for part := range strings.SplitSeq(v, ",") {
				if part = strings.TrimSpace(part); part != "" {
					parts = append(parts, part)
				}
			}
		}
		return decodeList(slot, f, parts)
	}
	value := strings.TrimSpace(strings.Join(values, ","))
	if value == "" && f.Shape.Type != facts.String {
		return nil
	}
	err := setScalar(slot, f.Member, value)
	if err != nil && f.Shape.Type == facts.Timestamp && strings.Contains(name, "f-") {
		return nil // a date that is none guards nothing (RFC 9110, 13.1.3)
	}
	if err != nil {
		return badValue(f, name, value)
	}
	return nil
}

func decodeList(slot reflect.Value, f *field, values []string) error {
	out := reflect.MakeSlice(slot.Type(), len(values), len(values))
	for i, s := range values {
		if err := setScalar(out.Index(i), f.Shape.Element, s); err != nil {
			return badValue(f, f.WireName(), s)
		}
	}
	slot.Set(out)
	return nil
}

// decodeHeaders reads a map from headers of one prefix. Names go lower-case,
// as S3 keeps them.
func decodeHeaders(slot reflect.Value, prefix string, h http.Header) {
	prefix = strings.ToLower(prefix)
	for name, values := range h {
		if key, ok := strings.CutPrefix(strings.ToLower(name), prefix); ok && key != "" {
			if slot.IsNil() {
				slot.Set(reflect.MakeMap(slot.Type()))
			}
			slot.SetMapIndex(reflect.ValueOf(key), reflect.ValueOf(strings.Join(values, ",")))
		}
	}
}

func (c *Codec) decodeBody(op *facts.Operation, p *plan, v reflect.Value, r *http.Request, body []byte) error {
	payload := op.Input.Payload
	if payload == nil {
		if len(p.byElem) == 0 || len(bytes.TrimSpace(body)) == 0 {
			return nil
		}
		return c.decodeRoot(p, v, body)
	}
	slot := v.FieldByName(facts.GoName(payload.Name))
	if !slot.IsValid() {
		return nil
	}
	switch {
	case streams(payload):
		slot.Set(reflect.ValueOf(newBody(r)))
	case payload.Shape.Type == facts.Blob:
		slot.SetBytes(body)
	case payload.Shape.Type == facts.String:
		return setScalar(slot, payload, string(body))
	case len(bytes.TrimSpace(body)) == 0:
		if payload.Required {
			return missingBody()
		}
	default:
		target := indirect(slot)
		return c.decodeRoot(c.plan(payload.Shape, target.Type()), target, body)
	}
	return nil
}
