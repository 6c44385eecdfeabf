// Package jsonevent writes the events of the protocols that have JSON in them,
// each framed and on its way before the next. What comes before the first event
// is the protocol's own. Start at New.
package jsonevent

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"clary/internal/aws/apierr"
	"clary/internal/aws/codec/eventstream"
	"clary/internal/aws/facts"
)

// Sender writes the events of one stream.
type Sender struct {
	w     http.ResponseWriter
	rc    *http.ResponseController
	shape *facts.Shape
	buf   []byte
}

// New gives the sender of an operation's stream, or an error if it has none.
func New(w http.ResponseWriter, op *facts.Operation) (*Sender, error) {
	if op.Output != nil {
		for _, m := range op.Output.Members {
			if m.Shape.EventStream {
				return &Sender{w: w, rc: http.NewResponseController(w), shape: m.Shape}, nil
			}
		}
	}
	return nil, fmt.Errorf("%s has no stream of events", op.Name)
}

// All sends what each gives to send. The error that each ends with is the last
// event, if the stream has a member of its code; else it is returned.
func (s *Sender) All(each func(send func(event any) error) error) error {
	err := each(s.send)
	e, ok := errors.AsType[*apierr.Error](err)
	if !ok {
		return err
	}
	m := s.shape.Member(e.Code)
	if m == nil || !m.Shape.Exception {
		return err
	}
	members := map[string]string{"message": e.Message}
	if m.Shape.Member("Message") != nil {
		members["Message"] = e.Message
	}
	maps.Copy(members, e.Fields)
	body, err := json.Marshal(members, json.Deterministic(true), jsontext.AllowInvalidUTF8(true))
	if err != nil {
		return err
	}
	return s.Write("exception", ":exception-type", e.Code, "application/json", body)
}

// send writes the member of event that is set.
func (s *Sender) send(event any) error {
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
		m := s.shape.Member(name)
		if m == nil {
			return fmt.Errorf("%s has no event %s", s.shape.Name, name)
		}
		if p := payload(m.Shape); p != nil {
			return s.Write("event", ":event-type", name, "application/octet-stream", f.Elem().FieldByName(facts.GoName(p.Name)).Bytes())
		}
		body, err := json.Marshal(f.Interface(), json.Deterministic(true), jsontext.AllowInvalidUTF8(true))
		if err != nil {
			return fmt.Errorf("event %s: %w", name, err)
		}
		return s.Write("event", ":event-type", name, "application/json", body)
	}
	return fmt.Errorf("event %T has no member", event)
}

// payload is the member of an event that is its bytes as they are.
func payload(event *facts.Shape) *facts.Member {
	for _, m := range event.Members {
		if m.EventPayload && m.Shape.Type == facts.Blob {
			return m
		}
	}
	return nil
}

// Write sends one message.
func (s *Sender) Write(kind, typeName, name, contentType string, body []byte) error {
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
