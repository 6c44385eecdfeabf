package job

import (
	"context"
	"strings"
	"sync"
	"time"

	"clary/internal/aws/op"
	"clary/internal/logs"
	"clary/internal/resource"
	"clary/internal/store"
)

// The SageMaker SDKs look at what they wait for, a job or an endpoint, in pauses
// of 5 to 30 s. For them alone a Describe of an unfinished job is answered when
// the job ends, or after a while: 4.5 s for the first look, so that a job that
// ends within the SDK's first pause is seen at once; 20 s for a caller that looks
// again without having read the job's log, since it waits for nothing but the
// end. A caller that reads the log is never held again: its log loop cannot print
// while a Describe is held.
//
// Version 3 looks once within the call that creates, even where its user asked
// not to wait; that look is answered at once and does not count.
const (
	holdFirst  = 4500 * time.Millisecond
	holdSilent = 20 * time.Second
	holdMax    = 10000 // entries; beyond it nobody new is held
)

type holdKey struct{ uid, caller string }

type hold struct {
	created bool // the look of the call that creates was seen
	looks   int
	readLog bool
}

// Holds holds the looks of SDKs, and remembers who looked. That is advice:
// losing it costs seconds, never truth.
type Holds struct {
	Longest time.Duration // of each look; 0: as above

	mu sync.Mutex // guards m
	m  map[holdKey]*hold
}

// look counts one Describe and says how long it may be held.
func (h *Holds) look(s sdk, uid, caller string) time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	e := h.entry(uid, caller)
	if e == nil {
		return 0
	}
	if s == sdkV3 && !e.created {
		e.created = true
		return 0
	}
	e.looks++
	switch {
	case h.Longest > 0:
		return h.Longest
	case e.readLog:
		return 0
	case e.looks == 1:
		return holdFirst
	default:
		return holdSilent
	}
}

// entry makes what is remembered of a caller; nil when too many are.
func (h *Holds) entry(uid, caller string) *hold {
	k := holdKey{uid, caller}
	e := h.m[k]
	if e != nil || len(h.m) >= holdMax {
		return e
	}
	if h.m == nil {
		h.m = make(map[holdKey]*hold)
	}
	e = &hold{}
	h.m[k] = e
	return e
}

// read notes that the caller read the job's log.
func (h *Holds) read(uid, caller string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if e := h.entry(uid, caller); e != nil {
		e.readLog = true
	}
}

// Forget drops who looked at something that has come to its end.
func (h *Holds) Forget(uid string) {
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
func (e *Engine) LogRead(accessKeyID string, s logs.Stream) {
	name, _, ok := strings.Cut(s.Name, "/")
	if !ok || s.Group != e.Group() {
		return
	}
	k := resource.Key{Account: s.Account, Region: s.Region, Kind: e.Kind(), Name: name}
	e.mu.Lock()
	var uid string
	for id, job := range e.jobs {
		if job == k {
			uid = id
			break
		}
	}
	e.mu.Unlock()
	if uid != "" {
		e.holds.read(uid, accessKeyID)
	}
}

// sdk is what asks, as far as it matters here.
type sdk int

const (
	sdkNone sdk = iota
	sdkV2
	sdkV3 // its resource classes; its sessions speak as version 2 does
)

func sdkOf(userAgent string) sdk {
	switch {
	case strings.Contains(userAgent, "AWS-SageMakerCore"):
		return sdkV3
	case strings.Contains(userAgent, "AWS-SageMaker-Python-SDK"):
		return sdkV2
	}
	return sdkNone
}

// Await is Get for a Describe: an SDK's look at an unfinished job is held, and
// shows the record as it is afterwards.
func (e *Engine) Await(ctx context.Context, c op.Call, name string) (*resource.Record, error) {
	get := func(ctx context.Context) (*resource.Record, error) { return e.Get(ctx, c, name) }
	return e.holds.Await(ctx, c, e.Store, get, Terminal)
}

// Await gives what get does, after a while if it is an SDK that looks and the
// record is not over: as soon as that is over then, or gone.
func (h *Holds) Await(ctx context.Context, c op.Call, s store.Store, get func(context.Context) (*resource.Record, error), over func(phase string) bool) (*resource.Record, error) {
	r, err := get(ctx)
	if err != nil {
		return nil, err
	}
	asks := sdkOf(c.UserAgent)
	if over(r.Phase) || asks == sdkNone {
		return r, nil
	}
	d := h.look(asks, r.UID, c.Principal.AccessKeyID)
	if d <= 0 {
		return r, nil
	}
	waits, leave := op.Waiting(ctx)
	defer leave()
	held, cancel := context.WithTimeout(waits, d)
	defer cancel()
	changed := s.Watch(held, r.Kind)
	for {
		last, err := get(context.WithoutCancel(ctx))
		if err != nil || over(last.Phase) {
			return last, err
		}
		for k, open := <-changed; k != r.Key; k, open = <-changed {
			if !open {
				return last, nil
			}
		}
	}
}
