// Package training is the TrainingJob family: its operations and the
// reconciler that carries a job from Starting to its end.
//
// A create is one transaction; everything after it is done by Reconcile, which
// observes the record and the task, lets the pure function next decide, takes
// one effect and commits one transaction. The package never starts compute
// from an operation and never trusts anything but the record and the driver's
// status. Start at next.go.
package training
