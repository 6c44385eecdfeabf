package sandbox

import (
	"context"
	"errors"
	"io/fs"
	"slices"

	"clary/internal/compute/sandbox/task"
)

// Envs lists the environments (Image.Env) of all tasks that are not removed.
func (d *Driver) Envs(ctx context.Context) ([]string, error) {
	ids, err := d.List(ctx)
	if err != nil {
		return nil, err
	}
	var envs []string
	for _, id := range ids {
		spec, err := task.ReadSpec(d.dir(id))
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, err
		}
		if env := spec.Task.Image.Env; env != "" && !slices.Contains(envs, env) {
			envs = append(envs, env)
		}
	}
	return envs, nil
}
