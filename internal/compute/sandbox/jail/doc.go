// Package jail is the inside of a task: the init that builds the task's root
// and network and stays its process 1, the way from there to the user's
// program, and the confinement of both. It runs in the small binary only.
//
// Three processes of ours stand in a task. Init is process 1 of the task's pid
// namespace and dies with its supervisor. Stage (if the task has a plan) runs
// below it without privileges. Warden prepares a pid namespace of the program's
// own, from where neither stage nor its socket can be seen, and becomes the
// program there, as process 1. Each of stage and warden has a user namespace
// below init's, so neither has a capability over init.
//
// Descriptors only flow out of a task: init opens the listeners and hands them
// to the supervisor; nothing is ever received. Start reading at Init.
package jail
