package main

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
	"net/http/httputil"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"clary/internal/aws/op"
	"clary/internal/compute"
	"clary/internal/dataplane"
	"clary/internal/front"
	"clary/internal/identity"
	"clary/internal/resource"
	"clary/internal/store"
	"clary/internal/store/sqlite"
)

const (
	proxyVerb = "proxy-server"
	proxyGoal = 1.2 // times the bare proxy's
	linkFile  = "link"

	pageSize    = 1500
	pieceSize   = 1 << 20 // as JupyterLab uploads
	largeSize   = 16 << 20
	proxiesBusy = 16
)

// proxyRows measures what the way into a notebook instance costs: host, origin,
// session and policies, beside net/http's proxy alone, before the same server.
func (b *bench) proxyRows() (err error) {
	dir := filepath.Join(b.dir, "proxy")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	all, stop, err := b.proxies(dir)
	defer func() { err = errors.Join(err, stop()) }()
	if err != nil {
		return err
	}
	v, err := b.visitorOf(dir, all[0].s)
	if err != nil {
		return err
	}
	get := func(path string, size int) func(context.Context, *contender, int, int) error {
		return func(ctx context.Context, c *contender, _, _ int) error {
			return v.ask(ctx, c, http.MethodGet, path, nil, size)
		}
	}
	body := bytes.Repeat([]byte("x"), pieceSize)
	loads := []struct {
		name string
		fn   func(ctx context.Context, c *contender, worker, i int) error
	}{
		{"1.5 kB answers", get("/page", pageSize)},
		{"uploads of 1 MiB", func(ctx context.Context, c *contender, _, _ int) error {
			return v.ask(ctx, c, http.MethodPut, "/up", body, 2)
		}},
		{"answers of 16 MiB", get("/large", largeSize)},
	}
	for _, l := range loads {
		if err := b.compete(l.name, all, l.fn); err != nil {
			return err
		}
		for _, n := range []int{1, proxiesBusy} {
			b.addProxy(fmt.Sprintf("Notebook proxy, %s, c%d", l.name, n), pick(all, "clary", n), pick(all, "bare", n))
		}
	}
	return b.socketRow(v, all)
}

func (b *bench) addProxy(name string, ours, bare load) {
	p, q := quantile(ours.all(), 0.5), quantile(bare.all(), 0.5)
	b.add(row{
		name: name, ours: ours.String(), floor: fmt.Sprintf("bare ReverseProxy %s; Clary takes %.2f× as long", bare, float64(p)/float64(q)),
		goal: "p50 ≤ 1.2× bare", met: reached(float64(p) <= proxyGoal*float64(q)), note: notes["proxy"],
	})
}

// socketRow sends short messages to and fro on WebSockets that are open.
func (b *bench) socketRow(v *notebookVisitor, all []*contender) error {
	open := map[*contender][]*socket{}
	defer func() {
		for _, list := range open {
			for _, s := range list {
				_ = s.c.Close()
			}
		}
	}()
	for _, c := range all {
		for range proxiesBusy {
			s, err := v.socket(b.ctx, c)
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			open[c] = append(open[c], s)
		}
	}
	err := b.compete("socket", all, func(_ context.Context, c *contender, worker, _ int) error { return open[c][worker].echo() })
	if err != nil {
		return err
	}
	for _, n := range []int{1, proxiesBusy} {
		b.addProxy(fmt.Sprintf("Notebook proxy, WebSocket messages to and fro, c%d", n), pick(all, "clary", n), pick(all, "bare", n))
	}
	return nil
}

// proxies are ours and the bare one, before one server.
func (b *bench) proxies(dir string) ([]*contender, func() error, error) {
	var running []*server
	stop := func() error {
		var err error
		for _, s := range running {
			err = errors.Join(err, s.stop())
		}
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, stop, err
	}
	begin := func(name string, more ...string) (string, error) {
		addr, err := port()
		if err != nil {
			return "", err
		}
		s, err := b.start("proxy-"+name, addr, fixedCreds, answers, append([]string{self, proxyVerb, name, addr}, more...)...)
		if s != nil {
			running = append(running, s)
		}
		return addr, err
	}
	behind, err := begin("behind")
	if err != nil {
		return nil, stop, err
	}
	for _, name := range []string{"clary", "bare"} {
		if _, err := begin(name, behind, dir); err != nil {
			return nil, stop, err
		}
	}
	return []*contender{
		{name: "clary", s: running[1], loads: map[int]load{}}, {name: "bare", s: running[2], loads: map[int]load{}},
	}, stop, nil
}

// answers says whether somebody speaks HTTP there.
func answers(c *client) error {
	resp, err := c.http.Get(c.url + "/") //nolint:noctx // the client has a timeout
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// notebookVisitor is a browser with a session.
type notebookVisitor struct{ host, cookie string }

// visitorOf follows the link that our proxy left.
func (b *bench) visitorOf(dir string, s *server) (*notebookVisitor, error) {
	link, err := os.ReadFile(filepath.Join(dir, linkFile))
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(string(link))
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(b.ctx, http.MethodGet, s.client.url+u.RequestURI(), nil)
	if err != nil {
		return nil, err
	}
	r.Host = u.Host
	resp, err := s.client.http.Transport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close() //nolint:errcheck // nothing is in it
	if c := resp.Cookies(); len(c) == 1 {
		return &notebookVisitor{host: u.Host, cookie: c[0].Name + "=" + c[0].Value}, nil
	}
	return nil, fmt.Errorf("the link answers %s", resp.Status)
}

func (v *notebookVisitor) dress(r *http.Request) {
	r.Host = v.host
	for name, value := range map[string]string{
		"Cookie": "_xsrf=2|9f339177|86f620e2e1ce1f3e4b7d510cf913e5cd|1795603051; " + v.cookie, "Origin": "http://" + v.host, "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors",
		"User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36", "Accept": "*/*", "Accept-Encoding": "gzip", "Accept-Language": "en", "Referer": "http://" + v.host + "/lab",
	} {
		r.Header.Set(name, value)
	}
}

func (v *notebookVisitor) ask(ctx context.Context, c *contender, method, path string, body []byte, size int) error {
	r, err := http.NewRequestWithContext(ctx, method, c.s.client.url+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	v.dress(r)
	resp, err := c.s.client.http.Transport.RoundTrip(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end
	n, err := io.Copy(io.Discard, resp.Body)
	if err == nil && (resp.StatusCode != http.StatusOK || n != int64(size)) {
		err = fmt.Errorf("%s: %s, %d bytes", path, resp.Status, n)
	}
	return err
}

// socket is a WebSocket as far as its opening goes; then the server gives back
// lines.
type socket struct {
	c  net.Conn
	br *bufio.Reader
}

func (v *notebookVisitor) socket(ctx context.Context, c *contender) (*socket, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.s.client.url+"/socket", nil)
	if err != nil {
		return nil, err
	}
	v.dress(r)
	for name, value := range map[string]string{"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="} {
		r.Header.Set(name, value)
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", r.URL.Host)
	if err != nil {
		return nil, err
	}
	s := &socket{conn, bufio.NewReader(conn)}
	if err := r.Write(conn); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	resp, err := http.ReadResponse(s.br, r) //nolint:bodyclose // it has none
	if err == nil && resp.StatusCode != http.StatusSwitchingProtocols {
		err = errors.New(resp.Status)
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return s, nil
}

var message = []byte(strings.Repeat("x", 199) + "\n") //nolint:gochecknoglobals // a constant

func (s *socket) echo() error {
	if _, err := s.c.Write(message); err != nil {
		return err
	}
	got, err := s.br.ReadSlice('\n')
	if err == nil && len(got) != len(message) {
		err = fmt.Errorf("%d bytes came back", len(got))
	}
	return err
}

// serveProxy is one of the processes: behind, bare or clary.
func serveProxy(args []string) error {
	switch name, addr := args[0], args[1]; name {
	case "behind":
		return (&http.Server{Addr: addr, Handler: http.HandlerFunc(behind), ReadHeaderTimeout: time.Minute}).ListenAndServe()
	case "bare":
		to := &url.URL{Scheme: "http", Host: args[2]}
		return (&http.Server{Addr: addr, ReadHeaderTimeout: time.Minute, Handler: &httputil.ReverseProxy{
			Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(to); r.SetXForwarded() },
			Transport: &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true},
		}}).ListenAndServe()
	default:
		return serveOurs(addr, args[2], args[3])
	}
}

// behind is what a notebook would answer.
func behind(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/page":
		_, _ = w.Write(bytes.Repeat([]byte("x"), pageSize))
	case "/large":
		w.Header().Set("Content-Length", fmt.Sprint(largeSize))
		piece := bytes.Repeat([]byte("x"), pieceSize)
		for range largeSize / pieceSize {
			_, _ = w.Write(piece)
		}
	case "/socket":
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		for {
			line, err := rw.ReadSlice('\n')
			if err != nil {
				_ = c.Close()
				return
			}
			_, _ = c.Write(line)
		}
	default:
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, "ok")
	}
}

// to dials one server, whatever the task.
type to string

// Dial implements compute.Dialer.
func (t to) Dial(ctx context.Context, _ compute.TaskID, _ int) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, "tcp", string(t))
}

// serveOurs is the front and the data plane, with one notebook instance in a
// store of their own. It leaves a link in dir.
func serveOurs(addr, behind, dir string) error {
	st, err := sqlite.Open(filepath.Join(dir, "db"), sqlite.Options{})
	if err != nil {
		return err
	}
	ids, err := identity.Open(identity.Config{Store: st, Dir: filepath.Join(dir, "keys"), Account: "123456789012"})
	if err != nil {
		return err
	}
	key := ids.Root()
	_, who, err := ids.Secret(context.Background(), key.AccessKeyID, "")
	if err != nil {
		return err
	}
	rec := &resource.Record{
		Key: resource.Key{Account: who.Account, Region: region, Kind: "NotebookInstance", Name: "bench"}, UID: resource.NewUID(), Phase: "InService",
		Arn: "arn:aws:sagemaker:" + region + ":" + who.Account + ":notebook-instance/bench", Created: time.Now(), Modified: time.Now(), Status: json.RawMessage(`{"v":1,"task":"bench-1"}`),
	}
	if err := st.Update(context.Background(), func(tx store.Tx) error { return tx.Put(rec) }); err != nil {
		return err
	}
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return err
	}
	log := slog.New(slog.DiscardHandler)
	plane, err := dataplane.New(dataplane.Config{Store: st, Keys: ids, Auth: ids, Dialer: to(behind), Port: port, Log: log})
	if err != nil {
		return err
	}
	link, err := plane.URL(context.Background(), op.Call{Account: who.Account, Principal: who, Host: "http://" + addr}, rec, 0)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, linkFile), []byte(link), 0o600); err != nil {
		return err
	}
	f, err := front.New(front.Config{Keys: ids, Auth: ids, Notebook: plane, Log: log})
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", addr) //nolint:noctx // of the whole process
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	go plane.Run(ctx)
	go func() {
		<-ctx.Done()
		plane.Shutdown()
		_ = l.Close()
	}()
	_ = f.Serve(l) // it ends when the listener does
	return st.Close()
}
