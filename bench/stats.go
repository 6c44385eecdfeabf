package main

import (
	"cmp"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// series is latencies of one load in one round, and how long it ran.
type series struct {
	lat  []time.Duration
	took time.Duration
}

func (s series) rate() float64 { return float64(len(s.lat)) / s.took.Seconds() }

func quantile[T cmp.Ordered](lat []T, q float64) (none T) {
	if len(lat) == 0 {
		return none
	}
	sorted := slices.Sorted(slices.Values(lat))
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

// load is the rounds of one load.
type load []series

func (l load) all() (out []time.Duration) {
	for _, s := range l {
		out = append(out, s.lat...)
	}
	return out
}

func (l load) median() float64 {
	var r []float64
	for _, s := range l {
		r = append(r, s.rate())
	}
	slices.Sort(r)
	if len(r) == 0 {
		return 0
	}
	return r[len(r)/2]
}

func (l load) String() string {
	if len(l) == 0 {
		return ""
	}
	lo, hi := l[0].rate(), l[0].rate()
	for _, s := range l {
		lo, hi = min(lo, s.rate()), max(hi, s.rate())
	}
	lat := l.all()
	return fmt.Sprintf("%s/s (%s..%s), %s / %s", count(l.median()), count(lo), count(hi), ms(quantile(lat, 0.5)), ms(quantile(lat, 0.99)))
}

func count(f float64) string {
	n := int64(f + 0.5)
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%s,%03d", count(float64(n/1000)), n%1000)
}

func ms(d time.Duration) string {
	f := float64(d) / float64(time.Millisecond)
	switch {
	case f < 10:
		return fmt.Sprintf("%.2f ms", f)
	case f < 100:
		return fmt.Sprintf("%.1f ms", f)
	}
	return fmt.Sprintf("%.0f ms", f)
}

// times is p50 / p99 of single measurements.
func times(lat []time.Duration) string {
	if len(lat) == 0 {
		return ""
	}
	return fmt.Sprintf("%s / %s", ms(quantile(lat, 0.5)), ms(quantile(lat, 0.99)))
}

func raw(name string, lat []time.Duration) {
	var s []string
	for _, d := range lat {
		s = append(s, ms(d))
	}
	fmt.Printf("   %s: %s\n", name, strings.Join(s, " "))
}

func machine() string {
	model := "unknown CPU"
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(b)) {
			if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == "model name" {
				model = strings.TrimSpace(v)
				break
			}
		}
	}
	kernel := ""
	if b, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		kernel = ", Linux " + strings.TrimSpace(string(b))
	}
	return fmt.Sprintf("%d × %s%s, %s", runtime.NumCPU(), model, kernel, runtime.Version())
}

// busy is the load average of the last minute: others' work on the machine
// weighs on every figure.
func busy() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	one, _, _ := strings.Cut(string(b), " ")
	return one
}

func within(lat []time.Duration, p50 time.Duration) verdict {
	return reached(quantile(lat, 0.5) <= p50)
}

// beats compares rates with multiples of others'. It says nothing when one of
// them was not measured.
func beats(l load, others map[float64]load) verdict {
	ok := true
	for times, o := range others {
		if len(o) == 0 {
			return "peer not measured"
		}
		ok = ok && l.median() >= times*o.median()
	}
	return reached(ok)
}
