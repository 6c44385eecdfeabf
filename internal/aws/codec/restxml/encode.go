package restxml

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/textproto"
	"reflect"
	"strconv"
	"strings"

	"clary/internal/aws/facts"
)

// Encode implements codec.Codec. It closes a streamed body.
func (c *Codec) Encode(w http.ResponseWriter, r *http.Request, op *facts.Operation, out any, requestID string) error {
	h := w.Header()
	answerHeaders(h, requestID)
	v := reflect.ValueOf(out)
	if op.Output == nil || out == nil || (v.Kind() == reflect.Pointer && v.IsNil()) {
		h.Set("Content-Length", "0")
		w.WriteHeader(op.HTTP.Code)
		return nil
	}
	v = v.Elem()
	if v.Kind() != reflect.Struct {
		return fmt.Errorf("encode %s: output is %T", op.Name, out)
	}
	p := c.plan(op.Output, v.Type())
	status := op.HTTP.Code
	hasBody := op.Output.Payload == nil && len(p.byElem) > 0
	for i := range p.fields {
		f := &p.fields[i]
		slot := v.Field(f.index)
		switch f.Location {
		case "header":
			encodeHeader(h, f, slot)
		case "headers":
			encodeHeaders(h, f.WireName(), slot)
		case "statusCode":
			if n := reflect.Indirect(slot); n.IsValid() && n.Int() != 0 {
				status = int(n.Int())
			}
		}
	}
	if status == http.StatusOK && h.Get("Content-Range") != "" {
		status = http.StatusPartialContent
	}
	if op.Output.Payload != nil {
		return c.payload(w, r, op, v, status)
	}
	if !hasBody || r.Method == http.MethodHead {
		if h.Get("Content-Length") == "" && status != http.StatusNoContent {
			h.Set("Content-Length", "0")
		}
		w.WriteHeader(status)
		return nil
	}
	var b bytes.Buffer
	doc := writing{c, &b}
	b.WriteString(xml.Header)
	if name, ok := bareText(op.Name); ok {
		c.bare(doc, op, p, v, name)
	} else {
		name := rootName(op)
		doc.open(name, namespace(op.Model.XMLNamespace))
		doc.members(op.Output, p, v)
		doc.close(name)
	}
	return send(w, status, &b)
}

func namespace(uri string) string {
	if uri == "" {
		uri = s3Namespace
	}
	return ` xmlns="` + uri + `"`
}

// bare writes an output whose only member is the text of the root.
func (c *Codec) bare(doc writing, op *facts.Operation, p *plan, v reflect.Value, name string) {
	doc.open(name, namespace(op.Model.XMLNamespace))
	for i := range p.fields {
		if f := &p.fields[i]; f.Location == "" {
			s, _ := scalar(v.Field(f.index), f.Member)
			doc.text(s)
		}
	}
	doc.close(name)
}

func send(w http.ResponseWriter, status int, b *bytes.Buffer) error {
	h := w.Header()
	h.Set("Content-Type", "application/xml")
	h.Set("Content-Length", strconv.Itoa(b.Len()))
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // who went away is not told
	return nil
}

// answerHeaders are on every answer.
func answerHeaders(h http.Header, requestID string) {
	h["x-amz-request-id"] = []string{requestID}
	h["x-amz-id-2"] = []string{hostID(requestID)}
}

func encodeHeader(h http.Header, f *field, slot reflect.Value) {
	name := f.WireName()
	if f.Shape.Type == facts.List {
		var parts []string
		for i := range slot.Len() {
			if s, ok := scalar(slot.Index(i), f.Shape.Element); ok {
				parts = append(parts, s)
			}
		}
		if len(parts) > 0 {
			h.Set(name, strings.Join(parts, ", "))
		}
		return
	}
	if s, ok := scalar(slot, f.Member); ok && (s != "" || slot.Kind() == reflect.Pointer) {
		if strings.HasPrefix(name, "x-amz-") {
			h[name] = []string{headerText(s)} // S3 writes its own headers lower-case
			return
		}
		h[textproto.CanonicalMIMEHeaderKey(name)] = []string{headerText(s)}
	}
}

// encodeHeaders writes a map as headers whose names stay lower-case: clients
// read the case that the user gave, and net/http would change it.
func encodeHeaders(h http.Header, prefix string, slot reflect.Value) {
	for _, key := range slot.MapKeys() {
		h[prefix+strings.ToLower(key.String())] = []string{headerText(slot.MapIndex(key).String())}
	}
}

// headerText makes text beyond ASCII safe in a header, as S3 does.
func headerText(s string) string {
	for i := range len(s) {
		if c := s[i]; c >= 0x7F || c < 0x20 && c != '\t' {
			return mime.BEncoding.Encode("UTF-8", s)
		}
	}
	return s
}

func (c *Codec) payload(w http.ResponseWriter, r *http.Request, op *facts.Operation, v reflect.Value, status int) error {
	m := op.Output.Payload
	slot := v.FieldByName(facts.GoName(m.Name))
	if !slot.IsValid() {
		return fmt.Errorf("encode %s: no member %s", op.Name, m.Name)
	}
	switch {
	case streams(m):
		return stream(w, r, slot, status)
	case m.Shape.Type == facts.Blob || m.Shape.Type == facts.String:
		var b []byte
		if slot.Kind() == reflect.String {
			b = []byte(slot.String())
		} else if slot.Kind() == reflect.Slice {
			b = slot.Bytes()
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(b)))
		w.WriteHeader(status)
		_, _ = w.Write(b) // who went away is not told
		return nil
	}
	if slot.Kind() == reflect.Pointer {
		if slot.IsNil() {
			w.Header().Set("Content-Length", "0")
			w.WriteHeader(status)
			return nil
		}
		slot = slot.Elem()
	}
	name := m.LocationName
	if name == "" {
		name = m.Shape.LocationName
	}
	if name == "" {
		name = m.Shape.Name
	}
	var b bytes.Buffer
	doc := writing{c, &b}
	b.WriteString(xml.Header)
	doc.open(name, namespace(op.Model.XMLNamespace))
	doc.members(m.Shape, c.plan(m.Shape, slot.Type()), slot)
	doc.close(name)
	return send(w, status, &b)
}

// stream copies the body. When it breaks off, fewer bytes than announced go
// out, and the server closes the connection: the client sees it.
func stream(w http.ResponseWriter, r *http.Request, slot reflect.Value, status int) error {
	var body io.Reader
	if !slot.IsNil() {
		body, _ = reflect.TypeAssert[io.Reader](slot)
	}
	if c, ok := body.(io.Closer); ok {
		defer c.Close() //nolint:errcheck // read only
	}
	if body == nil {
		w.Header().Set("Content-Length", "0")
	}
	w.WriteHeader(status)
	if body == nil || r.Method == http.MethodHead {
		return nil
	}
	if _, err := io.Copy(w, body); err != nil && w.Header().Get("Content-Length") == "" {
		panic(http.ErrAbortHandler) // nothing else tells the client that this is not all
	}
	return nil
}
