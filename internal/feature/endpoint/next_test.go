package endpoint

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"clary/internal/api"
	apism "clary/internal/api/sagemaker"
	"clary/internal/compute"
	"clary/internal/serving"
	"clary/internal/stage/plan"
)

const uid = "abcdefghijklmnopqrstuvwxyz"

var t0 = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC) //nolint:gochecknoglobals // a constant

func at(seconds int) time.Time { return t0.Add(time.Duration(seconds) * time.Second) }

// plain is a deployment of one variant with some instances.
func plain(config string, count int64) *deployment {
	return &deployment{Config: config, Began: t0, Variants: []variant{{
		Name: "AllTraffic", InstanceType: "ml.m5.large", Count: count, Weight: 1, Model: "m", RoleArn: "role", Startup: 480, Download: 3600,
		Containers: []apism.ContainerDefinition{{Image: "image", ModelDataUrl: "s3://b/m.tar.gz"}},
	}}}
}

// creating is an endpoint that was just made.
func creating(count int64) status {
	st := status{V: 1, Config: "c1"}
	st.begin(uid, plain("c1", count), nil)
	return st
}

// inService is one whose instances are healthy since their tasks began.
func inService(count int64) status {
	st := creating(count)
	st.Live, st.Next = st.Next, nil
	for i := range st.Fleet {
		in := &st.Fleet[i]
		ready := at(10)
		st.Bills++
		in.Ready, in.Bill, in.Expires = &ready, &bill{N: st.Bills, From: at(1)}, at(6*3600)
		in.Tasks[0].Launched = true
	}
	st.Serving = st.traffic(uid)
	return st
}

// world is what is observed of tasks.
func world(now int, tasks map[int]seen) observed {
	o := observed{uid: uid, now: at(now), tasks: map[compute.TaskID]seen{}, images: map[string]image{"image": {ready: true}}}
	for n, s := range tasks {
		o.tasks[compute.TaskID(fmt.Sprintf("%s-%d", uid, n))] = s
	}
	return o
}

func running(began, beat int) *compute.TaskStatus {
	return &compute.TaskStatus{Phase: compute.Running, Created: at(began), Started: at(began), Heartbeat: at(beat)}
}

func exited(began, end, code int, failure string) *compute.TaskStatus {
	return &compute.TaskStatus{
		Phase: compute.Ended, Created: at(began), Started: at(began), Heartbeat: at(end),
		Exit: &compute.Exit{Reason: compute.ReasonExited, At: at(end), Result: plan.Result{ExitCode: code, Failure: failure}},
	}
}

func lost(began, beat int) *compute.TaskStatus {
	return &compute.TaskStatus{Phase: compute.Lost, Created: at(began), Started: at(began), Heartbeat: at(beat)}
}

// settled is what next comes to when nothing else is observed: committed
// changes and then an effect, or nothing.
func settled(t *testing.T, phase string, st status, o observed) (d decision, ledger []entry) {
	t.Helper()
	for range 50 {
		d = next(phase, st, o)
		ledger = append(ledger, d.ledger...)
		if d.effect != effectNone || d.after > 0 {
			return d, ledger
		}
		phase, st = d.phase, d.st
	}
	t.Fatal("it never comes to rest")
	return d, nil
}

func TestNextCreates(t *testing.T) {
	t.Parallel()
	well := seen{status: running(1, 20), asked: true, healthy: true}
	fetching := running(1, 20)
	fetching.Steps = []compute.Step{{Name: plan.StepDownloading, At: at(2)}}
	memory := exited(1, 30, 137, "")
	memory.Exit.Reason = compute.ReasonMemory
	unfetched := exited(1, 30, -1, `Failed to download model data from URL: "s3://b/m.tar.gz". Please ensure`)
	unfetched.Exit.Result.Class, unfetched.Steps = "ClientError", fetching.Steps
	for name, tc := range map[string]struct {
		count  int64
		now    int
		tasks  map[int]seen
		image  image
		phase  string
		effect effect
		why    string // in FailureReason
		fleet  int
	}{
		"its runtime is built":  {1, 5, nil, image{progress: "installing"}, "Creating", effectNone, "", 1},
		"it starts":             {1, 5, nil, image{ready: true}, "Creating", effectStart, "", 1},
		"no such runtime":       {1, 5, nil, image{failed: "no"}, "Failed", effectRemove, "no", 1},
		"not for an hour":       {1, 3602, nil, image{ready: true}, "Failed", effectRemove, "could not be started within an hour", 1},
		"it does not answer":    {1, 20, map[int]seen{1: {status: running(1, 20), asked: true}}, image{}, "Creating", effectNone, "", 1},
		"it answers":            {1, 20, map[int]seen{1: well}, image{}, "InService", effectRenew, "", 1},
		"one of two answers":    {2, 20, map[int]seen{1: well, 2: {status: running(1, 20), asked: true}}, image{}, "Creating", effectRenew, "", 2},
		"it fetches long":       {1, 500, map[int]seen{1: {status: fetching}}, image{}, "Creating", effectNone, "", 1},
		"it never answers":      {1, 490, map[int]seen{1: {status: running(1, 490), asked: true}}, image{}, "Failed", effectHalt, "The primary container for production variant AllTraffic did not pass the ping health check. Please check CloudWatch logs for this endpoint. It did not answer GET /ping on port 8080 with status 200 within 480 seconds", 1},
		"it exits":              {1, 40, map[int]seen{1: {status: exited(1, 30, 1, "ImportError: no module"), read: true}}, image{}, "Failed", effectRemove, "did not pass the ping health check. Please check CloudWatch logs for this endpoint. It exited with code 1. ImportError: no module", 1},
		"its log is not in":     {1, 40, map[int]seen{1: {status: exited(1, 30, 1, "")}}, image{}, "Failed", effectNone, "code 1.", 1},
		"it is out of memory":   {1, 40, map[int]seen{1: {status: memory, read: true}}, image{}, "Failed", effectRemove, "ran out of memory and was killed; ml.m5.xlarge has more", 1},
		"its model is not read": {1, 40, map[int]seen{1: {status: unfetched, read: true}}, image{}, "Failed", effectRemove, `Failed to download model data for container "primary" from URL: "s3://b/m.tar.gz". Please ensure`, 1},
		"its machine is gone":   {1, 40, map[int]seen{1: {status: lost(1, 30), read: true}}, image{ready: true}, "Creating", effectRemove, "", 2},
		"it never begins":       {1, 3700, map[int]seen{1: {status: &compute.TaskStatus{Phase: compute.Starting, Created: at(5), Heartbeat: at(5)}}}, image{}, "Failed", effectHalt, "It was not started within an hour.", 1},
		"the driver is mute":    {1, 40, map[int]seen{1: {unknown: true}}, image{}, "Creating", effectNone, "", 1},
	} {
		o := world(tc.now, tc.tasks)
		o.images["image"] = tc.image
		d, _ := settled(t, serving.PhaseCreating, creating(tc.count), o)
		if d.phase != tc.phase || d.effect != tc.effect || !strings.Contains(d.st.Failure, tc.why) || (tc.why == "") != (d.st.Failure == "") || len(d.st.Fleet) != tc.fleet {
			t.Errorf("%s: %s with effect %d, %d instances: %q", name, d.phase, d.effect, len(d.st.Fleet), d.st.Failure)
		}
		if n := len(d.st.Serving.Variants); (n == 1) != (d.phase == "InService") {
			t.Errorf("%s: %d variants take traffic while it is %s", name, n, d.phase)
		}
	}
}

// A container's last lines are quoted of the log where nobody wrote down how it
// ended.
func TestNextQuotes(t *testing.T) {
	t.Parallel()
	st := creating(1)
	d := next(serving.PhaseCreating, st, world(20, map[int]seen{1: {status: running(1, 20)}}))
	d = next(d.phase, d.st, world(490, map[int]seen{1: {status: running(1, 490), asked: true}}))
	if d.phase != serving.PhaseFailed || d.tail == nil || d.tail.in.N != 1 {
		t.Errorf("%s, %+v", d.phase, d.tail)
	}
}

func TestNextKeeps(t *testing.T) {
	t.Parallel()
	well := seen{status: running(1, 100), asked: true, healthy: true}
	ill := seen{status: running(1, 100), asked: true}
	for name, tc := range map[string]struct {
		one     seen
		strikes int
		serve   int // instances that take traffic
		fleet   int
	}{
		"healthy":          {well, 0, 2, 2},
		"healthy again":    {well, 2, 2, 2},
		"ill once":         {ill, 0, 2, 2},
		"ill thrice":       {ill, 2, 1, 3},
		"not asked":        {seen{status: running(1, 100)}, 2, 2, 2},
		"dead":             {seen{status: exited(1, 90, 1, ""), read: true}, 0, 1, 3},
		"lost":             {seen{status: lost(1, 90), read: true}, 0, 1, 3},
		"gone":             {seen{}, 0, 1, 3},
		"nobody can tell":  {seen{unknown: true}, 2, 2, 2},
		"machine unsteady": {seen{status: running(1, 100), asked: true, healthy: true, open: 4}, 0, 2, 2},
	} {
		st := inService(2)
		st.Fleet[0].Strikes = tc.strikes
		d := next(serving.PhaseInService, st, world(100, map[int]seen{1: tc.one, 2: well}))
		if d.phase != serving.PhaseInService || len(d.st.Serving.Variants[0].Instances) != tc.serve || len(d.st.Fleet) != tc.fleet || d.st.Failure != "" {
			t.Errorf("%s: %s, %d take traffic, %d in all, %q", name, d.phase, len(d.st.Serving.Variants[0].Instances), len(d.st.Fleet), d.st.Failure)
		}
	}
}

// Whoever dies again and again is waited with, for longer each time.
func TestNextBacksOff(t *testing.T) {
	t.Parallel()
	st := inService(1)
	now, want := 100, []time.Duration{0, 5 * time.Second, 10 * time.Second, 20 * time.Second}
	for i, pause := range want {
		last := &st.Fleet[len(st.Fleet)-1]
		last.Tasks[0].Launched = true
		o := world(now, map[int]seen{i + 1: {status: exited(now-1, now, 1, ""), read: true}})
		d := next(serving.PhaseInService, st, o)
		st = d.st
		if got := st.Fleet[len(st.Fleet)-1].After.Sub(o.now); got != pause || len(st.Fleet) != i+2 {
			t.Errorf("instance %d of %d is waited with for %s, want %s", i+2, len(st.Fleet), got, pause)
		}
		now += 30
	}
	if p := pause(30); p != crashMost {
		t.Errorf("after 30 crashes %s", p)
	}
}

func TestNextTurns(t *testing.T) {
	t.Parallel()
	well := seen{status: running(1, 200), asked: true, healthy: true}
	for name, tc := range map[string]struct {
		policy *apism.DeploymentConfig
		new    seen
		old    int // whose open requests
		effect effect
		config string // that serves
		why    string
	}{
		"the new one starts":     {nil, seen{}, 0, effectStart, "c1", ""},
		"the new one is silent":  {nil, seen{status: running(190, 200), asked: true}, 0, effectNone, "c1", ""},
		"the new one answers":    {nil, seen{status: running(190, 200), asked: true, healthy: true}, 0, effectHalt, "c2", ""},
		"the old one has work":   {nil, seen{status: running(190, 200), asked: true, healthy: true}, 1, effectNone, "c2", ""},
		"the old one shall stay": {policy(60, 600), seen{status: running(190, 200), asked: true, healthy: true}, 0, effectNone, "c2", ""},
		"the new one exits":      {nil, seen{status: exited(190, 195, 1, "no"), read: true}, 0, effectRemove, "c1", "code 1. no"},
		"it takes too long":      {policy(0, 99), seen{status: running(190, 200), asked: true}, 0, effectHalt, "c1", "MaximumExecutionTimeoutInSeconds, which is 99"},
	} {
		st := inService(1)
		dep := plain("c2", 1)
		dep.Began = at(100)
		st.begin(uid, dep, tc.policy)
		st.Fleet[1].Expires = at(6 * 3600)
		old := well
		old.open = tc.old
		d, _ := settled(t, serving.PhaseUpdating, st, world(200, map[int]seen{1: old, 2: tc.new}))
		if tc.new.asked && tc.new.healthy && d.effect == effectRenew {
			t.Errorf("%s: the session is renewed before all else", name)
		}
		in := "Updating"
		if tc.config == "c2" || tc.why != "" {
			in = "InService"
		}
		if d.phase != in || d.effect != tc.effect || d.st.Config != tc.config || !strings.Contains(d.st.Failure, tc.why) || (tc.why == "") != (d.st.Failure == "") {
			t.Errorf("%s: %s of %s with effect %d: %q", name, d.phase, d.st.Config, d.effect, d.st.Failure)
		}
		serves := d.st.Serving.Variants[0].Instances
		if want := map[string]int{"c1": 1, "c2": 2}[tc.config]; len(serves) != 1 || serves[0].Tasks[0] != compute.TaskID(fmt.Sprintf("%s-%d", uid, want)) {
			t.Errorf("%s: %+v serve, want task %d", name, serves, want)
		}
	}
}

func policy(wait, most int64) *apism.DeploymentConfig {
	return &apism.DeploymentConfig{BlueGreenUpdatePolicy: &apism.BlueGreenUpdatePolicy{TerminationWaitInSeconds: &wait, MaximumExecutionTimeoutInSeconds: api.Ptr(most)}}
}

func TestNextScales(t *testing.T) {
	t.Parallel()
	well := seen{status: running(1, 200), asked: true, healthy: true}
	scaled := func(from, to int64) status {
		st := inService(from)
		v := &st.Live.Variants[0]
		v.Was, v.Count, v.Weight = &scale{Count: from, Weight: 1}, to, 3
		return st
	}
	st := scaled(1, 2)
	d, _ := settled(t, serving.PhaseUpdating, st, world(200, map[int]seen{1: well}))
	if d.phase != serving.PhaseUpdating || d.effect != effectStart || len(d.st.Fleet) != 2 || d.st.Serving.Variants[0].Weight != 1 {
		t.Fatalf("one more: %s, effect %d, %+v", d.phase, d.effect, d.st.Serving)
	}
	up := d.st
	up.Fleet[1].Expires = at(6 * 3600)
	d, _ = settled(t, d.phase, up, world(200, map[int]seen{1: well, 2: well}))
	if d.phase != serving.PhaseInService || d.st.Serving.Variants[0].Weight != 3 || len(d.st.Serving.Variants[0].Instances) != 2 || d.st.Live.Variants[0].Was != nil {
		t.Errorf("it came: %s, %+v", d.phase, d.st.Serving)
	}
	d, _ = settled(t, serving.PhaseUpdating, up, world(200, map[int]seen{1: well, 2: {status: exited(190, 195, 3, ""), read: true}}))
	if d.phase != serving.PhaseRollingBack || d.effect != effectRemove || !strings.Contains(d.st.Failure, "code 3") || d.st.Live.Variants[0].Count != 1 || d.st.Live.Variants[0].Weight != 1 {
		t.Errorf("it did not: %s, effect %d, %q", d.phase, d.effect, d.st.Failure)
	}
	d.st.Fleet = d.st.Fleet[:1]
	if d, _ = settled(t, d.phase, d.st, world(200, map[int]seen{1: well})); d.phase != serving.PhaseInService || d.st.Failure == "" {
		t.Errorf("rolled back: %s, %q", d.phase, d.st.Failure)
	}
	weights := scaled(2, 2)
	d, _ = settled(t, serving.PhaseUpdating, weights, world(200, map[int]seen{1: well, 2: {status: exited(190, 195, 3, ""), read: true}}))
	if d.phase != serving.PhaseInService || d.st.Serving.Variants[0].Weight != 3 || len(d.st.Serving.Variants[0].Instances) != 1 {
		t.Errorf("other weights while one is ill: %s, %+v", d.phase, d.st.Serving)
	}
	d, _ = settled(t, serving.PhaseUpdating, scaled(2, 1), world(200, map[int]seen{1: well, 2: well}))
	if d.phase != serving.PhaseInService || d.effect != effectHalt || len(d.st.Serving.Variants[0].Instances) != 1 || d.st.Fleet[1].Away == nil {
		t.Errorf("one less: %s, effect %d, %+v", d.phase, d.effect, d.st.Serving)
	}
}

func TestNextDeletes(t *testing.T) {
	t.Parallel()
	st := inService(1)
	st.Live = nil
	d, _ := settled(t, serving.PhaseDeleting, st, world(200, map[int]seen{1: {status: running(1, 200), open: 3}}))
	if d.effect != effectHalt || len(d.st.Serving.Variants) != 0 {
		t.Errorf("it runs: effect %d, %+v", d.effect, d.st.Serving)
	}
	d, ledger := settled(t, serving.PhaseDeleting, d.st, world(210, map[int]seen{1: {status: exited(1, 205, 0, ""), read: true}}))
	if d.effect != effectRemove || len(ledger) != 1 || ledger[0].n != 1 || !ledger[0].at.Equal(at(205)) || ledger[0].opens != "" {
		t.Errorf("it ended: effect %d, ledger %+v", d.effect, ledger)
	}
	d.st.Fleet = nil
	if d, _ = settled(t, serving.PhaseDeleting, d.st, world(211, nil)); d.effect != effectDelete {
		t.Errorf("nothing is left: effect %d", d.effect)
	}
}

func TestMeter(t *testing.T) {
	t.Parallel()
	begun := func(task *compute.TaskStatus) (status, []entry) {
		d := next(serving.PhaseCreating, creating(1), world(30, map[int]seen{1: {status: task}}))
		return d.st, d.ledger
	}
	st, ledger := begun(running(7, 30))
	if len(ledger) != 1 || ledger[0].opens != "ml.m5.large" || !ledger[0].at.Equal(at(7)) {
		t.Errorf("it began: %+v", ledger)
	}
	slept := running(7, 400)
	slept.Suspended = 3 * time.Minute
	d := next(serving.PhaseCreating, st, world(400, map[int]seen{1: {status: slept}}))
	if l := d.ledger; len(l) != 2 || !l[0].at.Equal(at(400-180)) || l[0].n != 1 || !l[1].at.Equal(at(400)) || l[1].n != 2 || l[1].opens == "" {
		t.Errorf("it slept: %+v", l)
	}
	over := exited(7, 460, 0, "")
	over.Suspended = slept.Suspended + 10*time.Second
	if d = next(serving.PhaseDeleting, d.st, world(470, map[int]seen{1: {status: over}})); len(d.ledger) != 1 || !d.ledger[0].at.Equal(at(450)) || d.ledger[0].n != 2 {
		t.Errorf("it slept again and ended: %+v", d.ledger)
	}
	if d = next(serving.PhaseDeleting, d.st, world(480, map[int]seen{1: {status: over}})); len(d.ledger) != 0 {
		t.Errorf("it is billed twice: %+v", d.ledger)
	}
	// What ran while no server lived is billed all the same.
	if st, ledger = begun(exited(7, 20, 1, "")); len(ledger) != 2 || !ledger[0].at.Equal(at(7)) || !ledger[1].at.Equal(at(20)) || !st.Fleet[0].Billed {
		t.Errorf("it ran and ended: %+v", ledger)
	}
	if _, ledger = begun(&compute.TaskStatus{Phase: compute.Ended, Exit: &compute.Exit{Reason: compute.ReasonFailed, At: at(8)}}); len(ledger) != 0 {
		t.Errorf("it never began: %+v", ledger)
	}
}

// TestMeterPipelines bills instances of two containers that leave.
func TestMeterPipelines(t *testing.T) {
	t.Parallel()
	starting := &compute.TaskStatus{Phase: compute.Starting, Created: at(25), Heartbeat: at(25)}
	unbegun := &compute.TaskStatus{
		Phase: compute.Ended, Created: at(25), Heartbeat: at(40), Suspended: 10 * time.Second,
		Exit: &compute.Exit{Reason: compute.ReasonStopped, At: at(40)},
	}
	asleep := exited(9, 60, 0, "")
	asleep.Suspended = 20 * time.Second
	for name, tc := range map[string]struct {
		before, after [2]*compute.TaskStatus // it leaves in between
		from, to      int                    // seconds; from -1: it is not billed, to -1: its interval stays open
	}{
		"from the first to the last":             {[2]*compute.TaskStatus{running(9, 20), running(7, 20)}, [2]*compute.TaskStatus{exited(9, 60, 0, ""), exited(7, 50, 0, "")}, 7, 60},
		"the other way round":                    {[2]*compute.TaskStatus{running(7, 20), running(9, 20)}, [2]*compute.TaskStatus{exited(7, 60, 0, ""), exited(9, 50, 0, "")}, 7, 60},
		"the first one began alone":              {[2]*compute.TaskStatus{running(7, 20), starting}, [2]*compute.TaskStatus{exited(7, 50, 0, ""), exited(30, 60, 0, "")}, 7, 60},
		"the last one runs":                      {[2]*compute.TaskStatus{running(7, 20), running(9, 20)}, [2]*compute.TaskStatus{exited(7, 50, 0, ""), running(9, 60)}, 7, -1},
		"it slept":                               {[2]*compute.TaskStatus{running(7, 20), running(9, 20)}, [2]*compute.TaskStatus{exited(7, 50, 0, ""), asleep}, 7, 40},
		"one was never accepted":                 {[2]*compute.TaskStatus{running(7, 20), nil}, [2]*compute.TaskStatus{exited(7, 30, 0, ""), nil}, 7, 30},
		"the first one was never accepted":       {[2]*compute.TaskStatus{nil, running(7, 20)}, [2]*compute.TaskStatus{nil, exited(7, 30, 0, "")}, 7, 30},
		"one never began":                        {[2]*compute.TaskStatus{running(7, 20), starting}, [2]*compute.TaskStatus{exited(7, 30, 0, ""), unbegun}, 7, 30},
		"one was lost before the other began":    {[2]*compute.TaskStatus{running(7, 20), starting}, [2]*compute.TaskStatus{lost(7, 7), unbegun}, 7, 7},
		"one is gone, and the other never began": {[2]*compute.TaskStatus{running(7, 20), starting}, [2]*compute.TaskStatus{nil, unbegun}, 7, 7},
		"none began":                             {[2]*compute.TaskStatus{starting, starting}, [2]*compute.TaskStatus{unbegun, unbegun}, -1, -1},
	} {
		st := status{V: 1, Config: "c1"}
		dep := plain("c1", 1)
		dep.Variants[0].Containers = append(dep.Variants[0].Containers, dep.Variants[0].Containers[0])
		st.begin(uid, dep, nil)
		var ledger []entry
		for i, tasks := range [][2]*compute.TaskStatus{tc.before, tc.after, tc.after} {
			d := next(serving.PhaseDeleting, st, world(100+i, map[int]seen{1: {status: tasks[0]}, 2: {status: tasks[1]}}))
			st, ledger = d.st, append(ledger, d.ledger...)
		}
		var want []entry
		if tc.from >= 0 {
			want = append(want, entry{n: 1, opens: "ml.m5.large", at: at(tc.from)})
		}
		if tc.to >= 0 {
			want = append(want, entry{n: 1, at: at(tc.to)})
		}
		if !reflect.DeepEqual(ledger, want) {
			t.Errorf("%s: %+v, want %+v", name, ledger, want)
		}
	}
}

func TestReasonsFit(t *testing.T) {
	t.Parallel()
	v := &plain("c", 1).Variants[0]
	said := strings.Repeat("ä line\n", 500) + "ValueError: the last"
	text := v.ending(0, exited(1, 2, 1, said))
	if len(text) > maxReason || !strings.HasPrefix(text, "The primary container for production variant AllTraffic did not pass the ping health check.") || !strings.HasSuffix(text, "\nValueError: the last") || !strings.Contains(text, "… ") {
		t.Errorf("%d bytes: %q", len(text), text)
	}
	if id := (&instance{N: 1}).id(uid); len(id) != 19 || id == (&instance{N: 2}).id(uid) || !strings.HasPrefix(id, "i-") {
		t.Errorf("an instance is called %q", id)
	}
}

// TestNextProperties walks random worlds: traffic goes to none but healthy
// instances that run, what served serves until the new one is healthy,
// intervals open and close in turn and cover what ran, and nothing is left of
// what rests.
func TestNextProperties(t *testing.T) {
	t.Parallel()
	turns, failures := 0, 0
	for seed := range uint64(400) {
		w := walk{r: rand.New(rand.NewPCG(seed, 9)), tasks: map[compute.TaskID]*compute.TaskStatus{}, open: map[int]time.Time{}, phase: serving.PhaseCreating, st: creating(2), now: t0}
		for range 300 {
			if w.gone {
				break
			}
			if w.step(); w.wrong != "" {
				t.Fatalf("seed %d at %s: %s", seed, w.now.Sub(t0), w.wrong)
			}
		}
		turns, failures = turns+w.turns, failures+w.failures
	}
	if turns < 200 || failures < 60 {
		t.Errorf("only %d deployments came to be, %d failed", turns, failures)
	}
}

type walk struct {
	r               *rand.Rand
	tasks           map[compute.TaskID]*compute.TaskStatus
	open            map[int]time.Time // intervals
	billed, ran     time.Duration
	now             time.Time
	phase           string
	st              status
	gone            bool
	turns, failures int
	wrong           string
}

func (w *walk) fail(format string, args ...any) {
	if w.wrong == "" {
		w.wrong = fmt.Sprintf(format, args...)
	}
}

func (w *walk) step() {
	w.now = w.now.Add(time.Duration(w.r.Int64N(int64(20 * time.Second))))
	w.ask()
	o := observed{uid: uid, now: w.now, tasks: map[compute.TaskID]seen{}, images: map[string]image{"image": {ready: w.r.IntN(4) > 0}}}
	for id, t := range w.tasks {
		if over(t) {
			o.tasks[id] = seen{status: t, read: w.r.IntN(2) == 0}
			continue
		}
		t.Heartbeat = w.now
		switch w.r.IntN(60) {
		case 0:
			t.Phase, t.Exit = compute.Ended, &compute.Exit{At: w.now, Reason: compute.ReasonExited}
		case 1:
			t.Phase = compute.Lost
		default:
			if t.Phase = compute.Running; t.Started.IsZero() {
				t.Started = w.now
			}
		}
		c := *t
		s := seen{status: &c, open: w.r.IntN(3)}
		if t.Phase == compute.Running && w.r.IntN(4) > 0 {
			s.asked, s.healthy = true, w.r.IntN(6) > 0
		}
		if w.r.IntN(20) == 0 {
			s = seen{unknown: true}
		}
		o.tasks[id] = s
	}
	w.follow(o, next(w.phase, w.st, o))
}

// ask does now and then what a user may.
func (w *walk) ask() {
	if w.r.IntN(12) > 0 {
		return
	}
	switch {
	case w.phase == serving.PhaseDeleting:
	case w.r.IntN(12) == 0:
		w.phase, w.st.Live, w.st.Next = serving.PhaseDeleting, nil, nil
		w.st.Serving = w.st.traffic(uid)
	case w.phase != serving.PhaseInService:
	case w.r.IntN(2) == 0:
		w.phase = serving.PhaseUpdating
		dep := plain("c", 1+w.r.Int64N(2))
		dep.Began = w.now
		w.st.begin(uid, dep, policy(w.r.Int64N(60), 600))
	default:
		w.phase = serving.PhaseUpdating
		w.st = w.st.clone()
		v := &w.st.Live.Variants[0]
		v.Was, v.Count = &scale{Count: v.Count, Weight: v.Weight}, 1+w.r.Int64N(3)
	}
}

func (w *walk) follow(o observed, d decision) {
	if d.effect != effectNone && (len(d.ledger) > 0 || d.phase != w.phase) {
		w.fail("an effect before what leads to it is committed")
	}
	for _, v := range d.st.Serving.Variants {
		for _, in := range v.Instances {
			for _, id := range in.Tasks {
				if s := o.tasks[id]; !s.unknown && (s.status == nil || s.status.Phase != compute.Running) {
					w.fail("%s takes traffic and is %+v", id, s.status)
				}
			}
		}
	}
	if w.st.Live != nil && d.st.Live != nil && w.st.Live.N != d.st.Live.N {
		w.turns++
		if !d.st.complete(d.st.Live) {
			w.fail("deployment %d serves and is not healthy", d.st.Live.N)
		}
	}
	if w.st.Failure == "" && d.st.Failure != "" {
		w.failures++
	}
	if w.st.Live != nil && d.st.Live == nil {
		w.fail("nothing serves any more")
	}
	if (d.phase == serving.PhaseCreating || d.phase == serving.PhaseUpdating) == (d.st.Next == nil && (d.st.Live == nil || d.st.Live.Variants[0].Was == nil)) {
		w.fail("%s with %v and %v", d.phase, d.st.Next, d.st.Live)
	}
	for _, l := range d.ledger {
		from, ok := w.open[l.n]
		switch {
		case ok == (l.opens != ""):
			w.fail("interval %d: %+v, open before: %t", l.n, l, ok)
		case ok && (l.at.Before(from) || l.at.After(w.now)):
			w.fail("interval %d from %s to %s", l.n, from.Sub(t0), l.at.Sub(t0))
		case ok:
			w.billed += l.at.Sub(from)
			delete(w.open, l.n)
		default:
			w.open[l.n] = l.at
		}
	}
	w.take(o, d)
	if rests(d.phase, &d.st) && (len(w.tasks) > 0 || len(w.open) > 0 || w.billed != w.ran) {
		w.fail("it rests with %d tasks, %d open intervals, %s billed of %s", len(w.tasks), len(w.open), w.billed, w.ran)
	}
}

// take has a decision's effect.
func (w *walk) take(o observed, d decision) {
	if d.effect == effectNone {
		w.phase, w.st = d.phase, d.st
		return
	}
	if d.effect == effectDelete {
		w.gone = true
		if len(w.tasks) > 0 || len(w.open) > 0 || w.billed != w.ran {
			w.fail("it is deleted with %d tasks, %d open intervals, %s billed of %s", len(w.tasks), len(w.open), w.billed, w.ran)
		}
		return
	}
	in := &d.st.Fleet[d.index]
	id := in.Tasks[0].ID
	switch d.effect {
	case effectStart:
		if w.tasks[id] != nil || in.Tasks[0].Launched {
			w.fail("%s starts twice", id)
		}
		switch w.r.IntN(6) {
		case 0: // there is no room
			if in.Crowded.IsZero() {
				in.Crowded = w.now
			}
		case 1: // it began, and nobody learned of it
			w.tasks[id] = &compute.TaskStatus{Phase: compute.Starting, Created: w.now, Heartbeat: w.now}
			return
		default:
			w.tasks[id] = &compute.TaskStatus{Phase: compute.Starting, Created: w.now, Heartbeat: w.now}
			in.Tasks[0].Launched, in.Expires = true, w.now.Add(sessionTTL)
		}
	case effectHalt:
		if slices.ContainsFunc(d.st.Serving.Variants, func(v serving.Variant) bool {
			return slices.ContainsFunc(v.Instances, func(i serving.Instance) bool { return i.Tasks[0] == id })
		}) {
			w.fail("%s is stopped and has traffic", id)
		}
		if in.Drain && o.tasks[id].open > 0 && w.now.Sub(*in.Away) < drainBound {
			w.fail("%s is stopped with requests in flight", id)
		}
		if t := w.tasks[id]; t != nil && !over(t) && w.r.IntN(2) == 0 {
			t.Phase, t.Exit = compute.Ended, &compute.Exit{At: w.now, Reason: compute.ReasonStopped}
		}
	case effectRemove:
		if t := w.tasks[id]; t != nil {
			if !over(t) {
				w.fail("%s is removed while it is %s", id, t.Phase)
			}
			if !t.Started.IsZero() {
				w.ran += ended(t).Sub(t.Started)
			}
			if in.Bill != nil {
				w.fail("%s is removed before it is billed", id)
			}
		}
		delete(w.tasks, id)
		d.st.Fleet = slices.Delete(d.st.Fleet, d.index, d.index+1)
	case effectRenew:
		in.Expires = w.now.Add(sessionTTL)
	case effectNone, effectDelete:
	}
	w.phase, w.st = d.phase, d.st
}
