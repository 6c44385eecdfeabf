// Check runs what gates a change: `make test`, `make check`, `make lint`.
// Each step is printed before it runs; the first that fails ends the run with
// its output. The rules that a linter cannot say are tests beside this file.
//
//	go run ./tool/check test    everything that gates
//	go run ./tool/check check   formatting, vet and unit tests only
//	go run ./tool/check lint    golangci-lint with the repository's rules
//	go run ./tool/check sdk     real AWS clients against a real server
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"clary/tool/internal/pyenv"
	"clary/tool/internal/step"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
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
	clients func() (pyenv.Clients, error) // the Python environments, made while other steps run
}

func run(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return errors.New("say one of test, check, lint, sdk")
	}
	var parts []part
	clients := false
	switch args[0] {
	case "test":
		parts, clients = []part{build, format, vet, static, unit, generated, sdk}, true
	case "check":
		parts = []part{build, format, vet, unit}
	case "lint":
		parts = []part{build, golangci}
	case "sdk":
		parts, clients = []part{build, sdk}, true
	default:
		return fmt.Errorf("unknown plan %q: say one of test, check, lint, sdk", args[0])
	}
	if _, err := exec.LookPath("go"); err != nil {
		return errors.New("the go command is not in PATH")
	}
	root, err := step.Root()
	if err != nil {
		return err
	}
	r := &runner{root: root, clients: sync.OnceValues(func() (pyenv.Clients, error) {
		return pyenv.EnsureClients(ctx, func(f string, a ...any) { fmt.Printf("     ("+f+")\n", a...) })
	})}

	fmt.Printf("Plan of make %s:\n", args[0])
	if clients {
		fmt.Println("  -  meanwhile: install the Python AWS clients that the sdk tests drive (cached outside the repository)")
	}
	for i, p := range parts {
		fmt.Printf("  %d  %s\n", i+1, p.title)
	}
	if clients {
		go func() { _, _ = r.clients() }() // whoever needs them gets the error
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
	fmt.Printf("\nmake %s: all %d steps passed in %.0f s\n", args[0], len(parts), time.Since(start).Seconds())
	return nil
}

func (r *runner) run(ctx context.Context, env []string, args ...string) error {
	return step.Run(ctx, step.Cmd{Dir: r.root, Env: env, Args: args, Out: os.Stdout})
}

var (
	build = part{"build bin/clary with clary-task embedded", func(ctx context.Context, r *runner) error {
		return step.Build(ctx, r.root)
	}}
	format = part{"gofmt", func(ctx context.Context, r *runner) error {
		var out strings.Builder
		if err := step.Run(ctx, step.Cmd{Dir: r.root, Args: []string{"gofmt", "-l", "cmd", "internal", "tool", "test"}, Out: &out}); err != nil {
			return fmt.Errorf("%w%s", err, out.String())
		}
		if out.Len() > 0 {
			return fmt.Errorf("run gofmt -w on:\n%s", out.String())
		}
		return nil
	}}
	vet = part{"go vet", func(ctx context.Context, r *runner) error {
		return r.run(ctx, nil, "go", "vet", "./...")
	}}
	static = part{"staticcheck", func(ctx context.Context, r *runner) error {
		return r.run(ctx, nil, "go", "tool", "-modfile=lint/go.mod", "staticcheck", "./...")
	}}
	golangci = part{"golangci-lint", func(ctx context.Context, r *runner) error {
		return r.run(ctx, nil, "go", "tool", "-modfile=lint/go.mod", "golangci-lint", "run", "--config", "lint/golangci.yml")
	}}
	unit = part{"unit tests, the rules of the repository, generated code, simulation, sandbox; with the race detector", func(ctx context.Context, r *runner) error {
		pkgs, err := r.unitPackages(ctx)
		if err != nil {
			return err
		}
		return r.run(ctx, nil, append([]string{"go", "test", "-race", "-timeout", "15m"}, pkgs...)...)
	}}
	generated = part{"generated code against the pinned botocore", func(ctx context.Context, r *runner) error {
		c, err := r.clients()
		if err != nil {
			return err
		}
		return r.compareGenerated(ctx, c)
	}}
	sdk = part{"end to end: SageMaker SDK v2 and v3, boto3 and AWS CLI against a real server", func(ctx context.Context, r *runner) error {
		c, err := r.clients()
		if err != nil {
			return err
		}
		return r.run(ctx, c.Env(), "go", "test", "-count=1", "-v", "-timeout", "20m", "./test/sdk/...")
	}}
)

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
		if p != "clary/test/sdk" && !strings.HasPrefix(p, "clary/test/sdk/") {
			pkgs = append(pkgs, p)
		}
	}
	return pkgs, nil
}
