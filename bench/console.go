package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"clary/internal/aws/sigv4"
	"clary/internal/resource"
	"clary/internal/store"
	"clary/internal/store/sqlite"
)

const (
	paintGoal = 100 * time.Millisecond
	wireGoal  = 60_000 // bytes
)

// consoleRows opens pages among many jobs, each of which was used this month.
func (b *bench) consoleRows() (err error) {
	browser, err := exec.LookPath("chromium")
	if err != nil {
		return fmt.Errorf("%w: apt-get install chromium", err)
	}
	data := filepath.Join(b.dir, "console")
	if err := b.template(data); err != nil {
		return err
	}
	if err := b.fill(data, b.jobs); err != nil {
		return err
	}
	if err := b.used(data); err != nil {
		return fmt.Errorf("usage: %w", err)
	}
	s, err := b.startClary(data)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	if err := b.pause(2 * time.Second); err != nil {
		return err
	}
	p, err := b.signedIn(s)
	if err != nil {
		return err
	}
	n := count(float64(b.jobs))
	paint, err := b.paints(browser, s)
	if err != nil {
		return err
	}
	for _, page := range []struct{ name, path string }{
		{"home", "/"}, {"training jobs", "/training-jobs"}, {"one training job", "/training-jobs/job-000042"}, {"billing", "/billing"},
	} {
		var took []time.Duration
		size := 0
		for range 4 * b.rounds {
			begin := time.Now()
			if size, err = p.get(page.path); err != nil {
				return fmt.Errorf("%s: %w", page.name, err)
			}
			took = append(took, time.Since(begin))
		}
		raw(page.name, took)
		painted := paint[page.path]
		b.add(row{
			name: "Console among " + n + " jobs, " + page.name + ", first paint",
			ours: times(painted) + fmt.Sprintf("; the answer alone %s, %.1f kB", times(took), float64(size)/1000),
			goal: "p50 ≤ 100 ms, ≤ 60 kB", met: reached(quantile(painted, 0.5) <= paintGoal && size <= wireGoal), note: notes["console"],
		})
	}
	kib, err := pss(s.cmd.Process.Pid)
	if err != nil {
		return err
	}
	b.add(row{name: "Memory (PSS) after these pages, " + n + " jobs", ours: mib(kib), goal: "≤ 150 MiB", met: reached(kib <= 150<<10)})
	return nil
}

// used gives each job an interval of this month.
func (b *bench) used(data string) error {
	st, err := sqlite.Open(filepath.Join(data, "clary.db"), sqlite.Options{})
	if err != nil {
		return err
	}
	defer st.Close() //nolint:errcheck // what was answered is on disk
	now := time.Now()
	begin := time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, time.UTC)
	step := now.Sub(begin) / time.Duration(b.jobs+1)
	for from := 0; from < b.jobs; from += 1000 {
		err := st.Update(b.ctx, func(tx store.Tx) error {
			for i := from; i < min(from+1000, b.jobs); i++ {
				u := resource.Usage{
					ID: fmt.Sprintf("bench-%d", i), Account: "123456789012", Region: region, Kind: "TrainingJob", Name: fmt.Sprintf("job-%06d", i),
					UID: fmt.Sprintf("bench-%d", i), Component: "training", InstanceType: "ml.m5.large", Unit: "instance-second", Quantity: 1,
					Start: begin.Add(time.Duration(i) * step),
				}
				u.End = u.Start.Add(90 * time.Second)
				if err := tx.OpenUsage(u); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// link is a sign-in link of the console's.
func (s *server) link(next string) (string, error) {
	_, port, err := net.SplitHostPort(strings.TrimPrefix(s.client.url, "http://"))
	if err != nil {
		return "", err
	}
	r, err := http.NewRequest(http.MethodGet, "http://console.localhost:"+port+"/link?next="+next+"&nonce="+rand.Text(), nil) //nolint:noctx // it is only signed
	if err != nil {
		return "", err
	}
	sigv4.Presign(r, s.client.creds, region, "signin", time.Minute, time.Now())
	return r.URL.String(), nil
}

// visitor asks for pages as a browser does.
type visitor struct {
	ctx    context.Context //nolint:containedctx // of the run
	http   *http.Client
	base   string
	cookie *http.Cookie
}

func (b *bench) signedIn(s *server) (*visitor, error) {
	link, err := s.link("/")
	if err != nil {
		return nil, err
	}
	addr := strings.TrimPrefix(s.client.url, "http://")
	v := &visitor{ctx: b.ctx, http: &http.Client{
		Transport: &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, addr)
		}, DisableCompression: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	v.base, _, _ = strings.Cut(link, "/link")
	req, err := http.NewRequestWithContext(b.ctx, http.MethodGet, link, nil)
	if err != nil {
		return nil, err
	}
	res, err := v.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close() //nolint:errcheck // nothing is in it
	if c := res.Cookies(); len(c) == 1 {
		v.cookie = c[0]
		return v, nil
	}
	return nil, fmt.Errorf("the sign-in answers %s", res.Status)
}

// get gives the bytes that a page takes on the wire.
func (v *visitor) get(path string) (int, error) {
	req, err := http.NewRequestWithContext(v.ctx, http.MethodGet, v.base+path, nil)
	if err != nil {
		return 0, err
	}
	req.AddCookie(&http.Cookie{Name: v.cookie.Name, Value: v.cookie.Value})
	req.Header.Set("Accept-Encoding", "gzip")
	res, err := v.http.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close() //nolint:errcheck // read to its end
	body, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", path, res.Status)
	}
	return len(body), err
}

// firstPaint gives the milliseconds from the navigation's begin.
const firstPaint = `new Promise(r => new PerformanceObserver(l => {
	for (const e of l.getEntries()) if (e.name === "first-contentful-paint") r(e.startTime);
}).observe({type: "paint", buffered: true}))`

// paints opens the pages in a browser and asks it when it first painted.
func (b *bench) paints(browser string, s *server) (map[string][]time.Duration, error) {
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(browser), chromedp.NoSandbox, //nolint:gocritic // a copy
		chromedp.Flag("no-proxy-server", true), chromedp.Flag("disable-quic", true), chromedp.WSURLReadTimeout(time.Minute))
	alloc, stop := chromedp.NewExecAllocator(b.ctx, opts...)
	defer stop()
	ctx, cancel := chromedp.NewContext(alloc)
	defer cancel()
	link, err := s.link("/")
	if err != nil {
		return nil, err
	}
	if err := chromedp.Run(ctx, chromedp.Navigate(link), chromedp.WaitReady("nav.side")); err != nil {
		return nil, fmt.Errorf("sign in: %w", err)
	}
	base, _, _ := strings.Cut(link, "/link")
	out := map[string][]time.Duration{}
	for range b.rounds {
		for _, path := range []string{"/", "/training-jobs", "/training-jobs/job-000042", "/billing"} {
			var ms float64
			one, done := context.WithTimeout(ctx, 20*time.Second)
			err := chromedp.Run(one, chromedp.Navigate(base+path), chromedp.Evaluate(firstPaint, &ms,
				func(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) }))
			done()
			if err != nil {
				return nil, fmt.Errorf("%s: %w", path, err)
			}
			out[path] = append(out[path], time.Duration(ms*float64(time.Millisecond)))
		}
	}
	return out, nil
}
