package dataplane_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"clary/internal/aws/apierr"
	"clary/internal/aws/op"
	"clary/internal/compute"
	"clary/internal/dataplane"
	"clary/internal/front"
	"clary/internal/identity"
	"clary/internal/resource"
	"clary/internal/store"
	"clary/internal/store/sqlite"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	account = "123456789012"
	region  = "eu-west-1"
	cookie  = "__Host-clary-notebook"
)

// people are who may open what. Their words can be changed while a test runs.
type people struct {
	mu     sync.Mutex
	gone   map[string]bool // access keys that were deleted
	denied map[string]bool // "arn of who" that no policy allows
	broken error
	asked  []asked
}

type asked struct {
	who      resource.Principal
	act, arn string
}

var root = resource.Principal{Account: account, Arn: "arn:aws:iam::" + account + ":root", UserID: account, AccessKeyID: "AKIAROOT", Root: true}

func (p *people) Secret(_ context.Context, id, _ string) (string, resource.Principal, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.broken != nil {
		return "", resource.Principal{}, p.broken
	}
	if p.gone[id] || id != root.AccessKeyID {
		return "", resource.Principal{}, apierr.New(403, "InvalidClientTokenId", "unknown")
	}
	return "secret", root, nil
}

func (p *people) Allow(_ context.Context, who resource.Principal, action, arn string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = append(p.asked, asked{who, action, arn})
	if p.denied[who.Arn] {
		return apierr.AccessDenied("User: %s is not authorized to perform: %s on resource: %s with an explicit deny", who.Arn, action, arn)
	}
	return nil
}

func (*people) PassRole(context.Context, resource.Principal, string, string) error { return nil }

func (p *people) set(f func(*people)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f(p)
}

// looks are the questions so far.
func (p *people) looks() []asked {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.asked)
}

func role(name string) resource.Principal {
	return resource.Principal{
		Account: account, Arn: "arn:aws:sts::" + account + ":assumed-role/" + name + "/s", UserID: "AROA:s", AccessKeyID: "ASIA" + name,
		RoleArn: "arn:aws:iam::" + account + ":role/" + name,
	}
}

// tasks dial the tests' own servers.
type tasks struct {
	mu    sync.Mutex
	addrs map[compute.TaskID]string
	conns map[compute.TaskID]int // dialled
	errs  map[compute.TaskID]error
}

func (d *tasks) Dial(ctx context.Context, id compute.TaskID, port int) (net.Conn, error) {
	d.mu.Lock()
	addr, err := d.addrs[id], d.errs[id]
	d.conns[id]++
	d.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if addr == "" || port != 8888 {
		return nil, compute.ErrNotFound
	}
	return (&net.Dialer{}).DialContext(ctx, "tcp", addr)
}

// clock is the wall's, and can be moved on.
type clock struct {
	mu   sync.Mutex
	plus time.Duration
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.plus)
}

func (c *clock) on(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.plus += d
}

// lines is a log.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// world is a front with a plane behind it.
type world struct {
	t      testing.TB
	dir    string
	store  store.Store
	plane  *dataplane.Plane
	people *people
	tasks  *tasks
	clock  *clock
	log    *lines
	addr   string
	port   string
	stop   func()
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{
		t: t, dir: t.TempDir(), people: &people{gone: map[string]bool{}, denied: map[string]bool{}}, clock: &clock{}, log: &lines{},
		tasks: &tasks{addrs: map[compute.TaskID]string{}, conns: map[compute.TaskID]int{}, errs: map[compute.TaskID]error{}},
	}
	w.start("127.0.0.1:0")
	t.Cleanup(func() { w.stop() })
	return w
}

// start serves on addr, with what the folder holds.
func (w *world) start(addr string) {
	w.t.Helper()
	st, err := sqlite.Open(filepath.Join(w.dir, "db"), sqlite.Options{})
	if err != nil {
		w.t.Fatal(err)
	}
	l, err := (&net.ListenConfig{}).Listen(w.t.Context(), "tcp", addr)
	if err != nil {
		w.t.Fatal(err)
	}
	w.store, w.addr = st, l.Addr().String()
	_, w.port, _ = net.SplitHostPort(w.addr)
	log := slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	w.plane, err = dataplane.New(dataplane.Config{
		Store: st, Keys: w.people, Auth: w.people, Dialer: w.tasks, Suffix: "notebooks.example.org", Port: w.port, Log: log, Now: w.clock.now,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	f, err := front.New(front.Config{Keys: w.people, Auth: w.people, Notebook: w.plane, Log: log})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = f.Serve(l) })
	wg.Go(func() { w.plane.Run(ctx) })
	w.stop = func() {
		w.plane.Shutdown()
		end, done := context.WithTimeout(context.Background(), 5*time.Second)
		defer done()
		if err := f.Shutdown(end); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			w.t.Error(err)
		}
		cancel()
		wg.Wait()
		if err := st.Close(); err != nil {
			w.t.Error(err)
		}
	}
}

// notebook is an instance with a server in its task.
type notebook struct {
	w   *world
	key resource.Key
	uid string
}

func (n notebook) host() string   { return "nb-" + n.uid + ".localhost:" + n.w.port }
func (n notebook) origin() string { return "http://" + n.host() }
func (n notebook) task() compute.TaskID {
	return compute.TaskID(n.uid + "-1")
}

func (w *world) notebook(name string, h http.Handler) notebook {
	w.t.Helper()
	s := httptest.NewServer(h)
	w.t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	return w.notebookAt(name, s.Listener.Addr().String())
}

func (w *world) notebookAt(name, addr string) notebook {
	w.t.Helper()
	n := notebook{w: w, key: resource.Key{Account: account, Region: region, Kind: "NotebookInstance", Name: name}, uid: resource.NewUID()}
	w.tasks.mu.Lock()
	w.tasks.addrs[n.task()] = addr
	w.tasks.mu.Unlock()
	w.update(func(tx store.Tx) error {
		return tx.Put(&resource.Record{
			Key: n.key, UID: n.uid, Arn: "arn:aws:sagemaker:" + region + ":" + account + ":notebook-instance/" + name, Phase: "InService",
			Created: time.Now(), Modified: time.Now(), Status: json.RawMessage(`{"v":1,"task":"` + string(n.task()) + `","other":[1]}`),
		})
	})
	return n
}

func (w *world) update(fn func(store.Tx) error) {
	w.t.Helper()
	if err := w.store.Update(w.t.Context(), fn); err != nil {
		w.t.Fatal(err)
	}
}

// change writes to the instance's record.
func (n notebook) change(f func(*resource.Record)) {
	n.w.t.Helper()
	n.w.update(func(tx store.Tx) error {
		r, err := tx.Get(n.key)
		if err != nil {
			return err
		}
		f(r)
		return tx.Put(r)
	})
}

func (n notebook) record() *resource.Record {
	n.w.t.Helper()
	r, err := n.w.store.Get(n.w.t.Context(), n.key)
	if err != nil {
		n.w.t.Fatal(err)
	}
	return r
}

func (w *world) call(who resource.Principal) op.Call {
	return op.Call{Account: who.Account, Region: region, Principal: who, Host: "http://" + w.addr}
}

// link is a presigned URL for somebody.
func (n notebook) link(who resource.Principal) string {
	n.w.t.Helper()
	u, err := n.w.plane.URL(n.w.t.Context(), n.w.call(who), n.record(), time.Hour)
	if err != nil {
		n.w.t.Fatal(err)
	}
	return u
}

// enter opens the instance in a browser of its own, and gives its cookie.
func (n notebook) enter(who resource.Principal) string {
	n.w.t.Helper()
	a := n.w.ask("GET", n.link(who), "")
	if a.status != http.StatusSeeOther || a.cookie == "" {
		n.w.t.Fatalf("the link leads with %d to %q: %s", a.status, a.header.Get("Location"), a.body)
	}
	return a.cookie
}

type answer struct {
	status int
	header http.Header
	body   string
	cookie string // ours, if it was set
}

// ask sends a request as its own page would; set changes it. Redirects are not
// followed.
func (w *world) ask(method, to, session string, set ...func(*http.Request)) answer {
	w.t.Helper()
	a, err := w.try(method, to, session, set...)
	if err != nil {
		w.t.Fatal(err)
	}
	return a
}

func (w *world) try(method, to, session string, set ...func(*http.Request)) (answer, error) {
	u, err := url.Parse(to)
	if err != nil {
		return answer{}, err
	}
	r, err := http.NewRequestWithContext(w.t.Context(), method, to, http.NoBody)
	if err != nil {
		return answer{}, err
	}
	if session != "" {
		r.Header.Set("Cookie", cookie+"="+session)
	}
	if method != http.MethodGet && method != http.MethodHead {
		r.Header.Set("Origin", u.Scheme+"://"+u.Host)
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	for _, f := range set {
		f(r)
	}
	tr := &http.Transport{DisableKeepAlives: true, DisableCompression: true, DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, w.addr)
	}}
	res, err := tr.RoundTrip(r)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	a := answer{status: res.StatusCode, header: res.Header, body: string(b)}
	for _, c := range res.Cookies() {
		if c.Name == cookie {
			a.cookie = c.Value
		}
	}
	return a, err
}

func header(name string, values ...string) func(*http.Request) {
	return func(r *http.Request) { r.Header[http.CanonicalHeaderKey(name)] = values }
}

func without(name string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Del(name) }
}

func body(s string) func(*http.Request) {
	return func(r *http.Request) {
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(s)), int64(len(s))
	}
}

// raw sends bytes and gives all that comes until the end.
func (w *world) raw(text string) string {
	w.t.Helper()
	c := w.dial()
	defer func() { _ = c.Close() }()
	if _, err := io.WriteString(c, text); err != nil {
		w.t.Fatal(err)
	}
	b, _ := io.ReadAll(c)
	return string(b)
}

func (w *world) dial() net.Conn {
	w.t.Helper()
	c, err := (&net.Dialer{}).DialContext(w.t.Context(), "tcp", w.addr)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := c.SetDeadline(time.Now().Add(2 * time.Minute)); err != nil {
		w.t.Fatal(err)
	}
	return c
}

// socket opens a WebSocket as far as HTTP goes: the bytes after it are free.
func (n notebook) socket(session string, set ...func(*http.Request)) (net.Conn, *bufio.Reader, int) {
	n.w.t.Helper()
	r, err := http.NewRequestWithContext(n.w.t.Context(), http.MethodGet, n.origin()+"/api/kernels/x/channels", http.NoBody)
	if err != nil {
		n.w.t.Fatal(err)
	}
	for k, v := range map[string]string{
		"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
		"Origin": n.origin(), "Cookie": cookie + "=" + session, "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "websocket",
	} {
		r.Header.Set(k, v)
	}
	for _, f := range set {
		f(r)
	}
	c := n.w.dial()
	n.w.t.Cleanup(func() { _ = c.Close() })
	if err := r.Write(c); err != nil {
		n.w.t.Fatal(err)
	}
	br := bufio.NewReader(c)
	res, err := http.ReadResponse(br, r)
	if err != nil {
		n.w.t.Fatal(err)
	}
	return c, br, res.StatusCode
}

// jupyter is the other side of the tests: it tells what it was asked, and
// speaks back on a WebSocket.
func jupyter(name string) http.Handler {
	m := http.NewServeMux()
	m.HandleFunc("/api/kernels/{id}/channels", func(w http.ResponseWriter, _ *http.Request) {
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		defer func() { _ = c.Close() }()
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		for {
			line, err := rw.ReadString('\n')
			if err != nil {
				return
			}
			if _, err := io.WriteString(c, name+" "+line); err != nil {
				return
			}
		}
	})
	m.HandleFunc("/events", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: 1\n\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	m.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		_, _ = fmt.Fprintf(w, "%s %s %s host=%s body=%d %v\n", name, r.Method, r.RequestURI, r.Host, n, err)
		_ = r.Header.Write(w)
	})
	return m
}

// until waits for a condition.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("still not: %s", what)
		}
	}
}

var _ identity.Authorizer = (*people)(nil)
