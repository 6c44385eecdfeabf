//go:build linux

// Cleanmachine does what the README tells a stranger to do, on a machine that
// has only what the README asks for: a fresh Debian with Go, Python, make and
// apt, no caches, and a clone of the last commit. Once as root, once as an
// ordinary user, who types the commands that the tools print for root.
//
//	go run ./tool/cleanmachine [-as root,user] [-do demo,test] [-suite bookworm] [-keep]
//
// The machine is a folder with mount, process, IPC and host name spaces of its
// own: what is left running in it ends with it. The network is this
// machine's, and so are its settings for package registries.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"clary/tool/internal/step"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	var err error
	if len(os.Args) > 1 && os.Args[1] == insideVerb {
		var code int
		if code, err = inside(os.Args[2:]); err == nil {
			os.Exit(code)
		}
	} else {
		err = run(ctx, os.Args[1:])
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "\nclean-machine:", err)
		os.Exit(1)
	}
}

type options struct {
	suite, as, do string
	keep          bool
}

// result is a line of the summary.
type result struct {
	who, what string
	took      time.Duration
	load      string
	err       error
}

func run(ctx context.Context, args []string) error {
	var o options
	flags := flag.NewFlagSet("cleanmachine", flag.ContinueOnError)
	flags.StringVar(&o.suite, "suite", "bookworm", "the Debian `release`: bookworm has Python 3.11, trixie 3.13")
	flags.StringVar(&o.as, "as", "root,user", "who types the commands")
	flags.StringVar(&o.do, "do", "demo,test", "the targets of make")
	flags.BoolVar(&o.keep, "keep", false, "leave the machines' folders for a look")
	if err := flags.Parse(args); err != nil {
		return err
	}
	for who := range strings.SplitSeq(o.as, ",") {
		if who != "root" && who != "user" {
			return fmt.Errorf("-as %s: say root, user or root,user", o.as)
		}
	}
	if os.Geteuid() != 0 {
		return errors.New("a fresh Debian is made by root; run this:\n\n    sudo env PATH=\"$PATH\" make clean-machine")
	}
	root, err := step.Root()
	if err != nil {
		return err
	}
	base, err := ensureBase(ctx, o.suite)
	if err != nil {
		return err
	}
	var results []result
	for who := range strings.SplitSeq(o.as, ",") {
		done, err := visit(ctx, o, root, base, who)
		results = append(results, done...)
		if err != nil {
			return err
		}
	}
	fmt.Printf("\n== clean machine (%s, %d processors)\n", o.suite, processors())
	var failed error
	for _, r := range results {
		how := "passed"
		if r.err != nil {
			how = "FAILED: " + r.err.Error()
			failed = errors.New("not all commands of the README pass on a clean machine")
		}
		fmt.Printf("   %-4s  %-16s %5.0f s  load %s  %s\n", r.who, r.what, r.took.Seconds(), r.load, how)
	}
	return failed
}

// visit makes a machine and types the commands on it, each first with nothing
// cached that it did not make itself, and make test once more when it passed.
func visit(ctx context.Context, o options, root, base, who string) (done []result, err error) {
	m, err := newMachine(ctx, root, base, who)
	if err != nil {
		return nil, err
	}
	defer func() {
		if o.keep {
			fmt.Printf("\n   %s's machine is kept: %s\n", who, m.dir)
			return
		}
		err = errors.Join(err, m.remove())
	}()
	for what := range strings.SplitSeq(o.do, ",") {
		r := m.make(ctx, what, what)
		done = append(done, r)
		if what == "test" && r.err == nil {
			done = append(done, m.make(ctx, what, "test again"))
		}
		if ctx.Err() != nil {
			return done, ctx.Err()
		}
	}
	return done, nil
}
