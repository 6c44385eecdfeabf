package router

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"clary/internal/aws/codec"
	"clary/internal/aws/codec/restjson"
	"clary/internal/aws/op"
	"clary/internal/aws/sigv4"
	"clary/internal/compute"
	"clary/internal/front"
	"clary/internal/identity"
	"clary/internal/metrics"
	"clary/internal/resource"
	"clary/internal/serving"
	"clary/internal/store"
	"clary/internal/store/sqlite"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	account = "123456789012"
	region  = "eu-west-1"
)

// world is a router behind a front, before containers of the test's own.
type world struct {
	*testing.T
	st     *sqlite.Store
	r      *Router
	tasks  *tasks
	meter  *meters
	files  *files
	addr   string
	creds  sigv4.Credentials
	client *http.Client
}

func newWorld(t *testing.T, edit ...func(*Config)) *world {
	t.Helper()
	dir := t.TempDir()
	st, err := sqlite.Open(filepath.Join(dir, "db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	ids, err := identity.Open(identity.Config{Store: st, Dir: filepath.Join(dir, "keys"), Account: account})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{
		T: t, st: st, tasks: &tasks{addrs: map[compute.TaskID]string{}, dials: map[compute.TaskID]int{}}, meter: &meters{}, files: &files{},
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}},
	}
	key := ids.Root()
	w.creds = sigv4.Credentials{AccessKeyID: key.AccessKeyID, SecretAccessKey: key.SecretAccessKey}
	log := slog.New(slog.DiscardHandler)
	cfg := Config{Records: st, Dialer: w.tasks, Meter: w.meter, Keep: w.files.keep, Log: log}
	for _, f := range edit {
		f(&cfg)
	}
	if w.r, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	f, err := front.New(front.Config{
		Keys: ids, Auth: ids, Log: log, Services: []op.Service{w.r}, MaxPayload: cfg.MaxPayload, InFlight: cfg.InFlight,
		Codecs: map[string]codec.Codec{"rest-json": restjson.New().WithPayload(cfg.MaxPayload)},
	})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // of the whole test
	if err != nil {
		t.Fatal(err)
	}
	w.addr = l.Addr().String()
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = f.Serve(l) })
	wg.Go(func() { w.r.Run(ctx) })
	t.Cleanup(func() {
		w.client.CloseIdleConnections()
		stop()
		end, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = f.Shutdown(end)
		wg.Wait()
		if n := w.r.room.used.Load(); n != 0 {
			t.Errorf("%d bytes are still counted", n)
		}
		if err := w.r.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// tasks dial the tests' own containers.
type tasks struct {
	mu    sync.Mutex
	addrs map[compute.TaskID]string
	dials map[compute.TaskID]int
}

func (d *tasks) Dial(ctx context.Context, id compute.TaskID, port int) (net.Conn, error) {
	d.mu.Lock()
	addr := d.addrs[id]
	d.dials[id]++
	d.mu.Unlock()
	if addr == "" || port != serving.Port {
		return nil, compute.ErrNotFound
	}
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, errors.Join(compute.ErrRefused, err)
	}
	return c, nil
}

func (d *tasks) dialled(id compute.TaskID) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.dials[id]
}

func (d *tasks) set(id compute.TaskID, addr string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.addrs[id] = addr
}

// meters take metrics.
type meters struct {
	mu   sync.Mutex
	err  error
	data []metrics.Datum
}

func (m *meters) Put(_ context.Context, data []metrics.Datum) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return m.err
	}
	m.data = append(m.data, data...)
	return nil
}

func (m *meters) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.err = err
}

// sum adds up a metric.
func (m *meters) sum(name, variant string) (sum, count float64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, d := range m.data {
		if d.Name == name && d.Namespace == "AWS/SageMaker" && d.Dimensions["VariantName"] == variant {
			d = d.Rolled()
			sum, count = sum+d.Sum, count+d.Count
		}
	}
	return sum, count
}

// files take captured data.
type files struct {
	mu  sync.Mutex
	err error
	all []File
}

func (f *files) keep(_ context.Context, file File) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return f.err
	}
	file.Body = bytes.Clone(file.Body)
	f.all = append(f.all, file)
	return nil
}

func (f *files) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

// container is an HTTP server that stands for a container.
func (w *world) container(id compute.TaskID, h http.HandlerFunc) *httptest.Server {
	w.Helper()
	s := httptest.NewServer(h)
	w.Cleanup(s.Close)
	w.tasks.set(id, s.Listener.Addr().String())
	return s
}

// raw is a container that does with a connection what it likes.
func (w *world) raw(id compute.TaskID, serve func(net.Conn)) {
	w.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // of the whole test
	if err != nil {
		w.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex // guards conns
	var conns []net.Conn
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, c)
			mu.Unlock()
			wg.Go(func() {
				defer func() { _ = c.Close() }()
				serve(c)
			})
		}
	})
	w.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		for _, c := range conns { // the router keeps some
			_ = c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	w.tasks.set(id, l.Addr().String())
}

// one is an endpoint of one instance.
func one(task compute.TaskID) serving.Endpoint {
	return serving.Endpoint{Variants: []serving.Variant{{
		Name: "AllTraffic", Weight: 1, Containers: []string{"primary"}, Instances: []serving.Instance{{ID: "i-0", Tasks: []compute.TaskID{task}}},
	}}}
}

// put writes an endpoint's record as its feature does.
func (w *world) put(name string, e serving.Endpoint) {
	w.Helper()
	status, err := json.Marshal(map[string]any{"v": 1, "serving": e})
	if err != nil {
		w.Fatal(err)
	}
	k := resource.Key{Account: account, Region: region, Kind: serving.KindEndpoint, Name: name}
	err = w.st.Update(w.Context(), func(tx store.Tx) error {
		rec, err := tx.Get(k)
		if errors.Is(err, store.ErrNotFound) {
			rec = &resource.Record{Key: k, UID: resource.NewUID(), Arn: "arn:aws:sagemaker:" + region + ":" + account + ":endpoint/" + name, Created: time.Now()}
		} else if err != nil {
			return err
		}
		rec.Phase, rec.Modified, rec.Status = serving.PhaseInService, time.Now(), status
		return tx.Put(rec)
	})
	if err != nil {
		w.Fatal(err)
	}
	w.r.Changed(k)
}

// said is an answer to a client.
type said struct {
	status int
	header http.Header
	body   string
}

func (s said) member(name string) any {
	var m map[string]any
	_ = json.Unmarshal([]byte(s.body), &m) // none is nil
	return m[name]
}

func (w *world) request(ctx context.Context, path string, body []byte, headers ...string) *http.Request {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+w.addr+path, bytes.NewReader(body))
	if err != nil {
		w.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	sum := sha256.Sum256(body)
	sigv4.Sign(r, w.creds, region, "sagemaker", hex.EncodeToString(sum[:]), time.Now())
	return r
}

// try asks, from any goroutine.
func (w *world) try(ctx context.Context, endpoint string, body []byte, headers ...string) (said, error) {
	res, err := w.client.Do(w.request(ctx, "/endpoints/"+endpoint+"/invocations", body, headers...))
	if err != nil {
		return said{}, err
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	return said{res.StatusCode, res.Header, string(b)}, err
}

func (w *world) invoke(endpoint, body string, headers ...string) said {
	w.Helper()
	s, err := w.try(w.Context(), endpoint, []byte(body), headers...)
	if err != nil {
		w.Fatal(err)
	}
	return s
}

// eventually waits for what must come to pass.
func (w *world) eventually(what string, is func() bool) {
	w.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			w.Fatal("never: ", what)
		}
	}
}
