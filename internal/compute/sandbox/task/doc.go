// Package task is what the sandbox driver and a task's supervisor agree on:
// the folder of a task, the files in it, and how each is written and trusted.
// It must never start or signal anything. Start reading at Spec and Status.
//
// A task's folder holds
//
//	spec.json    what to run; written once, before anything happens
//	lock         an open-file-description lock, held while a supervisor lives
//	status.json  the supervisor's word, replaced as a whole
//	spool        the program's output, append-only
//	sock         the supervisor's control socket
//	stop.json    that somebody wants the task to stop
//	identity.json  the role's session since it was renewed
//	vol/         what the task may write (its quota counts it)
//	vol.img      or the same as a file system of its own size, mounted at vol
//	             inside the task alone
//	root/        an empty folder, the mount point of the task's root
package task

// Names inside a task's folder.
const (
	SpecFile     = "spec.json"
	LockFile     = "lock"
	StatusFile   = "status.json"
	SpoolFile    = "spool"
	SockFile     = "sock"
	StopFile     = "stop.json"
	IdentityFile = "identity.json"
	LogFile      = "supervisor.log"
	VolDir       = "vol"
	ImageFile    = "vol.img"
	RootDir      = "root"
)
