package job

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"clary/internal/resource"
)

// ahead is how many of the oldest waiting jobs may try to start at once.
const ahead = 4

// Queue orders the jobs of all kinds that wait for room on the machine, oldest
// first. A job of several instances starts all of them or none, so nobody
// younger starts while it waits: that might take its room piece by piece. One
// that would not fit if all other jobs were over, for notebook instances have
// the room, does not stand here: it holds nobody, and tries again from time to
// time. What the queue holds is advice: a job that it does not know, as after a restart,
// is put in by its next look, and all are looked at from time to time.
type Queue struct {
	start   sync.Mutex             // held by a job of several instances while it starts
	mu      sync.Mutex             // guards what follows
	waiting []waiter               // in order
	running map[resource.Key]int64 // instances of the jobs that have begun
}

type waiter struct {
	created time.Time
	key     resource.Key
	hosts   int64
}

func waiterOf(r *resource.Record) waiter { return waiter{created: r.Created, key: r.Key} }

func (w waiter) compare(o waiter) int {
	return cmp.Or(w.created.Compare(o.created), cmp.Compare(w.key.Kind, o.key.Kind), cmp.Compare(w.key.Name, o.key.Name), cmp.Compare(w.key.Region, o.key.Region), cmp.Compare(w.key.Account, o.key.Account))
}

func (w waiter) several() bool { return w.hosts > 1 }

// put has a job wait.
func (q *Queue) put(r *resource.Record, hosts int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	w := waiterOf(r)
	w.hosts = hosts
	if i, there := slices.BinarySearchFunc(q.waiting, w, waiter.compare); !there {
		q.waiting = slices.Insert(q.waiting, i, w)
	}
}

// drop forgets a job and says whether it waited.
func (q *Queue) drop(r *resource.Record) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	i, there := slices.BinarySearchFunc(q.waiting, waiterOf(r), waiter.compare)
	if there {
		q.waiting = slices.Delete(q.waiting, i, i+1)
	}
	return there
}

// turn says whether a job may try to start now.
func (q *Queue) turn(r *resource.Record) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	i, _ := slices.BinarySearchFunc(q.waiting, waiterOf(r), waiter.compare)
	return i < ahead && !slices.ContainsFunc(q.waiting[:i], waiter.several)
}

// runs notes how many instances of a job are on the machine.
func (q *Queue) runs(k resource.Key, hosts int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if hosts == 0 {
		delete(q.running, k)
		return
	}
	if q.running == nil {
		q.running = make(map[resource.Key]int64)
	}
	q.running[k] = hosts
}

// fits says whether so many instances have room when all that run are over,
// with some that are free now.
func (q *Queue) fits(hosts, free int64) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, n := range q.running {
		free += n
	}
	return hosts <= free
}

// next are the jobs whose turn it is.
func (q *Queue) next() []resource.Key {
	q.mu.Lock()
	defer q.mu.Unlock()
	keys := make([]resource.Key, 0, ahead)
	for _, w := range q.waiting[:min(ahead, len(q.waiting))] {
		keys = append(keys, w.key)
		if w.several() {
			break
		}
	}
	return keys
}
