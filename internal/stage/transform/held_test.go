package transform

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
)

// pipeEnd is a connection whose writes go on after it was closed, as what the
// system has taken of a write goes on.
type pipeEnd struct{ net.Conn }

func (pipeEnd) Close() error { return nil }

// A container may answer before it has read, and read on: it gets what it was
// sent, and nothing of the records that are sent meanwhile.
func TestAnsweredBeforeItWasRead(t *testing.T) {
	t.Parallel()
	const size = 256 << 10 // more than lies in the buffers between
	var records []string
	for _, c := range "abcdef" {
		records = append(records, strings.Repeat(string(c), size-1)+"\n")
	}
	for name, s := range map[string]Settings{"alone": {}, "joined": {ContentType: "text/csv", Join: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				over := make(chan struct{})
				var got []chan string
				s.Containers, s.Split, s.MaxPayload = []string{"http://container"}, SplitLine, size
				s.Dial = func(context.Context, string, string) (net.Conn, error) {
					here, there := net.Pipe()
					body := make(chan string, 1)
					got = append(got, body) // one after the other
					go func() {
						defer here.Close()
						req, err := http.ReadRequest(bufio.NewReader(there))
						if err != nil {
							t.Error(err)
							return
						}
						_, _ = io.WriteString(there, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n")
						<-over
						data, err := io.ReadAll(req.Body)
						if err != nil {
							t.Error(err)
						}
						body <- string(data)
					}()
					return pipeEnd{here}, nil
				}
				tr, err := New(s)
				if err != nil {
					t.Fatal(err)
				}
				var out strings.Builder
				err = tr.Do(t.Context(), text("k", strings.Join(records, "")), 1, func(_ context.Context, r io.Reader) error {
					_, err := io.Copy(&out, r)
					return err
				})
				close(over)
				if err != nil || strings.Count(out.String(), "ok\n") != len(records) || len(got) != len(records) {
					t.Fatalf("%d bytes of %d requests, %v", out.Len(), len(got), err)
				}
				for i, body := range got {
					if data := <-body; data != records[i] {
						t.Errorf("request %d: of %d bytes, %d are %q", i, len(data), strings.Count(data, records[i][:1]), records[i][0])
					}
				}
				tr.Close()
			})
		})
	}
}

// roundTrip is a container without a connection.
type roundTrip func(r *http.Request, body string) (status int, answer string)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err = errors.Join(err, r.Body.Close()); err != nil {
		return nil, err
	}
	status, answer := f(r, string(body))
	return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader(answer)), ContentLength: int64(len(answer)), Request: r}, nil
}

// opened are the files of a folder that are open.
func opened(t *testing.T, folder string) (out []string) {
	t.Helper()
	all, _ := filepath.Glob("/proc/self/fd/*") // elsewhere than on Linux: unknown
	for _, fd := range all {
		if to, err := os.Readlink(fd); err == nil && strings.HasPrefix(to, folder+"/") { // others come and go
			out = append(out, to)
		}
	}
	return out
}

// An object is not over while a request of it is: the answer that still comes is
// waited for, and nothing of it stays.
func TestWaitsForAnswersInVain(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		tr, err := New(Settings{Containers: []string{"http://container"}, Split: SplitLine, MaxPayload: 5, Concurrency: 2, Scratch: folder})
		if err != nil {
			t.Fatal(err)
		}
		tr.held = 1000
		asked, answers := make(chan struct{}), make(chan struct{})
		tr.client.Transport = roundTrip(func(r *http.Request, body string) (int, string) {
			if body == "bad\n" {
				<-asked
				return http.StatusBadRequest, "no"
			}
			close(asked)
			<-r.Context().Done() // nobody wants it any more
			<-answers
			return http.StatusOK, strings.Repeat("x", 5000)
		})
		over := make(chan error, 1)
		go func() {
			over <- tr.Do(t.Context(), text("k", "bad\nslow\n"), 2, func(_ context.Context, r io.Reader) error {
				_, err := io.Copy(io.Discard, r)
				return err
			})
		}()
		synctest.Wait()
		select {
		case err := <-over:
			t.Errorf("it is over before all requests are: %v", err)
			over <- err
		default:
		}
		close(answers)
		if f, ok := errors.AsType[*Failure](<-over); !ok || !strings.Contains(f.Text, "answered 400") {
			t.Errorf("%v", f)
		}
		synctest.Wait()
		if files := opened(t, folder); len(files) > 0 {
			t.Errorf("%q are open", files)
		}
	})
}

// What was put aside is closed as soon as it has been read: by the next
// container, or by whoever writes the result; and at once when it is refused.
func TestPutAsideIsClosed(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	tr, err := New(Settings{Containers: []string{"http://first", "http://second"}, Split: SplitLine, MaxPayload: 4, Concurrency: 2, Scratch: folder})
	if err != nil {
		t.Fatal(err)
	}
	tr.held = 1000
	large := strings.Repeat("x", 5000)
	last := make(chan *http.Request, 10)
	tr.client.Transport = roundTrip(func(r *http.Request, body string) (int, string) {
		if r.URL.Host == "second" {
			if body != large {
				t.Errorf("%d bytes came from the first container", len(body))
			}
			last <- r
		}
		return http.StatusOK, large
	})
	a, err := tr.invoke(t.Context(), &payload{data: []byte("one\n")})
	if err != nil || a.file == nil {
		t.Fatalf("%+v, %v", a, err)
	}
	body, err := (<-last).GetBody() // holds the file, so that nothing else closes it
	if err != nil {
		t.Fatal(err)
	}
	if n, err := body.Read(make([]byte, 1)); !errors.Is(err, os.ErrClosed) {
		t.Errorf("what the second container read is open: %d, %v", n, err)
	}
	if _, err := a.file.Stat(); err != nil {
		t.Error(err)
	}
	tr.release(&batch{answer: a})
	if _, err := a.file.Stat(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("the answer is open: %v", err)
	}
	do := func() error {
		return tr.Do(t.Context(), text("k", "one\ntwo\nsix\n"), 2, func(_ context.Context, r io.Reader) error {
			_, err := io.Copy(io.Discard, r)
			return err
		})
	}
	if err := do(); err != nil {
		t.Error(err)
	}
	tr.most = 2000
	if err := do(); err == nil || !strings.Contains(err.Error(), errTooLarge.Error()) {
		t.Error(err)
	}
	if files := opened(t, folder); len(files) > 0 {
		t.Errorf("%q are open", files)
	}
}
