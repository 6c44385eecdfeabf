// Package query is the wire format of STS, IAM and CloudWatch's older clients:
// a form in, XML out. Error codes leave in the spelling of this protocol
// (AccessDenied, ValidationError), whatever the handler called them. Start at
// Codec; decode.go reads forms, encode.go writes XML.
package query
