// Package processing is the ProcessingJob family: its operations, and what a
// request asks of the engine (internal/job) that carries it to its end. The
// package starts nothing; start at check.go and work.go.
package processing
