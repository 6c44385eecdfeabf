// Package codec is the contract between the front door and the wire formats:
// one codec turns a request of one protocol into a typed input and a typed
// output or an error back into a response. A codec knows the service model and
// no service; it never reads a record and decides nothing.
package codec

import (
	"net/http"

	"clary/internal/aws/apierr"
	"clary/internal/aws/facts"
)

// Codec reads and writes one AWS protocol.
type Codec interface {
	// Decode reads the request into in, a pointer to the input struct of op in
	// package api, and checks it against every constraint of the model; in may
	// be nil, then the request is only checked. body is the whole body; for an
	// operation whose input streams it is nil and the bytes are in r.Body.
	// Errors are *apierr.Error: SerializationException for what cannot be read,
	// ValidationException naming every violation.
	Decode(op *facts.Operation, r *http.Request, body []byte, in any) error
	// Encode answers with out, a pointer to the output struct of op, or nil for
	// an operation without output. An error means that nothing was written.
	Encode(w http.ResponseWriter, r *http.Request, op *facts.Operation, out any, requestID string) error
	// EncodeError answers with err. op may be nil when none was found. r tells
	// how the client wants errors (x-amzn-query-mode).
	EncodeError(w http.ResponseWriter, r *http.Request, op *facts.Operation, err *apierr.Error, requestID string)
}

// JSONEncoder is a Codec whose outputs can be encoded once and sent often.
type JSONEncoder interface {
	Codec
	// JSON is the body that Encode would send.
	JSON(op *facts.Operation, out any) ([]byte, error)
	// Send answers with such a body.
	Send(w http.ResponseWriter, body []byte, requestID string)
}

// EventEncoder is a Codec that can answer with a stream of events.
type EventEncoder interface {
	Codec
	// Events answers with the events of an operation's one streaming member:
	// each sends them, pointers to structs of which one member is set, and
	// each is on the wire when send returns. An *apierr.Error of each that the
	// stream has a member for is its last event. head, a pointer to the output
	// or nil, has the members beside the stream.
	Events(w http.ResponseWriter, op *facts.Operation, head any, each func(send func(event any) error) error, requestID string) error
}

// QueryError is the value of X-Amzn-Query-Error: e's code as the query
// protocol spells it, for clients that say that they know it by that name. It
// is "" when nobody asked.
func QueryError(op *facts.Operation, r *http.Request, e *apierr.Error) string {
	if !op.Model.QueryCompatible || r.Header.Get("X-Amzn-Query-Mode") != "true" {
		return ""
	}
	code, who := e.Code, "Sender"
	if code == "ValidationException" {
		code = "ValidationError"
	}
	if s := op.Model.Shapes[e.Code]; s != nil && s.ErrorCode != "" {
		code = s.ErrorCode
	}
	if e.Status >= http.StatusInternalServerError {
		who = "Receiver"
	}
	return code + ";" + who
}
