package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// sample is what the server held at one moment.
type sample struct {
	at                               time.Duration
	pid                              int
	memory, disk                     float64 // MiB
	descriptors, goroutines, threads float64
	jobs                             int // that had been run
}

const every = 5 * time.Second

// watch takes samples.
func (s *soak) watch(during context.Context) {
	for {
		pause(during, every)
		if during.Err() != nil {
			return
		}
		pid := s.d.Pid()
		m := sample{
			at: time.Since(s.began), pid: pid, memory: memory(pid), disk: disk(s.d.Data),
			descriptors: entries(pid, "fd"), threads: entries(pid, "task"), goroutines: s.goroutines(pid),
		}
		s.mu.Lock()
		m.jobs = s.count["jobs Completed"] + s.count["jobs Failed"] + s.count["jobs Stopped"]
		s.samples = append(s.samples, m)
		s.mu.Unlock()
	}
}

func memory(pid int) float64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0 // it was just killed
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, "Pss:"); ok {
			n, _ := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(v), " kB"))
			return float64(n) / 1024
		}
	}
	return 0
}

func entries(pid int, what string) float64 {
	es, err := os.ReadDir(fmt.Sprintf("/proc/%d/%s", pid, what))
	if err != nil {
		return 0
	}
	return float64(len(es))
}

// disk is what the data folder takes, without built runtimes and without what
// tasks take while they run; that nothing is left of those is looked at last.
func disk(dir string) float64 {
	var sum int64
	_ = filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // files come and go
		}
		if e.IsDir() && (filepath.Base(p) == "runtimes" || filepath.Base(p) == "tasks") {
			return fs.SkipDir
		}
		if info, err := e.Info(); err == nil {
			if st, ok := info.Sys().(*syscall.Stat_t); ok {
				sum += st.Blocks * 512
			}
		}
		return nil
	})
	return float64(sum) / (1 << 20)
}

var health = regexp.MustCompile(`msg=health goroutines=(\d+)`)

// goroutines asks the server to say how it is and reads the answer in its log.
func (s *soak) goroutines(pid int) float64 {
	before, err := os.ReadFile(s.d.Log)
	if err != nil || syscall.Kill(pid, syscall.SIGUSR1) != nil {
		return 0
	}
	for deadline := time.Now().Add(2 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		b, err := os.ReadFile(s.d.Log)
		if err != nil || len(b) < len(before) {
			return 0
		}
		if m := health.FindSubmatch(b[len(before):]); m != nil {
			n, _ := strconv.Atoi(string(m[1]))
			return float64(n)
		}
	}
	return 0
}

// report prints the series and judges it from the calm on, after a while for
// the caches to fill.
func (s *soak) report(calm time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Println("\n   time    pid     memory MiB  descriptors  goroutines  threads  disk MiB  jobs")
	for _, m := range s.samples {
		fmt.Printf("%7s %7d %12.1f %12.0f %11.0f %8.0f %9.1f %5d\n", m.at.Round(time.Second), m.pid, m.memory, m.descriptors, m.goroutines, m.threads, m.disk, m.jobs)
	}
	fmt.Println()
	for _, what := range sorted(s.count) {
		fmt.Printf("%6d %s\n", s.count[what], what)
	}
	var all, settled []sample
	for _, m := range s.samples {
		if m.at > calm && m.memory > 0 {
			all = append(all, m)
		}
	}
	if len(all) > 0 {
		warm := all[0].at + (all[len(all)-1].at-all[0].at)/5
		for _, m := range all {
			if m.at >= warm && m.pid == all[len(all)-1].pid {
				settled = append(settled, m)
			}
		}
	}
	if len(settled) < 8 {
		s.failures = append(s.failures, fmt.Sprintf("only %d samples of a settled server: run longer", len(settled)))
		return
	}
	fmt.Printf("\nGrowth over the last %s, by the median of slopes:\n", (settled[len(settled)-1].at - settled[0].at).Round(time.Second))
	for _, series := range []struct {
		name    string
		of      func(sample) float64
		allowed float64 // in all, beside a tenth of the median
	}{
		{"memory MiB", func(m sample) float64 { return m.memory }, 8},
		{"descriptors", func(m sample) float64 { return m.descriptors }, 8},
		{"goroutines", func(m sample) float64 { return m.goroutines }, 12},
		{"threads", func(m sample) float64 { return m.threads }, 4},
		{"disk MiB", func(m sample) float64 { return m.disk }, 16},
	} {
		grown, median := growth(settled, series.of)
		limit := series.allowed + median/10
		verdict := "flat"
		if grown > limit {
			verdict = "GROWS"
			s.failures = append(s.failures, fmt.Sprintf("%s: grew by %.1f from about %.1f", series.name, grown, median))
		}
		fmt.Printf("  %-12s %+8.1f, median %7.1f, allowed %5.1f: %s\n", series.name, grown, median, limit, verdict)
	}
}

// growth is how much a series rises from its first to its last sample, by the
// median of the slopes between all pairs, so that single peaks do not count.
func growth(samples []sample, of func(sample) float64) (grown, median float64) {
	var slopes, values []float64
	for i, a := range samples {
		values = append(values, of(a))
		for _, b := range samples[i+1:] {
			slopes = append(slopes, (of(b)-of(a))/(b.at-a.at).Seconds())
		}
	}
	slices.Sort(slopes)
	slices.Sort(values)
	return slopes[len(slopes)/2] * (samples[len(samples)-1].at - samples[0].at).Seconds(), values[len(values)/2]
}

func sorted(m map[string]int) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
