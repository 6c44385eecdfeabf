// Check runs what gates a change: `make test`, `make check`, `make lint`.
// Each step is printed before it runs; the first that fails ends the run with
// its output. The rules that a linter cannot say are tests beside this file.
//
//	go run ./tool/check test    everything that gates
//	go run ./tool/check check   linters and unit tests only
//	go run ./tool/check lint    golangci-lint with the repository's rules
//	go run ./tool/check fmt     files as the linters want them formatted
//	go run ./tool/check sdk     real AWS clients against a real server
//	go run ./tool/check shots   the console's pages in Chromium, with pictures in docs/pages
//	go run ./tool/check fuzz D  each Fuzz function for the time D (20s)
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"clary/test/daemon"
	"clary/tool/internal/debian"
	"clary/tool/internal/pyenv"
	"clary/tool/internal/sdks"
	"clary/tool/internal/step"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "\ncheck:", err)
		os.Exit(1)
	}
}

// A part is one step of a plan.
type part struct {
	title string
	do    func(ctx context.Context, r *runner) error
}

type runner struct {
	root    string
	out     io.Writer
	clients func() (pyenv.Clients, error) // the Python environments, made while other steps run
	sdks    func() (sdks.SDKs, error)     // and those of other languages
	// unsteady names the tests that failed once and passed when run again.
	unsteady []byte
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 || len(args) > 1 && args[0] != "fuzz" {
		return errors.New("say one of test, check, lint, fmt, sdk, shots, fuzz")
	}
	var parts []part
	clients := false
	switch args[0] {
	case "test":
		parts, clients = []part{build, lint, unit, generated, beside(ends, simulation)}, true
	case "shots":
		parts = []part{build, pages}
	case "check":
		parts = []part{build, lint, simulation, unit}
	case "lint":
		parts = []part{build, lint}
	case "fmt":
		parts = []part{reformat}
	case "sdk":
		parts, clients = []part{build, sdk}, true
	case "fuzz":
		each, err := time.ParseDuration(strings.Join(args[1:], " "))
		if err != nil {
			return fmt.Errorf("how long to fuzz each: %w", err)
		}
		parts = []part{build, fuzzing(each)}
	default:
		return fmt.Errorf("unknown plan %q: say one of test, check, lint, fmt, sdk, shots, fuzz", args[0])
	}
	if _, err := exec.LookPath("go"); err != nil {
		return errors.New("the go command is not in PATH")
	}
	root, err := step.Root()
	if err != nil {
		return err
	}
	if err := need(ctx, args[0]); err != nil {
		return err
	}
	where := ""
	if slices.Contains([]string{"test", "check", "lint"}, args[0]) {
		s, err := takeSnapshot(ctx, root)
		if err != nil {
			return err
		}
		if s != nil {
			defer s.release() //nolint:errcheck // a lock, which ends with this process at the latest
			root, where = s.dir, ", on a copy of the files as they are now, "+s.dir
		}
	}
	say := func(f string, a ...any) { fmt.Printf("     ("+f+")\n", a...) }
	r := &runner{
		root:    root,
		out:     os.Stdout,
		clients: sync.OnceValues(func() (pyenv.Clients, error) { return pyenv.EnsureClients(ctx, say) }),
		sdks:    sync.OnceValues(func() (sdks.SDKs, error) { return sdks.Ensure(ctx, say) }),
	}

	fmt.Printf("Plan of make %s%s:\n", args[0], where)
	if clients {
		fmt.Println("  -  meanwhile: install the AWS clients that the sdk tests drive (cached outside the repository)")
	}
	for i, p := range parts {
		fmt.Printf("  %d  %s\n", i+1, p.title)
	}
	if clients {
		go func() { // whoever needs them gets the error
			_, _ = r.sdks()
			_, _ = r.clients()
		}()
	}
	start := time.Now()
	for i, p := range parts {
		fmt.Printf("\n== %d/%d %s\n", i+1, len(parts), p.title)
		began := time.Now()
		if err := p.do(ctx, r); err != nil {
			return fmt.Errorf("step %d of %d failed (%s): %w", i+1, len(parts), p.title, err)
		}
		fmt.Printf("   done in %.0f s\n", time.Since(began).Seconds())
	}
	if len(r.unsteady) > 0 {
		fmt.Printf("\nUNSTEADY: these tests failed, and passed when they were run once more:\n%s", r.unsteady)
	}
	fmt.Printf("\nmake %s: all %d steps passed in %.0f s\n", args[0], len(parts), time.Since(start).Seconds())
	return nil
}

// need sees to all that a plan needs of Debian, in one command: whoever has to
// type it shall do so once.
func need(ctx context.Context, plan string) error {
	var programs []debian.Program
	switch plan {
	case "test":
		programs = slices.Concat(debian.Compiler(), debian.Tools(), debian.Programs(), debian.Browser(), []debian.Program{pyenv.Needs(ctx)})
	case "shots":
		programs = slices.Concat(debian.Tools(), debian.Browser(), []debian.Program{pyenv.Needs(ctx)})
	case "check":
		programs = append(debian.Compiler(), debian.Tools()...)
	case "sdk":
		programs = slices.Concat(debian.Tools(), debian.Programs(), []debian.Program{pyenv.Needs(ctx)})
	}
	if len(programs) == 0 {
		return nil
	}
	dir, err := step.CacheDir()
	if err != nil {
		return err
	}
	return debian.Need(ctx, filepath.Join(dir, "apt.lock"), func(f string, a ...any) { fmt.Printf(f+"\n", a...) }, programs...)
}

func (r *runner) run(ctx context.Context, env []string, args ...string) error {
	return step.Run(ctx, step.Cmd{Dir: r.root, Env: env, Args: args, Out: r.out})
}

// beside is a part with another one that needs no clients and works while the
// first waits; what it says is shown when both are over. The first to fail ends
// both.
func beside(waits, works part) part {
	return part{waits.title + "; meanwhile: " + works.title, func(ctx context.Context, r *runner) error {
		var said strings.Builder
		g, ctx := errgroup.WithContext(ctx)
		g.Go(func() error {
			if err := works.do(ctx, &runner{root: r.root, out: &said}); err != nil {
				return fmt.Errorf("%s: %w", works.title, err)
			}
			return nil
		})
		g.Go(func() error { return waits.do(ctx, r) })
		err := g.Wait()
		_, shown := io.WriteString(r.out, said.String())
		return errors.Join(err, shown)
	}}
}

// tests runs go test. A few tests that fail are run once more, alone: this
// machine may be a busy one. Whoever passes then is named at the end of the
// plan, since it is a defect all the same. A data race is never run again. Whoever
// is skipped is named with the reason, too.
func (r *runner) tests(ctx context.Context, env []string, format string, pkgs []string, args ...string) error {
	report, err := os.CreateTemp("", "clary-again-")
	if err != nil {
		return err
	}
	defer os.Remove(report.Name()) //nolint:errcheck // a temporary file
	defer report.Close()           //nolint:errcheck // read only
	cmd := []string{
		"go", "tool", "-modfile=lint/go.mod", "gotestsum", "--format", format,
		"--rerun-fails=1", "--rerun-fails-max-failures=3", "--rerun-fails-abort-on-data-race", "--rerun-fails-report", report.Name(),
		"--packages", strings.Join(pkgs, " "), "--",
	}
	if err := r.run(ctx, env, append(cmd, args...)...); err != nil {
		return err
	}
	again, err := io.ReadAll(report)
	r.unsteady = append(r.unsteady, again...)
	return err
}

var (
	build = part{"build bin/clary with clary-task embedded", func(ctx context.Context, r *runner) error {
		return step.Build(ctx, r.root)
	}}
	lint = part{"golangci-lint: formatting, vet, staticcheck and the rest of lint/golangci.yml", func(ctx context.Context, r *runner) error {
		// Another run on this machine is waited for.
		return r.run(ctx, nil, append(linter("run"), "--allow-serial-runners")...)
	}}
	reformat = part{"golangci-lint fmt", func(ctx context.Context, r *runner) error {
		return r.run(ctx, nil, linter("fmt")...)
	}}
	// The race detector makes simulations twelve times as long, and a few of
	// them go every way that many do. Their time is not the machine's, so they
	// come last in its favour.
	simulation = part{"simulation: hundreds of lives with kills, reboots and full disks; a few more with the race detector", func(ctx context.Context, r *runner) error {
		test := []string{"nice", "-n", "19", "go", "test", "-timeout", "30m"}
		if err := r.run(ctx, []string{"SIM_N=60", roomy}, append(test, unvetted, simulated)...); err != nil {
			return err
		}
		return r.run(ctx, append(cgo(), "SIM_N=8", roomy), slices.Concat(test, race(), []string{"-run", "^(TestSeeds|TestNotebooks)$", simulated})...)
	}}
	unit = part{"unit tests, the rules of the repository, generated code, sandbox; with the race detector", func(ctx context.Context, r *runner) error {
		pkgs, err := r.unitPackages(ctx)
		if err != nil {
			return err
		}
		env, err := shared()
		if err != nil {
			return err
		}
		// What a test starts is no input that Go's test cache sees; what it reads is.
		env = append(env, "CLARY_TASK="+filepath.Join(r.root, "bin", "clary-task"))
		calm := func(p string) bool { return slices.Contains(unraced(), p) }
		if err := r.tests(ctx, nil, "standard-quiet", slices.DeleteFunc(slices.Clone(pkgs), func(p string) bool { return !calm(p) }), unvetted, "-timeout", "15m"); err != nil {
			return err
		}
		pkgs = slices.DeleteFunc(pkgs, calm)
		slices.SortStableFunc(pkgs, func(a, b string) int { return cmp.Compare(turn(a), turn(b)) })
		// Four at a time: the three that begin wait most of the time.
		return r.tests(ctx, append(env, cgo()...), "standard-quiet", pkgs, append(race(), "-p", "4", "-timeout", "30m")...)
	}}
	generated = part{"generated code against the pinned botocore", func(ctx context.Context, r *runner) error {
		c, err := r.clients()
		if err != nil {
			return err
		}
		return r.compareGenerated(ctx, c)
	}}
	pages = live("the console and notebook instances of a real server in Chromium", "./test/console/...")
	sdk   = live("SageMaker SDK v2 and v3, boto3, AWS CLI, AWS SDKs for Go and JavaScript against a real server", "./test/sdk/...")
	// Beside each other: both wait most of the time.
	ends = live("end to end, against real servers: "+
		"SageMaker SDK v2 and v3, boto3, AWS CLI, AWS SDKs for Go and JavaScript; console and notebook instances in Chromium", "./test/sdk/...", "./test/console/...")
)

// live is a step that drives real servers with real clients.
func live(title string, pkgs ...string) part {
	return part{title, func(ctx context.Context, r *runner) error {
		c, err := r.clients()
		if err != nil {
			return err
		}
		other, err := r.sdks()
		if err != nil {
			return err
		}
		env, err := shared(c.Env(), other.Env())
		if err != nil {
			return err
		}
		return r.tests(ctx, env, "standard-verbose", pkgs, unvetted, "-count=1", "-parallel", "4", "-timeout", "40m")
	}}
}

// shared is the environment of tests whose servers leave what they build for
// each other.
func shared(env ...[]string) ([]string, error) {
	dir, err := step.CacheDir()
	return append(slices.Concat(env...), daemon.RuntimesVar+"="+filepath.Join(dir, "runtimes")), err
}

const simulated = "clary/test/sim"

// roomy lets simulations, which make much garbage and hold little, collect it
// less often: a fifth of what they compute.
const roomy = "GOGC=400"

// unvetted leaves out what go test has of go vet: the linters have all of it.
const unvetted = "-vet=off"

// race is how tests with the race detector are built. SQLite is C compiled to Go
// and a connection's alone, which our own code and the driver's, both watched,
// hold to; watched itself it would be most of what such tests do.
func race() []string {
	return []string{"-race", unvetted, "-gcflags=github.com/ncruces/go-sqlite3-wasm/...=-race=false"}
}

// cgo is what the race detector is linked with.
func cgo() []string { return []string{"CGO_ENABLED=1"} }

// unraced are packages of much arithmetic and little at once, for which the race
// detector is the nightly run's.
func unraced() []string {
	return []string{"clary/internal/aws/validate", "clary/internal/feature/notebook/activity", "clary/internal/meter", "clary/test/conformance"}
}

// long are the packages whose tests take longest, and wait for most of it. They
// begin first, so that nobody waits for them alone at the end.
func long() []string {
	return []string{"clary/test/daemon", "clary/internal/runtimes/catalog", "clary/internal/compute/sandbox"}
}

// turn is when a package's tests begin.
func turn(pkg string) int {
	if i := slices.Index(long(), pkg); i >= 0 {
		return i
	}
	return len(long())
}

// linter is a command of golangci-lint, which is a tool of the module in lint.
func linter(verb string) []string {
	return []string{"go", "tool", "-modfile=lint/go.mod", "golangci-lint", verb, "--config", "lint/golangci.yml"}
}

// unitPackages are all packages with tests except those that drive clients.
func (r *runner) unitPackages(ctx context.Context) ([]string, error) {
	var out strings.Builder
	err := step.Run(ctx, step.Cmd{Dir: r.root, Out: &out, Args: []string{
		"go", "list", "-f", "{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}", "./...",
	}})
	if err != nil {
		return nil, fmt.Errorf("%w%s", err, out.String())
	}
	var pkgs []string
	for p := range strings.FieldsSeq(out.String()) {
		if p != simulated && p != "clary/test/sdk" && !strings.HasPrefix(p, "clary/test/sdk/") && p != "clary/test/console" {
			pkgs = append(pkgs, p)
		}
	}
	return pkgs, nil
}
