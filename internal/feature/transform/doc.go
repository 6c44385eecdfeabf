// Package transform is the TransformJob family: its operations, and what a
// request and its model ask of the engine (internal/job) that carries the job to
// its end. A model is read when a job is created, and kept in its record: it may
// be deleted while the job waits. The package starts nothing; start at check.go
// and work.go.
package transform
