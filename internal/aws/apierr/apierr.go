// Package apierr is the error that a client sees: a code, an HTTP status and a
// message in AWS's words. Codecs put it on the wire; nothing else does.
package apierr

import (
	"errors"
	"fmt"
	"net/http"
)

// Error is a modelled error. Fields are further members of its body.
type Error struct {
	Code    string
	Status  int
	Message string
	Fields  map[string]string
}

func (e *Error) Error() string { return e.Code + ": " + e.Message }

// New makes an error with the given HTTP status.
func New(status int, code, format string, args ...any) *Error {
	return &Error{Code: code, Status: status, Message: fmt.Sprintf(format, args...)}
}

// Validation is HTTP 400 ValidationException.
func Validation(format string, args ...any) *Error {
	return New(http.StatusBadRequest, "ValidationException", format, args...)
}

// InUse is HTTP 400 ResourceInUse.
func InUse(format string, args ...any) *Error {
	return New(http.StatusBadRequest, "ResourceInUse", format, args...)
}

// NotFound is HTTP 400 ResourceNotFound.
func NotFound(format string, args ...any) *Error {
	return New(http.StatusBadRequest, "ResourceNotFound", format, args...)
}

// AccessDenied is HTTP 400 AccessDeniedException, as the JSON protocols word it.
func AccessDenied(format string, args ...any) *Error {
	return New(http.StatusBadRequest, "AccessDeniedException", format, args...)
}

// Unsupported is the answer to an operation of the model that has no
// behaviour here: HTTP 400, which no client retries and no waiter reads as
// "gone".
func Unsupported(service, operation string) *Error {
	return New(http.StatusBadRequest, "UnsupportedOperation",
		"Clary does not support %s:%s. The request was valid; nothing was changed.", service, operation)
}

// From finds the *Error in err; any other error is InternalFailure with a text
// that shows nothing of its cause.
func From(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return New(http.StatusInternalServerError, "InternalFailure", "The request failed because of an internal error. See the server's log for this request id.")
}
