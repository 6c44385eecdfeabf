package job

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"clary/internal/resource"
)

func TestQueueIsInOrderOfCreation(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	begin := time.Unix(1_700_000_000, 0)
	var q Queue
	var jobs []*resource.Record
	for i := range 200 {
		// Several are of one instant.
		jobs = append(jobs, &resource.Record{Key: resource.Key{Account: "1", Region: "r", Kind: []resource.Kind{"A", "B"}[i/3%2], Name: fmt.Sprintf("j%03d", i)}, Created: begin.Add(time.Duration(i/3) * time.Second)})
	}
	if !q.turn(jobs[199]) {
		t.Error("nobody waits, and it is not the job's turn")
	}
	for _, i := range rng.Perm(len(jobs)) {
		q.put(jobs[i], 1)
		q.put(jobs[i], 1)
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

// A job of several instances is not overtaken: whoever is younger may take its
// room piece by piece.
func TestQueueBehindSeveralInstances(t *testing.T) {
	t.Parallel()
	var q Queue
	var jobs []*resource.Record
	for i, hosts := range []int64{1, 3, 1, 2} {
		jobs = append(jobs, &resource.Record{Key: resource.Key{Name: fmt.Sprint(i)}, Created: time.Unix(int64(i), 0)})
		q.put(jobs[i], hosts)
	}
	late := &resource.Record{Key: resource.Key{Name: "late"}, Created: time.Unix(9, 0)}
	for _, want := range [][]bool{{true, true, false, false}, {true, false, false}, {true, true}, {true}} {
		for i, may := range want {
			if got := q.turn(jobs[len(jobs)-len(want)+i]); got != may {
				t.Errorf("of %d jobs, turn of the one at %d is %v", len(want), i, got)
			}
		}
		if n := len(q.next()); q.turn(late) || n != strings.Count(fmt.Sprint(want), "true") {
			t.Errorf("of %d jobs, %d are woken; a late one's turn is %v", len(want), n, q.turn(late))
		}
		q.drop(jobs[len(jobs)-len(want)])
	}
	if !q.turn(late) {
		t.Error("nobody waits, and it is not the job's turn")
	}
}
