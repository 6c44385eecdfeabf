package sqlite

import (
	"os"
	"syscall"
	"time"
)

const (
	defaultBallast = 64 << 20
	ballastRoom    = 4 // the ballast is taken up again when this many times its size is free
	ballastPause   = time.Minute
)

// ballast is disk space that nobody uses until the disk is full. The writer
// alone calls it.
type ballast struct {
	path  string
	size  int64
	held  bool
	tried time.Time
}

// release gives the space up, and tells whether there was any.
func (b *ballast) release() bool {
	if b.path == "" || !b.held {
		return false
	}
	b.held, b.tried = false, time.Now()
	return os.Remove(b.path) == nil
}

// restore takes the space up when there is plenty. Without it the store works
// all the same, so a failure is only tried again later.
func (b *ballast) restore() {
	if b.path == "" || b.held || time.Since(b.tried) < ballastPause {
		return
	}
	b.tried = time.Now()
	if fi, err := os.Stat(b.path); err == nil && fi.Size() == b.size {
		b.held = true
		return
	}
	var st syscall.Statfs_t
	f, err := os.OpenFile(b.path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return
	}
	defer f.Close()
	//nolint:unconvert // no int64 on other systems
	if syscall.Fstatfs(int(f.Fd()), &st) == nil && int64(st.Bavail)*int64(st.Bsize) > ballastRoom*b.size &&
		reserve(f, b.size) == nil {
		b.held = true
		return
	}
	_ = os.Remove(b.path)
}

// zeros writes the space, where it cannot be had otherwise.
func zeros(f *os.File, size int64) error {
	for b := make([]byte, 1<<20); size > 0; size -= int64(len(b)) {
		if _, err := f.Write(b[:min(size, int64(len(b)))]); err != nil {
			return err
		}
	}
	return nil
}
