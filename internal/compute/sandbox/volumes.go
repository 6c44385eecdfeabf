package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"clary/internal/compute"
	"clary/internal/compute/sandbox/task"
	"clary/internal/compute/sandbox/volume"
)

var _ compute.Volumes = (*Driver)(nil)

func (d *Driver) volumeDir(id compute.VolumeID) string {
	return filepath.Join(d.cfg.Volumes, string(id))
}

func checkVolume(id compute.VolumeID) error {
	if !idPattern.MatchString(string(id)) {
		return fmt.Errorf("volume id %q is not of [a-z0-9-]{1,40}", id)
	}
	return nil
}

// sweepVolumes deletes what was half made or half removed.
func (d *Driver) sweepVolumes() error {
	entries, err := os.ReadDir(d.cfg.Volumes)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			if err := d.erase(filepath.Join(d.cfg.Volumes, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// alone waits until nobody else makes, grows or removes the volume; large ones
// take their time, and others do not wait for that.
func (d *Driver) alone(id compute.VolumeID) (done func()) {
	mine := make(chan struct{})
	for {
		theirs, busy := d.making.LoadOrStore(id, mine)
		if !busy {
			return func() {
				d.making.Delete(id)
				close(mine)
			}
		}
		<-theirs.(chan struct{})
	}
}

// EnsureVolume implements compute.Volumes.
func (d *Driver) EnsureVolume(_ context.Context, id compute.VolumeID, bytes int64) error {
	if err := checkVolume(id); err != nil {
		return err
	}
	if bytes < volume.Least {
		return fmt.Errorf("volume %s: %d bytes are too few, %d are the least", id, bytes, volume.Least)
	}
	defer d.alone(id)()
	if err := d.ensure(id, bytes); err != nil {
		return fmt.Errorf("volume %s: %w", id, inUse(err))
	}
	return nil
}

func (d *Driver) ensure(id compute.VolumeID, bytes int64) error {
	dir := d.volumeDir(id)
	have, err := volume.Read(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		image := d.volumes.usable() == nil && volume.Usable() == nil
		return volume.Make(dir, volume.Info{Bytes: bytes, Image: image})
	case err != nil:
		return err
	case bytes <= have.Bytes:
		return nil
	}
	d.mu.Lock()
	user, err := d.user(dir, "")
	d.mu.Unlock()
	if err != nil {
		return err
	}
	if user != "" {
		return fmt.Errorf("%w by task %s", compute.ErrInUse, user)
	}
	return volume.Grow(dir, bytes)
}

// inUse words what package volume says as the contract does.
func inUse(err error) error {
	if errors.Is(err, volume.ErrInUse) {
		return fmt.Errorf("%w: %w", compute.ErrInUse, err)
	}
	return err
}

// RemoveVolume implements compute.Volumes.
func (d *Driver) RemoveVolume(_ context.Context, id compute.VolumeID) error {
	if checkVolume(id) != nil {
		return nil //nolint:nilerr // nobody could make it
	}
	defer d.alone(id)()
	gone := filepath.Join(d.cfg.Volumes, ".gone-"+string(id))
	if err := d.forget(id, gone); err != nil {
		return fmt.Errorf("volume %s: %w", id, err)
	}
	return d.erase(gone)
}

// forget takes a volume out of the world, unless a task has it.
func (d *Driver) forget(id compute.VolumeID, to string) error {
	d.mu.Lock() // no task is given it meanwhile
	defer d.mu.Unlock()
	dir := d.volumeDir(id)
	if _, err := volume.Read(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	user, err := d.user(dir, "")
	if err != nil {
		return err
	}
	if user != "" {
		return fmt.Errorf("%w by task %s", compute.ErrInUse, user)
	}
	if err := d.erase(to); err != nil {
		return err
	}
	if err := os.Rename(dir, to); err != nil {
		return err
	}
	return task.SyncDir(d.cfg.Volumes)
}

// ListVolumes implements compute.Volumes.
func (d *Driver) ListVolumes(context.Context) ([]compute.VolumeID, error) {
	entries, err := os.ReadDir(d.cfg.Volumes)
	if err != nil {
		return nil, err
	}
	ids := []compute.VolumeID{}
	for _, e := range entries {
		if id := compute.VolumeID(e.Name()); checkVolume(id) == nil {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// claim gives a task the volumes that it mounts. The caller holds mu.
func (d *Driver) claim(s *task.Spec) error {
	var dirs []string
	for _, m := range s.Task.Mounts {
		if m.Volume == "" {
			continue
		}
		if err := checkVolume(m.Volume); err != nil {
			return fmt.Errorf("%w: %w", compute.ErrNoVolume, err)
		}
		dir := d.volumeDir(m.Volume)
		v, err := volume.Read(dir)
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%w: %s", compute.ErrNoVolume, m.Volume)
		}
		if err != nil {
			return err
		}
		user, err := d.user(dir, s.Task.ID)
		if err != nil {
			return err
		}
		for _, other := range s.Volumes {
			if other.ID == m.Volume {
				user = s.Task.ID
			}
		}
		if user != "" {
			return fmt.Errorf("%w: %s by task %s", compute.ErrInUse, m.Volume, user)
		}
		s.Volumes = append(s.Volumes, task.Volume{ID: m.Volume, Dir: dir, Image: v.Image, Bytes: v.Bytes})
		dirs = append(dirs, dir)
	}
	for _, dir := range dirs {
		if err := volume.Hand(dir, string(s.Task.ID)); err != nil {
			return err
		}
	}
	return nil
}

// user is the task but me that has the volume in dir and has not ended; "" if
// none. The caller holds mu.
func (d *Driver) user(dir string, me compute.TaskID) (compute.TaskID, error) {
	name, err := volume.Holder(dir)
	id := compute.TaskID(name)
	if err != nil || name == "" || id == me || d.known(id) != nil {
		return "", err
	}
	st, err := task.ReadStatus(d.dir(id))
	if err == nil && st.Phase == compute.Ended {
		return "", nil
	}
	alive, aerr := task.Alive(d.dir(id))
	if aerr != nil {
		return "", aerr
	}
	// One that was accepted and has not begun will; one that has begun and is
	// not there any more has ended, one way or the other.
	if alive || errors.Is(err, fs.ErrNotExist) {
		return id, nil
	}
	return "", nil
}
