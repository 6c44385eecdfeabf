package job

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"clary/internal/compute"
	"clary/internal/compute/fake"
	"clary/internal/resource"
)

func TestQueueIsInOrderOfCreation(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	begin := time.Unix(1_700_000_000, 0)
	var q queue
	var jobs []*resource.Record
	for i := range 200 {
		// Several are of one instant.
		jobs = append(jobs, &resource.Record{Key: key("1", "r", fmt.Sprintf("j%03d", i)), Created: begin.Add(time.Duration(i/3) * time.Second)})
	}
	if !q.turn(jobs[199]) {
		t.Error("nobody waits, and it is not the job's turn")
	}
	for _, i := range rng.Perm(len(jobs)) {
		q.put(jobs[i])
		q.put(jobs[i])
	}
	for i, j := range jobs {
		if got := q.turn(j); got != (i < ahead) {
			t.Fatalf("turn of job %d is %v", i, got)
		}
	}
	var order []string
	for left := slices.Clone(jobs); len(left) > 0; left = left[1:] {
		keys := q.next()
		if len(keys) != min(ahead, len(left)) || keys[0] != left[0].Key {
			t.Fatalf("next are %v, %d wait from %s", keys, len(left), left[0].Name)
		}
		order = append(order, keys[0].Name)
		if !q.drop(left[0]) || q.drop(left[0]) {
			t.Fatal("a job waits once")
		}
	}
	if !slices.IsSorted(order) || len(order) != len(jobs) || len(q.next()) != 0 {
		t.Errorf("order %v", order)
	}
}

// limited is a driver with room for some tasks.
type limited struct {
	compute.Driver
	room    int
	broken  error
	started []string
}

func (l *limited) Start(ctx context.Context, t compute.Task) error {
	if l.broken != nil {
		return l.broken
	}
	if len(l.started) >= l.room {
		return fmt.Errorf("%w: full", compute.ErrCapacity)
	}
	if err := l.Driver.Start(ctx, t); err != nil {
		return err
	}
	l.started = append(l.started, t.Name)
	return nil
}

func TestJobsThatDoNotFitWaitInOrder(t *testing.T) {
	t.Parallel()
	tr, st := bench(t, func(compute.Task) fake.Script { return fake.Script{Forever: true} })
	d := &limited{Driver: tr.Driver, room: 2}
	tr.Driver = d
	woken := map[resource.Key]bool{}
	tr.Wake = func(k resource.Key) { woken[k] = true }
	var names []string
	for i := range 9 {
		n := fmt.Sprintf("job-%d", i)
		names = append(names, n)
		if _, err := tr.Create(t.Context(), call(), good(n)); err != nil {
			t.Fatal(err)
		}
	}
	look := func(n string) *resource.Record {
		t.Helper()
		k := key(account, region, n)
		if _, err := tr.Reconcile(t.Context(), k); err != nil {
			t.Fatal(err)
		}
		r, err := st.Get(t.Context(), k)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	for _, n := range names {
		look(n)
	}
	r := look("job-5")
	s, err := readStatus(r)
	if err != nil {
		t.Fatal(err)
	}
	if last := s.Transitions[len(s.Transitions)-1]; s.Secondary != secPending || last.Message != msgNoCapacity || r.Phase != phaseInProgress {
		t.Errorf("a job without room is %s, %+v", r.Phase, last)
	}
	// There is room again. The youngest looks first, and does not overtake.
	for i := 2; i+ahead < len(names); i++ {
		d.room++
		look("job-8")
		clear(woken)
		tr.Changed("unknown-1")
		if len(woken) != ahead || !woken[key(account, region, names[i])] {
			t.Fatalf("with %s next, woken are %v", names[i], woken)
		}
		look(names[i])
	}
	if !slices.Equal(d.started, names[:len(names)-ahead]) {
		t.Errorf("started %v", d.started)
	}
	// One that cannot be started is in nobody's way.
	first := key(account, region, names[len(names)-ahead])
	d.broken = errors.New("no such role")
	if _, err := tr.Reconcile(t.Context(), first); !errors.Is(err, d.broken) {
		t.Errorf("a broken start gives %v", err)
	}
	if left := tr.queue.next(); len(left) != ahead-1 || slices.Contains(left, first) {
		t.Errorf("waiting are %v", left)
	}
}
