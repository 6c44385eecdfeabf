package sandbox

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"clary/internal/compute"
	"clary/internal/compute/sandbox/task"
)

// gather is how long steps of a task are gathered before they are told: those
// of a short one come faster than anybody can use them. Its end is told at once.
const gather = 25 * time.Millisecond

// watch follows one supervisor's events.
type watch struct {
	mu    sync.Mutex // guards these
	wake  chan struct{}
	ended bool // the supervisor said so
}

// next is closed when there is more output, or the task is over. Whoever sees
// ended, or that the task has another watch by now, looks at its status.
func (w *watch) next() (wake <-chan struct{}, ended bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.wake, w.ended
}

func (w *watch) tell() {
	w.mu.Lock()
	defer w.mu.Unlock()
	close(w.wake)
	w.wake = make(chan struct{})
}

func (w *watch) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = true
}

// watch makes sure that somebody listens to the task's supervisor.
func (d *Driver) watch(id compute.TaskID) *watch { return d.watchFrom(id, nil) }

// watchFrom is watch; the supervisor listens once ready, if not nil, has ended.
func (d *Driver) watchFrom(id compute.TaskID, ready *os.File) *watch {
	d.mu.Lock()
	defer d.mu.Unlock()
	if w := d.watches[id]; w != nil {
		if ready != nil {
			_ = ready.Close()
		}
		return w
	}
	w := &watch{wake: make(chan struct{})}
	if d.ctx.Err() != nil {
		if ready != nil {
			_ = ready.Close()
		}
		return w
	}
	d.watches[id] = w
	d.wg.Go(func() {
		if ready != nil {
			end := context.AfterFunc(d.ctx, func() { _ = ready.SetReadDeadline(time.Now()) })
			_, _ = ready.Read(make([]byte, 1))
			end()
			_ = ready.Close()
		}
		d.follow(id, w)
		d.mu.Lock()
		delete(d.watches, id)
		d.mu.Unlock()
		w.tell()
		d.changed(id)
	})
	return w
}

// changed is a hint; when nobody takes them, more hints help nobody.
func (d *Driver) changed(id compute.TaskID) {
	select {
	case d.changes <- id:
	default:
	}
}

// follow listens until the task is over.
func (d *Driver) follow(id compute.TaskID, w *watch) {
	pause := 500 * time.Microsecond
	for d.ctx.Err() == nil {
		if d.listen(id, w) {
			pause = 500 * time.Microsecond
		}
		// No connection: the supervisor is not there yet, or not any more.
		st, err := d.status(id)
		if errors.Is(err, fs.ErrNotExist) || err == nil && (st.Phase == compute.Ended || st.Phase == compute.Lost) {
			return
		}
		select {
		case <-d.ctx.Done():
			return
		case <-time.After(pause): // a socket that is not there yet cannot be waited for
		}
		pause = min(2*pause, 500*time.Millisecond)
	}
}

// listen passes on one connection's events and says whether there was one.
func (d *Driver) listen(id compute.TaskID, w *watch) bool {
	c, err := task.Dial(d.ctx, filepath.Join(d.dir(id), task.SockFile))
	if err != nil {
		return false
	}
	defer c.Close()
	defer context.AfterFunc(d.ctx, func() { _ = c.Close() })()
	if json.NewEncoder(c).Encode(task.Control{Watch: true}) != nil {
		return false
	}
	var pending atomic.Bool
	b := make([]byte, 256)
	for {
		n, err := c.Read(b)
		ended := bytes.IndexByte(b[:n], task.EventEnd) >= 0
		if ended {
			w.end()
		}
		if ended || bytes.IndexByte(b[:n], task.EventSpool) >= 0 {
			w.tell()
		}
		switch {
		case ended:
			d.changed(id)
		case bytes.IndexByte(b[:n], task.EventStatus) >= 0 && pending.CompareAndSwap(false, true):
			time.AfterFunc(gather, func() {
				pending.Store(false)
				d.changed(id)
			})
		}
		if err != nil {
			return !errors.Is(err, io.ErrUnexpectedEOF)
		}
	}
}
