package computetest

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"clary/internal/compute"
)

//go:embed programs/peers.py
var peersScript string //nolint:gochecknoglobals // embedded

// Peers runs jobs of several hosts, which must reach each other by name and
// nobody else. cell makes a fresh one for each test.
func Peers(t *testing.T, cell func(t *testing.T) Cell) {
	t.Helper()
	for _, tt := range []struct {
		name string
		f    func(*testing.T, *Cell)
	}{
		{"Meet", meet},
		{"Transfer", transfer},
		{"Late", late},
		{"Reopen", reopenPeers},
		{"Gone", peerGone},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := cell(t)
			tt.f(t, &c)
		})
	}
}

// peersContext is what a host of a job is told.
type peersContext struct {
	What, Job        string
	Peers            []string
	Blocks, Patience int
}

// hosts are the tasks of a job.
func (c *Cell) hosts(job string, n int, isolated bool, ctx peersContext) []compute.Task {
	ctx.Job, ctx.Peers = job, hostNames(n)
	b, err := json.Marshal(ctx)
	if err != nil {
		panic(err)
	}
	return c.job(job, n, isolated, func(id string, _ int) compute.Task { return c.Python(id, peersScript, string(b)) })
}

// job makes a task for each host, which program may tell apart.
func (c *Cell) job(job string, n int, isolated bool, program func(id string, i int) compute.Task) (tasks []compute.Task) {
	for i, host := range hostNames(n) {
		tk := program(fmt.Sprintf("%s-%d", job, i+1), i)
		tk.Network = compute.Network{Host: host, Peers: hostNames(n), Isolated: isolated}
		tasks = append(tasks, tk)
	}
	return tasks
}

func hostNames(n int) (names []string) {
	for i := range n {
		names = append(names, fmt.Sprintf("algo-%d", i+1))
	}
	return names
}

func startAll(t *testing.T, d compute.Driver, tasks ...compute.Task) {
	t.Helper()
	for _, tk := range tasks {
		must(t, d.Start(t.Context(), tk))
	}
}

func stopAll(t *testing.T, d compute.Driver, tasks ...compute.Task) {
	t.Helper()
	for _, tk := range tasks {
		must(t, d.Stop(t.Context(), tk.ID, 10*time.Millisecond))
		if st := Ended(t, d, tk.ID); st.Exit.Reason != compute.ReasonStopped {
			t.Errorf("%s: exit %+v", tk.ID, *st.Exit)
		}
	}
}

// met is what ask of the programs says of a host that answers.
func met(host, job string) string {
	return fmt.Sprintf("met %s %s True 30000 %s %s True", host, job, host, job)
}

// meet has every host ask every other, in jobs that have the same names and
// addresses and run at the same time; one of them is isolated.
func meet(t *testing.T, c *Cell) {
	d := c.Open(t)
	jobs := [][]compute.Task{
		c.hosts("joba", 3, false, peersContext{What: "meet"}),
		c.hosts("jobb", 3, true, peersContext{What: "meet"}),
		c.hosts("jobc", 2, false, peersContext{What: "meet"}),
	}
	for _, tasks := range jobs {
		startAll(t, d, tasks...)
	}
	for _, tasks := range jobs {
		for _, tk := range tasks {
			job, _, _ := strings.Cut(string(tk.ID), "-")
			var want []string
			for _, host := range tk.Network.Peers {
				if host != tk.Network.Host {
					want = append(want, met(host, job))
				}
			}
			wantLines(t, until(t, d, tk.ID, " all\n"), append(want, "all"))
		}
	}
	for _, tasks := range jobs {
		stopAll(t, d, tasks...)
	}
}

// transfer moves much both ways at once.
func transfer(t *testing.T, c *Cell) {
	d := c.Open(t)
	tasks := c.hosts("much", 2, false, peersContext{What: "transfer", Blocks: 100})
	startAll(t, d, tasks...)
	var got, sent [2]string
	for i, tk := range tasks {
		lines := Lines(t, Output(t, d, tk.ID, 0))
		if len(lines) != 2 {
			t.Fatalf("%s says %q", tk.ID, lines)
		}
		got[i], sent[1-i] = strings.TrimPrefix(lines[0], "got "), strings.TrimPrefix(lines[1], "sent ")
	}
	if got != sent || !strings.HasPrefix(got[0], fmt.Sprint(100<<20)) {
		t.Errorf("came %q of %q", got, sent)
	}
}

// late starts the second host when the first has called it already.
func late(t *testing.T, c *Cell) {
	d := c.Open(t)
	tasks := c.hosts("late", 2, false, peersContext{What: "late"})
	startAll(t, d, tasks[0])
	until(t, d, tasks[0].ID, " not yet\n")
	startAll(t, d, tasks[1])
	wantLines(t, until(t, d, tasks[0].ID, " met "), []string{"not yet", met("algo-2", "late")})
	wantLines(t, until(t, d, tasks[1].ID, " met "), []string{met("algo-1", "late")})
	stopAll(t, d, tasks...)
}

// reopenPeers has hosts that were started before a restart meet one that was
// started after it, and connections go on meanwhile.
func reopenPeers(t *testing.T, c *Cell) {
	first := c.Open(t)
	pair := c.hosts("pair", 2, false, peersContext{What: "pulse", Patience: 60})
	tasks := c.hosts("more", 3, true, peersContext{What: "meet"})
	startAll(t, first, append(slices.Clone(pair), tasks[:2]...)...)
	until(t, first, pair[1].ID, " beat 0\n")
	d := c.Open(t)
	startAll(t, d, tasks[2])
	for _, tk := range tasks {
		until(t, d, tk.ID, " all\n")
	}
	for _, tk := range pair {
		unharmed(t, d, tk.ID)
	}
	stopAll(t, d, append(pair, tasks...)...) // the first never sees the other's end
	for _, l := range Lines(t, Output(t, d, pair[0].ID, 0)) {
		if !strings.HasPrefix(l, "beat ") {
			t.Errorf("%q", l)
		}
	}
}

// peerGone ends a host in every way; the other hears of it, and can be stopped.
// Then the host comes again under the same id.
func peerGone(t *testing.T, c *Cell) {
	d := c.Open(t)
	for _, how := range []string{"stop", "remove"} {
		tasks := c.hosts(how, 2, false, peersContext{What: "pulse", Patience: 5})
		startAll(t, d, tasks...)
		until(t, d, tasks[0].ID, " beat 0\n")
		if how == "stop" {
			stopAll(t, d, tasks[1])
			must(t, d.Remove(t.Context(), tasks[1].ID))
		} else {
			must(t, d.Remove(t.Context(), tasks[1].ID))
		}
		lines := until(t, d, tasks[0].ID, " gone ")
		if last := lines[len(lines)-1]; !slices.Contains([]string{"gone closed", "gone ConnectionResetError", "gone TimeoutError"}, last) {
			t.Errorf("%s: %q", how, last)
		}
		stopAll(t, d, tasks[0])

		again := c.hosts("again"+how, 2, false, peersContext{What: "meet"})
		startAll(t, d, again...)
		until(t, d, again[1].ID, " all\n")
		must(t, d.Remove(t.Context(), again[0].ID))
		startAll(t, d, again[0])
		until(t, d, again[0].ID, " all\n")
		stopAll(t, d, again...)
	}
}
