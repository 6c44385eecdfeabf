package sim

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"time"

	"clary/internal/audit"
	"clary/internal/aws/op"
	"clary/internal/resource"
	"clary/internal/stage/agent"
)

const (
	// idleStop is how long nobody may use a notebook before it is stopped.
	idleStop = 20 * time.Minute
	// idleNotice is how long before that whoever has it open is told.
	idleNotice = 5 * time.Minute
	// idleLate is by how much more it may take while a server lives whose disk
	// takes what it writes.
	idleLate = 8 * time.Minute
)

// use is how a book is used, and what it was told of that; the world's mutex
// guards it but for spans.
type use struct {
	spans         []span // in which a kernel of its is busy
	warned, saved time.Time
	stops         int // by the idle policy, as committed
}

func newUse(rng *rand.Rand) (u use) {
	at := time.Now()
	for range rng.IntN(6) {
		at = at.Add(time.Duration(rng.Int64N(int64(90 * time.Minute))))
		until := at.Add(time.Duration(rng.Int64N(int64(time.Hour))))
		u.spans = append(u.spans, span{at, until})
		at = until
	}
	return u
}

// last is when a book was last used, and whether it is now.
func (u *use) last(now time.Time) (at time.Time, busy bool) {
	for _, s := range u.spans {
		switch {
		case now.Before(s.from):
		case now.Before(s.to):
			return now, true
		default:
			at = s.to
		}
	}
	return at, false
}

// sample is what the first process of a book's task that began at a moment
// tells.
func (s *sim) sample(b *book, began time.Time) agent.Sample {
	now := time.Now()
	k := agent.Kernel{ID: "k", Name: "conda_python3", Document: "work.ipynb", State: "idle", Last: began}
	at, busy := b.use.last(now)
	if busy {
		k.State = "busy"
	}
	if at.After(began) {
		// By its distance from now, of time that the machine was awake.
		k.Last = now.Add(-s.awake(at, now))
	}
	return agent.Sample{At: now, Up: s.awake(began, now) + time.Hour, Booted: now.Add(-s.awake(began, now)), Kernels: []agent.Kernel{k}, Tabs: 1}
}

// posted notes what a book's task was told.
func (s *sim) posted(b *book, path string, body []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch path {
	case "/warn":
		var w agent.Warning
		if err := json.Unmarshal(body, &w); err != nil {
			s.t.Errorf("%s is warned %s: %v", b.name, body, err)
		}
		if b.use.warned = time.Now(); w.StopAt.IsZero() {
			b.use.warned = time.Time{}
		}
	case "/save":
		b.use.saved = time.Now()
	}
}

type policyKey struct{}

// record records what the idle policy does, as a server does.
func (l *life) record(db audit.Store) func(context.Context, op.Call, any, string) (context.Context, func(error) error) {
	r := &audit.Recorder{Store: db, Log: slog.New(slog.DiscardHandler)}
	return func(ctx context.Context, c op.Call, in any, arn string) (context.Context, func(error) error) {
		ctx, end := r.Begin(ctx, c, nil, in, arn)
		return context.WithValue(ctx, policyKey{}, true), end
	}
}

// judgeStop sees that nobody was stopped who used it, and everybody else in
// time, after a warning.
func (s *sim) judgeStop(b *book, at time.Time) {
	s.mu.Lock()
	u, id := &b.use, b.order[len(b.order)-1]
	u.stops++
	warned, saved, since := u.warned, u.saved, b.tasks[id].ready
	s.mu.Unlock()
	last, busy := u.last(at)
	if last.Before(since) {
		last = since
	}
	switch idle := s.awake(last, at); {
	case busy || idle < idleStop-time.Second:
		s.fail("%s is stopped at %s, %s after it was used", b.name, at.Format(time.TimeOnly), idle)
	case s.served(last, at) > idleStop+idleNotice+idleLate:
		s.fail("%s is stopped %s after it was used, of which servers lived %s", b.name, idle, s.served(last, at))
	}
	if warned.IsZero() || s.awake(warned, at) < idleNotice-time.Second || !saved.Equal(at) {
		s.fail("%s is stopped at %s, warned at %s, saved at %s", b.name, at.Format(time.TimeOnly), warned.Format(time.TimeOnly), saved.Format(time.TimeOnly))
	}
}

// served is for how much of a stretch of time a server lived whose disk was not
// full, on a machine that was awake.
func (s *sim) served(from, to time.Time) (d time.Duration) {
	s.mu.Lock()
	out := append(append(append([]span(nil), s.downs...), s.fulls...), s.naps...)
	s.mu.Unlock()
	for at := from; at.Before(to); at = at.Add(time.Second) {
		up := true
		for _, x := range out {
			up = up && (at.Before(x.from) || !at.Before(x.to))
		}
		if up {
			d += time.Second
		}
	}
	return d
}

// judgeRecords sees that each stop of the policy is on record once.
func (s *sim) judgeRecords(ctx context.Context, l *life) {
	got, want := map[string]int{}, map[string]int{}
	for token := ""; ; {
		events, next, err := l.store.ListEvents(ctx, resource.EventQuery{Account: account, Region: region, Token: token, Limit: 1000})
		if err != nil {
			s.fail("events: %v", err)
			return
		}
		for _, e := range events {
			if e.Name == "StopNotebookInstance" && strings.Contains(string(e.Text), `"AWSService"`) {
				got[e.ResourceName]++
			}
		}
		if token = next; token == "" {
			break
		}
	}
	for _, b := range s.books {
		if b.use.stops > 0 {
			want[b.name] = b.use.stops
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		s.fail("stops on record are %v, want %v", got, want)
	}
}
