package relay

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// Dial opens the far end of a relayed connection.
type Dial func(ctx context.Context) (net.Conn, error)

// maxConns bounds how many connections of one listener are dialled for, or
// served, at once. One that was given away is no longer counted.
const maxConns = 512

// Streams joins every connection of l with one that dial makes, until l is
// closed.
func Streams(l net.Listener, dial Dial) {
	Each(l, dial, join)
}

// Each has do serve every connection of l with one that dial makes, until l is
// closed. do closes far.
func Each(l net.Listener, dial Dial, do func(near, far net.Conn)) {
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
			ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
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
