// Package router answers InvokeEndpoint: it finds an endpoint's variants and
// instances in its record, passes each request to the containers of one
// instance, and words what they answer as SageMaker's runtime does. It counts
// what passes, and captures of it what the endpoint's configuration asks for.
//
// It must never trust what a container answers, never hold up an answer for
// metrics or captured data, never ask twice what a container may have begun to
// answer, and keep nothing that it cannot read again. Start at InvokeEndpoint.
package router
