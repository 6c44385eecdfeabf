package task

import (
	"encoding/json"
	"net/netip"
	"time"

	"clary/internal/compute"
)

// Spec is all that a supervisor is told. It holds the role's credentials, so
// its file is readable by the server's user alone.
type Spec struct {
	Task    compute.Task
	Created time.Time
	Env     []string // of the program, complete, each name once
	// HostUID and HostUID+1 are the host's ids for 0 and 1000 inside, the next
	// is stage's own; 0 says that the server may not choose and its own id is
	// used.
	HostUID int `json:",omitempty"`
	// CredentialsPath is where 169.254.170.2 answers; all else there is 404.
	CredentialsPath string
	APISocket       string // the server's task listener; "" for none
	CABundle        string // a file shown to the task; "" for none
	Egress          Egress
	UploadLimit     time.Duration // for stage after the program is over
	MaxOutput       int64         // bytes of the spool
	Limits          Limits
	// Template is an empty file system of the size of Limits.DiskBytes; a copy
	// of it becomes the volume. "": the volume is a folder that is watched.
	Template string `json:",omitempty"`
	Filter   []byte // of system calls, as the kernel takes it
	// Volumes are those of Task.Mounts, in that order.
	Volumes []Volume `json:",omitempty"`
}

// Volume is one that outlives the task.
type Volume struct {
	ID    compute.VolumeID
	Dir   string // its folder on the host
	Image bool   // it is a file system of its own
	Bytes int64
}

// The first of HostUID's ids is root's inside, the second that of Task.User.
const (
	RootID = 0
	UserID = 1000
)

// UserID is whom the program runs as, as it sees it: where the server may give
// a task no ids of its own, there is root alone.
func (s *Spec) UserID() int {
	if s.Task.User == nil || s.HostUID == 0 {
		return RootID
	}
	return UserID
}

// HostUser is the host's id for UserID; 0 is the server's own.
func (s *Spec) HostUser() int {
	if s.UserID() == UserID {
		return s.HostUID + 1
	}
	return s.HostUID
}

// The host ids of tasks lie above those that distributions hand out to users,
// services and containers. Each task has a few: the program's 0 and 1000, and
// stage's own.
const (
	FirstUID  = 1_900_000_000
	LastUID   = 2_000_000_000
	IDsOfTask = 4
)

// IsUsers says whether a file's owner on the host is a task's UserID.
func IsUsers(uid int) bool {
	return uid == UserID || uid >= FirstUID && uid < LastUID && (uid-FirstUID)%IDsOfTask == 1
}

// Identity is what the task in dir acts with now. A renewed one lies in a file
// of its own.
func Identity(dir string, s *Spec) compute.Identity {
	id := s.Task.Identity
	var fresh compute.Identity
	if readJSON(dir+"/"+IdentityFile, &fresh) == nil && fresh.AccessKeyID != "" {
		fresh.Region = id.Region
		return fresh
	}
	return id
}

// Limits are Task.Resources clamped to the machine.
type Limits struct {
	VCPU        int
	MemoryBytes int64
	DiskBytes   int64
	PIDs        int64
}

// Egress says what the proxy for the outside may dial.
type Egress struct {
	// Allow are ranges that would otherwise be refused.
	Allow []netip.Prefix `json:",omitempty"`
	// HTTPProxy, HTTPSProxy and NoProxy are the host's own way out.
	HTTPProxy, HTTPSProxy, NoProxy string `json:",omitempty"`
}

// Status is the supervisor's record of a task.
type Status struct {
	compute.TaskStatus
	Boot      string // the boot in which the rest was true
	PID       int    // of the supervisor; means nothing without Boot and StartTime
	StartTime uint64 // of PID, in ticks since boot
}

// Stop is a wish to end a task.
type Stop struct {
	At    time.Time
	Grace time.Duration
}

// ReadSpec reads the spec of the task in dir.
func ReadSpec(dir string) (*Spec, error) {
	s := new(Spec)
	return s, readJSON(dir+"/"+SpecFile, s)
}

// ReadStatus reads the status of the task in dir; it is an fs.ErrNotExist
// while no supervisor has begun.
func ReadStatus(dir string) (*Status, error) {
	s := new(Status)
	return s, readJSON(dir+"/"+StatusFile, s)
}

// ReadStop reads the wish to stop, if there is one.
func ReadStop(dir string) (*Stop, error) {
	s := new(Stop)
	return s, readJSON(dir+"/"+StopFile, s)
}

func encode(v any) ([]byte, error) { return json.Marshal(v) }
