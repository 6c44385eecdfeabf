package training

import (
	"context"
	"strings"
	"sync"
	"time"

	"clary/internal/aws/op"
	"clary/internal/resource"
)

// The SageMaker SDKs look at a job in pauses of 5 to 30 s. For them alone a
// Describe of an unfinished job is answered when the job ends, or after a
// while: 4.5 s for the first look, so that a job that ends within the SDK's
// first pause is seen at once; 20 s for a caller that looks again without
// having read the job's log, since it waits for nothing but the end. A caller
// that reads the log is never held again: its log loop cannot print while a
// Describe is held.
const (
	holdFirst  = 4500 * time.Millisecond
	holdSilent = 20 * time.Second
	holdMax    = 10000 // entries; beyond it nobody new is held
)

type holdKey struct{ uid, caller string }

type hold struct {
	looks   int
	readLog bool
}

// holds remembers who looked. It is advice: losing it costs seconds, never
// truth.
type holds struct {
	mu sync.Mutex // guards m
	m  map[holdKey]*hold
}

// look counts one Describe and says how long it may be held.
func (h *holds) look(uid, caller string, longest time.Duration) time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.m == nil {
		h.m = make(map[holdKey]*hold)
	}
	e := h.m[holdKey{uid, caller}]
	if e == nil {
		if len(h.m) >= holdMax {
			return 0
		}
		e = &hold{}
		h.m[holdKey{uid, caller}] = e
	}
	e.looks++
	switch {
	case longest > 0:
		return longest
	case e.readLog:
		return 0
	case e.looks == 1:
		return holdFirst
	default:
		return holdSilent
	}
}

// read notes that the caller read the job's log.
func (h *holds) read(uid, caller string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if e := h.m[holdKey{uid, caller}]; e != nil {
		e.readLog = true
	}
}

func (h *holds) forget(uid string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for k := range h.m {
		if k.uid == uid {
			delete(h.m, k)
		}
	}
}

// LogRead tells that a caller read a log stream; jobs' streams are named
// "<job>/algo-1-...".
func (t *Training) LogRead(accessKeyID, account, region, stream string) {
	job, _, ok := strings.Cut(stream, "/")
	if !ok {
		return
	}
	t.mu.Lock()
	var uid string
	for id, k := range t.tasks {
		if k == key(account, region, job) {
			uid = strings.TrimSuffix(string(id), "-1")
			break
		}
	}
	t.mu.Unlock()
	if uid != "" {
		t.holds.read(uid, accessKeyID)
	}
}

func heldClient(userAgent string) bool {
	return strings.Contains(userAgent, "AWS-SageMaker-Python-SDK")
}

// await holds an SDK's look at an unfinished job and returns the record as it
// is afterwards.
func (t *Training) await(ctx context.Context, c op.Call, r *resource.Record) (*resource.Record, error) {
	if terminal(r.Phase) || !heldClient(c.UserAgent) {
		return r, nil
	}
	d := t.holds.look(r.UID, c.Principal.AccessKeyID, t.Hold)
	if d <= 0 {
		return r, nil
	}
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	changed := t.Store.Watch(ctx, Kind)
	last := r
	for {
		now, err := t.Store.Get(context.WithoutCancel(ctx), r.Key)
		if err != nil {
			return nil, err
		}
		last = now
		if terminal(now.Phase) {
			return now, nil
		}
		for k, open := <-changed; k != r.Key; k, open = <-changed {
			if !open {
				return last, nil
			}
		}
	}
}
