package stage

import (
	"context"
	"io"
	"net"
	"os"
	"time"

	"clary/internal/client"
)

// Program is the user's program.
type Program struct {
	Args []string // Args[0] is looked up in the PATH of Env when it has no slash
	Env  []string
	Dir  string
	// Output receives stdout and stderr where Host.Output is nil. Launch only
	// hands the descriptor on: stage closes it.
	Output *os.File
}

// Process is a running program. Wait is called once. Signal reaches the
// program alone; what it leaves behind is the driver's to end.
type Process interface {
	Signal(os.Signal) error
	Wait() (code int, signal string, err error)
}

// Host is what a driver lends to stage.
type Host struct {
	Launch func(Program) (Process, error)
	// Output is where the program's stdout and stderr can be read; nil: stage
	// makes a pipe and gives Launch its other end.
	Output *os.File
	Report func(step string) error // advice: an error never fails a job
	API    *client.Client          // nil when the task is isolated and stage needs no S3
	Stop   <-chan struct{}         // closed when the task shall end
	Grace  time.Duration           // from SIGTERM to SIGKILL
	Env    map[string]string       // the task's environment, before stage adds its own
	// Program is what to run. Env of it is ignored: Env above is used.
	Program Program
	Root    string    // "/" inside a task
	Stderr  io.Writer // stage's own lines in the job's log
	// Dial reaches the servers of a transform job, this task's and those of its
	// peers; nil: as any program does.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}
