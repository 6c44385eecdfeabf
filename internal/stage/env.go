package stage

import (
	"errors"
	"os"

	"clary/internal/stage/venv"
)

const (
	// envPath is where a driver mounts the runtime, read-only.
	envPath = "/opt/clary/env"
	// venvPath is the task's own writable layer over it.
	venvPath = "/opt/ml/.venv"
)

// prepareEnv lets the program install packages.
func (h *Host) prepareEnv() error {
	err := venv.Lay(h.Root, envPath, venvPath)
	if errors.Is(err, os.ErrNotExist) {
		return nil // no Python runtime
	}
	if err != nil {
		return err
	}
	h.Env["VIRTUAL_ENV"] = venvPath
	h.Env["PATH"] = venv.Path(h.Env["PATH"], venvPath+"/bin", envPath+"/bin")
	return nil
}
