// Package compute is the contract for running work. A task is one instance of
// a job: image, command, files, environment, resources. A driver starts it and
// tells how it stands; it keeps no state that it cannot rebuild by List.
// computetest is the suite that each driver passes, fake the driver that
// simulations tell how to fail.
package compute

import (
	"context"
	"errors"
	"io"
	"time"

	"clary/internal/stage/plan"
)

var (
	// ErrNotFound says that the driver knows no such task.
	ErrNotFound = errors.New("task not found")
	// ErrCapacity says that the task does not fit now; try again later.
	ErrCapacity = errors.New("no capacity")
)

// TaskID is the record's UID, "-" and the instance number from 1:
// [a-z0-9-]{1,40}.
type TaskID string

// Task is all that a driver needs to run one instance.
type Task struct {
	ID         TaskID
	Kind       string // for people: training, build
	Name       string // for people: the job's name
	Image      Image
	Entrypoint []string // nil: Args alone
	Args       []string
	Dir        string // "" is /
	Env        map[string]string
	Plan       plan.Plan
	Mounts     []Mount
	Resources  Resources
	Network    Network
	Identity   Identity
	MaxRuntime time.Duration // 0: none
	Grace      time.Duration // from SIGTERM to SIGKILL at Stop and MaxRuntime
}

// Image is what the task sees as its root. On the sandbox driver it is the
// host's /usr read-only with Env mounted at EnvPath.
type Image struct {
	// Env is the folder of a built runtime on the host, mounted read-only at
	// EnvPath; "" for none.
	Env string
	// Binds are further host folders mounted read-only at their own path (an
	// interpreter outside /usr).
	Binds []string
	Path  []string // folders before the standard PATH
}

// EnvPath is where a task sees its runtime.
const EnvPath = "/opt/clary/env"

// Mount shows a host folder inside the task.
type Mount struct {
	Host, Path string
	Writable   bool
}

// Resources are limits. Zero members do not limit.
type Resources struct {
	VCPU        int
	MemoryBytes int64
	DiskBytes   int64 // what the task may write
	PIDs        int64
}

// Network says whom the task may talk to.
type Network struct {
	Host     string   // algo-1
	Peers    []string // all hosts of the job in order, Host among them
	Isolated bool     // neither API, credentials nor outside
	Egress   bool     // HTTP(S) proxy to the outside world, filtered
}

// Identity is the role's session that the task acts with.
type Identity struct {
	RoleArn         string
	AccessKeyID     string
	SecretAccessKey string
	SessionToken    string
	Expiration      time.Time
	Region          string
}

// Phase is how far a task has come.
type Phase string

const (
	Starting Phase = "Starting" // accepted; the program's tree is being made
	Running  Phase = "Running"
	Ended    Phase = "Ended" // Exit is set
	Lost     Phase = "Lost"  // its supervisor vanished without a status; Heartbeat is the last sign of life
)

// TaskStatus is the supervisor's word on a task. Times are the host's.
type TaskStatus struct {
	Phase     Phase
	Created   time.Time // accepted by the driver
	Started   time.Time // init runs
	Steps     []Step    // stage's reports in order, monotonic, at most 64
	Heartbeat time.Time
	Suspended time.Duration // time the machine slept while the task ran
	Exit      *Exit
	Spooled   int64 // bytes of output so far; final once Phase is Ended or Lost
}

// Step is one report of stage.
type Step struct {
	Name string
	At   time.Time
}

// Reason says why a task ended.
type Reason string

const (
	ReasonExited     Reason = "Exited"
	ReasonStopped    Reason = "Stopped"    // by Stop
	ReasonMaxRuntime Reason = "MaxRuntime" // by its time limit
	ReasonMemory     Reason = "Memory"     // killed for memory
	ReasonDisk       Reason = "Disk"       // wrote more than DiskBytes
	ReasonFailed     Reason = "Failed"     // the task could not be started or its init died; Result.Failure says why
)

// Exit is how a task ended.
type Exit struct {
	Reason     Reason
	At         time.Time
	Result     plan.Result
	PeakMemory int64 // bytes; 0 if unknown
}

// Driver runs tasks. Every method is idempotent on the TaskID.
type Driver interface {
	Name() string
	Probe(ctx context.Context) (Capacity, error)
	Start(ctx context.Context, t Task) error                        // nil if already started; ErrCapacity
	Status(ctx context.Context, id TaskID) (TaskStatus, error)      // ErrNotFound
	Stop(ctx context.Context, id TaskID, grace time.Duration) error // asks; returns at once. ErrNotFound
	Remove(ctx context.Context, id TaskID) error                    // kills what runs, forgets everything. nil if unknown
	List(ctx context.Context) ([]TaskID, error)
	// Spool reads the task's output from a byte offset and follows it until
	// the task has ended and all was read (io.EOF). The bytes are lines of
	// "<unix milliseconds> <text>\n" and never change.
	Spool(ctx context.Context, id TaskID, from int64) (io.ReadCloser, error) // ErrNotFound
	// Changes delivers ids of tasks whose status changed. Hints only.
	Changes() <-chan TaskID
}

// Capacity is what a driver could find out about its machine.
type Capacity struct {
	VCPU        int
	MemoryBytes int64
	GPUs        int
	Root        bool     // tasks get uids of their own
	Limits      bool     // memory, CPU and process limits are enforced by the kernel
	Notes       []string // what is missing, in words, for doctor
}
