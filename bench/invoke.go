package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
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
	"runtime/debug"
	"syscall"
	"time"

	"clary/internal/aws/codec"
	"clary/internal/aws/codec/restjson"
	"clary/internal/aws/op"
	"clary/internal/aws/sigv4"
	"clary/internal/compute"
	"clary/internal/dataplane/router"
	"clary/internal/front"
	"clary/internal/identity"
	"clary/internal/metrics"
	"clary/internal/resource"
	"clary/internal/serving"
	"clary/internal/store"
	"clary/internal/store/sqlite"
)

const (
	invokeVerb  = "invoke-server"
	invokeRole  = "arn:aws:iam::123456789012:role/Bench"
	invokeCreds = "session.json"
)

// invokeRows measures what InvokeEndpoint costs: signature, policies, routing
// and metrics, beside net/http's proxy alone, before the same container, and
// asked by the same client, which signs for both.
func (b *bench) invokeRows() (err error) {
	dir := filepath.Join(b.dir, "invoke")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	all, stop, err := b.invokers(dir)
	defer func() { err = errors.Join(err, stop()) }()
	if err != nil {
		return err
	}
	for _, l := range []struct {
		name string
		size int
		goal float64
	}{{"1 KiB", 1 << 10, 1.2}, {"64 KiB", 64 << 10, 1.2}, {"1 MiB", 1 << 20, 1.5}} {
		body := bytes.Repeat([]byte("x"), l.size)
		err := b.compete("invoke "+l.name, all, func(ctx context.Context, c *contender, _, _ int) error {
			return invoke(ctx, c.s.client, body)
		})
		if err != nil {
			return err
		}
		for _, n := range []int{1, 16} {
			ours, bare := pick(all, "clary", n), pick(all, "bare", n)
			p, q := quantile(ours.all(), 0.5), quantile(bare.all(), 0.5)
			b.add(row{
				name: fmt.Sprintf("InvokeEndpoint, %s both ways, c%d", l.name, n), ours: ours.String(),
				floor: fmt.Sprintf("bare ReverseProxy %s; Clary takes %.2f× as long, at %.2f× the rate", bare, float64(p)/float64(q), ours.median()/bare.median()),
				goal:  fmt.Sprintf("p50 ≤ %.1f× bare", l.goal), met: reached(float64(p) <= l.goal*float64(q)), note: notes["invoke"],
			})
		}
	}
	return nil
}

// invoke asks an endpoint, whose container gives the body back.
func invoke(ctx context.Context, c *client, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url+"/endpoints/bench/invocations", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "text/csv")
	sum := sha256.Sum256(body)
	sigv4.Sign(req, c.creds, region, "sagemaker", hex.EncodeToString(sum[:]), time.Now())
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end
	n, err := io.Copy(io.Discard, resp.Body)
	if err == nil && (resp.StatusCode != http.StatusOK || n != int64(len(body))) {
		err = fmt.Errorf("%s, %d bytes", resp.Status, n)
	}
	return err
}

// invokers are ours and the bare one, before one container.
func (b *bench) invokers(dir string) ([]*contender, func() error, error) {
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
	creds := func() (c sigv4.Credentials, err error) {
		text, err := os.ReadFile(filepath.Join(dir, invokeCreds))
		if err == nil {
			err = json.Unmarshal(text, &c)
		}
		return c, err
	}
	begin := func(name string, creds func() (sigv4.Credentials, error), more ...string) (string, error) {
		addr, err := port()
		if err != nil {
			return "", err
		}
		s, err := b.start("invoke-"+name, addr, creds, answers, append([]string{self, invokeVerb, name, addr}, more...)...)
		if s != nil {
			running = append(running, s)
		}
		return addr, err
	}
	behind, err := begin("behind", fixedCreds)
	if err != nil {
		return nil, stop, err
	}
	for _, name := range []string{"clary", "bare"} {
		if _, err := begin(name, creds, behind, dir); err != nil {
			return nil, stop, err
		}
	}
	return []*contender{
		{name: "clary", s: running[1], loads: map[int]load{}}, {name: "bare", s: running[2], loads: map[int]load{}},
	}, stop, nil
}

// serveInvoke is one of the processes: behind, bare or clary.
func serveInvoke(args []string) error {
	switch name, addr := args[0], args[1]; name {
	case "behind":
		return (&http.Server{Addr: addr, ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				return
			}
			w.Header().Set("Content-Type", "text/csv")
			w.Header().Set("Content-Length", fmt.Sprint(len(body)))
			_, _ = w.Write(body)
		})}).ListenAndServe()
	case "bare":
		to := &url.URL{Scheme: "http", Host: args[2]}
		bare := &httputil.ReverseProxy{
			Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(to); r.SetXForwarded() },
			Transport: &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true},
		}
		return (&http.Server{Addr: addr, ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			// else net/http closes the request's body as the answer begins, and
			// now and then the proxy's own connection with it
			_ = http.NewResponseController(w).EnableFullDuplex()
			bare.ServeHTTP(w, r)
		})}).ListenAndServe()
	default:
		return serveRouter(addr, args[2], args[3])
	}
}

// serveRouter is the front and the router, with one endpoint in a store of
// their own. It leaves a role's session in dir.
func serveRouter(addr, behind, dir string) error {
	st, err := sqlite.Open(filepath.Join(dir, "db"), sqlite.Options{})
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	ids, err := identity.Open(identity.Config{Store: st, Dir: filepath.Join(dir, "keys"), Account: "123456789012"})
	if err != nil {
		return err
	}
	if err := putBenchEndpoint(ctx, st); err != nil {
		return err
	}
	session, err := ids.Assume(ctx, invokeRole, "bench", time.Hour)
	if err != nil {
		return err
	}
	text, err := json.Marshal(sigv4.Credentials{AccessKeyID: session.AccessKeyID, SecretAccessKey: session.SecretAccessKey, SessionToken: session.SessionToken})
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, invokeCreds), text, 0o600); err != nil {
		return err
	}
	log := slog.New(slog.DiscardHandler)
	r, err := router.New(router.Config{Records: st, Dialer: to(behind), Meter: metrics.New(st.Metrics()), Log: log})
	if err != nil {
		return err
	}
	f, err := front.New(front.Config{Keys: ids, Auth: ids, Services: []op.Service{r}, Codecs: map[string]codec.Codec{"rest-json": restjson.New()}, Log: log})
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", addr) //nolint:noctx // of the whole process
	if err != nil {
		return err
	}
	debug.SetGCPercent(200) // as a server has it
	go r.Run(ctx)
	go func() {
		<-ctx.Done()
		_ = l.Close()
	}()
	_ = f.Serve(l) // it ends when the listener does
	return errors.Join(r.Close(), st.Close())
}

// putBenchEndpoint writes the record as an endpoint in service has it.
func putBenchEndpoint(ctx context.Context, st store.Store) error {
	status, err := json.Marshal(map[string]any{"v": 1, "serving": serving.Endpoint{Variants: []serving.Variant{{
		Name: "AllTraffic", Weight: 1, Containers: []string{"primary"}, Instances: []serving.Instance{{ID: "i-0", Tasks: []compute.TaskID{"bench-1"}}},
	}}}})
	if err != nil {
		return err
	}
	return st.Update(ctx, func(tx store.Tx) error {
		return tx.Put(&resource.Record{
			Key: resource.Key{Account: "123456789012", Region: region, Kind: serving.KindEndpoint, Name: "bench"}, UID: resource.NewUID(), Phase: serving.PhaseInService,
			Arn: "arn:aws:sagemaker:" + region + ":123456789012:endpoint/bench", Created: time.Now(), Modified: time.Now(), Status: status,
		})
	})
}
