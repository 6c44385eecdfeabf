package notebook

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	api "clary/internal/api/sagemaker"
	"clary/internal/aws/op"
	"clary/internal/compute"
	"clary/internal/compute/fake"
	"clary/internal/feature/notebook/activity"
	"clary/internal/meter"
	"clary/internal/stage/agent"
	"clary/internal/store"
)

// usedAt is a sample at a moment of an instance that was last used at another;
// busy: it is used now.
func usedAt(now, last time.Time, busy bool) agent.Sample {
	k := agent.Kernel{ID: "k", Name: "conda_python3", Document: "work.ipynb", State: "idle", Last: last}
	if busy {
		k.State, k.Last = "busy", now
	}
	return agent.Sample{At: now, Up: now.Sub(t0) + time.Hour, Booted: t0, Kernels: []agent.Kernel{k}}
}

// TestIdles takes an instance in service through looks that each say for how
// long, in minutes, nobody has used it; -1 is that somebody does, -2 that
// nothing can be told.
func TestIdles(t *testing.T) {
	t.Parallel()
	type step struct {
		after  float64 // minutes since the step before
		idle   float64
		effect effect
	}
	for name, tc := range map[string]struct {
		limit time.Duration
		steps []step
	}{
		"no limit":               {0, []step{{1, 1, effectNone}, {600, 601, effectNone}}},
		"warned, then stopped":   {time.Hour, []step{{54, 54, effectNone}, {1, 55, effectWarn}, {1, 56, effectNone}, {3.9, 59.9, effectNone}, {0.2, 60.1, effectStop}}},
		"a short limit":          {8 * time.Minute, []step{{5.9, 5.9, effectNone}, {0.1, 6, effectWarn}, {1.9, 7.9, effectNone}, {0.1, 8, effectStop}}},
		"used after the warning": {time.Hour, []step{{55, 55, effectWarn}, {1, -1, effectWarn}, {1, 1, effectNone}, {55, 56, effectWarn}, {5, 61, effectStop}}},
		"kept":                   {time.Hour, []step{{55, 55, effectWarn}, {1, 0.5, effectWarn}, {1, 1.5, effectNone}}},
		"cannot tell":            {time.Hour, []step{{55, 55, effectWarn}, {600, -2, effectNone}, {1, 656, effectStop}}},
		"nobody was there":       {time.Hour, []step{{1, 1, effectNone}, {600, 601, effectWarn}, {4.9, 605.9, effectNone}, {0.1, 606, effectStop}}},
		"nobody was there, used": {time.Hour, []step{{1, 1, effectNone}, {600, 2, effectNone}}},
		"the limit was slept":    {time.Hour, []step{{1, 1, effectNone}, {600, -3, effectNone}, {1, 2, effectNone}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			st, now, awake := serving(t), at(10), at(10)
			st.Agent, st.Idle = true, &idle{State: activity.State{}}
			d := decision{st: st}
			d.idles(observed{now: now, limit: tc.limit, sample: ptr(usedAt(awake, awake, false))})
			for i, s := range tc.steps {
				passed := time.Duration(s.after * float64(time.Minute))
				now = now.Add(passed)
				o := seen(now.Sub(t0).Seconds())
				o.clock = meter.Moment{Boot: "b", Awake: int64(awake.Add(passed).Sub(t0))}
				o.task, o.limit = running(0, now.Sub(t0).Seconds()), tc.limit
				if s.idle != -3 {
					awake = awake.Add(passed)
				}
				switch last := awake.Add(-time.Duration(s.idle * float64(time.Minute))); s.idle {
				case -1:
					o.sample = ptr(usedAt(awake, awake, true))
				case -2:
				case -3:
					awake = awake.Add(time.Minute) // of ten hours
					o.sample = ptr(usedAt(awake, at(10), false))
					o.now = now
				default:
					o.sample = ptr(usedAt(awake, last, false))
				}
				was := d.st.Idle
				d = decision{phase: phaseInService, st: d.st, after: lookEvery}
				d.idles(o)
				if d.effect != s.effect {
					t.Fatalf("step %d: effect %d, want %d: %+v", i, d.effect, s.effect, d.st.Idle)
				}
				if d.effect == effectWarn && (d.st.Idle.Warned > 0) != (was.Warned == 0) || d.effect == effectWarn && d.st.Idle.StopAt.IsZero() != (d.st.Idle.Warned == 0) {
					t.Errorf("step %d: warned %+v after %+v", i, d.st.Idle, was)
				}
				if d.after <= 0 && d.effect != effectStop || d.after > lookEvery {
					t.Errorf("step %d: looked at again after %s", i, d.after)
				}
			}
		})
	}
}

func ptr[T any](v T) *T { return &v }

func TestLimit(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]time.Duration{"5": 5 * time.Minute, "10080": 7 * 24 * time.Hour, " 60 ": time.Hour, "0": 0, "off": 0, "OFF": 0, "4": -1, "10081": -1, "": -1, "1h": -1, "-5": -1} {
		got, wrong := limit(value)
		if (wrong != "") != (want < 0) || wrong == "" && got != want {
			t.Errorf("%q: %s, %s", value, got, wrong)
		}
	}
}

// TestIdleStop sees an instance that nobody uses stopped, as if somebody had
// asked for it, and only then.
func TestIdleStop(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		flag time.Duration
		tag  string
		want time.Duration // of use's end; 0: never
		says string
	}{
		"by the server's limit":  {30 * time.Minute, "", 30 * time.Minute, ""},
		"by its tag":             {30 * time.Minute, "60", time.Hour, ""},
		"exempt by its tag":      {30 * time.Minute, "off", 0, ""},
		"no limit":               {0, "", 0, ""},
		"its tag alone":          {0, "45", 45 * time.Minute, ""},
		"a tag that is no limit": {30 * time.Minute, "soon", 30 * time.Minute, `The tag clary:idle-stop-minutes is "soon"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				used := begin.Add(20 * time.Minute)
				var told []string
				var warned, saved time.Time
				b := newBench(t, func(k compute.Task) fake.Script {
					return served(k, fake.Agent{
						Sample: func() agent.Sample {
							now := time.Now()
							x := usedAt(now, used, now.Before(used))
							x.Up, x.Booted = now.Sub(begin)+time.Hour, begin
							return x
						},
						Asked: func(method, path string, body []byte, _ agent.State) {
							if method != "POST" {
								return
							}
							told = append(told, path)
							switch path {
							case "/warn":
								var w agent.Warning
								if err := json.Unmarshal(body, &w); err != nil || w.StopAt.IsZero() || w.Idle <= 0 {
									t.Errorf("warned %s: %v", body, err)
								}
								warned = time.Now()
							case "/save":
								saved = time.Now()
							}
						},
					})
				})
				defer b.db.Close()
				var calls []op.Call
				b.IdleStop = tc.flag
				b.Record = func(ctx context.Context, c op.Call, _ any, arn string) (context.Context, func(error) error) {
					calls = append(calls, c)
					if arn != arnOf(call(), "nb") {
						t.Errorf("recorded of %s", arn)
					}
					return ctx, func(err error) error { return err }
				}
				b.create(good("nb"))
				b.settle("nb", "InService")
				if tc.tag != "" {
					if err := b.db.Update(t.Context(), func(tx store.Tx) error {
						return tx.PutTags(arnOf(call(), "nb"), map[string]string{idleTag: tc.tag})
					}); err != nil {
						t.Fatal(err)
					}
				}
				said := ""
				for time.Since(begin) < 3*time.Hour && b.describe("nb").NotebookInstanceStatus == "InService" {
					res, err := b.Reconcile(t.Context(), key(account, region, "nb"))
					if err != nil {
						t.Fatal(err)
					}
					said += b.log.last + "\n"
					if b.describe("nb").NotebookInstanceStatus != "InService" {
						break
					}
					if i := b.Idle(t.Context(), account, region, []string{"nb"})["nb"]; time.Since(used) > 2*time.Minute && (i.Since.Sub(used).Abs() > time.Minute || i.Evidence == "") || time.Now().Before(used) && !i.Since.IsZero() {
						t.Fatalf("after %s it is idle as %+v", time.Since(begin), i)
					}
					time.Sleep(res.After)
				}
				d := b.describe("nb")
				if !strings.Contains(said, tc.says) {
					t.Errorf("the log says %s", said)
				}
				if tc.want == 0 {
					if d.NotebookInstanceStatus != "InService" || len(told) != 0 {
						t.Errorf("%s after %s, told %v", d.NotebookInstanceStatus, time.Since(begin), told)
					}
					return
				}
				stopped := time.Now()
				if late := stopped.Sub(used) - tc.want; d.NotebookInstanceStatus != "Stopping" || late < 0 || late > 10*time.Second || d.FailureReason != "" {
					t.Errorf("%s %s after the last use: %q", d.NotebookInstanceStatus, stopped.Sub(used), d.FailureReason)
				}
				if before := stopped.Sub(warned); before < 4*time.Minute || before > 7*time.Minute || !saved.Equal(stopped) || strings.Join(told, " ") != "/warn /save" {
					t.Errorf("warned %s before, saved %s before: %v", before, stopped.Sub(saved), told)
				}
				if len(calls) != 1 || calls[0].Operation != "StopNotebookInstance" || calls[0].Principal.Service != "sagemaker.amazonaws.com" || calls[0].Account != account {
					t.Errorf("recorded %+v", calls)
				}
				if use := b.usage("notebook"); len(use) != 1 || !use[0].End.Equal(stopped) {
					t.Errorf("billed %+v, want to %s", use, stopped)
				}
				if !strings.Contains(b.log.last, "[clary] Stopped, as nobody has used it for") {
					t.Errorf("the log says %q", b.log.last)
				}
				b.settle("nb", "Stopped")
				if i := b.Idle(t.Context(), account, region, []string{"nb"})["nb"]; !i.Stopped.Equal(stopped) || i.Evidence == "" {
					t.Errorf("stopped as %+v", i)
				}
				if err := b.start("nb"); err != nil {
					t.Fatal(err)
				}
				if i := b.Idle(t.Context(), account, region, []string{"nb"}); len(i) != 0 {
					t.Errorf("started again: %+v", i)
				}
			})
		})
	}
}

// TestIdleUsed sees that whoever comes back at the last moment is not stopped,
// and that a stop of which its task did not hear is announced anew.
func TestIdleUsed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		last, back := begin, false
		var warnings []bool
		b := newBench(t, func(k compute.Task) fake.Script {
			return served(k, fake.Agent{
				Sample: func() agent.Sample {
					now := time.Now()
					x := usedAt(now, last, false)
					x.Up, x.Booted = now.Sub(begin)+time.Hour, begin
					return x
				},
				Asked: func(method, path string, body []byte, _ agent.State) {
					switch path {
					case "/warn":
						warnings = append(warnings, strings.Contains(string(body), `"0001-01-01T00:00:00Z"`))
					case "/save":
						if !back {
							back, last = true, time.Now()
						}
					}
				},
			})
		})
		defer b.db.Close()
		b.IdleStop = 20 * time.Minute
		b.deaf = func() error {
			if time.Since(begin) > 14*time.Minute && time.Since(begin) < 40*time.Minute {
				return errors.New("no way in")
			}
			return nil
		}
		b.create(good("nb"))
		b.settle("nb", "InService")
		for time.Since(begin) < 2*time.Hour && b.describe("nb").NotebookInstanceStatus == "InService" {
			res, err := b.Reconcile(t.Context(), key(account, region, "nb"))
			if err != nil {
				t.Fatal(err)
			}
			if res.After > 0 && b.describe("nb").NotebookInstanceStatus == "InService" {
				time.Sleep(res.After)
			}
		}
		// Warned when it can be reached again, taken back, warned once more.
		if passed := time.Since(begin); passed < 64*time.Minute || passed > 67*time.Minute {
			t.Errorf("stopped after %s", passed)
		}
		if len(warnings) != 3 || warnings[0] || !warnings[1] || warnings[2] {
			t.Errorf("warnings taken back: %v", warnings)
		}
	})
}

// TestIdleUntold sees that nothing is stopped whose warning was not taken, or
// that cannot be looked at once more at the end.
func TestIdleUntold(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/warn", "/activity"} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				var heals, warned time.Time
				b := newBench(t, func(k compute.Task) fake.Script {
					a := fake.Agent{Sample: func() agent.Sample {
						x := usedAt(time.Now(), begin, false)
						x.Up, x.Booted = time.Since(begin)+time.Hour, begin
						return x
					}}
					a.Asked = func(_, path string, _ []byte, _ agent.State) {
						switch path {
						case "/warn":
							warned = time.Now()
						case "/save":
							heals = time.Now().Add(10 * time.Minute)
						}
					}
					a.Refuses = func(what string) bool {
						if what != path {
							return false
						}
						return path == "/warn" && time.Since(begin) < time.Hour || path == "/activity" && time.Now().Before(heals)
					}
					return served(k, a)
				})
				defer b.db.Close()
				b.IdleStop = 20 * time.Minute
				b.create(good("nb"))
				b.settle("nb", "InService")
				asked := 0
				for time.Since(begin) < 2*time.Hour && b.describe("nb").NotebookInstanceStatus == "InService" && asked < 2 {
					res, err := b.Reconcile(t.Context(), key(account, region, "nb"))
					if err != nil {
						t.Fatal(err)
					}
					if b.describe("nb").NotebookInstanceStatus != "InService" {
						break
					}
					if path == "/activity" && !heals.IsZero() {
						asked++ // a save that nothing followed
					}
					time.Sleep(res.After)
				}
				in := b.describe("nb").NotebookInstanceStatus == "InService"
				if passed := time.Since(begin); path == "/warn" && (in || passed < 65*time.Minute || time.Since(warned) < 5*time.Minute) {
					t.Errorf("stopped: %t, after %s, %s after the warning was taken", !in, passed, time.Since(warned))
				}
				if path == "/activity" && !in {
					t.Error("stopped unseen")
				}
			})
		})
	}
}

func TestIdleTagIsChecked(t *testing.T) {
	t.Parallel()
	b := newBench(t, lab)
	in := good("nb")
	in.Tags = []api.Tag{{Key: idleTag, Value: "3"}}
	_, err := b.Create(t.Context(), call(), in)
	refused(t, "three minutes", err, "ValidationException", "5 to 10080 minutes, or off, are expected")
}
