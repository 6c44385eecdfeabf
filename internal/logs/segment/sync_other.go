//go:build !linux

package segment

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// syncAll forces out all that lies below dir.
func syncAll(dir string) error {
	return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		return errors.Join(f.Sync(), f.Close())
	})
}
