// Package supervisor is the process that watches over one task. It outlives
// the server, is the parent of the task's init, which dies with it, and its
// word in status.json is the truth about how the task ended. It must never
// start a task a second time, nor believe what the task says about its end.
// Start reading at Run.
package supervisor
