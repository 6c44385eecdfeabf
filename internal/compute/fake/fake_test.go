package fake_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"clary/internal/compute"
	"clary/internal/compute/computetest"
	"clary/internal/compute/fake"
	"clary/internal/stage/plan"
)

func TestContract(t *testing.T) {
	t.Parallel()
	computetest.Run(t, func(*testing.T) computetest.Subject {
		w := fake.NewWorld(func(tk compute.Task) fake.Script {
			var p computetest.Program
			if err := json.Unmarshal([]byte(tk.Args[0]), &p); err != nil {
				panic(err)
			}
			s := fake.Script{
				Delay: 2 * time.Millisecond, Run: 20*time.Millisecond + p.Run, Forever: p.Forever, IgnoreTERM: p.IgnoreTERM,
				Output: p.Lines, Result: plan.Result{ExitCode: p.Exit},
				Work: func(files map[string]string) (said []string) {
					for _, path := range p.Read {
						text, ok := files[path]
						if !ok {
							text = "missing"
						}
						said = append(said, text)
					}
					maps.Copy(files, p.Write)
					if p.Home {
						said = append(said, tk.User.Home)
					}
					return said
				},
			}
			if p.Identity {
				s.Acts = func(i compute.Identity) string { return i.AccessKeyID }
			}
			if p.Listen != 0 {
				s.Serve = map[int]func(net.Conn){p.Listen: func(c net.Conn) { _, _ = io.Copy(c, c) }}
			}
			return s
		}, nil)
		return computetest.Subject{
			Open: func(*testing.T) compute.Driver { return w.Driver() },
			Args: func(p computetest.Program) []string {
				b, err := json.Marshal(p)
				if err != nil {
					panic(err)
				}
				return []string{string(b)}
			},
		}
	})
}

func TestTimeline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := fake.NewWorld(func(tk compute.Task) fake.Script {
			s := fake.Script{
				Delay: time.Second, Run: time.Minute,
				Steps:  []fake.Step{{plan.StepDownloading, 0}, {plan.StepTraining, 10 * time.Second}},
				Output: []string{"a"},
			}
			if tk.ID == "lost-1" {
				s.Lost = 40 * time.Second
			}
			return s
		}, nil)
		d := w.Driver()
		began := time.Now()
		for _, id := range []compute.TaskID{"ok-1", "lost-1"} {
			if err := d.Start(t.Context(), compute.Task{ID: id}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(15 * time.Second)
		st, err := d.Status(t.Context(), "ok-1")
		if err != nil || st.Phase != compute.Running || len(st.Steps) != 2 || st.Spooled != 0 {
			t.Fatalf("after 15 s: %+v, %v", st, err)
		}
		st = computetest.Ended(t, d, "ok-1")
		if got := st.Exit.At.Sub(began); got != 61*time.Second {
			t.Errorf("ended after %s", got)
		}
		st, err = d.Status(t.Context(), "lost-1")
		if err != nil || st.Phase != compute.Lost || st.Heartbeat.Sub(began) != 30*time.Second {
			t.Errorf("lost task: %+v, %v", st, err)
		}
		if n := w.Starts("ok-1"); n != 1 {
			t.Errorf("%d starts", n)
		}
		if r := w.Running(); len(r) != 0 {
			t.Errorf("still running: %v", r)
		}
	})
}

func TestFaults(t *testing.T) {
	t.Parallel()
	fail := true
	w := fake.NewWorld(func(compute.Task) fake.Script { return fake.Script{} }, func(op string, _ compute.TaskID, after bool) error {
		if op == "Start" && after && fail {
			fail = false
			return compute.ErrCapacity // the answer is lost, the effect is not
		}
		return nil
	})
	d := w.Driver()
	if err := d.Start(t.Context(), compute.Task{ID: "f-1"}); err == nil {
		t.Fatal("no fault")
	}
	if err := d.Start(t.Context(), compute.Task{ID: "f-1"}); err != nil {
		t.Fatal(err)
	}
	if n := w.Starts("f-1"); n != 1 {
		t.Errorf("%d starts", n)
	}
}

// TestServe dials into a task's program by simulated time: not before it is
// ready, and not beyond its end.
func TestServe(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := fake.NewWorld(func(compute.Task) fake.Script {
			return fake.Script{
				Delay: time.Second, Run: time.Hour, Ready: 10 * time.Second,
				Serve: map[int]func(net.Conn){7777: func(c net.Conn) { _, _ = io.Copy(c, c) }, 8888: fake.HTTP(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					_, _ = io.WriteString(w, r.URL.Path)
				}))},
			}
		}, nil)
		d := w.Driver()
		if err := d.Start(t.Context(), compute.Task{ID: "serve-1"}); err != nil {
			t.Fatal(err)
		}
		if _, err := d.Dial(t.Context(), "serve-1", 8888); !errors.Is(err, compute.ErrNotFound) {
			t.Errorf("while it starts: %v", err)
		}
		time.Sleep(10 * time.Second)
		if _, err := d.Dial(t.Context(), "serve-1", 8888); !errors.Is(err, compute.ErrRefused) {
			t.Errorf("before it is ready: %v", err)
		}
		time.Sleep(time.Second)
		tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return d.Dial(ctx, "serve-1", 8888) }}
		for _, path := range []string{"/a", "/b"} {
			resp, err := (&http.Client{Transport: tr}).Get("http://task" + path)
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(resp.Body)
			if err != nil || string(b) != path {
				t.Errorf("%q, %v", b, err)
			}
			_ = resp.Body.Close()
		}
		open, err := d.Dial(t.Context(), "serve-1", 7777)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if _, err := open.Read(make([]byte, 1)); err == nil {
			t.Error("it spoke first")
		}
		if got := time.Since(began); got != time.Hour-10*time.Second {
			t.Errorf("the connection lasted %s", got)
		}
		tr.CloseIdleConnections()
	})
}

// TestVolumes keeps what is in a volume through a crash of the machine.
func TestVolumes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := fake.NewWorld(func(compute.Task) fake.Script {
			return fake.Script{Delay: time.Second, Forever: true, Work: func(files map[string]string) []string {
				files["/v/n"] += "x"
				return nil
			}}
		}, nil)
		d := w.Driver()
		if err := w.Put("vol", "n", "-"); !errors.Is(err, compute.ErrNoVolume) {
			t.Errorf("Put without a volume: %v", err)
		}
		if err := d.EnsureVolume(t.Context(), "vol", 5<<30); err != nil {
			t.Fatal(err)
		}
		if err := w.Put("vol", "n", "-"); err != nil {
			t.Fatal(err)
		}
		for _, id := range []compute.TaskID{"a-1", "a-2"} {
			tk := compute.Task{ID: id, Mounts: []compute.Mount{{Volume: "vol", Path: "/v", Writable: true}}}
			if err := d.Start(t.Context(), tk); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
			w.Crash()
		}
		if n, files, ok := w.Volume("vol"); !ok || n != 5<<30 || files["n"] != "-xx" {
			t.Errorf("%d bytes, %q, %v", n, files, ok)
		}
	})
}
