// Package sandbox is the compute driver that needs no daemon and no image: a
// task sees the host's /usr, a runtime's folder and files of its own, in
// namespaces of its own, watched by a supervisor that outlives the server.
//
// The driver writes a task's folder, starts its supervisor and reads what that
// wrote; it holds nothing that it could not read again. It must never signal a
// process by a number it once knew, nor start a task whose supervisor has ever
// begun. Start reading at Driver.Start; the folder is described in package
// task, the supervisor in package supervisor, the inside in package jail.
package sandbox
