package sqlite

import (
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
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
	if syscall.Fstatfs(int(f.Fd()), &st) == nil && int64(st.Bavail)*int64(st.Bsize) > ballastRoom*b.size && unix.Fallocate(int(f.Fd()), 0, 0, b.size) == nil {
		b.held = true
		return
	}
	_ = os.Remove(b.path)
}
