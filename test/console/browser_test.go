// Package console opens the console of a whole server in a real browser.
package console

import (
	"context"
	"errors"
	"fmt"
	stdlog "log"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"clary/test/daemon"
)

// tab is one tab of a browser with a profile of its own.
type tab struct {
	t    testing.TB
	ctx  context.Context //nolint:containedctx // chromedp's handle
	d    *daemon.Daemon
	mu   sync.Mutex // guards what follows
	said []string   // console errors and what the content policy refused
	got  map[network.RequestID]float64
}

func (b *tab) wire() float64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	var sum float64
	for _, n := range b.got {
		sum += n
	}
	return sum
}

func (b *tab) forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.got = map[network.RequestID]float64{}
}

const (
	wide  = 1280
	phone = 390
)

// open starts a browser of its own: no cookie is shared with another test.
func open(t testing.TB, d *daemon.Daemon, more ...chromedp.ExecAllocatorOption) *tab {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatalf("%v: the console is tested in Debian's chromium; apt-get install chromium", err)
	}
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.WindowSize(wide, 900), //nolint:gocritic // a copy
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true), chromedp.Flag("no-proxy-server", true),
		chromedp.Flag("lang", "en-GB"), chromedp.Env("TZ=Europe/Berlin"), chromedp.WSURLReadTimeout(time.Minute))
	alloc, stop := chromedp.NewExecAllocator(context.Background(), append(opts, more...)...)
	ctx, cancel := chromedp.NewContext(alloc, chromedp.WithErrorf(func(format string, args ...any) {
		if !strings.HasPrefix(format, "unhandled node event") { // of dialogs, which it does not know
			stdlog.Printf(format, args...)
		}
	}))
	ctx, end := context.WithTimeout(ctx, 10*time.Minute)
	t.Cleanup(func() { end(); cancel(); stop() })
	b := &tab{t: t, ctx: ctx, d: d, got: map[network.RequestID]float64{}}
	chromedp.ListenTarget(ctx, b.hear)
	if err := chromedp.Run(ctx, network.Enable(), log.Enable()); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *tab) hear(ev any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := ev.(type) {
	case *runtime.EventExceptionThrown:
		b.said = append(b.said, "exception: "+e.ExceptionDetails.Error())
	case *log.EventEntryAdded:
		if e.Entry.Level == log.LevelError {
			b.said = append(b.said, fmt.Sprintf("%s %s", e.Entry.Text, e.Entry.URL))
		}
	case *network.EventLoadingFinished:
		b.got[e.RequestID] = e.EncodedDataLength
	}
}

// quiet fails the test if the browser complained.
func (b *tab) quiet() {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range b.said {
		b.t.Errorf("the browser said: %s", s)
	}
	b.said = nil
}

func (b *tab) run(actions ...chromedp.Action) {
	b.t.Helper()
	if err := chromedp.Run(b.ctx, actions...); err != nil {
		b.t.Fatal(err)
	}
}

func (b *tab) url(path string) string {
	_, port, _ := strings.Cut(b.d.Listen, ":")
	return "http://console.localhost:" + port + path
}

func (b *tab) visit(path string) {
	b.t.Helper()
	b.run(chromedp.Navigate(b.url(path)), chromedp.WaitReady("body"))
}

// link is a fresh sign-in link.
func link(t testing.TB, d *daemon.Daemon, page string) string {
	t.Helper()
	out, err := d.Clary(t.Context(), "open", "--print", page).Output()
	if err != nil {
		t.Fatalf("clary open: %v", err)
	}
	return strings.TrimSpace(string(out))
}

func (b *tab) signIn(page string) {
	b.t.Helper()
	b.run(chromedp.Navigate(link(b.t, b.d, page)), chromedp.WaitReady("nav.side"))
}

func (b *tab) text(sel string) string {
	b.t.Helper()
	var s string
	b.run(chromedp.Text(sel, &s, chromedp.ByQuery))
	return s
}

// js evaluates an expression.
func js[T any](b *tab, expr string) T {
	b.t.Helper()
	var v T
	b.run(chromedp.Evaluate(expr, &v, func(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) }))
	return v
}

// until waits until an expression is true in the page.
func (b *tab) until(what, expr string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 3*time.Minute)
	defer cancel()
	var ok bool
	err := errors.New("not yet")
	for err != nil && ctx.Err() == nil { // again, when a form led to another page meanwhile
		if err = chromedp.Run(ctx, chromedp.Poll(expr, &ok, chromedp.WithPollingTimeout(0))); err != nil && !left(err) {
			break
		}
	}
	if err != nil {
		b.t.Fatalf("%s: %v; the page shows:\n%s", what, err, js[string](b, "document.body.innerText"))
	}
}

// left says that the page was left while it was asked.
func left(err error) bool {
	return strings.Contains(err.Error(), "navigated") || strings.Contains(err.Error(), "Cannot find context")
}

// look sets width and theme.
func (b *tab) look(width int64, dark bool) {
	b.t.Helper()
	theme := "light"
	if dark {
		theme = "dark"
	}
	b.run(emulation.SetDeviceMetricsOverride(width, 900, 1, width == phone),
		emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: theme}, {Name: "prefers-reduced-motion", Value: "reduce"}}))
}

// shoot keeps pictures of the whole page in both widths and themes where
// CLARY_SHOTS names a folder, and checks what a picture would show: nothing
// reaches out of the window.
func (b *tab) shoot(name string) {
	b.t.Helper()
	for _, width := range []int64{wide, phone} {
		for _, dark := range []bool{false, true} {
			b.look(width, dark)
			if over := js[float64](b, "document.documentElement.scrollWidth - innerWidth"); over > 0 {
				b.t.Errorf("%s is %.0f pixels wider than a window of %d", name, over, width)
			}
			if width == wide { // where both themes' colours are on all that there is
				b.axe(name)
			}
			dir := os.Getenv("CLARY_SHOTS")
			if dir == "" {
				continue
			}
			var png []byte
			b.run(chromedp.FullScreenshot(&png, 100))
			file := fmt.Sprintf("%s-%d", name, width)
			if dark {
				file += "-dark"
			}
			if err := os.WriteFile(filepath.Join(dir, file+".png"), png, 0o644); err != nil {
				b.t.Fatal(err)
			}
		}
	}
	b.look(wide, false)
}

// axe checks the page as it is against the rules of axe-core, the accessibility
// engine; each finding is an error.
func (b *tab) axe(name string) {
	b.t.Helper()
	dir := os.Getenv("CLARY_NODE_MODULES")
	if dir == "" {
		b.t.Fatal("CLARY_NODE_MODULES is not set: run `make test` or `make shots`, which install axe-core")
	}
	engine, err := os.ReadFile(filepath.Join(dir, "axe-core", "axe.min.js"))
	if err != nil {
		b.t.Fatal(err)
	}
	b.run(chromedp.Evaluate(string(engine), nil))
	for _, v := range js[[]string](b, `axe.run(document, {resultTypes: ["violations"]}).then(r => r.violations.map(v =>
		v.id + " (" + v.impact + "): " + v.help + ": " + v.nodes.slice(0, 3).map(n => n.html + " " + n.failureSummary).join(" | ")))`) {
		b.t.Errorf("%s: axe: %s", name, v)
	}
}
