package main

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"clary/internal/stage/agent"
	"clary/tool/internal/jupyter"
)

// scenario is something that people do with an instance.
type scenario struct {
	name string
	text string // one line, for the table in the docs
	held bool   // not looked at before the rules are done
	play func(*scene) error
}

// stretch is a time during which it is known whether the instance is in use.
type stretch struct {
	From, To time.Time
	Active   bool
	What     string
}

// scene is a scenario while it is played.
type scene struct {
	scenario
	*recorder
	ctx      context.Context //nolint:containedctx // ends the recording
	lab      *jupyter.Lab    // a session beside the browser's
	tab      context.Context //nolint:containedctx // chromedp's handle
	closeTab func()
	origin   string
	started  func() // lets the next scenario start

	mu      sync.Mutex // guards what follows
	samples []agent.Sample
	truth   []stretch
	trouble error // of the sampling
}

const patience = 120 * time.Second // for what a person would wait for

// record plays a scenario on an instance of its own and writes its trace.
func (r *recorder) record(ctx context.Context, sc scenario) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// A start takes all that a small machine has: one after the other.
	r.starting.Lock()
	started := sync.OnceFunc(r.starting.Unlock)
	defer started()
	if out, err := r.d.Clary(ctx, "notebook", "create", "--no-examples", sc.name).CombinedOutput(); err != nil {
		return fmt.Errorf("clary notebook create: %w: %s", err, out)
	}
	s := &scene{scenario: sc, recorder: r, ctx: ctx, closeTab: func() {}, started: started}
	link, err := s.link()
	if err != nil {
		return err
	}
	if s.lab, err = jupyter.Open(ctx, link, r.d.Listen); err != nil {
		return err
	}
	defer s.lab.Close()
	s.origin = strings.TrimSuffix(s.lab.At(""), "/")
	if err := s.openTab("/lab"); err != nil {
		return err
	}
	sampled := make(chan struct{})
	go func() {
		defer close(sampled)
		s.keepSampling()
	}()
	err = sc.play(s)
	if err != nil {
		s.picture()
	}
	s.closeTab()
	cancel()
	<-sampled
	if err = errors.Join(err, s.trouble); err != nil {
		return err
	}
	if err := s.write(); err != nil {
		return err
	}
	rest := context.WithoutCancel(ctx)
	return errors.Join(r.d.Clary(rest, "notebook", "stop", sc.name).Run(), r.d.Clary(rest, "notebook", "delete", sc.name).Run())
}

func (s *scene) link() (string, error) {
	link, err := s.d.Clary(s.ctx, "notebook", "open", "--print", s.name).Output()
	if err != nil {
		return "", fmt.Errorf("clary notebook open: %w", err)
	}
	return strings.TrimSpace(string(link)), nil
}

// picture keeps what the tab shows, for whoever looks for a cause.
func (s *scene) picture() {
	var png []byte
	if s.do(chromedp.CaptureScreenshot(&png)) == nil {
		_ = os.WriteFile(filepath.Join(os.TempDir(), "traces-"+s.name+".png"), png, 0o644)
	}
}

// sample asks the instance, by the way through its JupyterLab that any port of
// the task has.
func (s *scene) sample() (agent.Sample, error) {
	var x agent.Sample
	err := s.lab.Do(s.ctx, http.MethodGet, fmt.Sprintf("proxy/%d/activity", agent.Port), nil, &x)
	return x, err
}

func (s *scene) keepSampling() {
	tick := time.NewTicker(s.every)
	defer tick.Stop()
	for {
		x, err := s.sample()
		s.mu.Lock()
		switch {
		case s.ctx.Err() != nil:
			s.mu.Unlock()
			return
		case err != nil:
			s.trouble = err
		default:
			s.samples = append(s.samples, x)
		}
		s.mu.Unlock()
		select {
		case <-tick.C:
		case <-s.ctx.Done():
			return
		}
	}
}

// goes says that something goes on, and does it for the time that a stretch
// lasts. do may be nil.
func (s *scene) goes(active bool, what string, do func(until time.Time) error) error {
	s.started()
	from := time.Now()
	until := from.Add(s.stretch)
	if do != nil {
		if err := do(until); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	if err := s.pause(time.Until(until)); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.truth = append(s.truth, stretch{From: from.UTC(), To: time.Now().UTC(), Active: active, What: what})
	say("%s: %s", s.name, what)
	return nil
}

// pause is a person's who does nothing.
func (s *scene) pause(d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-s.ctx.Done():
		return s.ctx.Err()
	}
}

// await looks at the instance until something is so.
func (s *scene) await(what string, so func(agent.Sample) bool) error {
	deadline := time.Now().Add(patience)
	for {
		x, err := s.sample()
		if err != nil {
			return err
		}
		if so(x) {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s: not within %s: %+v", what, patience, x)
		}
		if err := s.pause(300 * time.Millisecond); err != nil {
			return err
		}
	}
}

func (s *scene) write() error {
	dir := s.out
	if s.held {
		dir = filepath.Join(dir, "held")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	truth, err := json.MarshalIndent(struct {
		Scenario  string
		Stretches []stretch
	}{s.text, s.truth}, "", "\t")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, s.name+".json"), append(truth, '\n'), 0o644); err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(dir, s.name+".jsonl.gz"))
	if err != nil {
		return err
	}
	zip, err := gzip.NewWriterLevel(f, gzip.BestCompression)
	if err != nil {
		return errors.Join(err, f.Close())
	}
	buf := bufio.NewWriter(zip)
	enc := json.NewEncoder(buf)
	for _, x := range s.samples {
		if err := enc.Encode(x); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	return errors.Join(buf.Flush(), zip.Close(), f.Close())
}

// openTab opens a page of the instance in a new tab.
func (s *scene) openTab(at string) error {
	link, err := s.link()
	if err != nil {
		return err
	}
	s.closeTab()
	s.tab, s.closeTab = chromedp.NewContext(s.browser)
	if err := chromedp.Run(s.tab); err != nil { // the tab lasts as long as this context
		return err
	}
	tab := s.tab
	chromedp.ListenTarget(tab, func(event any) {
		if _, ok := event.(*page.EventJavascriptDialogOpening); ok { // to leave what is not saved
			go func() { _ = chromedp.Run(tab, page.HandleJavaScriptDialog(true)) }() // the tab may be closed
		}
	})
	if err := s.do(chromedp.Navigate(link)); err != nil {
		return err
	}
	return s.visit(at)
}

// visit leads the open tab to a page of JupyterLab.
func (s *scene) visit(at string) error {
	// In a tab behind another one nothing moves, and the splash stays.
	return s.do(chromedp.Navigate(s.origin+at), page.BringToFront(), chromedp.WaitReady("#jp-main-dock-panel", chromedp.ByID), chromedp.WaitNotPresent("#jupyterlab-splash", chromedp.ByID))
}

func (s *scene) do(actions ...chromedp.Action) error {
	ctx, cancel := context.WithTimeout(s.tab, patience)
	defer cancel()
	return chromedp.Run(ctx, actions...)
}

// js evaluates an expression in the page.
func (s *scene) js(expr string, out any) error {
	return s.do(chromedp.Evaluate(expr, out, func(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) }))
}

// until waits for an expression of the page to be true.
func (s *scene) until(what, expr string) error {
	var ok bool
	if err := s.do(chromedp.Poll("!!("+expr+")", &ok, chromedp.WithPollingTimeout(0))); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// click moves the mouse to what an expression finds and clicks.
func (s *scene) click(element string) error {
	if err := s.until(element, element); err != nil {
		return err
	}
	var at []float64
	if err := s.js("(e => { e.scrollIntoView({block: 'nearest'}); const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2] })("+element+")", &at); err != nil {
		return err
	}
	return s.do(chromedp.MouseEvent(input.MouseMoved, at[0]-1, at[1]), chromedp.MouseEvent(input.MouseMoved, at[0], at[1]), chromedp.MouseClickXY(at[0], at[1]))
}

// file puts a text file where the file browser shows it.
func (s *scene) file(name, text string) error { return s.lab.Put(s.ctx, name, []byte(text)) }

// notebook puts a notebook there, opens it in the tab and waits for its kernel.
func (s *scene) notebook(name string, cells ...string) error {
	list := []any{}
	for i, c := range cells {
		list = append(list, map[string]any{"cell_type": "code", "id": fmt.Sprintf("cell-%d", i), "metadata": map[string]any{}, "source": c, "outputs": []any{}, "execution_count": nil})
	}
	text, err := json.Marshal(map[string]any{
		"nbformat": 4, "nbformat_minor": 5, "cells": list,
		"metadata": map[string]any{"kernelspec": map[string]any{"name": "conda_python3", "display_name": "conda_python3", "language": "python"}},
	})
	if err != nil {
		return err
	}
	if err := s.file(name, string(text)); err != nil {
		return err
	}
	if err := s.visit("/lab/tree/" + name); err != nil {
		return err
	}
	if err := s.until("the notebook", `document.querySelector(".jp-Notebook .jp-Cell")`); err != nil {
		return err
	}
	return s.await("a kernel that a tab is connected to", func(x agent.Sample) bool {
		return len(x.Kernels) > 0 && x.Kernels[0].State == "idle" && x.Kernels[0].Connections > 0
	})
}

// runAll runs all cells of the open notebook by the menu.
func (s *scene) runAll() error {
	if err := s.click(`[...document.querySelectorAll(".lm-MenuBar-item")].find(e => e.innerText.trim() === "Run")`); err != nil {
		return err
	}
	return s.click(`document.querySelector(".lm-Menu-item[data-command='runmenu:run-all']")`)
}

// run runs all cells and waits until they work, or have ended.
func (s *scene) run(state string) error {
	before, err := s.sample()
	if err != nil {
		return err
	}
	if err := s.runAll(); err != nil {
		return err
	}
	return s.await("a kernel that is "+state, func(x agent.Sample) bool {
		return len(x.Kernels) > 0 && x.Kernels[0].State == state && x.Kernels[0].Last.Sub(before.Kernels[0].Last) > time.Second/10
	})
}

// terminal opens a terminal from the launcher.
func (s *scene) terminal() error {
	if err := s.click(`[...document.querySelectorAll(".jp-LauncherCard")].find(e => e.innerText.trim() === "Terminal")`); err != nil {
		return err
	}
	if err := s.await("a terminal whose shell is at its prompt", func(x agent.Sample) bool {
		return len(x.Terminals) > 0 && x.Terminals[0].Connections > 0 && find(x, "bash -l") != nil && find(x, "bash -l").Waits == agent.WaitsInput
	}); err != nil {
		return err
	}
	return s.do(chromedp.WaitReady(".xterm-helper-textarea", chromedp.ByQuery), chromedp.Focus(".xterm-helper-textarea", chromedp.ByQuery))
}

// key types keys where the focus is. A key that goes down with its text makes
// the events of a real one, of which a terminal takes a single character.
func (s *scene) key(keys string) error {
	var all []chromedp.Action
	for _, r := range keys {
		strokes := kb.Encode(r)
		down, up := strokes[0], strokes[len(strokes)-1]
		if len(strokes) == 3 {
			down.Text, down.UnmodifiedText = strokes[1].Text, strokes[1].UnmodifiedText
		}
		all = append(all, down, up)
	}
	return s.do(all...)
}

// ctrl presses a key together with Ctrl.
func (s *scene) ctrl(key string) error {
	return s.do(chromedp.KeyEvent(key, chromedp.KeyModifiers(input.ModifierCtrl)))
}

// command types a command at the shell's prompt and waits for its process.
func (s *scene) command(line, args string) error {
	if err := s.key(line + "\r"); err != nil {
		return err
	}
	return s.await(args, func(x agent.Sample) bool { return find(x, args) != nil })
}

// find is a process whose arguments hold a text.
func find(x agent.Sample, args string) *agent.Process {
	for i, p := range x.Processes {
		if strings.Contains(p.Args, args) && !p.Own {
			return &x.Processes[i]
		}
	}
	return nil
}

// gone waits until there is no such process.
func (s *scene) gone(args string) error {
	return s.await("the end of "+args, func(x agent.Sample) bool { return find(x, args) == nil })
}
