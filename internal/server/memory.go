package server

import (
	"os"
	"runtime/debug"
	"time"
)

const (
	// gcPercent lets the heap, which is small, grow to three times what lives
	// before it is looked through: half the collections, for a few MiB.
	gcPercent = 200
	// settled is when what starting took is given back.
	settled = 2 * time.Second
)

// memory chooses between speed and size, unless the operator did.
func memory() (stop func() bool) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	return time.AfterFunc(settled, debug.FreeOSMemory).Stop
}
