package restjson

import (
	"encoding/base64"
	"fmt"
	"io"
	"math"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"clary/internal/aws/apierr"
	"clary/internal/aws/facts"
	"clary/internal/aws/validate"
)

// Encode implements codec.Codec. It closes a streamed body.
func (Codec) Encode(w http.ResponseWriter, r *http.Request, op *facts.Operation, out any, requestID string) error {
	v := reflect.ValueOf(out)
	if op.Output == nil || !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil() {
		send(w, op.HTTP.Code, emptyBody(op), "application/json", requestID)
		return nil
	}
	if plainHead(op.Output) {
		if err := setHead(w.Header(), op, reflect.Indirect(v)); err != nil {
			return err
		}
		return sendRaw(w, r, op, v, op.HTTP.Code, requestID)
	}
	text, err := json.Marshal(out, json.Deterministic(true), jsontext.AllowInvalidUTF8(true))
	if err != nil {
		return fmt.Errorf("encode %s: %w", op.Name, err)
	}
	n, err := validate.ParseJSON(text)
	if err != nil {
		return fmt.Errorf("encode %s: %w", op.Name, err)
	}
	body := validate.Node{Kind: validate.Object}
	status := op.HTTP.Code
	for i := range n.Fields {
		f := &n.Fields[i]
		m := op.Output.Member(f.Name)
		switch {
		case m == nil:
			return fmt.Errorf("encode %s: no member %s", op.Name, f.Name)
		case m.Location == "header":
			if s, ok := headerValue(m, &f.Value); ok {
				w.Header().Set(m.WireName(), s)
			}
		case m.Location == "headers":
			for _, e := range f.Value.Fields {
				w.Header().Set(m.WireName()+e.Name, e.Value.Text)
			}
		case m.Location == "statusCode":
			if code, err := strconv.Atoi(f.Value.Text); err == nil && code >= 200 && code < 600 {
				status = code
			}
		case m == op.Output.Payload:
			body = f.Value
			toWire(m.Shape, &body)
		default:
			toWire(m.Shape, &f.Value)
			f.Name = m.WireName()
			body.Fields = append(body.Fields, *f)
		}
	}
	if raw(op.Output.Payload) {
		return sendRaw(w, r, op, v, status, requestID)
	}
	send(w, status, body.AppendJSON(nil), "application/json", requestID)
	return nil
}

// plainHead says whether an output is bytes as they are beside members that
// stand in headers: then nothing of it is ever JSON.
func plainHead(s *facts.Shape) bool {
	if !raw(s.Payload) {
		return false
	}
	for _, m := range s.Members {
		if m != s.Payload && m.Location != "header" {
			return false
		}
	}
	return true
}

// setHead puts the members of an output that stand in headers there.
func setHead(h http.Header, op *facts.Operation, v reflect.Value) error {
	for _, m := range op.Output.Members {
		if m.Location != "header" {
			continue
		}
		f := v.FieldByName(facts.GoName(m.Name))
		if !f.IsValid() {
			return fmt.Errorf("encode %s: no member %s", op.Name, m.Name)
		}
		if f.IsZero() {
			continue
		}
		if f.Kind() == reflect.String && !m.JSONValue {
			h.Set(m.WireName(), f.String())
			continue
		}
		text, err := json.Marshal(f.Interface())
		if err != nil {
			return fmt.Errorf("encode %s: %w", op.Name, err)
		}
		n, err := validate.ParseJSON(text)
		if err != nil {
			return fmt.Errorf("encode %s: %w", op.Name, err)
		}
		if s, ok := headerValue(m, &n); ok {
			h.Set(m.WireName(), s)
		}
	}
	return nil
}

func emptyBody(op *facts.Operation) []byte {
	if op.Output == nil || op.Output.Payload != nil {
		return nil
	}
	return []byte("{}")
}

// headerValue is a member's text in a header.
func headerValue(m *facts.Member, n *validate.Node) (string, bool) {
	switch n.Kind {
	case validate.True:
		return "true", true
	case validate.False:
		return "false", true
	case validate.Number:
		if m.Shape.Type != facts.Timestamp || m.Shape.TimestampFormat == "unixTimestamp" {
			return n.Text, true
		}
		f, err := strconv.ParseFloat(n.Text, 64)
		at := time.UnixMilli(int64(math.Round(f * 1000))).UTC()
		if m.Shape.TimestampFormat == "iso8601" {
			return at.Format("2006-01-02T15:04:05.000Z"), err == nil
		}
		return at.Format(http.TimeFormat), err == nil
	case validate.Text:
		if m.JSONValue {
			return base64.StdEncoding.EncodeToString([]byte(n.Text)), n.Text != ""
		}
		return n.Text, n.Text != ""
	case validate.Array:
		var parts []string
		for i := range n.Items {
			parts = append(parts, n.Items[i].Text)
		}
		return strings.Join(parts, ","), len(parts) > 0
	default:
		return "", false
	}
}

// sendRaw answers with bytes as they are.
func sendRaw(w http.ResponseWriter, r *http.Request, op *facts.Operation, v reflect.Value, status int, requestID string) error {
	m := op.Output.Payload
	slot := reflect.Indirect(v).FieldByName(facts.GoName(m.Name))
	if !slot.IsValid() {
		return fmt.Errorf("encode %s: no member %s", op.Name, m.Name)
	}
	w.Header().Set("X-Amzn-Requestid", requestID)
	switch slot.Kind() { //nolint:exhaustive // the others are no payloads
	case reflect.String:
		send(w, status, []byte(slot.String()), "text/plain", requestID)
	case reflect.Slice:
		send(w, status, slot.Bytes(), "application/octet-stream", requestID)
	default:
		var body io.Reader = http.NoBody
		if !slot.IsNil() {
			body, _ = reflect.TypeAssert[io.Reader](slot)
		}
		if c, ok := body.(io.Closer); ok {
			defer c.Close() //nolint:errcheck // read only
		}
		if w.Header().Get("Content-Type") == "" {
			w.Header().Set("Content-Type", "application/octet-stream")
		}
		w.WriteHeader(status)
		if r != nil && r.Method == http.MethodHead {
			return nil
		}
		if _, err := io.Copy(w, body); err != nil && w.Header().Get("Content-Length") == "" {
			panic(http.ErrAbortHandler) // nothing else tells the client that this is not all
		}
	}
	return nil
}

func send(w http.ResponseWriter, status int, body []byte, contentType, requestID string) {
	h := w.Header()
	if h.Get("Content-Type") == "" && body != nil {
		h.Set("Content-Type", contentType)
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("X-Amzn-Requestid", requestID)
	w.WriteHeader(status)
	_, _ = w.Write(body) // who went away is not told
}

// EncodeError implements codec.Codec.
func (Codec) EncodeError(w http.ResponseWriter, _ *http.Request, op *facts.Operation, e *apierr.Error, requestID string) {
	status := e.Status
	body := validate.Node{Kind: validate.Object}
	add := func(name string, v validate.Node) {
		body.Fields = append(body.Fields, validate.Field{Name: name, Value: v})
	}
	text := func(s string) validate.Node { return validate.Node{Kind: validate.Text, Text: s} }
	add("message", text(e.Message))
	var s *facts.Shape
	if op != nil {
		s = op.Model.Shapes[e.Code]
	}
	if s != nil && s.Exception {
		if s.ErrorStatus != 0 {
			status = s.ErrorStatus
		}
		if s.Member("Message") != nil {
			add("Message", text(e.Message))
		}
		for _, m := range s.Members {
			if v, ok := e.Fields[m.Name]; ok {
				n, ok := validate.Scalar(m.Shape, v)
				if ok {
					add(m.WireName(), n)
				}
			}
		}
	}
	w.Header().Set("X-Amzn-Errortype", e.Code)
	w.Header().Del("Content-Type")
	send(w, status, body.AppendJSON(nil), "application/json", requestID)
}
