// Traces records what a notebook instance shows of its use: it serves on data
// of its own, makes an instance for each scenario, works in its JupyterLab in
// Chromium as a person would, and writes the samples that the instance gives
// meanwhile, with what was really going on. The rules of
// internal/feature/notebook/activity are tested on these files. Start at
// scenarios.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/chromedp/chromedp"

	"clary/test/daemon"
	"clary/tool/internal/step"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "traces:", err)
		os.Exit(1)
	}
}

func say(format string, args ...any) { fmt.Printf("==> "+format+"\n", args...) }

func run(ctx context.Context) (err error) {
	r := recorder{}
	var only string
	var atOnce int
	flag.StringVar(&r.out, "out", "internal/feature/notebook/activity/testdata", "folder that the traces are written to; those of scenarios that are held back go to held below it")
	flag.StringVar(&only, "only", "", "scenarios to record, separated by commas (default: all)")
	flag.IntVar(&atOnce, "at-once", 8, "instances at once")
	flag.DurationVar(&r.every, "every", 5*time.Second, "time between two samples")
	flag.DurationVar(&r.stretch, "stretch", 5*time.Minute, "how long something goes on")
	flag.StringVar(&r.bin, "bin", "", "the clary to run (default: built anew)")
	flag.Parse()

	list := scenarios()
	if only != "" {
		names := strings.Split(only, ",")
		list = slices.DeleteFunc(list, func(s scenario) bool { return !slices.Contains(names, s.name) })
	}
	if r.bin == "" {
		root, err := step.Root()
		if err != nil {
			return err
		}
		say("building bin/clary")
		if err := step.Build(ctx, root); err != nil {
			return err
		}
		r.bin = filepath.Join(root, "bin", "clary")
	}
	dir, err := os.MkdirTemp("", "clary-traces-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, daemon.Clear(dir)) }() // with the tasks of scenarios that failed
	if r.d, err = daemon.New(r.bin, dir); err != nil {
		return err
	}
	if err := r.d.Borrow(); err != nil {
		return err
	}
	if err := r.d.Start(ctx); err != nil {
		return err
	}
	var closeBrowser func()
	closeBrowser, err = r.browse(ctx)
	if err == nil {
		err = r.all(ctx, list, atOnce)
		closeBrowser()
	}
	return errors.Join(err, r.d.Stop(), r.d.Lend())
}

// recorder has one server and one browser for all scenarios.
type recorder struct {
	out, bin       string
	every, stretch time.Duration
	d              *daemon.Daemon
	browser        context.Context //nolint:containedctx // chromedp's handle
	starting       sync.Mutex      // held by the scenario that is being set up
}

func (r *recorder) browse(ctx context.Context) (func(), error) {
	path, err := exec.LookPath("chromium")
	if err != nil {
		return nil, fmt.Errorf("%w: apt-get install chromium", err)
	}
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.WindowSize(1280, 900), //nolint:gocritic // a copy
		chromedp.Flag("disable-component-update", true), chromedp.Flag("no-proxy-server", true), chromedp.Flag("lang", "en-GB"), chromedp.WSURLReadTimeout(time.Minute))
	alloc, stop := chromedp.NewExecAllocator(ctx, opts...)
	browser, cancel := chromedp.NewContext(alloc, chromedp.WithErrorf(func(string, ...any) {})) // of events that it does not know
	r.browser = browser
	if err := chromedp.Run(browser); err != nil {
		cancel()
		stop()
		return nil, err
	}
	return func() { cancel(); stop() }, nil
}

// all records scenarios, some at once; one that fails does not end the others.
func (r *recorder) all(ctx context.Context, list []scenario, atOnce int) error {
	var (
		group sync.WaitGroup
		mu    sync.Mutex // guards errs
		errs  []error
		slots = make(chan struct{}, atOnce)
	)
	for _, s := range list {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return errors.Join(append(errs, ctx.Err())...)
		}
		group.Go(func() {
			defer func() { <-slots }()
			began := time.Now()
			err := r.record(ctx, s)
			say("%s: recorded in %s: %v", s.name, time.Since(began).Round(time.Second), err)
			if err != nil {
				mu.Lock()
				errs = append(errs, fmt.Errorf("%s: %w", s.name, err))
				mu.Unlock()
			}
		})
	}
	group.Wait()
	return errors.Join(errs...)
}
