package folder

import (
	"os"

	"golang.org/x/sys/unix"
)

// headStart has a part of a file written out while the rest still comes.
func headStart(f *os.File, offset, size int64) {
	_ = unix.SyncFileRange(int(f.Fd()), offset, size, unix.SYNC_FILE_RANGE_WRITE)
}

// reserve asks for a file's space.
func reserve(f *os.File, size int64) error {
	return unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, size)
}
