// Package diskfree tells when a disk is too full to take new work, so that
// what is under way can still be recorded. It must never be asked before a
// write that ends something. Start at Check.
package diskfree

import (
	"fmt"
	"math"
	"syscall"

	"clary/internal/store"
)

const (
	least   = 2 << 30 // bytes that stay free at the least
	portion = 20      // of the disk, one part of this many stays free
)

// Check gives store.ErrFull when less than 2 GiB or 5 % of dir's disk,
// whichever is more, is free for this user.
func Check(dir string) error {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return fmt.Errorf("free space of %s: %w", dir, err)
	}
	return judge(bytes(st.Bavail, st.Bsize), bytes(st.Blocks, st.Bsize))
}

func bytes[S int32 | uint32 | int64](blocks uint64, size S) int64 {
	if size <= 0 || blocks > uint64(math.MaxInt64)/uint64(size) {
		return math.MaxInt64
	}
	return int64(blocks) * int64(size)
}

func judge(free, total int64) error {
	if want := max(least, total/portion); free < want {
		return fmt.Errorf("%w: %d MiB are free, %d MiB must stay free", store.ErrFull, free>>20, want>>20)
	}
	return nil
}
