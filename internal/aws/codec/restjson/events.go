package restjson

import (
	"net/http"
	"reflect"

	"clary/internal/aws/codec"
	"clary/internal/aws/codec/eventstream"
	"clary/internal/aws/codec/jsonevent"
	"clary/internal/aws/facts"
)

var _ codec.EventEncoder = Codec{}

// Events implements codec.EventEncoder. The members beside the stream stand in
// headers.
func (c Codec) Events(w http.ResponseWriter, op *facts.Operation, head any, each func(send func(event any) error) error, requestID string) error {
	s, err := jsonevent.New(w, op)
	if err != nil {
		return err
	}
	h := w.Header()
	if v := reflect.ValueOf(head); head != nil && !v.IsNil() {
		if err := setHead(h, op, v.Elem()); err != nil {
			return err
		}
	}
	h.Set("Content-Type", eventstream.ContentType)
	h.Set("X-Amzn-Requestid", requestID)
	w.WriteHeader(op.HTTP.Code)
	if err := http.NewResponseController(w).Flush(); err != nil { // the first event may be long in coming
		return err
	}
	return s.All(each)
}
