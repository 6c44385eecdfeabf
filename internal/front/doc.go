// Package front is the door: one port for HTTP, TLS and the CONNECT proxy, and
// a socket for tasks. It bounds and cleans what comes in, turns a signature
// into a call, finds service and operation, has the codec decode and check,
// asks whether the principal may, and has the handler serve.
//
// It must never reach a handler with a request that was not authenticated,
// authorised and validated, never read a tunnel's bytes, and never log a
// signature. Start at Config and New; a request's way is in request.go.
package front
