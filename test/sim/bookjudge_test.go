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
	"clary/internal/stage/agent"
	"clary/internal/store"
)

// judgeBooks compares the notebooks' end with the truth.
func (s *sim) judgeBooks(ctx context.Context, l *life, bills map[string][]resource.Usage) {
	s.judgeRecords(ctx, l)
	volumes, err := s.world.Driver().ListVolumes(ctx)
	if err != nil {
		s.fail("volumes: %v", err)
	}
	for _, b := range s.books {
		uid, started := "", false
		for id := range b.tasks {
			uid, _, _ = strings.Cut(string(id), "-")
			switch n := s.world.Starts(id); {
			case n > 1:
				s.fail("%s: task %s ran %d times", b.name, id, n)
			case n == 1 && b.tasks[id].final == nil:
				s.fail("%s: nobody saw the end of task %s", b.name, id)
			case n == 1:
				started = true
			}
		}
		kept := slices.Contains(volumes, compute.VolumeID(uid))
		if kept && b.deleted.Load() {
			s.fail("%s is deleted, and its volume is there", b.name)
		}
		if started && !kept && !b.deleted.Load() {
			s.fail("the volume of %s is lost", b.name)
		}
		volumes = slices.DeleteFunc(volumes, func(v compute.VolumeID) bool { return string(v) == uid })
		rec, err := l.store.Get(ctx, b.key())
		switch {
		case b.deleted.Load() && !errors.Is(err, store.ErrNotFound):
			s.fail("%s was deleted, then: %v", b.name, err)
		case !b.deleted.Load() && err != nil:
			s.fail("%s: %v", b.name, err)
		case err == nil && (rec.Attempts != 0 || rec.LastError != ""):
			s.fail("%s is not at rest: attempts %d, %q", b.name, rec.Attempts, rec.LastError)
		}
		s.judgeCompute(b, bills[b.name])
		s.judgeVolume(b, bills[b.name])
		s.judgeLines(ctx, l, b)
	}
	// A volume may have been made of a notebook that never had a task.
	for _, v := range volumes {
		if !slices.ContainsFunc(s.alive(ctx, l), func(r *resource.Record) bool { return r.UID == string(v) }) {
			s.fail("volume %s is of nobody", v)
		}
	}
}

func (s *sim) alive(ctx context.Context, l *life) (out []*resource.Record) {
	for _, b := range s.books {
		if r, err := l.store.Get(ctx, b.key()); err == nil {
			out = append(out, r)
		}
	}
	return out
}

// restart is how long a crashed JupyterLab may take to answer again and still
// be billed.
const restart = time.Minute

// judgeCompute sees that each second in service is billed, and no other: from
// the answer of a JupyterLab to the accepted stop, or to its end when it was
// not soon started again.
func (s *sim) judgeCompute(b *book, bill []resource.Usage) {
	var least, most, got time.Duration
	readies := 0
	for i, t := range b.turns {
		if t.to != "InService" || t.from == "InService" {
			continue
		}
		end := slices.IndexFunc(b.turns[i+1:], func(u turn) bool { return u.to != "InService" })
		if end < 0 {
			s.fail("%s stays in service", b.name)
			return
		}
		lo, hi, n := s.stint(b, t.at, b.turns[i+1+end])
		least, most, readies = least+lo, most+hi, readies+n
	}
	var last time.Time
	for _, u := range sorted(bill, "notebook") {
		if u.End.IsZero() || u.End.Before(u.Start) || u.Start.Before(last) || u.Quantity != 1 || u.InstanceType != "ml.t3.medium" {
			s.fail("%s: interval %s from %s to %s after one to %s", b.name, u.ID, u.Start, u.End, last)
		}
		last = u.End
		got += u.End.Sub(u.Start)
	}
	slack := time.Millisecond
	if len(s.naps) > 0 {
		// What slept is known as of the last heartbeat.
		slack += time.Duration(readies) * 30 * time.Second
	}
	if got < least-slack || got > most+slack {
		s.fail("%s: billed %s, want %s to %s: %s; %s", b.name, got, least, most, spans(sorted(bill, "notebook")), b.story())
	}
}

// stint is what a stretch of time in service costs, at least and at most.
func (s *sim) stint(b *book, from time.Time, out turn) (least, most time.Duration, readies int) {
	var total time.Duration
	begin := from
	var over time.Time // when the program ended that answered last; zero: it did not
	for _, id := range b.order {
		k := b.tasks[id]
		if k.ready.IsZero() || k.ready.Before(from) || k.ready.After(out.at) {
			continue
		}
		readies++
		if !over.IsZero() && s.awake(over, k.ready) > restart {
			total += s.awake(begin, over)
			begin = k.ready
		}
		if over = (time.Time{}); k.final != nil {
			if e := endOf(k.final); !e.After(out.at) && (out.to != "Stopping" || !stoppedBy(k.final)) {
				over = e
				if over.Before(begin) { // its last sign of life is older than its answer
					over = begin
				}
			}
		}
	}
	stopped := total + s.awake(begin, out.at)
	switch {
	case over.IsZero():
		return stopped, stopped, readies
	case out.to == "Stopping" && s.awake(over, out.at) <= restart:
		return total + s.awake(begin, over), stopped, readies
	}
	ended := total + s.awake(begin, over)
	return ended, ended, readies
}

// stoppedBy says whether a task ended because somebody wanted it to.
func stoppedBy(t *compute.TaskStatus) bool {
	return t.Exit != nil && t.Exit.Reason == compute.ReasonStopped
}

func endOf(t *compute.TaskStatus) time.Time {
	if t.Phase == compute.Ended {
		return t.Exit.At
	}
	return t.Heartbeat
}

// story tells what happened to a book.
func (b *book) story() string {
	var out []string
	for _, t := range b.turns {
		if t.from != t.to {
			out = append(out, fmt.Sprintf("%s at %s", t.to, t.at.Format("15:04:05.000")))
		}
	}
	for _, id := range b.order {
		k := b.tasks[id]
		text := fmt.Sprintf("task %s", id[len(id)-2:])
		if !k.ready.IsZero() {
			text += " answered " + k.ready.Format("15:04:05.000")
		}
		if k.final != nil {
			text += fmt.Sprintf(" %s at %s", k.final.Phase, endOf(k.final).Format("15:04:05.000"))
		}
		out = append(out, text)
	}
	return strings.Join(out, ", ")
}

func sorted(bill []resource.Usage, component string) (out []resource.Usage) {
	for _, u := range bill {
		if u.Component == component {
			out = append(out, u)
		}
	}
	slices.SortFunc(out, func(a, b resource.Usage) int { return a.Start.Compare(b.Start) })
	return out
}

// judgeVolume sees that the volume is billed from the notebook's creation to
// its deletion without a gap, each size of its own.
func (s *sim) judgeVolume(b *book, bill []resource.Usage) {
	us := sorted(bill, "notebook-volume")
	if len(us) == 0 || len(b.turns) == 0 {
		s.fail("%s has no volume that is billed", b.name)
		return
	}
	at, size := b.turns[0].at, int64(0)
	for _, u := range us {
		if !u.Start.Equal(at) || u.Quantity <= size || u.Unit != "gb-second" {
			s.fail("%s: its volume has %d GB from %s, after %d GB until %s", b.name, u.Quantity, u.Start, size, at)
		}
		at, size = u.End, u.Quantity
	}
	i := slices.IndexFunc(b.turns, func(t turn) bool { return t.to == "Deleting" })
	switch {
	case i < 0 && !at.IsZero():
		s.fail("%s: its volume is not billed from %s on", b.name, at)
	case i >= 0 && !at.Equal(b.turns[i].at):
		s.fail("%s: its volume is billed to %s, and was deleted at %s", b.name, at, b.turns[i].at)
	}
}

// judgeLines sees that each line of each task is in its log once.
func (s *sim) judgeLines(ctx context.Context, l *life, b *book) {
	got := map[string]int{}
	for name, mark := range map[string]string{
		"jupyter.log": "", agent.StreamOnCreate: agent.Mark + agent.StreamOnCreate + agent.Mark, agent.StreamOnStart: agent.Mark + agent.StreamOnStart + agent.Mark,
	} {
		events, err := l.logs.Events(ctx, logs.Stream{Account: account, Region: region, Group: "/aws/sagemaker/NotebookInstances", Name: b.name + "/" + name},
			logs.Read{FromHead: true, From: -1, Max: 10000, MaxBytes: 1 << 20})
		if err != nil && !errors.Is(err, logs.ErrNoGroup) && !errors.Is(err, logs.ErrNoStream) {
			s.fail("%s: log events: %v", b.name, err)
			return
		}
		for _, e := range events {
			if strings.HasPrefix(e.Message, "line ") {
				got[mark+e.Message]++
			}
		}
	}
	want := map[string]int{}
	for id, k := range b.tasks {
		if k.final == nil {
			continue
		}
		size := int64(0)
		for _, line := range b.output(id) {
			if size += int64(len(fmt.Sprintf("%d %s\n", k.final.Created.UnixMilli(), line))); size > k.final.Spooled {
				break
			}
			want[line]++
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		s.fail("%s: the log has %v, want %v", b.name, got, want)
	}
}
