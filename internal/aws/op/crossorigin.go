package op

import "context"

// Cross is what a browser says when a page of one origin asks another.
type Cross struct {
	Path    string // of the resource, bucket first
	Origin  string
	Method  string // of the request, or of the one that a preflight announces
	Headers string // Access-Control-Request-Headers of a preflight
	// Preflight is a question before the request; nobody signs it.
	Preflight bool
}

// CrossOrigin is a Service whose resources have rules of their own about pages
// of other origins. Without such rules no page is let in.
type CrossOrigin interface {
	// CrossOrigin gives the headers that a resource's rules add to an answer:
	// none when they do not let the page in, which for a preflight is an error.
	CrossOrigin(ctx context.Context, c Cross) (map[string]string, error)
}
