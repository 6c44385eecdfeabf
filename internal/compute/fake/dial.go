package fake

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"clary/internal/compute"
)

// Identity is what a task acts with now.
func (w *World) Identity(id compute.TaskID) (compute.Identity, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	t := w.tasks[id]
	if t == nil {
		return compute.Identity{}, false
	}
	return t.spec.Identity, true
}

// Renew implements compute.Renewer.
func (d *Driver) Renew(_ context.Context, id compute.TaskID, fresh compute.Identity) error {
	return d.w.do("Renew", id, func() error {
		t, err := d.w.find(id)
		if err != nil {
			return err
		}
		if p := t.at(time.Now()).Phase; p == compute.Starting || p == compute.Running {
			fresh.Region = t.spec.Identity.Region
			t.spec.Identity = fresh
			if t.script.Acts != nil && p == compute.Running {
				t.later = append(t.later, line{at: time.Now(), text: t.script.Acts(fresh)})
				d.w.wake(t)
			}
		}
		return nil
	})
}

// Dial implements compute.Dialer. A connection ends with its task.
func (d *Driver) Dial(_ context.Context, id compute.TaskID, port int) (c net.Conn, err error) {
	err = d.w.do("Dial", id, func() error {
		t, err := d.w.find(id)
		if err != nil {
			return err
		}
		now := time.Now()
		if p := t.at(now).Phase; p != compute.Running {
			return fmt.Errorf("%w: %s is %s", compute.ErrNotFound, id, p)
		}
		serve := t.script.Serve[port]
		if serve == nil || now.Before(t.created.Add(t.script.Delay+t.script.Ready)) {
			return fmt.Errorf("%w: %s port %d", compute.ErrRefused, id, port)
		}
		ours, theirs := net.Pipe()
		t.conns[theirs] = struct{}{}
		go func() {
			serve(theirs)
			_ = theirs.Close()
			d.w.mu.Lock()
			delete(t.conns, theirs)
			d.w.mu.Unlock()
		}()
		c = ours
		return nil
	})
	if err != nil && c != nil { // the answer is lost, and the connection with it
		_ = c.Close()
		return nil, err
	}
	return c, err
}

// hangUp ends what the task's program serves. The world's mutex is held.
func (t *task) hangUp() {
	for c := range t.conns {
		_ = c.Close()
	}
}

// HTTP serves a handler on a script's port.
func HTTP(h http.Handler) func(net.Conn) {
	return func(c net.Conn) {
		l := &single{closed: make(chan struct{})}
		l.conn = &lasting{Conn: c, l: l}
		s := http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
		_ = s.Serve(l) // ends with the connection
	}
}

// single is a listener of one connection; it ends when that does.
type single struct {
	once   sync.Once
	shut   sync.Once
	conn   net.Conn
	closed chan struct{}
}

func (l *single) Accept() (c net.Conn, err error) {
	l.once.Do(func() { c = l.conn })
	if c != nil {
		return c, nil
	}
	<-l.closed
	return nil, net.ErrClosed
}

func (l *single) Close() error {
	l.shut.Do(func() { close(l.closed) })
	return nil
}

func (l *single) Addr() net.Addr { return l.conn.LocalAddr() }

type lasting struct {
	net.Conn
	l *single
}

func (c *lasting) Close() error {
	_ = c.l.Close()
	return c.Conn.Close()
}
