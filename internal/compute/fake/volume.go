package fake

import (
	"context"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"clary/internal/compute"
)

var (
	_ compute.Volumes = (*Driver)(nil)
	_ compute.Dialer  = (*Driver)(nil)
	_ compute.Renewer = (*Driver)(nil)
)

// volume is one of the world; the world's mutex guards it.
type volume struct {
	bytes int64
	files map[string]string // by path below its root
}

// Volume tells a volume's size and a copy of what is in it, and false if there
// is none.
func (w *World) Volume(id compute.VolumeID) (bytes int64, files map[string]string, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	v := w.volumes[id]
	if v == nil {
		return 0, nil, false
	}
	return v.bytes, maps.Clone(v.files), true
}

// Put writes a file into a volume, as somebody who works in it would.
func (w *World) Put(id compute.VolumeID, name, text string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	v := w.volumes[id]
	if v == nil {
		return fmt.Errorf("%w: %s", compute.ErrNoVolume, id)
	}
	v.files[path.Clean(name)] = text
	return nil
}

// user is the task that has a volume, nil if none. The world's mutex is held.
func (w *World) user(id compute.VolumeID) *task {
	now := time.Now()
	for _, t := range w.tasks {
		if p := t.at(now).Phase; p == compute.Ended || p == compute.Lost {
			continue
		}
		for _, m := range t.spec.Mounts {
			if m.Volume == id {
				return t
			}
		}
	}
	return nil
}

// mountable says whether a task's volumes are there and free.
func (w *World) mountable(t compute.Task) error {
	for _, m := range t.Mounts {
		if m.Volume == "" {
			continue
		}
		if w.volumes[m.Volume] == nil {
			return fmt.Errorf("%w: %s", compute.ErrNoVolume, m.Volume)
		}
		if u := w.user(m.Volume); u != nil {
			return fmt.Errorf("%w: %s by %s", compute.ErrInUse, m.Volume, u.spec.ID)
		}
	}
	return nil
}

// work lets the program do what its script says to files.
func (w *World) work(t *task) {
	if t.script.Acts != nil {
		defer func() { t.began = append(t.began, t.script.Acts(t.spec.Identity)) }()
	}
	if t.script.Work == nil {
		return
	}
	files := map[string]string{}
	for _, f := range t.spec.Files {
		files[f.Path] = string(f.Data)
	}
	for _, m := range t.spec.Mounts {
		if m.Volume != "" {
			for name, text := range w.volumes[m.Volume].files {
				files[path.Join(m.Path, name)] = text
			}
		}
	}
	t.began = t.script.Work(files)
	for _, m := range t.spec.Mounts {
		if m.Volume == "" {
			continue
		}
		kept := map[string]string{}
		for p, text := range files {
			if name, ok := strings.CutPrefix(p, m.Path+"/"); ok {
				kept[name] = text
			}
		}
		w.volumes[m.Volume].files = kept
	}
}

var volumeName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,39}$`) //nolint:gochecknoglobals // a constant

// EnsureVolume implements compute.Volumes.
func (d *Driver) EnsureVolume(_ context.Context, id compute.VolumeID, bytes int64) error {
	return d.w.do("EnsureVolume", compute.TaskID(id), func() error {
		if !volumeName.MatchString(string(id)) || bytes <= 0 {
			return fmt.Errorf("volume %q of %d bytes cannot be", id, bytes)
		}
		v := d.w.volumes[id]
		switch {
		case v == nil:
			d.w.volumes[id] = &volume{bytes: bytes, files: map[string]string{}}
		case bytes <= v.bytes:
		case d.w.user(id) != nil:
			return fmt.Errorf("%w: %s", compute.ErrInUse, id)
		default:
			v.bytes = bytes
		}
		return nil
	})
}

// RemoveVolume implements compute.Volumes.
func (d *Driver) RemoveVolume(_ context.Context, id compute.VolumeID) error {
	return d.w.do("RemoveVolume", compute.TaskID(id), func() error {
		if d.w.user(id) != nil {
			return fmt.Errorf("%w: %s", compute.ErrInUse, id)
		}
		delete(d.w.volumes, id)
		return nil
	})
}

// ListVolumes implements compute.Volumes.
func (d *Driver) ListVolumes(context.Context) (ids []compute.VolumeID, err error) {
	err = d.w.do("ListVolumes", "", func() error {
		ids = slices.Sorted(maps.Keys(d.w.volumes))
		return nil
	})
	return ids, err
}
