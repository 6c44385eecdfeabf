// Package endpoint is the Endpoint family: its operations and the reconciler
// that keeps the instances of real-time inference running.
//
// Every call is one transaction. Create and Update read the configuration and
// the models that it names into the endpoint's own record, so that what runs
// does not depend on them any more; what follows is done by Reconcile, which
// observes the record, the tasks and what answers in them, lets the pure
// function next decide, takes one effect and commits the new state with its
// usage. Each change of what an endpoint is meant to be is a deployment: its
// instances start beside those of the one that serves, and take the traffic in
// one transaction when all of them are healthy.
//
// It must never give traffic to an instance that did not answer /ping, end an
// instance that still has traffic, forget a task before its end is in the
// ledger, or import a driver, a store adapter or another feature: models and
// configurations are read as records.
//
// Start reading at next.go; fleet.go says what becomes of an instance, bill.go
// which seconds count.
package endpoint
