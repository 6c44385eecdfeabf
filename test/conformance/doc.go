// Package conformance holds a running server against the service models: for
// each operation it sends a request made of the facts alone, and others that
// break one constraint each, through the real front in each protocol that the
// service speaks. What the model forbids must be refused, naming the member;
// every answer must fit the model; nothing may fail on the server's side.
package conformance
