package serve

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"syscall"
	"time"

	"clary/internal/stage/scripts"
)

// request is what a worker is told of a request, beside its body.
type request struct {
	Path        string      `json:"path"`
	ContentType string      `json:"content_type"`
	Accept      string      `json:"accept"`
	Headers     [][2]string `json:"headers"`
}

// response is what it answers, beside the body.
type response struct {
	Ready   bool        `json:"ready"` // the first of all: the model is loaded
	Status  int         `json:"status"`
	Headers [][2]string `json:"headers"`
	body    []byte
}

// deadError is a worker that ended.
type deadError struct {
	how  string
	code int
}

func (e *deadError) Error() string { return e.how }

// errLate is a request that took too long; its worker is gone.
var errLate = errors.New("it took too long")

// worker is a process that answers one request at a time.
type worker struct {
	cmd  *exec.Cmd
	conn net.Conn
	in   *bufio.Reader
	dead chan struct{} // closed when it has ended
	err  *deadError    // why; set before dead is closed
}

// start begins a worker. Its model is loaded once ready has returned.
func (s *server) start() (*worker, error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("a worker's socket: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "worker"), os.NewFile(uintptr(fds[1]), "server")
	conn, err := net.FileConn(ours)
	if err = errors.Join(err, ours.Close()); err != nil {
		return nil, errors.Join(err, theirs.Close())
	}
	// Out of its path the interpreter takes neither where it is nor where the
	// program is: what a script imports is its own affair.
	cmd := exec.Command(s.python, "-P", "-m", scripts.Package+".worker", s.framework, s.program) //nolint:noctx // its pool ends it
	cmd.Env, cmd.Stdout, cmd.Stderr = s.environ(), s.out, s.out
	cmd.ExtraFiles = []*os.File{theirs}
	err = cmd.Start()
	if err = errors.Join(err, theirs.Close()); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	w := &worker{cmd: cmd, conn: conn, in: bufio.NewReaderSize(conn, 64<<10), dead: make(chan struct{})}
	go w.wait()
	return w, nil
}

func (w *worker) wait() {
	err := w.cmd.Wait()
	w.err = &deadError{how: "ended by itself", code: 1}
	if ee, ok := errors.AsType[*exec.ExitError](err); ok {
		ws, _ := ee.Sys().(syscall.WaitStatus)
		switch {
		case ws.Signaled() && ws.Signal() == syscall.SIGKILL:
			w.err = &deadError{"was killed by signal 9: there may not have been enough memory", 128 + int(ws.Signal())}
		case ws.Signaled():
			w.err = &deadError{fmt.Sprintf("was killed by signal %d (%s)", ws.Signal(), ws.Signal()), 128 + int(ws.Signal())}
		default:
			w.err = &deadError{fmt.Sprintf("ended with exit code %d", ws.ExitStatus()), ws.ExitStatus()}
		}
	}
	_ = w.conn.Close() // whoever waits for an answer gets none
	close(w.dead)
}

// ready waits until the model is loaded.
func (w *worker) ready() error {
	r, err := w.read()
	if err == nil && r.Ready {
		return nil
	}
	w.kill()
	return w.err
}

// kill ends it and waits for that.
func (w *worker) kill() {
	_ = w.cmd.Process.Kill() // it may have ended
	<-w.dead
}

// do has a request answered. After an error the worker is gone.
func (w *worker) do(r request, body []byte, timeout time.Duration) (response, error) {
	deadline := time.Time{}
	if timeout > 0 {
		deadline = time.Now().Add(timeout)
	}
	err := w.conn.SetDeadline(deadline)
	if err == nil {
		err = w.write(r, body)
	}
	var out response
	if err == nil {
		out, err = w.read()
	}
	if err == nil {
		return out, nil
	}
	late := errors.Is(err, os.ErrDeadlineExceeded)
	if late {
		w.kill()
		return response{}, errLate
	}
	// A process that closes its end is about to end; one that does not, shall.
	w.kill()
	return response{}, w.err
}

// A message is the length of its head (4 bytes), the length of its body (8
// bytes), the head in JSON, and the body.
const lengths = 12

func (w *worker) write(r request, body []byte) error {
	head, err := json.Marshal(r)
	if err != nil {
		return err
	}
	start := make([]byte, lengths, lengths+len(head))
	binary.BigEndian.PutUint32(start, uint32(len(head)))
	binary.BigEndian.PutUint64(start[4:], uint64(len(body)))
	bufs := net.Buffers{append(start, head...), body}
	_, err = bufs.WriteTo(w.conn)
	return err
}

// mostAnswer bounds what is believed of a length.
const mostAnswer = 1 << 30

func (w *worker) read() (response, error) {
	var start [lengths]byte
	if _, err := io.ReadFull(w.in, start[:]); err != nil {
		return response{}, err
	}
	head, body := binary.BigEndian.Uint32(start[:]), binary.BigEndian.Uint64(start[4:])
	if head > 1<<20 || body > mostAnswer {
		return response{}, fmt.Errorf("an answer of %d bytes with %d bytes of headers is too large", body, head)
	}
	data := make([]byte, int(head)+int(body))
	if _, err := io.ReadFull(w.in, data); err != nil {
		return response{}, err
	}
	var r response
	if err := json.Unmarshal(data[:head], &r); err != nil {
		return response{}, err
	}
	r.body = data[head:]
	return r, nil
}
