package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"

	"clary/internal/compute"
	"clary/internal/compute/sandbox/filter"
	"clary/internal/compute/sandbox/task"
)

// Driver runs tasks below one folder. Several may look at the same folder, one
// after the other; two at once are safe but waste watches.
type Driver struct {
	cfg  Config
	root bool
	// filter is of system calls, the same for every task; those of users may
	// give files to one more id.
	filter, usersFilter []byte

	volumes *templates

	ctx     context.Context // ends the watches
	cancel  context.CancelFunc
	wg      sync.WaitGroup
	changes chan compute.TaskID

	// making has a lock for each volume that is being made, grown or removed,
	// which is taken before mu.
	making  sync.Map
	mu      sync.Mutex // guards the maps, and is held while a task is accepted
	watches map[compute.TaskID]*watch
	uids    map[int]compute.TaskID
	// spawned are the supervisors that this process has started and that have
	// not ended: one that did not get as far as its lock needs no second.
	spawned map[compute.TaskID]*starting
	// beginning counts tasks that were accepted and are not watched yet.
	beginning int
}

var _ compute.Driver = (*Driver)(nil)

// New opens the folder and goes on watching the tasks in it. Close it.
func New(cfg Config) (*Driver, error) {
	cfg, err := cfg.checked()
	if err != nil {
		return nil, err
	}
	d := &Driver{
		cfg: cfg, root: privileged(),
		changes: make(chan compute.TaskID, 1024),
		watches: map[compute.TaskID]*watch{}, uids: map[int]compute.TaskID{}, spawned: map[compute.TaskID]*starting{},
	}
	if d.filter, err = filter.Assemble(); err != nil {
		return nil, fmt.Errorf("sandbox: system call filter: %w", err)
	}
	if d.usersFilter, err = filter.Assemble(task.UserID); err != nil {
		return nil, fmt.Errorf("sandbox: system call filter: %w", err)
	}
	if err := d.sweepVolumes(); err != nil {
		return nil, fmt.Errorf("sandbox: %w", err)
	}
	d.volumes = &templates{dir: filepath.Join(cfg.Dir, ".volumes"), quit: make(chan struct{})}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	entries, err := os.ReadDir(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("sandbox: %w", err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			// A task that was not accepted yet, or was being removed.
			if err := d.erase(filepath.Join(cfg.Dir, e.Name())); err != nil {
				return nil, err
			}
			continue
		}
		id := compute.TaskID(e.Name())
		if checkID(id) != nil {
			continue
		}
		s, err := task.ReadSpec(d.dir(id))
		if err != nil {
			continue // one broken disk block must not keep the server down; Status says it
		}
		d.uids[s.HostUID] = id
		if st, err := task.ReadStatus(d.dir(id)); err != nil || st.Phase != compute.Ended {
			d.watch(id)
		}
	}
	return d, nil
}

// Close ends the watches; tasks go on.
func (d *Driver) Close() error {
	d.cancel()
	d.wg.Wait()
	d.volumes.close()
	return nil
}

// Name is the driver's name in settings.
func (d *Driver) Name() string { return "sandbox" }

// Changes delivers ids of tasks whose status may have changed.
func (d *Driver) Changes() <-chan compute.TaskID { return d.changes }

func (d *Driver) dir(id compute.TaskID) string { return filepath.Join(d.cfg.Dir, string(id)) }

var idPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,39}$`) //nolint:gochecknoglobals // a constant

func checkID(id compute.TaskID) error {
	if !idPattern.MatchString(string(id)) {
		return fmt.Errorf("task id %q is not of [a-z0-9-]{1,40}", id)
	}
	return nil
}

// known is ErrNotFound for a task that is not here.
func (d *Driver) known(id compute.TaskID) error {
	if err := checkID(id); err != nil {
		return fmt.Errorf("%w: %s", compute.ErrNotFound, id)
	}
	if _, err := os.Stat(filepath.Join(d.dir(id), task.SpecFile)); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %s", compute.ErrNotFound, id)
	} else if err != nil {
		return fmt.Errorf("task %s: %w", id, err)
	}
	return nil
}

// List names every task of the folder.
func (d *Driver) List(context.Context) ([]compute.TaskID, error) {
	entries, err := os.ReadDir(d.cfg.Dir)
	if err != nil {
		return nil, err
	}
	ids := []compute.TaskID{}
	for _, e := range entries {
		if id := compute.TaskID(e.Name()); checkID(id) == nil {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// Status tells what the supervisor wrote, and whether it is still there.
func (d *Driver) Status(_ context.Context, id compute.TaskID) (compute.TaskStatus, error) {
	if err := d.known(id); err != nil {
		return compute.TaskStatus{}, err
	}
	st, err := d.status(id)
	if errors.Is(err, fs.ErrNotExist) && d.known(id) != nil {
		return compute.TaskStatus{}, fmt.Errorf("%w: %s", compute.ErrNotFound, id)
	}
	return st, err
}

func (d *Driver) status(id compute.TaskID) (compute.TaskStatus, error) {
	dir := d.dir(id)
	st, err := task.ReadStatus(dir)
	if err == nil && st.Phase == compute.Ended {
		return st.TaskStatus, nil
	}
	if errors.Is(err, task.ErrTorn) {
		return d.torn(id, err)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return compute.TaskStatus{}, fmt.Errorf("task %s: %w", id, err)
	}
	begun := err == nil
	// The supervisor that wrote what we read had the lock then. If nobody has
	// it now, that one is gone, and its last word can be read.
	alive, err := task.Alive(dir)
	if err != nil {
		return compute.TaskStatus{}, err
	}
	switch {
	case begun && !alive:
		if st, err = task.ReadStatus(dir); err != nil {
			return compute.TaskStatus{}, fmt.Errorf("task %s: %w", id, err)
		}
		if st.Phase == compute.Ended {
			return st.TaskStatus, nil
		}
		st.Phase = compute.Lost
	case !begun:
		s, err := task.ReadSpec(dir)
		if err != nil {
			return compute.TaskStatus{}, err
		}
		if !alive {
			// Perhaps nothing has ever begun: the power went between the
			// accepting and the starting. A second supervisor yields to the
			// first.
			if err := d.spawn(id); err != nil {
				return compute.TaskStatus{}, err
			}
		}
		return compute.TaskStatus{Phase: compute.Starting, Created: s.Created}, nil
	}
	if info, err := os.Stat(filepath.Join(dir, task.SpoolFile)); err == nil {
		st.Spooled = info.Size()
	}
	return st.TaskStatus, nil
}

// torn is the status of a task that had begun when the power went, and of which
// nothing more is known.
func (d *Driver) torn(id compute.TaskID, why error) (compute.TaskStatus, error) {
	dir := d.dir(id)
	if alive, err := task.Alive(dir); err != nil || alive {
		return compute.TaskStatus{}, errors.Join(why, err)
	}
	s, err := task.ReadSpec(dir)
	if err != nil {
		return compute.TaskStatus{}, err
	}
	st := compute.TaskStatus{Phase: compute.Lost, Created: s.Created, Heartbeat: s.Created}
	if info, err := os.Stat(filepath.Join(dir, task.StatusFile)); err == nil && info.ModTime().After(s.Created) {
		st.Heartbeat = info.ModTime()
	}
	if info, err := os.Stat(filepath.Join(dir, task.SpoolFile)); err == nil {
		st.Spooled = info.Size()
	}
	return st, nil
}
