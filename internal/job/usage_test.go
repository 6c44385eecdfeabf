package job_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"clary/internal/compute"
	"clary/internal/compute/fake"
	"clary/internal/job"
	"clary/internal/job/jobtest"
	"clary/internal/metrics"
	"clary/internal/resource"
)

// gauges keeps what is put, as the store does, and fails when it is told.
type gauges struct {
	began   time.Time
	down    bool
	offsets map[string]int64
	put     []string
}

func (g *gauges) Offset(_ context.Context, source string) (int64, error) {
	return g.offsets[source], nil
}

func (g *gauges) PutFrom(_ context.Context, source string, next int64, data []metrics.Datum) error {
	if g.down {
		return errors.New("down")
	}
	if next <= g.offsets[source] {
		return nil
	}
	g.offsets[source] = next
	for _, d := range data {
		g.put = append(g.put, fmt.Sprintf("%s %s %s %s %.0f %s", d.Time.Sub(g.began), d.Dimensions["Host"], d.Namespace, d.Name, d.Sum, d.Unit))
	}
	return nil
}

func (g *gauges) of(host, name string) (out []string) {
	for _, s := range g.put {
		var at, h, group, n, value, unit string
		if _, err := fmt.Sscan(s, &at, &h, &group, &n, &value, &unit); err == nil && h == host && n == name && group == "/aws/sagemaker/ProcessingJobs" && unit == "Percent" {
			out = append(out, at+" "+value)
		}
	}
	return out
}

// used is an engine whose hosts use so much, for so long; algo-2 twice the
// processors.
func used(t *testing.T, run time.Duration) (*bench, *gauges) {
	t.Helper()
	c := jobtest.Config(t, func(task compute.Task) fake.Script {
		u := compute.Usage{CPU: 500 * time.Millisecond, Memory: 2 << 30, Disk: 1 << 30}
		if task.Network.Host == "algo-2" {
			u.CPU *= 2
		}
		return fake.Script{Run: run, Uses: u}
	})
	g := &gauges{began: time.Now(), offsets: map[string]int64{}}
	c.Instances = g
	return restarted(t, c), g
}

// restarted is the engine of the next server.
func restarted(t *testing.T, c job.Config) *bench {
	t.Helper()
	f := family("ProcessingJob", "processing")
	read := f.Read
	f.Read = func(r *resource.Record) (*job.Work, error) {
		w, err := read(r)
		if err == nil {
			w.VolumeGB = 10
		}
		return w, err
	}
	return &bench{job.New(c, f), t}
}

func (b *bench) lookFor(d time.Duration) {
	b.t.Helper()
	for range d / (5 * time.Second) {
		time.Sleep(5 * time.Second)
		b.look("job")
	}
}

func TestInstanceMetrics(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, g := used(t, 200*time.Second)
		b.create("job", 2)
		b.look("job")
		b.lookFor(60 * time.Second)
		b = restarted(t, b.Config)
		b.lookFor(55 * time.Second)
		g.down = true
		b.lookFor(20 * time.Second) // what was measured at 2m0s is put later
		g.down = false
		b.lookFor(90 * time.Second)
		for what, want := range map[[2]string][]string{
			// a server that begins does not know what was used by 1m0s
			{"job/algo-1", "CPUUtilization"}:    {"30s 50", "1m0s 50", "1m30s 50", "2m0s 50", "2m30s 50", "3m0s 50", "3m20s 50"},
			{"job/algo-2", "CPUUtilization"}:    {"30s 100", "1m0s 100", "1m30s 100", "2m0s 100", "2m30s 100", "3m0s 100", "3m20s 100"},
			{"job/algo-1", "MemoryUtilization"}: {"30s 25", "1m0s 25", "1m30s 25", "2m0s 25", "2m30s 25", "3m0s 25", "3m20s 25"},
			{"job/algo-2", "DiskUtilization"}:   {"30s 10", "1m0s 10", "1m30s 10", "2m0s 10", "2m30s 10", "3m0s 10", "3m20s 10"},
		} {
			if got := g.of(what[0], what[1]); !slices.Equal(got, want) {
				t.Errorf("%s: %q, want %q", what, got, want)
			}
		}
		if r, st := b.look("job"); r.Phase != "Completed" || !st.Cleaned || b.Measured() != 0 {
			t.Errorf("the job is %s, %d hosts are remembered", r.Phase, b.Measured())
		}
	})
}

// A job that was over before anybody looked has one sample, of its life.
func TestInstanceMetricsOfShortJob(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, g := used(t, 3*time.Second)
		b.create("job", 1)
		b.look("job")
		b.lookFor(20 * time.Second)
		if want := []string{"3s 50"}; !slices.Equal(g.of("job/algo-1", "CPUUtilization"), want) || len(g.put) != 3 {
			t.Errorf("%q", g.put)
		}
	})
}
