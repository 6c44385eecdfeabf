package notebook

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"clary/internal/compute"
	"clary/internal/compute/fake"
	"clary/internal/stage/agent"
)

// TestHostileTask sees that whatever a task's first process answers neither
// holds up the server nor grows its records.
func TestHostileTask(t *testing.T) {
	t.Parallel()
	endless := func(c net.Conn, head, more string) {
		if _, err := io.WriteString(c, head); err != nil {
			return
		}
		for {
			if _, err := io.WriteString(c, more); err != nil {
				return
			}
		}
	}
	answers := func(doc any) func(net.Conn) {
		return fake.HTTP(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(doc) }))
	}
	const ok = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"
	for name, serve := range map[string]func(net.Conn){
		"says nothing":       func(c net.Conn) { _, _ = io.Copy(io.Discard, c) },
		"reads nothing":      nil,
		"endless head":       func(c net.Conn) { endless(c, "HTTP/1.1 200 OK\r\n", "X: "+strings.Repeat("x", 1<<16)+"\r\n") },
		"endless body":       func(c net.Conn) { endless(c, ok+`{"Failure":"`, strings.Repeat("x", 1<<16)) },
		"endless list":       func(c net.Conn) { endless(c, ok+`{"Cloned":["a"`, strings.Repeat(`,"a"`, 1<<14)) },
		"no JSON":            answers("?"),
		"no phase":           answers(agent.State{Phase: "?", For: -1}),
		"says it for ever":   answers(agent.State{Phase: agent.Failed, Failure: strings.Repeat("é", 1<<20)}),
		"cloned all of them": answers(agent.State{Phase: agent.Cloning, For: 1 << 62, Cloned: make([]string, 1<<18)}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				end := make(chan struct{})
				if serve == nil {
					serve = func(net.Conn) { <-end }
				}
				b := newBench(t, func(compute.Task) fake.Script {
					return fake.Script{Delay: time.Second, Forever: true, Serve: map[int]func(net.Conn){agent.Port: serve}}
				})
				defer b.db.Close()
				defer close(end)
				b.create(good("nb"))
				for range 400 {
					began := time.Now()
					b.look("nb")
					if took := time.Since(began); took > 3*time.Second {
						t.Fatalf("a look took %s", took)
					}
					if b.describe("nb").NotebookInstanceStatus == "Failed" {
						break
					}
					time.Sleep(time.Second)
				}
				d := b.describe("nb")
				if d.NotebookInstanceStatus != "Failed" || len(d.FailureReason) > 1024 || d.FailureReason == "" {
					t.Errorf("%s: %d bytes of FailureReason: %.80s", d.NotebookInstanceStatus, len(d.FailureReason), d.FailureReason)
				}
				rec, err := b.db.Get(t.Context(), key(account, region, "nb"))
				if err != nil || len(rec.Status) > 8<<10 {
					t.Errorf("the status has %d bytes, %v", len(rec.Status), err)
				}
			})
		})
	}
}

func TestUnfit(t *testing.T) {
	t.Parallel()
	many := make([]agent.File, 1001)
	for what, files := range map[string][]agent.File{
		"too many":                           many,
		`be named "a/b"`:                     {{Name: "a/b"}},
		`be named ".git"`:                    {{Name: ".git"}},
		`be named "x"`:                       {{Name: "x"}, {Name: "x"}},
		"x is too large":                     {{Name: "x", Bytes: 31 << 30}},
		"y is too large":                     {{Name: "x", Bytes: 16 << 30}, {Name: "y", Bytes: 16 << 30}},
		"z is too large":                     {{Name: "z", Bytes: -1}},
		`named "` + strings.Repeat("n", 101): {{Name: strings.Repeat("n", 101)}},
	} {
		if got := unfit(files); !strings.Contains(got, what) {
			t.Errorf("%q, want %q", got, what)
		}
	}
	if got := unfit([]agent.File{{Name: "a-1.bundle", Bytes: 1}, {Name: "loose.tar.gz", Bytes: 16 << 30}}); got != "" {
		t.Error(got)
	}
}
