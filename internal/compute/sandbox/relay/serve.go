package relay

import (
	"log"
	"net"
	"net/http"
	"sync"
	"time"
)

// Serve answers HTTP on l until it is closed.
func Serve(l net.Listener, h http.Handler, errs *log.Logger) {
	s := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          errs,
	}
	_ = s.Serve(&bounded{Listener: l, slots: make(chan struct{}, maxConns)})
}

// bounded takes no more connections than there are slots; others wait, and
// cost whoever made them, not the supervisor.
type bounded struct {
	net.Listener
	slots chan struct{}
}

// Accept implements net.Listener.
func (b *bounded) Accept() (net.Conn, error) {
	b.slots <- struct{}{}
	c, err := b.Listener.Accept()
	if err != nil {
		<-b.slots
		return nil, err
	}
	t, ok := c.(*net.TCPConn)
	if !ok {
		<-b.slots
		return c, nil // no listener of a task's
	}
	return &slot{TCPConn: t, free: sync.OnceFunc(func() { <-b.slots })}, nil
}

type slot struct {
	*net.TCPConn
	free func()
}

// Close implements net.Conn.
func (s *slot) Close() error {
	defer s.free()
	return s.TCPConn.Close()
}
