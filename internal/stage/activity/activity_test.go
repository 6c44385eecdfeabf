package activity

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"clary/internal/stage/agent"
)

// fake is a JupyterLab with our extension.
type fake struct {
	answer any
	asked  []string
	body   map[string]any
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.asked = append(f.asked, r.Method+" "+r.URL.Path)
	if r.Method != http.MethodGet {
		c, err := r.Cookie("_xsrf")
		if err != nil || c.Value == "" || c.Value != r.Header.Get("X-Xsrftoken") {
			http.Error(w, "'_xsrf' argument missing", http.StatusForbidden)
			return
		}
		f.body = nil
		if err := json.NewDecoder(r.Body).Decode(&f.body); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
	}
	_ = json.NewEncoder(w).Encode(f.answer)
}

func call(t *testing.T, h http.Handler, method, path, body string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body)))
	return w
}

func TestActivity(t *testing.T) {
	t.Parallel()
	up, err := clock(unix.CLOCK_MONOTONIC)
	if err != nil {
		t.Fatal(err)
	}
	ago := func(d time.Duration) float64 { return (up - d).Seconds() }
	f := &fake{answer: map[string]any{
		"pid": 4, "started": ago(time.Hour), "saved": nil, "kept": ago(time.Minute), "tabs": 2,
		"kernels":   []any{map[string]any{"id": "k", "name": "conda_python3", "document": "a.ipynb", "pid": 7, "state": "busy", "last": ago(3 * time.Second), "connections": 1}},
		"terminals": []any{map[string]any{"name": "1", "pid": 8, "input": nil, "connections": 1}},
	}}
	srv := httptest.NewServer(f)
	defer srv.Close()
	w := call(t, Handler(Config{Jupyter: srv.URL, Own: func() []int { return []int{1} }}), http.MethodGet, "/activity", "")
	var s agent.Sample
	if err := json.Unmarshal(w.Body.Bytes(), &s); err != nil || w.Code != http.StatusOK {
		t.Fatalf("%d %s: %v", w.Code, w.Body, err)
	}
	near := func(what string, got time.Time, ago time.Duration) {
		if off := s.At.Sub(got) - ago; off < 0 || off > 10*time.Second {
			t.Errorf("%s: %s, want %s before %s", what, got, ago, s.At)
		}
	}
	near("booted", s.Booted, time.Hour)
	near("kept", s.Kept, time.Minute)
	near("last", s.Kernels[0].Last, 3*time.Second)
	if !s.Saved.IsZero() || !s.Terminals[0].Input.IsZero() {
		t.Errorf("what never was: %+v", s)
	}
	if s.Jupyter != 4 || s.Tabs != 2 || s.Kernels[0].State != "busy" || s.Kernels[0].PID != 7 || s.Terminals[0].PID != 8 || s.Up < up {
		t.Errorf("%+v", s)
	}
	for _, p := range s.Processes {
		if p.Own != slices.Contains([]int{1, 4, os.Getpid()}, p.PID) {
			t.Errorf("own: %+v", p)
		}
	}
}

func TestNoAnswerIsNoSample(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.NotFoundHandler())
	h := Handler(Config{Jupyter: srv.URL})
	for _, c := range [][2]string{{http.MethodGet, "/activity"}, {http.MethodPost, "/save"}, {http.MethodPost, "/warn"}} {
		if w := call(t, h, c[0], c[1], "{}"); w.Code != http.StatusServiceUnavailable {
			t.Errorf("%s: %d %s", c, w.Code, w.Body)
		}
	}
	srv.Close()
	if w := call(t, h, http.MethodGet, "/activity", ""); w.Code != http.StatusServiceUnavailable {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestWarnAndSave(t *testing.T) {
	t.Parallel()
	f := &fake{answer: map[string]any{"tabs": 1}}
	srv := httptest.NewServer(f)
	defer srv.Close()
	h := Handler(Config{Jupyter: srv.URL})
	if w := call(t, h, http.MethodPost, "/warn", `{"StopAt": "2026-11-30T14:32:00.5Z", "Idle": 3300000000000}`); w.Code != http.StatusOK || f.body["stop_at"] != 1796049120.5 || f.body["idle"] != 3300.0 {
		t.Errorf("%d %s: %v", w.Code, w.Body, f.body)
	}
	if w := call(t, h, http.MethodPost, "/warn", `{"StopAt": "0001-01-01T00:00:00Z", "Idle": 0}`); w.Code != http.StatusOK || f.body["stop_at"] != 0.0 {
		t.Errorf("%d %s: %v", w.Code, w.Body, f.body)
	}
	if w := call(t, h, http.MethodPost, "/warn", `{"StopAt": "2026-11-30T14:32:00.5Z", "Budget": "small"}`); w.Code != http.StatusOK || f.body["budget"] != "small" {
		t.Errorf("POST /warn for a budget: %d, %v", w.Code, f.body)
	}
	if w := call(t, h, http.MethodPost, "/warn", `now`); w.Code != http.StatusBadRequest {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := call(t, h, http.MethodPost, "/save", ``); w.Code != http.StatusOK || f.asked[len(f.asked)-1] != "POST /clary/save" {
		t.Errorf("%d %s: %v", w.Code, w.Body, f.asked)
	}
}

// TestLook looks at this process, a child and their connection.
func TestLook(t *testing.T) {
	t.Parallel()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	child := exec.CommandContext(t.Context(), "sleep", "1000")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = child.Process.Kill(); _ = child.Wait() }()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()

	port := l.Addr().(*net.TCPAddr).Port
	for deadline := time.Now().Add(2 * time.Minute); ; {
		s := agent.Sample{At: time.Now()}
		if err := look(root, []int{1}, &s); err != nil {
			t.Fatal(err)
		}
		var self, sleep agent.Process
		for _, p := range s.Processes {
			switch p.PID {
			case os.Getpid():
				self = p
			case child.Process.Pid:
				sleep = p
			}
		}
		if !slices.Contains(self.Listens, port) || self.CPU <= 0 || self.Read <= 0 || self.Own || s.At.Sub(self.Started) > time.Hour || s.At.Before(self.Started) {
			t.Fatalf("itself: %+v", self)
		}
		if sleep.Parent != os.Getpid() {
			t.Fatalf("its child: %+v", sleep)
		}
		// it may just be starting
		if sleep.Args == "sleep 1000" && sleep.State == "S" && sleep.Waits == agent.WaitsTime {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("its child: %+v", sleep)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestParseStat(t *testing.T) {
	t.Parallel()
	const line = "57 (a) R (b) S 13 57 57 34816 90 4194304 2000 0 0 0 12 7 100 200 20 0 3 0 4711 1000 200 184 1"
	p, err := parseStat([]byte(line))
	if err != nil {
		t.Fatal(err)
	}
	if p.Parent != 13 || p.State != "S" || p.TTY != 34816 || p.Foreground || p.CPU != 190*time.Millisecond || p.age != 47110*time.Millisecond || p.Args != "(a) R (b)" {
		t.Errorf("%+v", p)
	}
	if p, err = parseStat([]byte(strings.Replace(line, " 90 ", " 57 ", 1))); err != nil || !p.Foreground {
		t.Errorf("%+v, %v", p, err)
	}
	for _, bad := range []string{"", "57 (a", "57 a) (", "57 (a) S 13", strings.Replace(line, "4711", "x", 1)} {
		if _, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}

func TestPrintable(t *testing.T) {
	t.Parallel()
	if got := printable([]byte("python\x00-c\x00a\nb\x1b[2J\xff\x00\x00")); got != "python -c a b [2J?" {
		t.Errorf("%q", got)
	}
	if got := printable(bytes.Repeat([]byte("é"), 200)); len(got) > maxArgs+1 {
		t.Errorf("%d bytes", len(got))
	}
}

// TestSockets reads what another kernel had.
func TestSockets(t *testing.T) {
	t.Parallel()
	proc := t.TempDir()
	dir := filepath.Join(proc, "self/net")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	const head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
	if err := os.WriteFile(filepath.Join(dir, "tcp"), []byte(head+
		"   0: 0100007F:22B8 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 100 1 0 100 0 0 10 0\n"+
		"   1: 0100007F:1771 0100007F:C350 01 00000000:00000000 00:00000000 00000000  1000        0 101 1 0 20 4 30 10 -1\n"+
		"   2: 0100007F:C350 0100007F:1771 01 00000000:00000000 00:00000000 00000000  1000        0 102 1 0 20 4 30 10 -1\n"+
		"   3: 0100007F:22B8 0100007F:C351 01 00000000:00000000 00:00000000 00000000  1000        0 103 1 0 20 4 30 10 -1\n"+
		"   4: 0100007F:C351 0100007F:22B8 06 00000000:00000000 00:00000000 00000000  1000        0 0 1 0 20 4 30 10 -1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "tcp6"), []byte(head+
		"   0: 00000000000000000000000001000000:1F40 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000  1000 0 104 1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	p, err := sockets(proc)
	if err != nil {
		t.Fatal(err)
	}
	if len(p.listening) != 2 || p.listening["100"] != 8888 || p.listening["104"] != 8000 || len(p.established) != 3 {
		t.Fatalf("%+v", p)
	}
	if want := netip.MustParseAddrPort("127.0.0.1:6001"); p.established["101"].local != want {
		t.Errorf("%+v", p.established["101"])
	}
	// 101 is a server's, 102 whoever polls it, 103 JupyterLab's.
	holders := map[string]int{"101": 50, "102": 60, "103": 4}
	own := func(pid int) bool { return pid == 4 }
	got := p.connections(holders, own)
	if len(got) != 2 || got[0] != (agent.Connection{PID: 50, Local: "127.0.0.1:6001", Peer: "127.0.0.1:50000"}) {
		t.Errorf("%+v", got)
	}
	holders["102"] = 50 // a process with itself
	if got := p.connections(holders, own); len(got) != 0 {
		t.Errorf("%+v", got)
	}
	holders["102"] = 4 // JupyterLab's own proxy is who asks
	if got := p.connections(holders, own); len(got) != 0 {
		t.Errorf("%+v", got)
	}
	if err := os.WriteFile(filepath.Join(dir, "tcp"), []byte("   0: 01:22B8 00000000:0000 0A 0 0 0 0 0 100\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := sockets(proc); err == nil {
		t.Error("an odd address was read")
	}
}

func TestLay(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for range 2 { // each start writes them anew
		if err := Lay(dir); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, Module)); err != nil {
		t.Error(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "labextensions", notice, "package.json"))
	if err != nil {
		t.Fatal(err)
	}
	var m struct {
		Name       string `json:"name"`
		JupyterLab struct {
			Build struct {
				Load      string `json:"load"`
				Extension string `json:"extension"`
			} `json:"_build"`
		} `json:"jupyterlab"`
	}
	if err := json.Unmarshal(text, &m); err != nil || m.Name != notice || m.JupyterLab.Build.Extension != "./extension" {
		t.Fatalf("%s: %v", text, err)
	}
	f, err := os.Open(filepath.Join(dir, "labextensions", notice, m.JupyterLab.Build.Load))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	script, err := io.ReadAll(f)
	if err != nil || !bytes.Contains(script, []byte(`["`+notice+`"]`)) {
		t.Errorf("the container has another name: %v", err)
	}
}
