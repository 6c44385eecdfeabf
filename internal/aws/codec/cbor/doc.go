// Package cbor is the wire format Smithy RPC v2 CBOR, which CloudWatch's newer
// clients speak: the operation in the path, a CBOR map in the body, and out
// again. A CBOR value becomes the same tree that JSON becomes, so that the
// model's constraints are checked in one place. It must never take a value
// that the request's shape does not name as something else than what it is: a
// timestamp is tag 1, a blob is bytes. Start at Codec; value.go turns values.
package cbor
