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
	"net"
	"time"

	"clary/internal/stage/plan"
)

var (
	// ErrNotFound says that the driver knows no such task.
	ErrNotFound = errors.New("task not found")
	// ErrCapacity says that the task does not fit now; try again later.
	ErrCapacity = errors.New("no capacity")
	// ErrRefused says that nobody listens on the port.
	ErrRefused = errors.New("connection refused inside the task")
	// ErrNoVolume says that a task mounts a volume that nobody has made.
	ErrNoVolume = errors.New("volume not found")
	// ErrInUse says that a task which has not ended mounts the volume; try
	// again when it has.
	ErrInUse = errors.New("volume in use")
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
	Files      []File
	User       *User // nil: root of the task
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

// Mount shows a host folder, or a volume, inside the task.
type Mount struct {
	Host     string
	Volume   VolumeID // instead of Host; always writable, owned by the task's user
	Path     string
	Writable bool
}

// File is written into the task before its program starts, for its user to
// read.
type File struct {
	Path string // absolute
	Mode uint32 // permission bits
	Data []byte
}

// User is whom the program runs as. Where the driver cannot give a task more
// than one user, the program is root of the task and only Home is honoured.
type User struct {
	Name string // ec2-user, uid 1000
	Home string
	// Sudo lets the user become root of the task: the capabilities SETUID,
	// SETGID, CHOWN, DAC_OVERRIDE and FOWNER stay, inside its namespace alone.
	Sudo bool
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
	Host string // algo-1
	// Peers are all hosts of the job in order, Host among them. They reach each
	// other by these names, whatever else is said here, and nobody else does.
	// Those of one job have ids that differ in the instance number alone.
	Peers    []string
	Isolated bool // neither API, credentials nor outside
	Egress   bool // HTTP(S) proxy to the outside world, filtered
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

// The phases, in their order; Lost ends them as Ended does.
const (
	Starting Phase = "Starting" // accepted; the program's tree is being made
	Running  Phase = "Running"
	Ended    Phase = "Ended" // Exit is set
	Lost     Phase = "Lost"  // its supervisor vanished without a status; Heartbeat is the last sign of life
)

// TaskStatus is the supervisor's word on a task. Its times lie on one line: the
// host's wall clock when the task began, and from there on the boot clock. So
// what lies between two of them has passed, whatever was done to the wall clock.
type TaskStatus struct {
	Phase     Phase
	Created   time.Time // accepted by the driver
	Started   time.Time // init runs
	Steps     []Step    // stage's reports in order, monotonic, at most 64
	Heartbeat time.Time
	Suspended time.Duration // time the machine slept while the task ran
	Exit      *Exit
	Spooled   int64 // bytes of output so far; final once Phase is Ended or Lost
	Usage     Usage // as of a heartbeat, or of the end
}

// Usage is what a task uses of its Resources. Zero members are unknown.
type Usage struct {
	At time.Time // between the status's other times
	// CPU is the processor time of all its processes since it began: a busy
	// processor makes a second each second.
	CPU time.Duration
	// Memory is the bytes in use, without what the kernel would drop for a
	// program. At the end it is that of the last heartbeat, or the peak of a task
	// that had none.
	Memory int64
	Disk   int64 // bytes that the task's own disk holds
}

// Step is one report of stage.
type Step struct {
	Name string
	At   time.Time
}

// Reason says why a task ended.
type Reason string

// The reasons.
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

// VolumeID names a volume: the UID of the record that owns it.
type VolumeID string

// Volumes is a driver that keeps volumes, which outlive tasks. One task at a
// time mounts a volume: Start of another says ErrInUse, and of one whose volume
// is not there ErrNoVolume. Every method is idempotent.
type Volumes interface {
	// EnsureVolume makes a volume of a size, or grows it; it never shrinks.
	// ErrInUse if it would have to grow while a task mounts it.
	EnsureVolume(ctx context.Context, id VolumeID, bytes int64) error
	RemoveVolume(ctx context.Context, id VolumeID) error // and all that is in it; nil if unknown. ErrInUse
	ListVolumes(ctx context.Context) ([]VolumeID, error)
}

// Dialer is a driver that reaches a program's own listener.
type Dialer interface {
	// Dial connects to a TCP port on 127.0.0.1 as the task sees it.
	// ErrNotFound: no such task, or it does not run; ErrRefused: nobody
	// listens there.
	Dial(ctx context.Context, id TaskID, port int) (net.Conn, error)
}

// Renewer is a driver that hands a running task fresh credentials of its role,
// for tasks that outlive a session.
type Renewer interface {
	// Renew replaces the identity with which the task acts, durably; its program
	// finds the new one where it found the first, the next time it asks. The
	// region stays. ErrNotFound; nil and without effect once the task has ended.
	Renew(ctx context.Context, id TaskID, fresh Identity) error
}

// Capacity is what a driver could find out about its machine.
type Capacity struct {
	VCPU        int
	MemoryBytes int64
	GPUs        int
	Tasks       int      // that run at once at most; 0: unknown
	Root        bool     // tasks get uids of their own
	Limits      bool     // memory, CPU and process limits are enforced by the kernel
	Volumes     bool     // so is the size of what a task may write
	Notes       []string // what is missing, in words, for doctor
}
