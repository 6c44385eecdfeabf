package main

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
)

// What works beside another part says is shown whole and last, and a failure of
// either ends the other.
func TestBeside(t *testing.T) {
	t.Parallel()
	broken := errors.New("it broke")
	for name, c := range map[string]struct {
		waits, works func(ctx context.Context) error
		want         error
	}{
		"both":  {func(context.Context) error { return nil }, func(context.Context) error { return nil }, nil},
		"waits": {func(context.Context) error { return broken }, forever, broken},
		"works": {forever, func(context.Context) error { return broken }, broken},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out strings.Builder
			said := make(chan struct{})
			p := beside(
				part{"the first", func(ctx context.Context, r *runner) error {
					<-said
					_, _ = io.WriteString(r.out, "first ")
					return c.waits(ctx)
				}},
				part{"the other", func(ctx context.Context, r *runner) error {
					_, _ = io.WriteString(r.out, "other")
					close(said)
					return c.works(ctx)
				}},
			)
			if err := p.do(t.Context(), &runner{out: &out}); !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
			if out.String() != "first other" {
				t.Errorf("said %q", out.String())
			}
		})
	}
}

func forever(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

// Packages that do not exist any more begin in no order.
func TestTurnsAreOfPackages(t *testing.T) {
	t.Parallel()
	pkgs := packages(t)
	for _, p := range slices.Concat(long(), unraced(), []string{simulated}) {
		if pkgs[p] == nil {
			t.Errorf("there is no package %s", p)
		}
	}
}
