package awsjson

import (
	"net/http"

	"clary/internal/aws/codec"
	"clary/internal/aws/codec/eventstream"
	"clary/internal/aws/codec/jsonevent"
	"clary/internal/aws/facts"
)

var _ codec.EventEncoder = Codec{}

// Events implements codec.EventEncoder. The members beside the stream, of which
// no operation of ours has any, would be in the first event.
func (c Codec) Events(w http.ResponseWriter, op *facts.Operation, _ any, each func(send func(event any) error) error, requestID string) error {
	s, err := jsonevent.New(w, op)
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", eventstream.ContentType)
	h.Set("X-Amzn-Requestid", requestID)
	w.WriteHeader(http.StatusOK)
	if err := s.Write("event", ":event-type", "initial-response", c.contentType, []byte("{}")); err != nil {
		return err
	}
	return s.All(each)
}
