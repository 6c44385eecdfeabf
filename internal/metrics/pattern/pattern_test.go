package pattern

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestValues(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		expr, line string
		want       []float64
	}{
		{`loss=([0-9.]+)`, "loss=0.5 and loss=0.25", []float64{0.5, 0.25}},
		{`loss=(\S+)`, "loss=nan loss=inf loss=x loss=1e-3 loss=", []float64{0.001}},
		{`a=(\d+)|b=(\d+)`, "b=2 a=1", []float64{1}},
		{`loss: (.*)`, "loss:  7 ", []float64{7}},
		{`(?<=loss=)([0-9.]+)`, "loss=0.5 loss=3", []float64{0.5, 3}}, // only the matcher that backtracks
		{`(?<=loss=)([0-9.]+)`, "nothing", nil},
		{`loss=([0-9]+)`, "", nil},
	} {
		p := New(c.expr)
		if p == nil {
			t.Errorf("%s is not understood", c.expr)
			continue
		}
		if got := p.Values(c.line); !slices.Equal(got, c.want) {
			t.Errorf("%s in %q: %v, want %v", c.expr, c.line, got, c.want)
		}
	}
	for _, bad := range []string{`loss`, `(?<=loss)`, `(`, `(?=`, `[`} {
		if New(bad) != nil {
			t.Errorf("%s is understood", bad)
		}
	}
	if n := len(New(`(1)`).Values(strings.Repeat("1", 5000))); n != maxMatches {
		t.Errorf("%d matches of one line", n)
	}
}

func TestSlowPattern(t *testing.T) {
	t.Parallel()
	p := New(`^(?=(a+)+$)(a+)+$`)
	if p == nil || p.slow == nil {
		t.Fatal("expected the matcher that backtracks")
	}
	evil := strings.Repeat("a", 40) + "!"
	begin := time.Now()
	for range 3 * matchStrikes {
		if got := p.Values(evil); got != nil {
			t.Fatal(got)
		}
	}
	if p.strikes != matchStrikes {
		t.Errorf("%d strikes in %v", p.strikes, time.Since(begin))
	}
}

func FuzzValues(f *testing.F) {
	f.Add(`loss=([0-9.]+)`, "loss=1")
	f.Add(`(?<=x)(.)`, "x1")
	f.Fuzz(func(t *testing.T, expr, line string) {
		if p := New(expr); p != nil {
			for _, v := range p.Values(line) {
				if v-v != 0 {
					t.Errorf("%q in %q: %v", expr, line, v)
				}
			}
		}
	})
}
