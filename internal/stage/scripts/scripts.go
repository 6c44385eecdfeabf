// Package scripts holds the Python programs that launchers start on a runtime's
// interpreter: the worker of a model server and what stands in for an image's
// own algorithm. Start at Lay.
package scripts

import (
	"embed"
	"io/fs"
	"os"
	"path/filepath"
)

//go:embed clary_runtime stand_in
var files embed.FS

// Package is how Python imports them, once the folder that they were laid in is
// in its path.
const Package = "clary_runtime"

// StandIn is the folder, below the one that they were laid in, of what stands in
// for packages of SageMaker's images. It belongs behind all else in the path.
const StandIn = "stand_in"

// Lay writes the programs below a fresh folder, and returns it.
func Lay() (string, error) {
	dir, err := os.MkdirTemp("", "clary")
	if err != nil {
		return "", err
	}
	err = fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		to := filepath.Join(dir, name)
		if d.IsDir() {
			return os.MkdirAll(to, 0o755)
		}
		data, err := files.ReadFile(name)
		if err != nil {
			return err
		}
		return os.WriteFile(to, data, 0o644)
	})
	return dir, err
}
