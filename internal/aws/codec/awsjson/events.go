package awsjson

import (
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"clary/internal/aws/apierr"
	"clary/internal/aws/codec"
	"clary/internal/aws/codec/eventstream"
	"clary/internal/aws/facts"
)

var _ codec.EventEncoder = Codec{}

// Events implements codec.EventEncoder. The members beside the stream, of which
// no operation of ours has any, would be in the first event.
func (c Codec) Events(w http.ResponseWriter, op *facts.Operation, each func(send func(event any) error) error, requestID string) error {
	shape := eventShape(op)
	if shape == nil {
		return fmt.Errorf("%s has no stream of events", op.Name)
	}
	h := w.Header()
	h.Set("Content-Type", eventstream.ContentType)
	h.Set("X-Amzn-Requestid", requestID)
	w.WriteHeader(http.StatusOK)
	s := &eventSender{w: w, rc: http.NewResponseController(w), shape: shape}
	if err := s.write("event", ":event-type", "initial-response", c.contentType, []byte("{}")); err != nil {
		return err
	}
	err := each(s.send)
	e, ok := errors.AsType[*apierr.Error](err)
	if m := shape.Member(codeOf(e)); !ok || m == nil || !m.Shape.Exception {
		return err
	}
	body, err := json.Marshal(map[string]string{"message": e.Message})
	if err != nil {
		return err
	}
	return s.write("exception", ":exception-type", e.Code, "application/json", body)
}

func codeOf(e *apierr.Error) string {
	if e == nil {
		return ""
	}
	return e.Code
}

func eventShape(op *facts.Operation) *facts.Shape {
	if op.Output == nil {
		return nil
	}
	for _, m := range op.Output.Members {
		if m.Shape.EventStream {
			return m.Shape
		}
	}
	return nil
}

type eventSender struct {
	w     http.ResponseWriter
	rc    *http.ResponseController
	shape *facts.Shape
	buf   []byte
}

// send writes the member of event that is set.
func (s *eventSender) send(event any) error {
	v := reflect.ValueOf(event)
	if v.Kind() != reflect.Pointer || v.IsNil() || v.Elem().Kind() != reflect.Struct {
		return fmt.Errorf("event %T is no pointer to a struct", event)
	}
	v = v.Elem()
	for i := range v.NumField() {
		f := v.Field(i)
		if f.Kind() != reflect.Pointer || f.IsNil() {
			continue
		}
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		if s.shape.Member(name) == nil {
			return fmt.Errorf("%s has no event %s", s.shape.Name, name)
		}
		body, err := json.Marshal(f.Interface(), json.Deterministic(true), jsontext.AllowInvalidUTF8(true))
		if err != nil {
			return fmt.Errorf("event %s: %w", name, err)
		}
		return s.write("event", ":event-type", name, "application/json", body)
	}
	return fmt.Errorf("event %T has no member", event)
}

func (s *eventSender) write(kind, typeName, name, contentType string, body []byte) error {
	var err error
	s.buf, err = eventstream.Append(s.buf[:0], eventstream.Message{
		Headers: []eventstream.Header{{Name: typeName, Value: name}, {Name: ":content-type", Value: contentType}, {Name: ":message-type", Value: kind}},
		Payload: body,
	})
	if err != nil {
		return err
	}
	if _, err := s.w.Write(s.buf); err != nil {
		return err
	}
	return s.rc.Flush()
}
