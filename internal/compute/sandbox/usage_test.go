package sandbox_test

import (
	"testing"
	"time"

	"clary/internal/compute"
	"clary/internal/compute/computetest"
)

// TestUsage runs a task that keeps a processor, some memory and some disk busy,
// beyond the first heartbeat.
func TestUsage(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	d := p.open(t)
	tk := compute.Task{ID: "busy-1", Args: []string{"python3", "-c", "x=bytearray(64<<20)\nopen('/opt/ml/f','wb').write(bytes(8<<20))\nwhile True: pass"}}
	tk.Resources = compute.Resources{VCPU: 1, MemoryBytes: 512 << 20, DiskBytes: 128 << 20}
	if err := d.Start(t.Context(), tk); err != nil {
		t.Fatal(err)
	}
	st := computetest.Wait(t, d, tk.ID, "accounted for", func(st compute.TaskStatus) bool { return !st.Usage.At.IsZero() })
	u := st.Usage
	ran := u.At.Sub(st.Started)
	if u.At.After(st.Heartbeat) || ran < 5*time.Second || u.CPU < ran/10 || u.CPU > ran*11/10 {
		t.Errorf("in %s: %+v", ran, u)
	}
	if u.Memory < 64<<20 || u.Memory > 512<<20 || u.Disk < 8<<20 || u.Disk > 128<<20 {
		t.Errorf("%+v", u)
	}
	if err := d.Stop(t.Context(), tk.ID, 0); err != nil {
		t.Fatal(err)
	}
	end := computetest.Ended(t, d, tk.ID)
	if e := end.Usage; !e.At.After(u.At) || e.At.After(end.Exit.At) || e.CPU < u.CPU || e.Memory != u.Memory || e.Disk < 8<<20 {
		t.Errorf("at the end %+v, before %+v", e, u)
	}
}

// TestUsageOfShortTask has no heartbeat, and an end.
func TestUsageOfShortTask(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	_, st := p.runs(t, p.open(t), script("short-1", "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done"))
	if u := st.Usage; u.CPU < 20*time.Millisecond || u.CPU > 2*u.At.Sub(st.Started) {
		t.Errorf("%+v of a task that began at %s", u, st.Started)
	}
}
