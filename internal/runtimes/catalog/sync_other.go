//go:build !linux

package catalog

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// syncFS puts everything below dir on disk.
func syncFS(dir string) error {
	return filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if err != nil || !e.IsDir() && !e.Type().IsRegular() {
			return err
		}
		f, err := os.Open(p)
		if err != nil {
			return err
		}
		return errors.Join(f.Sync(), f.Close())
	})
}
