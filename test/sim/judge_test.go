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
	"clary/internal/metrics"
	"clary/internal/resource"
	"clary/internal/stage/plan"
	"clary/internal/store"
)

// acknowledged sees that what was answered before a server died is there.
func (s *sim) acknowledged(l *life) {
	for _, j := range s.plans {
		if !j.created.Load() || j.deleted.Load() || j.erase {
			continue
		}
		if _, err := l.store.Get(context.Background(), j.key()); err != nil {
			s.fail("%s was created and answered, then: %v", j.name, err)
		}
	}
	for _, b := range s.books {
		if !b.created.Load() || b.erasing.Load() {
			continue
		}
		if _, err := l.store.Get(context.Background(), b.key()); err != nil && !b.erasing.Load() { // by now
			s.fail("%s was created and answered, then: %v", b.name, err)
		}
	}
}

// judge compares the end with the truth.
func (s *sim) judge(l *life) {
	ctx := context.Background()
	usage, err := l.store.ListUsage(ctx, resource.UsageQuery{})
	if err != nil {
		s.fail("usage: %v", err)
		return
	}
	bills := make(map[string][]resource.Usage)
	for _, u := range usage {
		bills[u.Name] = append(bills[u.Name], u)
	}
	for name := range bills {
		if s.plans[name] == nil && s.books[name] == nil {
			s.fail("usage of %s, which nobody created", name)
		}
	}
	ids, err := s.world.Driver().List(ctx)
	if err != nil || len(ids) != 0 {
		s.fail("tasks stay behind: %v %v", ids, err)
	}
	starts := make(map[string]int)
	s.mu.Lock()
	for id, j := range s.names {
		starts[j.name] += s.world.Starts(id)
	}
	s.mu.Unlock()
	for _, j := range s.plans {
		s.judgeJob(ctx, l, j, starts[j.name], bills[j.name])
	}
	s.judgeBooks(ctx, l, bills)
}

func (s *sim) judgeJob(ctx context.Context, l *life, j *job, starts int, bill []resource.Usage) {
	if starts > 1 {
		s.fail("%s ran %d times", j.name, starts)
	}
	j.mu.Lock()
	final := j.final
	j.mu.Unlock()
	if (starts == 1) != (final != nil) {
		s.fail("%s was started %d times; its end was seen: %t", j.name, starts, final != nil)
		return
	}
	s.judgeBill(j, final, bill)
	rec, err := l.store.Get(ctx, j.key())
	switch {
	case j.deleted.Load():
		if !errors.Is(err, store.ErrNotFound) {
			s.fail("%s was deleted, then: %v", j.name, err)
		}
	case err != nil:
		s.fail("%s: %v", j.name, err)
	default:
		s.judgePhase(j, final, rec)
		if final != nil {
			s.judgeOutput(ctx, l, j, rec, final)
		}
	}
}

// judgePhase sees that the job ended as its task did.
func (s *sim) judgePhase(j *job, final *compute.TaskStatus, rec *resource.Record) {
	want := "Completed"
	switch {
	case final == nil:
		want = "Stopped" // before it began
		if !j.stopped.Load() {
			s.fail("%s never ran and is %s", j.name, rec.Phase)
		}
	case final.Phase == compute.Lost:
		want = "Failed"
	case final.Exit.Reason == compute.ReasonStopped, final.Exit.Reason == compute.ReasonMaxRuntime:
		want = "Stopped"
	case final.Exit.Reason == compute.ReasonMemory, final.Exit.Result.ExitCode != 0:
		want = "Failed"
	}
	if rec.Phase != want {
		s.fail("%s is %s, want %s: %+v", j.name, rec.Phase, want, final)
	}
	if rec.Attempts != 0 || rec.LastError != "" || !rec.Due.IsZero() {
		s.fail("%s is not at rest: due %s, attempts %d, %q", j.name, rec.Due, rec.Attempts, rec.LastError)
	}
	if final != nil && final.Phase != compute.Lost && final.Exit.Reason == compute.ReasonStopped && !j.stopped.Load() {
		s.fail("%s was stopped, and nobody asked for it", j.name)
	}
}

// judgeBill sees that each second that the supervisor told of is billed once.
func (s *sim) judgeBill(j *job, final *compute.TaskStatus, bill []resource.Usage) {
	var start time.Time
	if final != nil {
		for _, st := range final.Steps {
			if st.Name == plan.StepDownloading {
				start = st.At
			}
		}
	}
	if start.IsZero() {
		if len(bill) != 0 {
			s.fail("%s did nothing and is billed: %+v", j.name, bill)
		}
		return
	}
	end := final.Heartbeat
	if final.Phase == compute.Ended {
		end = final.Exit.At
	}
	if end.Before(start) {
		end = start
	}
	if end = end.Add(-final.Suspended); end.Before(start) {
		end = start
	}
	// Sleep is kept in seconds, as a fraction.
	if len(bill) != 1 || !bill[0].Start.Equal(start) || bill[0].End.Sub(end).Abs() > time.Microsecond || bill[0].Quantity != 1 || bill[0].InstanceType != "ml.m5.large" {
		s.fail("%s: billed %s, want from %s to %s; slept %s", j.name, spans(bill), start, end, final.Suspended)
	}
}

func spans(us []resource.Usage) string {
	var out []string
	for _, u := range us {
		out = append(out, fmt.Sprintf("%s from %s to %s", u.ID, u.Start, u.End))
	}
	return fmt.Sprint(out)
}

// judgeOutput sees that each line is in the log once, in order, and each
// metric in it counted once.
func (s *sim) judgeOutput(ctx context.Context, l *life, j *job, rec *resource.Record, final *compute.TaskStatus) {
	streams, err := l.logs.Streams(ctx, account, region, namespace, j.name+"/", "", false, false, 10)
	if err != nil && !errors.Is(err, logs.ErrNoGroup) {
		s.fail("%s: log streams: %v", j.name, err)
		return
	}
	var got []string
	for _, st := range streams {
		events, err := l.logs.Events(ctx, logs.Stream{Account: account, Region: region, Group: namespace, Name: st.Name},
			logs.Read{FromHead: true, From: -1, Max: 10000, MaxBytes: 1 << 20})
		if err != nil {
			s.fail("%s: log events: %v", j.name, err)
			return
		}
		for _, e := range events {
			if strings.HasPrefix(e.Message, "line ") {
				got = append(got, e.Message)
			} else if slices.Contains(got, e.Message) {
				s.fail("%s: a note of ours is there twice: %q", j.name, e.Message)
			}
		}
	}
	// A task that ended early printed some of its lines.
	var want []string
	for size := int64(0); len(want) < len(j.script.Output); {
		line := j.script.Output[len(want)]
		size += int64(len(fmt.Sprintf("%d %s\n", rec.Created.UnixMilli(), line)))
		if size > final.Spooled {
			break
		}
		want = append(want, line)
	}
	if !slices.Equal(got, want) {
		s.fail("%s: the log has %d lines %q, want %d", j.name, len(got), got, len(want))
	}
	points, err := l.metrics.Points(ctx, metrics.Query{
		Account: account, Region: region, Namespace: namespace, Name: "loss", Dimensions: map[string]string{"TrainingJobName": j.name},
		Start: rec.Created.Add(-24 * time.Hour), End: rec.Created.Add(patience), Period: time.Minute,
	})
	if err != nil {
		s.fail("%s: metrics: %v", j.name, err)
	}
	var n, sum float64
	for _, p := range points {
		n, sum = n+p.Count, sum+p.Sum
	}
	if k := float64(len(want)); n != k || sum != k*(k-1)/2 {
		s.fail("%s: %v values of the metric with sum %v, want %v", j.name, n, sum, k)
	}
}
