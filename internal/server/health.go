package server

import (
	"context"
	"os"
	"os/signal"
	"runtime"
	"syscall"
)

// health says in the log how the server is, whenever an operator asks by
// SIGUSR1. It is no page: whoever may signal the process may know.
func (r *rooms) health(ctx context.Context) {
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGUSR1)
	defer signal.Stop(asked)
	for {
		select {
		case <-ctx.Done():
			return
		case <-asked:
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			fds, _ := os.ReadDir("/proc/self/fd") // elsewhere than on Linux: unknown
			room := "yes"
			if err := r.room(); err != nil {
				room = err.Error()
			}
			r.log.Info("health", "goroutines", runtime.NumGoroutine(), "heap", m.HeapInuse, "memory", m.Sys-m.HeapReleased, "descriptors", len(fds), "room", room)
		}
	}
}
