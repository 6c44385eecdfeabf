package query

import (
	"bytes"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strconv"

	"clary/internal/api"
	"clary/internal/aws/apierr"
	"clary/internal/aws/facts"
)

// Encode answers with the output.
func (Codec) Encode(w http.ResponseWriter, _ *http.Request, op *facts.Operation, out any, requestID string) error {
	x := &writer{}
	root := op.Name + "Response"
	fmt.Fprintf(&x.buf, `<%s xmlns="%s">`, root, op.Model.XMLNamespace)
	if op.Output != nil {
		wrapper := op.ResultWrapper
		if wrapper == "" {
			wrapper = op.Name + "Result"
		}
		v := reflect.ValueOf(out)
		for v.Kind() == reflect.Pointer {
			v = v.Elem()
		}
		x.open(wrapper)
		if v.IsValid() {
			if err := x.structure(op.Output, v); err != nil {
				return fmt.Errorf("encode %s: %w", op.Name, err)
			}
		}
		x.close(wrapper)
	}
	x.open("ResponseMetadata")
	x.element("RequestId", requestID)
	x.close("ResponseMetadata")
	x.close(root)
	send(w, http.StatusOK, x.buf.Bytes(), requestID)
	return nil
}

// EncodeError answers with an error.
func (Codec) EncodeError(w http.ResponseWriter, _ *http.Request, op *facts.Operation, e *apierr.Error, requestID string) {
	code, status := spell(op, e)
	x := &writer{}
	x.buf.WriteString("<ErrorResponse")
	if op != nil && op.Model.XMLNamespace != "" {
		fmt.Fprintf(&x.buf, ` xmlns="%s"`, op.Model.XMLNamespace)
	}
	x.buf.WriteString("><Error>")
	who := "Sender"
	if status >= http.StatusInternalServerError {
		who = "Receiver"
	}
	x.element("Type", who)
	x.element("Code", code)
	x.element("Message", e.Message)
	x.buf.WriteString("</Error>")
	x.element("RequestId", requestID)
	x.close("ErrorResponse")
	send(w, status, x.buf.Bytes(), requestID)
}

// spell gives an error's code and status as this protocol has them: the
// model's where it has the error, else the older names of the common ones.
func spell(op *facts.Operation, e *apierr.Error) (string, int) {
	if op != nil {
		if s := op.Model.Shapes[e.Code]; s != nil && s.Exception && s.ErrorCode != "" {
			status := e.Status
			if s.ErrorStatus != 0 {
				status = s.ErrorStatus
			}
			return s.ErrorCode, status
		}
	}
	switch e.Code {
	case "AccessDeniedException":
		return "AccessDenied", http.StatusForbidden
	case "ValidationException":
		return "ValidationError", http.StatusBadRequest
	case "UnrecognizedClientException":
		return "InvalidClientTokenId", http.StatusForbidden
	case "ExpiredTokenException":
		return "ExpiredToken", http.StatusForbidden
	case "InvalidSignatureException":
		return "SignatureDoesNotMatch", http.StatusForbidden
	}
	return e.Code, e.Status
}

func send(w http.ResponseWriter, status int, body []byte, requestID string) {
	h := w.Header()
	h.Set("Content-Type", "text/xml")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("X-Amzn-Requestid", requestID)
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

type writer struct{ buf bytes.Buffer }

func (x *writer) open(name string)  { x.buf.WriteString("<" + name + ">") }
func (x *writer) close(name string) { x.buf.WriteString("</" + name + ">") }

func (x *writer) element(name, text string) {
	x.open(name)
	_ = xml.EscapeText(&x.buf, []byte(text)) // a bytes.Buffer does not fail
	x.close(name)
}

func (x *writer) structure(s *facts.Shape, v reflect.Value) error {
	for _, m := range s.Members {
		f := v.FieldByName(facts.GoName(m.Name))
		if !f.IsValid() {
			return fmt.Errorf("%s has no field for %s", v.Type(), m.Name)
		}
		if f.Kind() == reflect.Pointer {
			if f.IsNil() {
				continue
			}
			f = f.Elem()
		} else if f.IsZero() && !m.Required {
			continue
		}
		if err := x.value(m.WireName(), m.Shape, m.Flattened || m.Shape.Flattened, f); err != nil {
			return err
		}
	}
	return nil
}

func (x *writer) value(name string, s *facts.Shape, flattened bool, v reflect.Value) error {
	switch s.Type {
	case facts.Structure:
		x.open(name)
		if err := x.structure(s, v); err != nil {
			return err
		}
		x.close(name)
		return nil
	case facts.List:
		item := name
		if !flattened {
			item = elementName(s)
			x.open(name)
		}
		for i := range v.Len() {
			if err := x.value(item, s.Element.Shape, false, v.Index(i)); err != nil {
				return err
			}
		}
		if !flattened {
			x.close(name)
		}
		return nil
	case facts.Map:
		return x.entries(name, s, flattened, v)
	default:
		return x.scalar(name, s, v)
	}
}

func (x *writer) entries(name string, s *facts.Shape, flattened bool, v reflect.Value) error {
	entry := name
	if !flattened {
		entry = "entry"
		x.open(name)
	}
	keys := make([]string, 0, v.Len())
	for _, k := range v.MapKeys() {
		keys = append(keys, k.String())
	}
	slices.Sort(keys)
	for _, k := range keys {
		x.open(entry)
		x.element("key", k)
		if err := x.value("value", s.Value.Shape, false, v.MapIndex(reflect.ValueOf(k))); err != nil {
			return err
		}
		x.close(entry)
	}
	if !flattened {
		x.close(name)
	}
	return nil
}

func (x *writer) scalar(name string, s *facts.Shape, v reflect.Value) error {
	var text string
	switch s.Type {
	case facts.String:
		text = v.String()
	case facts.Integer, facts.Long:
		text = strconv.FormatInt(v.Int(), 10)
	case facts.Float, facts.Double:
		text = strconv.FormatFloat(v.Float(), 'g', -1, 64)
	case facts.Boolean:
		text = strconv.FormatBool(v.Bool())
	case facts.Blob:
		text = base64.StdEncoding.EncodeToString(v.Bytes())
	case facts.Timestamp:
		t, ok := reflect.TypeAssert[api.Time](v)
		if !ok {
			return fmt.Errorf("%s is not a timestamp", v.Type())
		}
		if t.IsZero() {
			return nil
		}
		text = t.UTC().Format("2006-01-02T15:04:05.999Z")
	default:
		return fmt.Errorf("%s is no scalar", s.Name)
	}
	x.element(name, text)
	return nil
}
