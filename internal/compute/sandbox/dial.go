package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"clary/internal/compute"
	"clary/internal/compute/sandbox/task"
)

var (
	_ compute.Dialer  = (*Driver)(nil)
	_ compute.Renewer = (*Driver)(nil)
)

// Dial implements compute.Dialer. The supervisor hands over a connection that
// stands; nobody is between its two ends.
func (d *Driver) Dial(ctx context.Context, id compute.TaskID, port int) (net.Conn, error) {
	if err := d.known(id); err != nil {
		return nil, err
	}
	if port < 1 || port > 65535 {
		return nil, fmt.Errorf("task %s: port %d", id, port)
	}
	c, err := d.dial(ctx, id, port)
	if err != nil {
		return nil, fmt.Errorf("task %s: port %d: %w", id, port, err)
	}
	return c, nil
}

func (d *Driver) dial(ctx context.Context, id compute.TaskID, port int) (net.Conn, error) {
	c, err := task.Dial(ctx, filepath.Join(d.dir(id), task.SockFile))
	if absent(err) {
		return nil, fmt.Errorf("%w: it does not run", compute.ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Now()) })()
	if err := json.NewEncoder(c).Encode(task.Control{Dial: port}); absent(err) {
		return nil, fmt.Errorf("%w: it does not run any more", compute.ErrNotFound)
	} else if err != nil {
		return nil, err
	}
	answer, conn, err := task.Connected(c.(*net.UnixConn))
	if errors.Is(err, io.EOF) || errors.Is(err, unix.ECONNRESET) { // it ended while we asked
		answer, err = task.DialledNone, nil
	}
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	switch {
	case err == nil && conn != nil:
		return conn, nil
	case conn != nil:
		_ = conn.Close()
		return nil, err
	case err != nil:
		return nil, err
	case answer == task.DialledRefused:
		return nil, compute.ErrRefused
	case answer == task.DialledNone:
		return nil, fmt.Errorf("%w: it does not run", compute.ErrNotFound)
	}
	return nil, errors.New("no connection")
}

// Renew implements compute.Renewer. The supervisor reads the file whenever the
// program asks, so nobody need be told.
func (d *Driver) Renew(_ context.Context, id compute.TaskID, fresh compute.Identity) error {
	if err := d.known(id); err != nil {
		return err
	}
	dir := d.dir(id)
	if st, err := task.ReadStatus(dir); err == nil && st.Phase == compute.Ended {
		return nil
	}
	err := task.Write(dir, task.IdentityFile, fresh, task.Durable)
	if errors.Is(err, fs.ErrNotExist) { // it was removed meanwhile
		return fmt.Errorf("%w: %s", compute.ErrNotFound, id)
	}
	if err != nil {
		return fmt.Errorf("task %s: renew: %w", id, err)
	}
	return nil
}
