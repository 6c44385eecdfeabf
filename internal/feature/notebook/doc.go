// Package notebook is the NotebookInstance family: its operations and the
// reconciler that keeps a JupyterLab running on a volume that outlives it.
//
// Every call is one transaction; what follows is done by Reconcile, which
// observes the record, the task and the program in it, lets the pure function
// next decide, takes one effect and commits the new state together with its
// usage. A notebook runs many tasks in its life, one after the other, named by
// the record's UID and a count that is written before the task begins. It must
// never start a task while an earlier one may hold the volume, say InService
// of a program that did not answer, destroy a volume before what is worth
// keeping on it is kept, or import a driver, a store adapter or another
// feature.
//
// Start reading at next.go; bill.go says which seconds count, code.go what a
// run does before JupyterLab, idle.go when nobody uses it, rescue.go what comes
// before the end. agent.go speaks with the first process of a task.
package notebook
