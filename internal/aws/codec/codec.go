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
