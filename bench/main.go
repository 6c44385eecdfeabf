// Command bench measures a running Clary and writes README.md beside itself:
// each figure with a floor or a peer that was measured in the same run. What is
// slow it tells and people judge; a wrong answer, and memory that grows with what
// passes through, end it with an error. It must never run anything but servers of
// its own, on data of its own. Start at main, then rows.go.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// bench is one run.
type bench struct {
	ctx    context.Context //nolint:containedctx // of the whole run
	dir    string          // temporary
	clary  string          // the binary under test
	moto   string          // moto_server, or ""
	rounds int
	period time.Duration
	jobs   int   // preloaded for the start at scale
	staged int64 // MiB of the one large object that a job takes in and gives out
	// scored are the MiB that a transform job is timed with, transformed those that
	// its memory is looked at with.
	scored, transformed int64
	// gateway is a versitygw to compare with; "" fetches one.
	gateway string
	busy    string

	table []row
}

// row is one line of the table.
type row struct {
	name, ours, floor, peer, goal string
	met                           verdict
	note                          string
}

// verdict says whether this run's figure reaches the goal; without a goal it is
// empty.
type verdict string

func reached(ok bool) verdict {
	if ok {
		return "met"
	}
	return "missed"
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == cannedVerb {
		if err := serveCanned(os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if len(os.Args) > 1 && os.Args[1] == floorVerb {
		if err := serveFloor(os.Args[2], os.Args[3]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if len(os.Args) > 1 && os.Args[1] == proxyVerb {
		if err := serveProxy(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if len(os.Args) > 1 && os.Args[1] == invokeVerb {
		if err := serveInvoke(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run() error {
	b := &bench{busy: busy()}
	out := flag.String("out", "bench/README.md", "where the table goes")
	only := flag.String("only", "", "names of parts, comma-separated: api, list, jobs, staging, burst, sklearn, fit, logs, idle, console, notebook, proxy, invoke, deploy, endpointsoak, transform, s3, s3scale, s3memory")
	flag.StringVar(&b.clary, "clary", "bin/clary", "the binary to measure")
	flag.StringVar(&b.moto, "moto", os.Getenv("BENCH_MOTO"), "moto_server to compare with; none if empty")
	flag.StringVar(&b.gateway, "versitygw", os.Getenv("BENCH_VERSITYGW"), "versitygw to compare with; fetched if empty")
	flag.IntVar(&b.rounds, "rounds", 5, "of each load, interleaved with its floor")
	flag.DurationVar(&b.period, "period", 1500*time.Millisecond, "of one round")
	flag.IntVar(&b.jobs, "jobs", 100_000, "jobs for the start at scale")
	flag.Int64Var(&b.staged, "staged", 5000, "MiB of the large object that a job takes in and gives out; three times as much is written")
	flag.Int64Var(&b.scored, "scored", 1024, "MiB of records that a transform job is timed with")
	flag.Int64Var(&b.transformed, "transformed", 5000, "MiB of the object that a transform job's memory is looked at with; as much is written")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	b.ctx = ctx
	var err error
	if b.dir, err = os.MkdirTemp("", "clary-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir) //nolint:errcheck // temporary
	if err := os.Chmod(b.dir, 0o755); err != nil {
		return err
	}
	if b.clary, err = filepath.Abs(b.clary); err != nil {
		return err
	}
	if _, err := os.Stat(b.clary); err != nil {
		return fmt.Errorf("%w (make build makes it)", err)
	}
	for _, p := range []struct {
		name string
		fn   func() error
	}{{"api", b.api}, {"list", b.listRows}, {"jobs", b.jobRows}, {"staging", b.stagingRows}, {"burst", b.burstRow}, {"sklearn", b.sklearnRow}, {"fit", b.fitRows}, {"logs", b.logRows}, {"idle", b.idleRows}, {"console", b.consoleRows}, {"notebook", b.notebookRows}, {"proxy", b.proxyRows}, {"invoke", b.invokeRows}, {"deploy", b.deployRow}, {"endpointsoak", b.endpointSoak}, {"transform", b.transformRows}, {"s3", b.s3Rows}, {"s3scale", b.s3ScaleRows}, {"s3memory", b.s3MemoryRows}} {
		if *only != "" && !strings.Contains(","+*only+",", ","+p.name+",") {
			continue
		}
		fmt.Printf("== %s\n", p.name)
		if err := p.fn(); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	text := b.render()
	fmt.Println(text)
	if *only != "" {
		return nil // a part is no table
	}
	return os.WriteFile(*out, []byte(text), 0o644)
}

// add takes a row into the table.
func (b *bench) add(r row) {
	b.table = append(b.table, r)
	fmt.Printf("-- %s: %s | floor %s | peer %s\n", r.name, r.ours, r.floor, r.peer)
}

func (b *bench) render() string {
	var s strings.Builder
	s.WriteString(`# Figures

Written by ` + "`make bench`" + `. Client and servers share one machine, so read ratios within a row, not absolutes: every
figure stands beside a floor or a peer of the same run, and loads are interleaved with their floor. Form: median (min..max)
over rounds for rates, p50 / p99 for times.

`)
	fmt.Fprintf(&s, "Machine: %s. Run of %s, %d rounds of %s; load average before it %s, after it %s\n(its own work included).\n\n",
		machine(), time.Now().UTC().Format("2006-01-02 15:04 MST"), b.rounds, b.period, b.busy, busy())
	s.WriteString("| What | Clary | Floor | Peer (moto, unless named) | Goal | This run |\n| --- | --- | --- | --- | --- | --- |\n")
	var notes []string // each once; rows that are alike in their cause share it
	for _, r := range b.table {
		mark := ""
		if r.note != "" {
			n := slices.Index(notes, r.note)
			if n < 0 {
				n, notes = len(notes), append(notes, r.note)
			}
			mark = fmt.Sprintf(" [%d]", n+1)
		}
		fmt.Fprintf(&s, "| %s%s | %s | %s | %s | %s | %s |\n", r.name, mark, dash(r.ours), dash(r.floor), dash(r.peer), dash(r.goal), dash(string(r.met)))
	}
	s.WriteString("\n")
	for i, n := range notes {
		fmt.Fprintf(&s, "%d. %s\n", i+1, n)
	}
	s.WriteString(explanation)
	return s.String()
}

func dash(s string) string {
	if s == "" {
		return "–"
	}
	return s
}

var errStopped = errors.New("stopped")
