package catalog

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"clary/internal/compute"
	"clary/internal/compute/fake"
	"clary/internal/runtimes"
	"clary/internal/stage/plan"
)

const sklearn = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3"

// site is a data folder with a world of tasks that outlives its catalogs.
type site struct {
	t     *testing.T
	dir   string
	world *fake.World
}

// newSite makes builds that go as script says. Where a build succeeds, its
// environment is there when its task has started.
func newSite(t *testing.T, script fake.Script) *site {
	s := &site{t: t, dir: filepath.Join(t.TempDir(), "runtimes")}
	s.world = fake.NewWorld(func(task compute.Task) fake.Script {
		for _, m := range task.Mounts {
			if m.Path == "/opt/clary/env" && script.Result.ExitCode == 0 {
				if err := os.WriteFile(filepath.Join(m.Host, "pyvenv.cfg"), []byte("x"), 0o666); err != nil {
					t.Error(err)
				}
			}
		}
		return script
	}, nil)
	return s
}

func (s *site) open() *Catalog {
	s.t.Helper()
	c, err := New(Config{
		Dir: s.dir, Driver: s.world.Driver(),
		Pythons: func(context.Context) []Python { return []Python{system311} },
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

func (s *site) resolve(c *Catalog) runtimes.Runtime {
	s.t.Helper()
	rt, err := c.Resolve(s.t.Context(), sklearn)
	if err != nil {
		s.t.Fatal(err)
	}
	return rt
}

func (s *site) notebook(c *Catalog) runtimes.Runtime {
	s.t.Helper()
	rt, err := c.Notebook(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	return rt
}

func (s *site) ensure(c *Catalog, rt runtimes.Runtime) runtimes.State {
	s.t.Helper()
	st, err := c.Ensure(s.t.Context(), rt)
	if err != nil {
		s.t.Fatal(err)
	}
	return st
}

func (s *site) tasks() int {
	s.t.Helper()
	ids, err := s.world.Driver().List(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	for _, id := range ids {
		if !IsBuild(id) || len(id) > 40 {
			s.t.Errorf("task %s", id)
		}
	}
	return len(ids)
}

func TestBuildOnceForAll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, fake.Script{Run: 10 * time.Second, Output: []string{"fetching uv from pypi.org", "installing 25 packages"}})
		c := s.open()
		rt := s.resolve(c)
		if rt.Title != "scikit-learn 1.2.1, Python 3.11" || rt.Note != "" || !rt.ScriptMode || rt.Env["SAGEMAKER_TRAINING_MODULE"] == "" {
			t.Errorf("%+v", rt)
		}
		for range 3 {
			if st := s.ensure(c, rt); st.Ready || st.Failed != "" || st.Progress == "" {
				t.Errorf("%+v", st)
			}
		}
		time.Sleep(9 * time.Second)
		synctest.Wait()
		if st := s.ensure(c, rt); st.Progress != "installing 25 packages" {
			t.Errorf("%+v", st)
		}
		if n := s.tasks(); n != 1 {
			t.Errorf("%d tasks", n)
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		st := s.ensure(c, rt)
		if !st.Ready || st.Image.Env != filepath.Join(s.dir, rt.ID, "env") || st.Image.Path[0] != compute.EnvPath+"/bin" {
			t.Errorf("%+v", st)
		}
		if fi, err := os.Stat(filepath.Join(st.Image.Env, "pyvenv.cfg")); err != nil || fi.Mode().Perm()&0o022 != 0 {
			t.Errorf("%v, %v", fi, err)
		}
		if n := s.tasks(); n != 0 {
			t.Errorf("%d tasks left", n)
		}
		c.Close()

		// it is there for the next server, at once
		c = s.open()
		defer c.Close()
		if st := s.ensure(c, s.resolve(c)); !st.Ready {
			t.Errorf("%+v", st)
		}
	})
}

func TestFailureIsToldAndTriedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, fake.Script{Run: time.Second, Output: []string{"fetching uv from pypi.org", "cannot fetch uv: pypi.org cannot be reached"}, Result: plan.Result{ExitCode: 1}})
		c := s.open()
		defer c.Close()
		rt := s.resolve(c)
		s.ensure(c, rt)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		for range 2 { // everyone who waited hears it
			if st := s.ensure(c, rt); !strings.Contains(st.Failed, "pypi.org cannot be reached") {
				t.Errorf("%+v", st)
			}
		}
		if n := s.tasks(); n != 0 {
			t.Errorf("%d tasks left", n)
		}
		time.Sleep(failureStays)
		if st := s.ensure(c, rt); st.Failed != "" || st.Progress == "" {
			t.Errorf("not tried again: %+v", st)
		}
		synctest.Wait()
		if n := s.tasks(); n != 1 {
			t.Errorf("%d tasks", n)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
	})
}

func TestReasonsInWords(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		script fake.Script
		want   string
	}{
		{fake.Script{Run: time.Second, Reason: compute.ReasonMemory, Result: plan.Result{ExitCode: 137}}, "not enough memory"},
		{fake.Script{Forever: true}, "it took longer than 30m"},
		{fake.Script{Forever: true, Lost: 3 * time.Second}, "ended meanwhile"},
		{fake.Script{Run: time.Second, Reason: compute.ReasonFailed, Result: plan.Result{ExitCode: -1, Failure: "no user namespaces"}}, "no user namespaces"},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t, tt.script)
			c := s.open()
			defer c.Close()
			rt := s.resolve(c)
			s.ensure(c, rt)
			for range 40 * 60 {
				time.Sleep(time.Second)
				synctest.Wait()
				if st := s.ensure(c, rt); st.Failed != "" {
					if !strings.Contains(st.Failed, tt.want) {
						t.Errorf("%q, want %q", st.Failed, tt.want)
					}
					return
				}
			}
			t.Errorf("%q never came", tt.want)
		})
	}
}

func TestServerRestartsDuringABuild(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, fake.Script{Run: 10 * time.Second})
		c := s.open()
		rt := s.resolve(c)
		s.ensure(c, rt)
		time.Sleep(3 * time.Second)
		synctest.Wait()
		c.Close()
		c = s.open()
		if st := s.ensure(c, rt); st.Ready || st.Failed != "" {
			t.Errorf("%+v", st)
		}
		if n := s.tasks(); n != 1 {
			t.Errorf("%d tasks", n)
		}
		c.Close()
		time.Sleep(20 * time.Second) // the build ends with no server there
		c = s.open()
		defer c.Close()
		synctest.Wait()
		if st := s.ensure(c, rt); !st.Ready {
			t.Errorf("%+v", st)
		}
		if n := s.tasks(); n != 0 {
			t.Errorf("%d tasks left", n)
		}
	})
}

// A crash may come after the record and before the task, or after the work.
func TestCrashesLeaveNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, fake.Script{Run: time.Second})
		c := s.open()
		rt := s.resolve(c)
		c.Close()
		r := record{ID: rt.ID, Task: "build-x-y", Recipe: rt.Recipe, Title: rt.Title, Python: system311}
		if err := writeDurable(c.recordFile(rt.ID), r); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Join(c.work(rt.ID), "env", "half"), 0o755); err != nil {
			t.Fatal(err)
		}
		c = s.open()
		defer c.Close()
		if _, err := os.Stat(c.recordFile(rt.ID)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the record stays: %v", err)
		}
		if _, err := os.Stat(c.work(rt.ID)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the work stays: %v", err)
		}
		s.ensure(c, rt)
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if st := s.ensure(c, rt); !st.Ready {
			t.Errorf("%+v", st)
		}
	})
}

// TestSlowSearch has interpreters that take long to look at: who waits for them
// may give up, and so may the server.
func TestSlowSearch(t *testing.T) {
	t.Parallel()
	s := newSite(t, fake.Script{})
	begun := make(chan struct{})
	c, err := New(Config{Dir: s.dir, Driver: s.world.Driver(), Pythons: func(ctx context.Context) []Python {
		close(begun)
		<-ctx.Done()
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	c.Prepare()
	<-begun
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Resolve(ctx, "python:3.11"); !errors.Is(err, context.Canceled) {
		t.Errorf("whoever gave up: %v", err)
	}
	if rt, err := c.Notebook(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("whoever gave up: %+v, %v", rt, err)
	}
	if st, err := c.Ensure(ctx, runtimes.Runtime{}); !errors.Is(err, context.Canceled) || st.Failed != "" {
		t.Errorf("whoever gave up: %+v, %v", st, err)
	}
	c.Close()
	if st, err := c.Ensure(t.Context(), runtimes.Runtime{}); err == nil {
		t.Errorf("a search that was cut short says %+v", st)
	}
}

// TestSearchIsNobodysTurn has whoever waits for the search hold up nobody else.
func TestSearchIsNobodysTurn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, fake.Script{})
		c, err := New(Config{Dir: s.dir, Driver: s.world.Driver(), Pythons: func(ctx context.Context) []Python {
			<-ctx.Done()
			return nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.Prepare()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go c.Ensure(ctx, runtimes.Runtime{ID: "a", Recipe: scikitLearn}) //nolint:errcheck // only waits
		synctest.Wait()
		if !c.mu.TryLock() {
			t.Fatal("the builds are locked as long as the search takes")
		}
		c.mu.Unlock()
	})
}

// TestSearchAfterClose asks for interpreters for the first time when the catalog
// is closed: nothing begins any more, and nobody waits for it.
func TestSearchAfterClose(t *testing.T) {
	t.Parallel()
	s := newSite(t, fake.Script{})
	c, err := New(Config{Dir: s.dir, Driver: s.world.Driver(), Pythons: func(context.Context) []Python {
		t.Error("a search has begun")
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	if rt, err := c.Resolve(t.Context(), "python:3.11"); !errors.Is(err, context.Canceled) {
		t.Errorf("%+v, %v", rt, err)
	}
	c.Close()
}

func TestNoRoomYet(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var room atomic.Bool
		s := newSite(t, fake.Script{Run: time.Second})
		s.world = fake.NewWorld(func(task compute.Task) fake.Script {
			if err := os.WriteFile(filepath.Join(task.Mounts[1].Host, "pyvenv.cfg"), nil, 0o666); err != nil {
				t.Error(err)
			}
			return fake.Script{Run: time.Second}
		}, func(op string, _ compute.TaskID, after bool) error {
			if op == "Start" && !room.Load() && !after {
				return compute.ErrCapacity
			}
			return nil
		})
		c := s.open()
		defer c.Close()
		rt := s.resolve(c)
		s.ensure(c, rt)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if st := s.ensure(c, rt); !strings.Contains(st.Progress, "waiting for room") {
			t.Errorf("%+v", st)
		}
		room.Store(true)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if st := s.ensure(c, rt); !st.Ready {
			t.Errorf("%+v", st)
		}
	})
}

func TestNoPython(t *testing.T) {
	t.Parallel()
	s := newSite(t, fake.Script{})
	c, err := New(Config{Dir: s.dir, Driver: s.world.Driver(), Pythons: func(context.Context) []Python { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if st := s.ensure(c, s.resolve(c)); !strings.Contains(st.Failed, "sudo apt-get install -y python3") {
		t.Errorf("%+v", st)
	}
}

func TestJobsSeeTheHostsIndex(t *testing.T) {
	t.Parallel()
	s := newSite(t, fake.Script{})
	env := map[string]string{"PIP_INDEX_URL": "https://mirror.example/simple", "SSL_CERT_FILE": "/etc/ssl/certs/ca-certificates.crt", "PIP_CERT": "/home/me/ca.pem", "UV_DEFAULT_INDEX": "https://me:secret@mirror.example/simple"}
	c, err := New(Config{
		Dir: s.dir, Driver: s.world.Driver(), Environ: func(k string) string { return env[k] },
		Pythons: func(context.Context) []Python { return []Python{home311} },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	rt := s.resolve(c)
	if rt.Env["PIP_INDEX_URL"] == "" || rt.Env["SSL_CERT_FILE"] == "" || rt.Env["PIP_CERT"] != "" || rt.Env["UV_DEFAULT_INDEX"] != "" {
		t.Errorf("%q", rt.Env)
	}
	if len(rt.Image.Binds) != 1 || rt.Image.Binds[0] != home311.Prefix {
		t.Errorf("%+v", rt.Image)
	}
	task := c.task(record{ID: rt.ID, Task: "build-x", Python: home311})
	if task.Env["UV_DEFAULT_INDEX"] == "" || len(task.Image.Binds) != 1 || !task.Network.Egress || task.Identity != (compute.Identity{}) {
		t.Errorf("%+v", task)
	}
}

func TestFindPythons(t *testing.T) {
	t.Parallel()
	found := FindPythons(t.Context())
	if len(found) == 0 {
		t.Fatal("these tests need python3")
	}
	for _, p := range found {
		if !filepath.IsAbs(p.Path) || !filepath.IsAbs(p.Prefix) || p.Minor < 6 || !strings.HasPrefix(p.Version, "3.") {
			t.Errorf("%+v", p)
		}
	}
	t.Log(found)
}

// A notebook's runtime is built of all its locks, and named by them.
func TestNotebookRuntime(t *testing.T) {
	t.Parallel()
	ids := map[string]bool{}
	for _, p := range []Python{system311, home312, system313, system314} {
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t, fake.Script{Run: time.Second})
			var built map[string]bool
			s.world = fake.NewWorld(func(task compute.Task) fake.Script {
				built = map[string]bool{}
				for _, m := range task.Mounts {
					entries, _ := os.ReadDir(m.Host)
					for _, e := range entries {
						built[e.Name()] = true
					}
					if m.Path == "/opt/clary/env" {
						if err := os.WriteFile(filepath.Join(m.Host, "pyvenv.cfg"), nil, 0o666); err != nil {
							t.Error(err)
						}
					}
				}
				return fake.Script{Run: time.Second}
			}, nil)
			c, err := New(Config{Dir: s.dir, Driver: s.world.Driver(), Pythons: func(context.Context) []Python { return []Python{p} }})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			rt := s.notebook(c)
			if ids[rt.ID] || rt.ID == "" || rt.Note != "" || rt.Train != nil || len(rt.Serve) != 2 || rt.Env["PIP_NO_CACHE_DIR"] != "1" ||
				!strings.HasPrefix(rt.Title, "JupyterLab 4.") || !strings.Contains(rt.Title, "SageMaker SDK 2.257.7, Python 3.") {
				t.Errorf("%+v", rt)
			}
			ids[rt.ID] = true
			s.ensure(c, rt)
			time.Sleep(5 * time.Second)
			synctest.Wait()
			if st := s.ensure(c, rt); !st.Ready {
				t.Errorf("%+v", st)
			}
			if !built["kernel-python3.txt"] || !built["lock.txt"] || !built["uv.txt"] || built["offer-scikit_learn_1_2.txt"] != (p.Minor == 11) {
				t.Errorf("Python 3.%d is built of %v", p.Minor, built)
			}
		})
	}
}

func TestNotebookNeedsAPython(t *testing.T) {
	t.Parallel()
	s := newSite(t, fake.Script{})
	c, err := New(Config{Dir: s.dir, Driver: s.world.Driver(), Pythons: func(context.Context) []Python { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if st := s.ensure(c, s.notebook(c)); !strings.Contains(st.Failed, "no Python 3.11") {
		t.Errorf("%+v", st)
	}
}
