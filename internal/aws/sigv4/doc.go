// Package sigv4 checks and makes AWS Signature Version 4: in the
// Authorization header, in a presigned query, and over the chunks and
// trailers of a streamed body. S3's older query signature, which boto3 still
// presigns with at a custom endpoint, is checked too.
//
// It knows no accounts and no wire format: the caller finds the secret between
// Parse and Verify. It must never compare a signature but in constant time,
// nor treat anything as signed that the signature does not cover. Start at
// Parse.
package sigv4

import (
	"fmt"
	"time"
)

const (
	algorithm  = "AWS4-HMAC-SHA256"
	terminator = "aws4_request"
	stampForm  = "20060102T150405Z"

	// Window is how far a request's time may lie from ours.
	Window = 15 * time.Minute
	// MaxExpires is the longest life of a presigned request.
	MaxExpires = 7 * 24 * time.Hour

	// UnsignedPayload stands in for the hash of a payload that is not signed.
	UnsignedPayload = "UNSIGNED-PAYLOAD"
	// StreamingSigned is a body whose chunks are signed one by one.
	StreamingSigned = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
	// StreamingSignedTrailer has signed trailers as well.
	StreamingSignedTrailer = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
	// StreamingUnsignedTrailer has chunks and trailers that are not signed.
	StreamingUnsignedTrailer = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"

	// EmptyHash is the SHA-256 of nothing.
	EmptyHash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
)

// Reason says why a signature was refused. Each protocol has its own code for
// it.
type Reason int

// The reasons.
const (
	Missing     Reason = iota + 1 // nothing is signed
	Malformed                     // a part is absent or cannot be read
	Unsupported                   // another mechanism or algorithm
	Ambiguous                     // more than one mechanism
	Scope                         // the credential scope does not fit the request
	Skewed                        // the request's time is too far from ours
	Expired                       // a presigned request is past its life
	Early                         // a presigned request is from the future
	Uncovered                     // a header that must be signed is not
	Mismatch                      // the signature is another
)

// Error is a refused signature.
type Error struct {
	Reason    Reason
	Presigned bool
	Message   string
	Fields    map[string]string // further members that S3 shows
}

func (e *Error) Error() string { return "signature: " + e.Message }

func (a *Auth) refuse(r Reason, format string, args ...any) *Error {
	return &Error{Reason: r, Presigned: a.Presigned, Message: fmt.Sprintf(format, args...)}
}
