package sim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"clary/internal/compute"
	"clary/internal/logs"
	"clary/internal/resource"
	"clary/internal/serving"
	"clary/internal/store"
)

const (
	pingPatience = 2 * time.Second // for an answer
	pingStrikes  = 3               // times without one
	drained      = time.Minute     // for requests in flight
)

// siteTurn is a change of an endpoint's record that was committed.
type siteTurn struct {
	name, from, to string
	was, is        serving.Endpoint
	found          error
}

// siteTurn sees that an endpoint's status goes as on AWS, and keeps what its
// traffic was and is.
func (x lawfulTx) siteTurn(old, r *resource.Record) {
	t := siteTurn{name: r.Name, to: r.Phase}
	if old != nil {
		t.from = old.Phase
		t.was, t.found = serving.Of(old)
	}
	if t.found == nil {
		t.is, t.found = serving.Of(r)
	}
	lawful := map[string][]string{
		"": {"Creating"}, "Creating": {"InService", "Failed", "Deleting"}, "InService": {"Updating", "Deleting"},
		"Updating": {"InService", "RollingBack", "Deleting"}, "RollingBack": {"InService", "Deleting"}, "Failed": {"Deleting"},
	}
	if t.from != r.Phase && !slices.Contains(lawful[t.from], r.Phase) {
		x.seen.broken = append(x.seen.broken, fmt.Sprintf("%s went from %q to %s", r.Name, t.from, r.Phase))
	}
	x.seen.sites = append(x.seen.sites, t)
}

// served are the tasks that take traffic.
func served(e serving.Endpoint) (out []compute.TaskID) {
	for _, v := range e.Variants {
		for _, i := range v.Instances {
			out = append(out, i.Tasks...)
		}
	}
	return out
}

// directed judges what was committed of endpoints' traffic.
func (s *sim) directed(turns []siteTurn) {
	for _, t := range turns {
		if t.found != nil {
			s.fail("%s: %v", t.name, t.found)
			continue
		}
		w, was, is := s.sites[t.name], served(t.was), served(t.is)
		for _, id := range is {
			if slices.Contains(was, id) {
				continue
			}
			// It was seen to run, and then asked, which may have taken a while.
			st, err := s.world.Driver().Status(context.Background(), id)
			s.mu.Lock()
			var answered time.Time
			if k := w.tasks[id]; k != nil {
				answered = k.answered
			}
			s.mu.Unlock()
			if err != nil || answered.IsZero() || st.Phase != compute.Running && time.Since(endOf(&st)) > pingPatience && st.Phase == compute.Ended {
				s.fail("%s gives traffic to %s, which answered at %s and is %+v, %v", t.name, id, answered, st, err)
			}
		}
		if t.from == "Creating" && t.to == "InService" && len(is) == 0 {
			s.fail("%s is in service, and nothing serves", t.name)
		}
		fresh := len(is) > 0 && len(was) > 0 && !slices.ContainsFunc(is, func(id compute.TaskID) bool { return slices.Contains(was, id) })
		for _, id := range was {
			if slices.Contains(is, id) {
				continue
			}
			s.left(w, id, t, fresh)
		}
	}
}

// left notes that a task has no traffic any more, and sees that there is a
// reason for it.
func (s *sim) left(w *site, id compute.TaskID, t siteTurn, fresh bool) {
	s.mu.Lock()
	k := w.tasks[id]
	if k == nil {
		k = &siteTask{} // it never began, which was told
	}
	k.left = time.Now()
	k.busy = k.left.Add(time.Duration(s.rng.IntN(90)-30) * time.Second)
	refused := k.refused
	s.mu.Unlock()
	st, err := s.world.Driver().Status(context.Background(), id)
	dead := err != nil || st.Phase != compute.Running
	// A change of the count, a new deployment, the end of all: or it is ill.
	if !dead && refused < pingStrikes && t.to != "Deleting" && t.from == "InService" && !fresh && w.containers == 1 {
		s.fail("%s (%s) takes the traffic from %s, which is %s and answered at %s", t.name, t.to, id, st.Phase, k.answered)
	}
}

// halted sees that no task is stopped that has traffic, or requests in flight.
func (s *sim) halted(l *life, id compute.TaskID) {
	w := s.siteOf(id)
	if w == nil {
		return
	}
	rec, err := l.store.Get(context.Background(), w.key())
	if err != nil {
		s.fail("%s: its task %s is stopped after its record: %v", w.name, id, err)
		return
	}
	e, err := serving.Of(rec)
	if err != nil || slices.Contains(served(e), id) {
		s.fail("%s: task %s is stopped and takes traffic, %v", w.name, id, err)
	}
	st, err := s.world.Driver().Status(context.Background(), id)
	if err != nil || st.Phase != compute.Running || rec.Phase == "Deleting" || rec.Phase == "Failed" {
		return
	}
	s.mu.Lock()
	k := *w.tasks[id]
	s.mu.Unlock()
	if now := time.Now(); w.containers == 1 && now.Before(k.busy) && now.Sub(k.left) < drained && k.refused < pingStrikes {
		s.fail("%s: task %s is stopped with a request in flight, %s after it left", w.name, id, now.Sub(k.left))
	}
}

// removed keeps the last word of a task that is about to be forgotten.
func (w *site) removed(s *sim, id compute.TaskID, st compute.TaskStatus) {
	if st.Phase != compute.Ended && st.Phase != compute.Lost {
		s.fail("%s: its task %s was removed while it was %s", w.name, id, st.Phase)
	}
	s.mu.Lock()
	w.tasks[id].final = &st
	s.mu.Unlock()
}

// judgeSites compares the endpoints' end with the truth.
func (s *sim) judgeSites(ctx context.Context, l *life, bills map[string][]resource.Usage) {
	for _, w := range s.sites {
		for id, k := range w.tasks {
			switch n := s.world.Starts(id); {
			case n > 1:
				s.fail("%s: task %s ran %d times", w.name, id, n)
			case n == 1 && k.final == nil:
				s.fail("%s: nobody saw the end of task %s", w.name, id)
			}
		}
		if _, err := l.store.Get(ctx, w.key()); !errors.Is(err, store.ErrNotFound) {
			s.fail("%s was deleted, then: %v", w.name, err)
		}
		s.judgeHosting(w, bills[w.name])
		s.judgeStreams(ctx, l, w)
	}
}

// judgeHosting sees that each second of each instance, from the start of its
// first container to the end of its last one, is billed once.
func (s *sim) judgeHosting(w *site, bill []resource.Usage) {
	groups := map[int][]*compute.TaskStatus{}
	for id, k := range w.tasks {
		if f := k.final; f != nil && !f.Started.IsZero() {
			n := (nth(id) - 1) / w.containers
			groups[n] = append(groups[n], f)
		}
	}
	var least, most, got time.Duration
	for _, g := range groups {
		first := slices.MinFunc(g, func(a, b *compute.TaskStatus) int { return a.Started.Compare(b.Started) })
		end := first.Started
		var slept, since time.Duration
		for _, f := range g {
			if e := endOf(f); e.After(end) {
				end = e
			}
			slept = max(slept, f.Suspended)
			since = max(since, f.Suspended-f.Started.Sub(f.Created))
		}
		// A supervisor counts sleep from before its container began, which may be
		// all of the time until then.
		least += max(end.Sub(first.Started)-slept, 0)
		most += max(s.awake(first.Started, end), end.Sub(first.Started)-since)
	}
	for _, u := range bill {
		if u.End.IsZero() || u.End.Before(u.Start) || u.Quantity != 1 || u.InstanceType != "ml.m5.large" || u.Component != "hosting" {
			s.fail("%s: interval %+v", w.name, u)
			continue
		}
		got += u.End.Sub(u.Start)
	}
	if got < least || got > most || len(bill) < len(groups) {
		s.fail("%s: billed %s in %d intervals, want %s to %s of %d instances: %s", w.name, got, len(bill), least, most, len(groups), spans(bill))
	}
}

// judgeStreams sees that each line of each task is in the log once.
func (s *sim) judgeStreams(ctx context.Context, l *life, w *site) {
	group := "/aws/sagemaker/Endpoints/" + w.name
	got, want := 0, 0
	for after := ""; ; {
		streams, err := l.logs.Streams(ctx, account, region, group, "", after, false, false, 50)
		if err != nil && !errors.Is(err, logs.ErrNoGroup) {
			s.fail("%s: log streams: %v", w.name, err)
			return
		}
		for _, st := range streams {
			after = st.Name
			events, err := l.logs.Events(ctx, logs.Stream{Account: account, Region: region, Group: group, Name: st.Name}, logs.Read{FromHead: true, From: -1, Max: 10000, MaxBytes: 1 << 20})
			if err != nil {
				s.fail("%s: log events: %v", w.name, err)
				return
			}
			last := -1
			for _, e := range events {
				var n int
				if _, err := fmt.Sscanf(e.Message, "line %d of", &n); err != nil || !strings.HasPrefix(e.Message, "line ") {
					continue
				}
				if got++; n != last+1 {
					s.fail("%s: stream %s has line %d after line %d", w.name, st.Name, n, last)
				}
				last = n
			}
		}
		if len(streams) < 50 {
			break
		}
	}
	for id, k := range w.tasks {
		if k.final == nil {
			continue
		}
		size := int64(0)
		for _, line := range w.runs[(nth(id)-1)%len(w.runs)].Output {
			if size += int64(len(fmt.Sprintf("%d %s\n", k.final.Created.UnixMilli(), line))); size > k.final.Spooled {
				break
			}
			want++
		}
	}
	if got != want {
		s.fail("%s: the log has %d lines, want %d", w.name, got, want)
	}
}
