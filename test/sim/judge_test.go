package sim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"clary/internal/compute"
	"clary/internal/compute/fake"
	"clary/internal/feature/training"
	"clary/internal/feature/transform"
	engine "clary/internal/job"
	"clary/internal/logs"
	"clary/internal/meter"
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
	for _, w := range s.sites {
		if !w.created.Load() || w.erasing.Load() {
			continue
		}
		if _, err := l.store.Get(context.Background(), w.key()); err != nil && !w.erasing.Load() { // by now
			s.fail("%s was created and answered, then: %v", w.name, err)
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
		if s.plans[name] == nil && s.books[name] == nil && s.sites[name] == nil {
			s.fail("usage of %s, which nobody created", name)
		}
	}
	ids, err := s.world.Driver().List(ctx)
	if err != nil || len(ids) != 0 {
		s.fail("tasks stay behind: %v %v", ids, err)
	}
	starts := make(map[string]map[int]int)
	s.mu.Lock()
	for id, j := range s.names {
		if starts[j.name] == nil {
			starts[j.name] = make(map[int]int)
		}
		starts[j.name][hostOf(id)] = s.world.Starts(id)
	}
	s.mu.Unlock()
	for _, j := range s.plans {
		s.judgeJob(ctx, l, j, starts[j.name], bills[j.name])
	}
	s.judgeBooks(ctx, l, bills)
	s.judgeSites(ctx, l, bills)
	s.judgeMoney(ctx, l)
}

// judgeMoney reckons the ledger once more: whatever was done to the servers that
// wrote it, the bill and the running sums are what it says, and nothing is left
// open.
func (s *sim) judgeMoney(ctx context.Context, l *life) {
	prices, err := meter.ListPrices()
	if err != nil {
		s.fail("prices: %v", err)
		return
	}
	books := []meter.Book{meter.MinuteBook(prices), meter.AWSBook(prices)}
	p, err := meter.Verify(ctx, l.store, books, account, time.Now(), meter.NewSums(l.store, books).Witness())
	if err != nil {
		s.fail("the ledger: %v", err)
	}
	for _, c := range p.Checks {
		// Simulated clocks are set back, so what follows may overlap what was.
		if !c.OK && !strings.Contains(c.Name, "clock was set back") {
			s.fail("it does not hold that %s: %s", c.Name, strings.Join(c.Found, "; "))
		}
	}
}

func (s *sim) judgeJob(ctx context.Context, l *life, j *job, starts map[int]int, bill []resource.Usage) {
	j.mu.Lock()
	finals := make([]*compute.TaskStatus, 0, len(j.scripts))
	for host := range j.scripts {
		ran := 0
		if final := j.finals[host]; final != nil {
			finals, ran = append(finals, final), 1
		}
		if n := starts[host]; n != ran+j.gaveUp[host] {
			s.fail("%s: host %d was started %d times and given up %d times; its end was seen: %d", j.name, host, n, j.gaveUp[host], ran)
		}
	}
	j.mu.Unlock()
	if n := len(finals); n > 0 && n < len(j.scripts) {
		s.fail("%s: the end of %d of %d hosts was seen", j.name, n, len(j.scripts))
		return
	}
	s.judgeBill(j, finals, bill)
	rec, err := l.store.Get(ctx, j.key())
	switch {
	case j.deleted.Load():
		if !errors.Is(err, store.ErrNotFound) {
			s.fail("%s was deleted, then: %v", j.name, err)
		}
	case err != nil:
		s.fail("%s: %v", j.name, err)
	default:
		st, err := engine.ReadStatus(rec)
		if err != nil {
			s.fail("%v", err)
			return
		}
		s.judgePhase(j, finals, rec, st)
		if len(finals) > 0 {
			s.judgeOutput(ctx, l, j, rec, finals)
		}
	}
}

// judgePhase sees that the job ended as its tasks did.
func (s *sim) judgePhase(j *job, finals []*compute.TaskStatus, rec *resource.Record, st engine.Status) {
	if rec.Attempts != 0 || rec.LastError != "" || !rec.Due.IsZero() {
		s.fail("%s is not at rest: due %s, attempts %d, %q", j.name, rec.Due, rec.Attempts, rec.LastError)
	}
	if st.StopAsked != nil && !j.stopped.Load() {
		s.fail("%s was stopped, and nobody asked for it", j.name)
	}
	if len(finals) == 0 {
		if rec.Phase != "Stopped" || !j.stopped.Load() { // before it began
			s.fail("%s never ran and is %s", j.name, rec.Phase)
		}
		return
	}
	if want := j.phases(finals, st); !slices.Contains(want, rec.Phase) {
		s.fail("%s is %s, want %q, stop asked %v, stopped for a task %v, %d: %s", j.name, rec.Phase, want, st.StopAsked, st.Broken, st.Cause, words(finals))
	}
}

// phases are those to which the job may have come whose tasks ended so; none if
// they cannot have. What came first, that its owner asked for its end or that a
// task went for which the others were stopped, is what was first on record.
func (j *job) phases(finals []*compute.TaskStatus, st engine.Status) []string {
	done := func(f *compute.TaskStatus) bool {
		return f.Phase != compute.Lost && f.Exit.Reason == compute.ReasonExited && f.Exit.Result.ExitCode == 0
	}
	if !slices.ContainsFunc(finals[:j.hosts], func(f *compute.TaskStatus) bool { return !done(f) }) {
		return []string{"Completed"} // whatever became of who served them
	}
	var fault, broke, stopped, late bool
	for task, f := range finals {
		switch {
		case task >= j.hosts && done(finals[j.leader(task)]) && (!st.Broken || task != st.Cause): // it served its purpose
		case task >= j.hosts && done(f): // and was needed
			broke = true
		case f.Phase == compute.Lost, f.Exit.Reason == compute.ReasonMemory:
			fault = true
		case f.Exit.Reason == compute.ReasonStopped:
			stopped = true
		case f.Exit.Reason == compute.ReasonMaxRuntime:
			late = true
		case f.Exit.Result.ExitCode != 0:
			broke = true
		}
	}
	asked := st.StopAsked != nil && !st.Broken
	switch {
	case fault:
		return []string{"Failed"}
	case broke && stopped && asked:
		return []string{"Stopped"}
	case broke && late:
		return []string{"Failed", "Stopped"} // what came first
	case broke:
		return []string{"Failed"}
	case late, asked:
		return []string{"Stopped"}
	}
	return nil // nobody stopped them
}

// TestPhases judges jobs of which a container went that was its instance's
// second, and the instance ended well all the same.
func TestPhases(t *testing.T) {
	t.Parallel()
	end := func(r compute.Reason, code int) *compute.TaskStatus {
		return &compute.TaskStatus{Phase: compute.Ended, Exit: &compute.Exit{Reason: r, Result: plan.Result{ExitCode: code}}}
	}
	well, broke, stopped := end(compute.ReasonExited, 0), end(compute.ReasonExited, 1), end(compute.ReasonStopped, 143)
	lost := &compute.TaskStatus{Phase: compute.Lost}
	j := &job{hosts: 2, scripts: make([]fake.Script, 4)}
	for name, tc := range map[string]struct {
		went          *compute.TaskStatus
		asked, broken bool
		want          string
	}{
		"it ended":                  {well, false, true, "[Failed]"},
		"it broke":                  {broke, false, true, "[Failed]"},
		"it is lost":                {lost, false, true, "[Failed]"},
		"it is lost, then asked":    {lost, true, true, "[Failed]"},
		"it ended, then asked":      {well, true, true, "[Failed]"},
		"asked, then it ended":      {well, true, false, "[Stopped]"},
		"asked, then it is lost":    {lost, true, false, "[Stopped]"},
		"it ended, and nobody saw":  {well, false, false, "[]"},
		"it was stopped for itself": {stopped, false, true, "[]"},
	} {
		st := engine.Status{Broken: tc.broken}
		if tc.broken {
			st.Cause = 3
		}
		if tc.asked {
			st.StopAsked = new(time.Time)
		}
		if got := fmt.Sprint(j.phases([]*compute.TaskStatus{stopped, well, stopped, tc.went}, st)); got != tc.want {
			t.Errorf("%s: %s, want %s", name, got, tc.want)
		}
	}
}

func words(finals []*compute.TaskStatus) (out []string) {
	for _, f := range finals {
		out = append(out, fmt.Sprintf("%+v with %+v", *f, f.Exit))
	}
	return out
}

// judgeBill sees that each second that the supervisors told of, from the first
// host's first step to the last one's end, is billed once for each host. What
// serves the hosts has no bill of its own.
func (s *sim) judgeBill(j *job, finals []*compute.TaskStatus, bill []resource.Usage) {
	var start, end time.Time
	var slept time.Duration
	if len(finals) > 0 {
		finals = finals[:j.hosts]
	}
	for _, f := range finals {
		for _, st := range f.Steps {
			if st.Name == plan.StepDownloading && (start.IsZero() || st.At.Before(start)) {
				start = st.At
			}
		}
		at := f.Heartbeat
		if f.Phase == compute.Ended {
			at = f.Exit.At
		}
		if at.After(end) {
			end = at
		}
		slept = max(slept, f.Suspended)
	}
	if start.IsZero() {
		if len(bill) != 0 {
			s.fail("%s did nothing and is billed: %+v", j.name, bill)
		}
		return
	}
	if end.Before(start) {
		end = start
	}
	if end = end.Add(-slept); end.Before(start) {
		end = start
	}
	// Sleep is kept in seconds, as a fraction.
	if len(bill) != 1 || !bill[0].Start.Equal(start) || bill[0].End.Sub(end).Abs() > time.Microsecond || bill[0].Quantity != int64(j.hosts) || bill[0].InstanceType != "ml.m5.large" {
		s.fail("%s: billed %s, want from %s to %s; slept %s", j.name, spans(bill), start, end, slept)
	}
}

func spans(us []resource.Usage) string {
	var out []string
	for _, u := range us {
		out = append(out, fmt.Sprintf("%s from %s to %s", u.ID, u.Start, u.End))
	}
	return fmt.Sprint(out)
}

// judgeOutput sees that each line of each host is in its log once, in order, and
// each metric in it counted once.
func (s *sim) judgeOutput(ctx context.Context, l *life, j *job, rec *resource.Record, finals []*compute.TaskStatus) {
	var count, total float64
	for host, final := range finals {
		// A task that ended early printed some of its lines.
		var want, data []string
		size := int64(0)
		for _, line := range j.scripts[host].Output {
			size += int64(len(fmt.Sprintf("%d %s\n", rec.Created.UnixMilli(), line)))
			if size > final.Spooled {
				break
			}
			if text, of := strings.CutPrefix(line, plan.DataLog); of {
				data = append(data, text)
			} else {
				want = append(want, line)
			}
		}
		name := j.stream(host, rec.Created)
		s.judgeStream(ctx, l, j, name, "line ", want)
		if j.kind == transform.Kind && host < j.hosts {
			s.judgeStream(ctx, l, j, fmt.Sprintf("%s/algo-%d-%d/data-log", j.name, host+1, rec.Created.Unix()), "data ", data)
		}
		k := float64(len(want))
		count, total = count+k, total+k*(k-1)/2
	}
	if j.kind != training.Kind {
		return // there are no metrics
	}
	points, err := l.metrics.Points(ctx, metrics.Query{
		Account: account, Region: region, Namespace: j.group(), Name: "loss", Dimensions: map[string]string{"TrainingJobName": j.name},
		Start: rec.Created.Add(-24 * time.Hour), End: rec.Created.Add(patience), Period: time.Minute,
	})
	if err != nil {
		s.fail("%s: metrics: %v", j.name, err)
	}
	var n, sum float64
	for _, p := range points {
		n, sum = n+p.Count, sum+p.Sum
	}
	if n != count || sum != total {
		s.fail("%s: %v values of the metric with sum %v, want %v and %v", j.name, n, sum, count, total)
	}
}

// judgeStream sees that a stream has these lines, which begin so, and beside them
// nothing but notes of ours.
func (s *sim) judgeStream(ctx context.Context, l *life, j *job, name, begin string, want []string) {
	s.mu.Lock()
	calm := len(s.deaths) == 0 && len(s.fulls) == 0 // else a note between two others may be lost
	s.mu.Unlock()
	events, err := l.logs.Events(ctx, logs.Stream{Account: account, Region: region, Group: j.group(), Name: name},
		logs.Read{FromHead: true, From: -1, Max: 10000, MaxBytes: 1 << 20})
	if err != nil && !errors.Is(err, logs.ErrNoGroup) && !errors.Is(err, logs.ErrNoStream) {
		s.fail("%s: log %s: %v", j.name, name, err)
		return
	}
	var got []string
	note := ""
	for _, e := range events {
		switch {
		case strings.HasPrefix(e.Message, begin):
			got = append(got, e.Message)
		case !strings.HasPrefix(e.Message, "[clary] "):
			s.fail("%s: the log %s has a line of another: %q", j.name, name, e.Message)
		case e.Message == note && calm:
			s.fail("%s: a note of ours is there twice: %q", j.name, note)
		default:
			note = e.Message
		}
	}
	if !slices.Equal(got, want) {
		s.fail("%s: the log %s has %d lines %q, want %d", j.name, name, len(got), got, len(want))
	}
}
