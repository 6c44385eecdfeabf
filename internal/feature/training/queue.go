package training

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"clary/internal/resource"
)

// ahead is how many of the oldest waiting jobs may try to start at once.
const ahead = 4

// queue orders the jobs that wait for room on the machine, oldest first. What
// it holds is advice: a job that it does not know, as after a restart, is put
// in by its next look, and all are looked at from time to time.
type queue struct {
	mu      sync.Mutex // guards waiting
	waiting []waiter   // in order
}

type waiter struct {
	created time.Time
	key     resource.Key
}

func waiterOf(r *resource.Record) waiter { return waiter{r.Created, r.Key} }

func (w waiter) compare(o waiter) int {
	return cmp.Or(w.created.Compare(o.created), cmp.Compare(w.key.Name, o.key.Name), cmp.Compare(w.key.Region, o.key.Region), cmp.Compare(w.key.Account, o.key.Account))
}

// put has a job wait.
func (q *queue) put(r *resource.Record) {
	q.mu.Lock()
	defer q.mu.Unlock()
	w := waiterOf(r)
	if i, there := slices.BinarySearchFunc(q.waiting, w, waiter.compare); !there {
		q.waiting = slices.Insert(q.waiting, i, w)
	}
}

// drop forgets a job and says whether it waited.
func (q *queue) drop(r *resource.Record) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	i, there := slices.BinarySearchFunc(q.waiting, waiterOf(r), waiter.compare)
	if there {
		q.waiting = slices.Delete(q.waiting, i, i+1)
	}
	return there
}

// turn says whether a job may try to start now.
func (q *queue) turn(r *resource.Record) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	i, _ := slices.BinarySearchFunc(q.waiting, waiterOf(r), waiter.compare)
	return i < ahead
}

// next are the jobs whose turn it is.
func (q *queue) next() []resource.Key {
	q.mu.Lock()
	defer q.mu.Unlock()
	keys := make([]resource.Key, 0, ahead)
	for _, w := range q.waiting[:min(ahead, len(q.waiting))] {
		keys = append(keys, w.key)
	}
	return keys
}
