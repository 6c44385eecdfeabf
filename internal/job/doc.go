// Package job is the engine of work that ends: it carries jobs of every kind
// from their creation to their end, on one instance or on several, each of one
// container or of several. A feature says what its kind of job is (Family), reads
// its records as Work, and keeps its operations to itself.
//
// A create is one transaction; everything after it is done by Reconcile, which
// observes the record and the tasks, lets the pure function next decide, takes
// one effect and commits one transaction. The package never starts compute
// from an operation and never trusts anything but the record and the driver's
// status. Start at next.go; hosts.go says what several instances are together.
package job
