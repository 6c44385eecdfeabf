package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"clary/internal/compute"
	"clary/internal/compute/sandbox/limit"
	"clary/internal/compute/sandbox/supervisor"
	"clary/internal/compute/sandbox/task"
)

// Stop asks a task to end. The wish is a file first, so that a supervisor that
// is only starting finds it.
func (d *Driver) Stop(ctx context.Context, id compute.TaskID, grace time.Duration) error {
	if err := d.known(id); err != nil {
		return err
	}
	dir := d.dir(id)
	if st, err := task.ReadStatus(dir); err == nil && st.Phase == compute.Ended {
		return nil
	}
	wish := task.Stop{At: time.Now(), Grace: grace}
	written := task.Write(dir, task.StopFile, wish, task.Durable)
	err := tell(ctx, dir, task.Control{Stop: &wish})
	switch {
	case err == nil:
		return nil // it knows; on a full disk there may be no file
	case absent(err):
		err = written
	}
	if err != nil {
		return fmt.Errorf("task %s: %w", id, err)
	}
	return nil
}

// tell sends one line to a task's supervisor.
func tell(ctx context.Context, dir string, m task.Control) error {
	c, err := task.Dial(ctx, filepath.Join(dir, task.SockFile))
	if err != nil {
		return err
	}
	defer c.Close()
	return json.NewEncoder(c).Encode(m)
}

// absent says that no supervisor listens: not yet, or not any more.
func absent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ECONNREFUSED) || errors.Is(err, unix.EPIPE)
}

// Remove ends a task whatever it does and deletes all of it.
func (d *Driver) Remove(ctx context.Context, id compute.TaskID) error {
	if err := d.known(id); errors.Is(err, compute.ErrNotFound) {
		return nil
	} else if err != nil {
		return err
	}
	dir := d.dir(id)
	if err := d.end(ctx, dir); err != nil {
		return fmt.Errorf("task %s: %w", id, err)
	}
	// While its last processes end, it is tried again: nobody would look for its
	// group when the task is forgotten.
	if err := limit.Sweep(supervisor.GroupName(dir)); err != nil {
		return fmt.Errorf("task %s: control group: %w", id, err)
	}
	// The rename is the moment of forgetting; what is left is rubbish that the
	// next start sweeps.
	d.mu.Lock()
	spec, _ := task.ReadSpec(dir)
	tmp := filepath.Join(d.cfg.Dir, ".gone-"+string(id))
	err := os.Rename(dir, tmp)
	if spec != nil && err == nil {
		delete(d.uids, spec.HostUID)
	}
	delete(d.spawned, id)
	d.mu.Unlock()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("task %s: %w", id, err)
	}
	return d.erase(tmp)
}

func (d *Driver) erase(dir string) error { return supervisor.RemoveTree(dir) }

// end makes sure that no supervisor lives, nor will: the lock is ours when it
// returns and no status is left to be written.
func (d *Driver) end(ctx context.Context, dir string) error {
	deadline := time.Now().Add(5 * time.Second)
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		lock, free, err := task.Lock(dir)
		if err != nil {
			return err
		}
		if free {
			// Whoever was about to start finds a finished task.
			_, err := task.ReadStatus(dir)
			if errors.Is(err, fs.ErrNotExist) {
				st := &task.Status{TaskStatus: compute.TaskStatus{Phase: compute.Lost}}
				err = task.Write(dir, task.StatusFile, st, task.Quick)
			}
			if errors.Is(err, task.ErrTorn) {
				err = nil
			}
			_ = lock.Close()
			return err
		}
		_ = tell(ctx, dir, task.Control{Kill: true}) // it may not listen yet
		if time.Now().After(deadline) {
			if err := killSupervisor(dir); err != nil {
				return err
			}
			deadline = time.Now().Add(5 * time.Second)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause): // a lock cannot be waited for with a deadline
		}
	}
}

// killSupervisor kills one that does not answer; its init dies with it. The
// number is believed only while boot and start time are the same.
func killSupervisor(dir string) error {
	st, err := task.ReadStatus(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if st.PID <= 1 || st.Boot != task.BootID() {
		return nil
	}
	fd, err := unix.PidfdOpen(st.PID, 0)
	if err != nil {
		return nil //nolint:nilerr // it is gone
	}
	defer unix.Close(fd)
	if start, err := task.StartTime(st.PID); err != nil || start != st.StartTime {
		return nil //nolint:nilerr // it is gone
	}
	return unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
}
