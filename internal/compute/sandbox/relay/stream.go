package relay

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"clary/internal/compute/sandbox/task"
)

// Dial opens the far end of a relayed connection.
type Dial func(ctx context.Context) (net.Conn, error)

// dialling bounds one.
const dialling = 30 * time.Second

// maxConns bounds what one task may hold open through one listener.
const maxConns = 512

// Streams joins every connection of l with one that dial makes, until l is
// closed.
func Streams(l net.Listener, dial Dial) {
	each(l, dial, join)
}

// Hand gives whoever connects to l, a unix socket, a connection that dial makes,
// until l is closed. No byte of it passes through here.
func Hand(l net.Listener, dial Dial) {
	each(l, dial, func(near, far net.Conn) {
		defer far.Close()
		f, err := far.(interface{ File() (*os.File, error) }).File()
		if err != nil {
			return
		}
		defer f.Close()
		_ = near.SetWriteDeadline(time.Now().Add(dialling))
		_ = task.Hand(near.(*net.UnixConn), task.DialledOK, f) // whoever asked may be gone
	})
}

// each has do serve every connection of l with one that dial makes.
func each(l net.Listener, dial Dial, do func(near, far net.Conn)) {
	slots := make(chan struct{}, maxConns)
	for {
		slots <- struct{}{}
		c, err := l.Accept()
		if err != nil {
			<-slots
			if temporary(err) {
				continue
			}
			return
		}
		go func() {
			defer func() { <-slots }()
			defer c.Close()
			ctx, cancel := context.WithTimeout(context.Background(), dialling)
			far, err := dial(ctx)
			cancel()
			if err != nil {
				return
			}
			do(c, far)
		}()
	}
}

// temporary says that Accept may succeed later: a connection was gone before
// it was taken, or descriptors are short for a moment.
func temporary(err error) bool {
	if errors.Is(err, net.ErrClosed) {
		return false
	}
	var ne net.Error
	if errors.As(err, &ne) && ne.Timeout() {
		return true
	}
	time.Sleep(10 * time.Millisecond) // nothing signals that descriptors are free again
	return true
}

// join copies both ways and passes on each end of file.
func join(a, b net.Conn) {
	defer a.Close()
	defer b.Close()
	var wg sync.WaitGroup
	for _, p := range [2][2]net.Conn{{a, b}, {b, a}} {
		wg.Go(func() {
			_, err := io.Copy(p[0], p[1])
			if w, ok := p[0].(interface{ CloseWrite() error }); ok && err == nil {
				_ = w.CloseWrite()
				return
			}
			_, _ = a.Close(), b.Close()
		})
	}
	wg.Wait()
}
