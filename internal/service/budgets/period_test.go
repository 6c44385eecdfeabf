package budgets

import (
	"testing"
	"time"
)

func date(s string) time.Time {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		panic(err)
	}
	return t
}

func TestPeriod(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ unit, start, end, t, from, to string }{
		{"DAILY", "2026-01-01", "2087-06-15", "2026-11-30", "2026-11-30", "2026-12-01"},
		{"MONTHLY", "2026-01-01", "2087-06-15", "2026-11-30", "2026-11-01", "2026-12-01"},
		{"MONTHLY", "2026-01-01", "2087-06-15", "2026-12-31", "2026-12-01", "2027-01-01"},
		{"QUARTERLY", "2026-01-01", "2087-06-15", "2026-05-31", "2026-04-01", "2026-07-01"},
		{"ANNUALLY", "2026-01-01", "2087-06-15", "2028-02-29", "2028-01-01", "2029-01-01"},
		{"CUSTOM", "2026-01-10", "2026-03-05", "2026-02-01", "2026-01-10", "2026-03-05"},
		// cut to the budget's days
		{"MONTHLY", "2026-11-10", "2087-06-15", "2026-11-30", "2026-11-10", "2026-12-01"},
		{"MONTHLY", "2026-01-01", "2026-11-20", "2026-11-05", "2026-11-01", "2026-11-20"},
		// before and after them
		{"MONTHLY", "2026-11-10", "2087-06-15", "2026-01-01", "2026-11-10", "2026-12-01"},
		{"MONTHLY", "2026-01-01", "2026-11-20", "2027-05-05", "2026-11-01", "2026-11-20"},
	} {
		p := at(tt.unit, date(tt.start), date(tt.end), date(tt.t).Add(13*time.Hour))
		if !p.From.Equal(date(tt.from)) || !p.To.Equal(date(tt.to)) {
			t.Errorf("%s from %s to %s at %s: %v, want %s to %s", tt.unit, tt.start, tt.end, tt.t, p, tt.from, tt.to)
		}
	}
	// A period begins with its first instant, wherever the clock is.
	east := time.FixedZone("", 9*3600)
	if p := at("MONTHLY", date("2026-01-01"), forever, time.Date(2026, 12, 1, 8, 59, 59, 0, east)); !p.From.Equal(date("2026-11-01")) {
		t.Errorf("%v", p)
	}
	if p := at("MONTHLY", date("2026-01-01"), forever, date("2026-12-01")); !p.From.Equal(date("2026-12-01")) {
		t.Errorf("%v", p)
	}
}

func TestBefore(t *testing.T) {
	t.Parallel()
	p := at("QUARTERLY", date("2025-08-15"), forever, date("2026-11-30"))
	got := before("QUARTERLY", date("2025-08-15"), forever, p, 4)
	want := []string{"2026-07-01", "2026-04-01", "2026-01-01", "2025-10-01"}
	if len(got) != 4 {
		t.Fatalf("%v", got)
	}
	for i, p := range got {
		if !p.From.Equal(date(want[i])) {
			t.Errorf("%d: %v, want %s", i, p, want[i])
		}
	}
	got = before("QUARTERLY", date("2025-08-15"), forever, p, 40)
	if len(got) != 5 || !got[4].From.Equal(date("2025-08-15")) || !got[4].To.Equal(date("2025-10-01")) {
		t.Errorf("%v", got)
	}
}

func TestAmounts(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]int64{"1": 1_000_000, "0.01": 10_000, "100.0": 100_000_000, ".5": 500_000, "1.0000009": 1_000_000} {
		if got, err := micro(s); err != nil || got != want {
			t.Errorf("%s: %d, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "-1", "1e3", "1.2.3", "99999999999999999999", "."} {
		if got, err := micro(s); err == nil {
			t.Errorf("%s: %d", s, got)
		}
	}
	for n, want := range map[int64]string{0: "0.0", 1: "0.000001", 1_500_000: "1.5", 12_000_000: "12.0", 999_999: "0.999999"} {
		if got := decimal(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
	for n, want := range map[int64]string{0: "$0.00", 833: "$0.0008", 50_000: "$0.05", 1_234_567: "$1.23", 1_235_000_000: "$1235.00"} {
		if got := dollars(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}
