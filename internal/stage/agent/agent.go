// Package agent is what a server and the first process of a notebook instance
// say to each other. The server writes an Order into the task; the process
// answers on Port of the task's 127.0.0.1, by HTTP and JSON:
//
//	GET  /state     State
//	POST /created   the server has it durably that OnCreate ended well: the
//	                run, which waits for that, goes on
//	GET  /activity  Sample
//	POST /warn      Warning: open tabs show it
//	POST /save      open tabs save what they hold; answers when they have, or
//	                after a moment if none is there
//
// and of a task that rescues what lies on a volume:
//
//	GET  /rescue       Rescue
//	GET  /rescue/NAME  the bytes of one of its files
//
// The JSON is that of encoding/json: durations are numbers of nanoseconds.
//
// It is plain data. The user's own programs can reach the port too: what is
// said there is about their instance alone, and nothing else rests on it.
package agent

import "time"

const (
	// Port is where the first process answers.
	Port = 8889
	// OrderFile is where the task finds its Order. The first process reads it
	// and removes it.
	OrderFile = "/opt/ml/metadata/clary-order.json"
	// Mark is around the name of a stream at the begin of a line of output that
	// belongs there, not into the instance's main log: Mark + "LifecycleConfigOnStart" + Mark + text.
	Mark = "\x1f"
)

// The streams of lifecycle scripts, below the instance's name, as on AWS.
const (
	StreamOnCreate = "LifecycleConfigOnCreate"
	StreamOnStart  = "LifecycleConfigOnStart"
)

// Order is what a run of a notebook instance does before JupyterLab is started.
type Order struct {
	Name         string // of the instance
	Arn          string // of the instance
	Lifecycle    string // ARN of its lifecycle configuration; "" none
	Repositories []Repository
	OnCreate     string        // a script, until one run has ended it well; "" none
	OnStart      string        // a script of each run; "" none
	Limit        time.Duration // of each script; 0 is AWS's five minutes
	Root         bool          // the user may become root
	Open         string        // the folder below SageMaker at which JupyterLab opens; "" SageMaker itself
	Shelter      *Shelter
}

// Repository is cloned unless its folder is there, or an earlier run did it.
type Repository struct {
	URL    string // https
	Branch string // "" the remote's own
	Folder string // below SageMaker, one name
	Secret string // ARN or name of what Secrets Manager has for it; "" none
	Cloned bool   // by an earlier run: its secret is still for whoever pushes
}

// Shelter asks for a rescue of what lies on the volume, instead of JupyterLab.
type Shelter struct {
	MaxLoose int64 // bytes of loose files, before compression
}

// Phase is how far a run has come.
type Phase string

// The phases, in their order. Failed may follow each of the first three.
const (
	Cloning  Phase = "Cloning"
	Creating Phase = "OnCreate"
	Starting Phase = "OnStart"
	Serving  Phase = "Serving" // JupyterLab is started, and again when that is asked for
	Failed   Phase = "Failed"  // the process waits to be stopped
)

// State is how a run stands.
type State struct {
	Phase   Phase
	For     time.Duration // it has been so
	Failure string        // why, in words for FailureReason
	Cloned  []string      // folders that this run cloned, or found
	Created bool          // OnCreate has ended well; the Phase stays OnCreate until /created is told
}

// Sample is what can be seen of an instance at one moment. What it means is
// for others to say.
type Sample struct {
	At time.Time
	// Up is a clock that nobody sets and that stands while the machine sleeps.
	// The other times of a sample are given by their distance from At, so that
	// they are right against Up even if the machine's clock was set meanwhile.
	Up          time.Duration
	Booted      time.Time // when JupyterLab was started
	Jupyter     int       // its process
	Kernels     []Kernel
	Terminals   []Terminal
	Saved       time.Time // somebody's last change of a document through JupyterLab; zero: none
	Kept        time.Time // when somebody last asked to keep the instance running; zero: never
	Tabs        int       // open pages of JupyterLab
	Processes   []Process
	Connections []Connection
}

// Kernel is one of JupyterLab's.
type Kernel struct {
	ID          string
	Name        string    // conda_python3
	Document    string    // the notebook's path, or a console's name; "" none
	PID         int       // as the task sees it; 0 unknown
	State       string    // busy, idle, starting, ...
	Last        time.Time // when it was last asked something by a person's doing, or ended doing so
	Connections int       // open tabs
}

// Terminal is one of JupyterLab's.
type Terminal struct {
	Name        string
	PID         int       // of its shell
	Input       time.Time // the last key; zero: none
	Connections int       // open tabs
}

// What a process waits for.
const (
	WaitsInput = "input" // of a file, a terminal, a socket
	WaitsTime  = "time"  // to pass
	WaitsChild = "child" // to end
	WaitsLock  = "lock"  // of another thread or process
)

// Process is one of the instance.
type Process struct {
	PID, Parent int
	Args        string // joined by spaces, the first 256 bytes
	State       string // R, S, D, Z, T as in proc_pid_stat(5)
	Started     time.Time
	CPU         time.Duration // so far, user and system
	Read, Wrote int64         // bytes so far, of all files and sockets; -1 unknown
	TTY         int           // 0 none
	Foreground  bool          // of its terminal
	Own         bool          // one of the instance's own: the first process, JupyterLab, what keeps them
	Waits       string        // what its first thread waits for; "" unknown, or it runs
	Listens     []int         // TCP ports
}

// Connection is an established TCP connection of the instance.
type Connection struct {
	PID         int // 0 unknown
	Local, Peer string
}

// Warning tells whoever has a tab open that the instance will be stopped.
type Warning struct {
	StopAt time.Time // zero: no longer
	Idle   time.Duration
	Budget string `json:",omitempty"` // it is stopped for one, and cannot be kept
}

// Rescue is what a task found worth keeping on a volume.
type Rescue struct {
	Ready   bool
	Failure string
	Files   []File
	Notes   []string // what was left out, and why
}

// File is one of a rescue's.
type File struct {
	Name   string // repo.bundle, loose.tar.gz
	From   string // the folder below SageMaker; "." SageMaker itself
	What   string // in words
	Bytes  int64
	SHA256 string
}

// Manifest is manifest.json beside a rescue's files, in the bucket. It is
// written last.
type Manifest struct {
	Instance string // its name
	Arn      string
	At       time.Time // UTC
	Files    []File
	Notes    []string
}
