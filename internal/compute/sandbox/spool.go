package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"clary/internal/compute"
	"clary/internal/compute/sandbox/task"
)

// Spool reads a task's output from an offset and follows it to its end.
func (d *Driver) Spool(ctx context.Context, id compute.TaskID, from int64) (io.ReadCloser, error) {
	if err := d.known(id); err != nil {
		return nil, err
	}
	if from < 0 {
		return nil, fmt.Errorf("task %s: spool offset %d", id, from)
	}
	ctx, cancel := context.WithCancel(ctx)
	return &spool{d: d, id: id, at: from, ctx: ctx, cancel: cancel}, nil
}

type spool struct {
	d      *Driver
	id     compute.TaskID
	at     int64
	f      *os.File
	watch  *watch          // by which the task was not over
	ctx    context.Context //nolint:containedctx // Read has none
	cancel context.CancelFunc
}

// Read returns what is there, and waits when that is nothing.
func (s *spool) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		if err := s.ctx.Err(); err != nil {
			return 0, err
		}
		if s.f == nil {
			f, err := os.Open(filepath.Join(s.d.dir(s.id), task.SpoolFile))
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return 0, err
			}
			s.f = f
		}
		if n, err := s.read(p); n > 0 || err != nil {
			return n, err
		}
		// The order matters: take the signal, then look how things stand, then
		// look for bytes; nothing can slip between.
		w := s.d.watch(s.id)
		wake, ended := w.next()
		var st compute.TaskStatus
		known := s.f != nil && w == s.watch && !ended
		if !known {
			var err error
			if st, err = s.d.status(s.id); errors.Is(err, fs.ErrNotExist) {
				return 0, fmt.Errorf("%w: %s", compute.ErrNotFound, s.id)
			}
			if err != nil {
				return 0, err
			}
		}
		over := st.Phase == compute.Ended || st.Phase == compute.Lost
		if n, err := s.read(p); n > 0 || err != nil {
			return n, err
		}
		if over && (s.f != nil || st.Spooled == 0) {
			return 0, io.EOF
		}
		if st.Spooled > s.at {
			continue
		}
		if !over {
			s.watch = w
		}
		select {
		case <-wake:
		case <-s.ctx.Done():
		case <-s.d.ctx.Done():
			return 0, errors.New("the driver is closed")
		}
	}
}

func (s *spool) read(p []byte) (int, error) {
	if s.f == nil {
		return 0, nil
	}
	n, err := s.f.ReadAt(p, s.at)
	s.at += int64(n)
	if n > 0 || errors.Is(err, io.EOF) {
		return n, nil
	}
	return 0, err
}

// Close ends a waiting Read.
func (s *spool) Close() error {
	s.cancel()
	if s.f != nil {
		return s.f.Close()
	}
	return nil
}
