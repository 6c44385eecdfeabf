package sandbox

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"time"
)

// Config says where and with what tasks run.
type Config struct {
	Dir        string // DATA/tasks; made if missing
	Volumes    string // DATA/volumes, the folder of those that outlive tasks; "": beside Dir
	TaskBinary string // the small binary, readable by everyone
	APISocket  string // the server's task listener; "" for none
	CABundle   string // a file shown to tasks that trust more than the system does; "" for none

	EgressAllow []netip.Prefix // ranges that tasks may reach besides the outside world
	// HTTPProxy, HTTPSProxy and NoProxy are the host's own way out.
	HTTPProxy, HTTPSProxy, NoProxy string

	UploadLimit time.Duration // for stage after the program's end; 0: 25 hours, as stage waits a day for a server that is away
	MaxOutput   int64         // bytes of output kept of one task; 0: 4 GiB
	MaxTasks    int           // that run at once; 0: 8 per processor, 32 at least
	MinFree     int64         // memory that must be free to start one more; 0: 128 MiB
}

func (c Config) checked() (Config, error) {
	if c.Dir == "" || c.TaskBinary == "" {
		return c, errors.New("sandbox: Dir and TaskBinary are required")
	}
	if c.UploadLimit == 0 {
		c.UploadLimit = 25 * time.Hour
	}
	if c.MaxOutput == 0 {
		c.MaxOutput = 4 << 30
	}
	if c.MaxTasks == 0 {
		c.MaxTasks = max(32, 8*runtime.NumCPU())
	}
	if c.MinFree == 0 {
		c.MinFree = 128 << 20
	}
	var err error
	if c.Dir, err = filepath.Abs(c.Dir); err != nil {
		return c, err
	}
	if c.Volumes == "" {
		c.Volumes = filepath.Join(filepath.Dir(c.Dir), "volumes")
	}
	if c.Volumes, err = filepath.Abs(c.Volumes); err != nil {
		return c, err
	}
	return c, errors.Join(os.MkdirAll(c.Dir, 0o700), os.MkdirAll(c.Volumes, 0o700))
}
