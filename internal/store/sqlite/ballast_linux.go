package sqlite

import (
	"os"
	"syscall"
)

// reserve gives f so many bytes of the disk.
func reserve(f *os.File, size int64) error {
	if err := syscall.Fallocate(int(f.Fd()), 0, 0, size); err == nil {
		return nil
	}
	return zeros(f, size)
}
