//go:build !linux

package sqlite

import "os"

// reserve gives f so many bytes of the disk.
func reserve(f *os.File, size int64) error { return zeros(f, size) }
