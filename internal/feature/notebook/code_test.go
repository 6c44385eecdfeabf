package notebook

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"clary/internal/api"
	apism "clary/internal/api/sagemaker"
	"clary/internal/compute"
	"clary/internal/compute/fake"
	"clary/internal/resource"
	"clary/internal/stage/agent"
	"clary/internal/store"
)

// keeps stores another feature's record.
func (b *bench) keeps(kind resource.Kind, name string, spec any) {
	b.t.Helper()
	raw, err := json.Marshal(spec)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := b.db.Update(b.t.Context(), func(tx store.Tx) error {
		k := resource.Key{Account: account, Region: region, Kind: kind, Name: name}
		r, err := tx.Get(k)
		if err != nil {
			r = &resource.Record{Key: k, UID: resource.NewUID(), Created: time.Now(), Modified: time.Now()}
		}
		r.Spec = raw
		return tx.Put(r)
	}); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) repository(name, url, branch, secret string) {
	b.t.Helper()
	b.keeps(kindRepository, name, apism.CreateCodeRepositoryInput{CodeRepositoryName: name, GitConfig: &apism.GitConfig{RepositoryUrl: url, Branch: branch, SecretArn: secret}})
}

func (b *bench) lifecycle(name, onCreate, onStart string) {
	b.t.Helper()
	hook := func(s string) []apism.NotebookInstanceLifecycleHook {
		if s == "" {
			return nil
		}
		return []apism.NotebookInstanceLifecycleHook{{Content: base64.StdEncoding.EncodeToString([]byte(s)) + "\n"}}
	}
	b.keeps(kindLifecycle, name, apism.CreateNotebookInstanceLifecycleConfigInput{NotebookInstanceLifecycleConfigName: name, OnCreate: hook(onCreate), OnStart: hook(onStart)})
}

// TestCode takes an instance with repositories and scripts through runs of
// which the first ones fail.
func TestCode(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		fails := []agent.Phase{agent.Cloning, agent.Creating, agent.Starting, "", ""}
		run := 0
		b := newBench(t, func(k compute.Task) fake.Script {
			a := fake.Agent{Clone: 6 * time.Minute, Create: 4 * time.Minute, Start: 4 * time.Minute, Lab: 4 * time.Minute, Fails: fails[run], Failure: "because of " + string(fails[run])}
			run++
			return served(k, a)
		})
		defer b.db.Close()
		b.repository("mine", "https://git.example/me/work.git", "dev", "arn:secret")
		b.repository("more", "https://git.example/you/work", "", "")
		b.lifecycle("cfg", "create 1", "start 1")
		in := good("nb")
		in.DefaultCodeRepository, in.AdditionalCodeRepositories, in.LifecycleConfigName = "mine", []string{"https://git.example/x/lib.git/", "more"}, "cfg"
		b.create(in)
		d := b.describe("nb")
		if d.DefaultCodeRepository != "mine" || len(d.AdditionalCodeRepositories) != 2 || d.NotebookInstanceLifecycleConfigName != "cfg" {
			t.Errorf("described: %+v", d)
		}
		settle := func(phase string) *apism.DescribeNotebookInstanceOutput {
			for range 400 {
				if b.look("nb"); b.describe("nb").NotebookInstanceStatus == phase {
					break
				}
				time.Sleep(5 * time.Second)
			}
			d := b.describe("nb")
			if d.NotebookInstanceStatus != phase {
				t.Fatalf("it stays %s, want %s: %s", d.NotebookInstanceStatus, phase, d.FailureReason)
			}
			return d
		}
		fail := func(phase agent.Phase) agent.Order {
			d := settle("Failed")
			if want := "because of " + string(phase); d.FailureReason != want {
				t.Errorf("FailureReason %q, want %q", d.FailureReason, want)
			}
			b.look("nb")
			for range 3 {
				b.look("nb")
			}
			if len(b.world.Running()) != 0 || len(b.usage("notebook")) != 0 {
				t.Errorf("%v run of a failed one", b.world.Running())
			}
			o := fake.Order(b.last)
			if err := b.start("nb"); err != nil {
				t.Fatal(err)
			}
			return o
		}

		o := fail(agent.Cloning)
		want := []agent.Repository{
			{URL: "https://git.example/me/work.git", Branch: "dev", Folder: "work", Secret: "arn:secret"},
			{URL: "https://git.example/x/lib.git/", Folder: "lib"},
			{URL: "https://git.example/you/work", Folder: "work-1"},
		}
		if len(o.Repositories) != 3 || o.Repositories[0] != want[0] || o.Repositories[1] != want[1] || o.Repositories[2] != want[2] {
			t.Errorf("repositories %+v", o.Repositories)
		}
		if o.Open != "work" || o.OnCreate != "create 1" || o.OnStart != "start 1" || !strings.HasSuffix(o.Lifecycle, ":notebook-instance-lifecycle-config/cfg") {
			t.Errorf("order %+v", o)
		}
		// What is changed meanwhile holds from the next start on.
		b.lifecycle("cfg", "create 2", "start 2")
		if o = fail(agent.Creating); o.OnCreate != "create 2" || o.Repositories[0].Cloned {
			t.Errorf("after a failed clone: %+v", o)
		}
		if o = fail(agent.Starting); o.OnCreate != "create 2" || !o.Repositories[0].Cloned || !o.Repositories[2].Cloned || o.Repositories[2].Folder != "work-1" {
			t.Errorf("after a failed OnCreate: %+v", o)
		}
		settle("InService")
		if o = fake.Order(b.last); o.OnCreate != "" || o.OnStart != "start 2" || o.Repositories[0].Secret != "arn:secret" || !o.Repositories[0].Cloned {
			t.Errorf("after a failed OnStart: %+v", o)
		}

		if err := b.stop("nb"); err != nil {
			t.Fatal(err)
		}
		settle("Stopped")
		yes := api.Ptr(true)
		if err := b.update(&apism.UpdateNotebookInstanceInput{
			NotebookInstanceName: "nb", DisassociateLifecycleConfig: yes, DisassociateDefaultCodeRepository: yes, AdditionalCodeRepositories: []string{"https://other.example/work"},
		}); err != nil {
			t.Fatal(err)
		}
		if d := settle("Stopped"); d.DefaultCodeRepository != "" || d.NotebookInstanceLifecycleConfigName != "" || strings.Join(d.AdditionalCodeRepositories, " ") != "https://other.example/work" {
			t.Errorf("updated: %+v", d)
		}
		if err := b.start("nb"); err != nil {
			t.Fatal(err)
		}
		settle("InService")
		if o = fake.Order(b.last); o.OnStart != "" || o.Open != "" || len(o.Repositories) != 1 || o.Repositories[0].Folder != "work-2" || o.Repositories[0].Cloned {
			t.Errorf("order after the update: %+v", o)
		}
	})
}

// TestCodeAnew sees that a folder is free again whose repository was never
// cloned, that an instance which was in service is not created again, and that
// what was known of a run's use ends with it.
func TestCodeAnew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		fails := agent.Cloning
		b := newBench(t, func(k compute.Task) fake.Script {
			return served(k, fake.Agent{Fails: fails, Sample: func() agent.Sample { return usedAt(time.Now(), time.Now(), false) }})
		})
		defer b.db.Close()
		b.lifecycle("cfg", "create", "")
		in := good("nb")
		in.DefaultCodeRepository, in.LifecycleConfigName = "https://git.example/a/x", "cfg"
		b.create(in)
		b.settle("nb", "Failed")
		if o := fake.Order(b.last); o.OnCreate != "create" || o.Repositories[0].Folder != "x" {
			t.Errorf("order %+v", o)
		}
		if err := b.update(&apism.UpdateNotebookInstanceInput{NotebookInstanceName: "nb", DefaultCodeRepository: "https://git.example/b/x"}); err != nil {
			t.Fatal(err)
		}
		b.settle("nb", "Stopped")
		fails = ""
		b.edit("nb", func(st *status) { st.Bills = 1 }, phaseStopped)
		if err := b.start("nb"); err != nil {
			t.Fatal(err)
		}
		b.settle("nb", "InService")
		if o := fake.Order(b.last); o.OnCreate != "" || len(o.Repositories) != 1 || o.Repositories[0].Folder != "x" || o.Repositories[0].URL != "https://git.example/b/x" {
			t.Errorf("order %+v", o)
		}
		b.look("nb")
		b.edit("nb", func(st *status) {
			if st.Idle == nil {
				t.Error("nobody looked at how it is used")
			}
			if st.run("u", time.Now()); st.Idle != nil || st.Told != 0 || st.Agent || st.Step != "" {
				t.Errorf("a new run begins with %+v", st)
			}
		}, phaseInService)
	})
}

// TestCodeGone sees what becomes of an instance whose repository or lifecycle
// configuration is no more when it starts.
func TestCodeGone(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		kind   resource.Kind
		spoil  bool
		reason string
	}{
		"repository":           {kindRepository, false, "Cannot find CodeRepository: arn:aws:sagemaker:us-east-1:123456789012:code-repository/x"},
		"lifecycle":            {kindLifecycle, false, "Notebook Instance Lifecycle Config does not exist"},
		"a folder of no name":  {kindRepository, true, "The URL of the code repository x names no Git repository"},
		"a script in no words": {kindLifecycle, true, "OnStart script of arn:aws:sagemaker:us-east-1:123456789012:notebook-instance-lifecycle-config/x cannot be read"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, lab)
				defer b.db.Close()
				b.repository("x", "https://git.example/x", "", "")
				b.lifecycle("x", "", "true")
				in := good("nb")
				in.DefaultCodeRepository, in.LifecycleConfigName = "x", "x"
				b.create(in)
				if tc.spoil && tc.kind == kindRepository {
					b.repository("x", "https://git.example", "", "")
				} else if tc.spoil {
					b.keeps(tc.kind, "x", apism.CreateNotebookInstanceLifecycleConfigInput{OnStart: []apism.NotebookInstanceLifecycleHook{{Content: "?"}}})
				} else if err := b.db.Update(t.Context(), func(tx store.Tx) error {
					return tx.Delete(resource.Key{Account: account, Region: region, Kind: tc.kind, Name: "x"})
				}); err != nil {
					t.Fatal(err)
				}
				if d := b.settle("nb", "Failed"); !strings.Contains(d.FailureReason, tc.reason) {
					t.Errorf("FailureReason %q", d.FailureReason)
				}
				if len(b.world.Running()) != 0 {
					t.Error("it runs")
				}
			})
		})
	}
}

func TestListByCode(t *testing.T) {
	t.Parallel()
	b := newBench(t, lab)
	b.lifecycle("Cfg-1", "", "")
	for i, name := range []string{"a", "b", "c", "d", "e"} {
		in := good(name)
		if i%2 == 0 {
			in.LifecycleConfigName, in.DefaultCodeRepository = "Cfg-1", "https://git.example/"+name+"/Work"
		}
		if i > 1 {
			in.AdditionalCodeRepositories = []string{"https://x/1", "https://x/" + name}
		}
		b.create(in)
	}
	for what, tc := range map[string]struct {
		in   apism.ListNotebookInstancesInput
		want string
	}{
		"lifecycle":          {apism.ListNotebookInstancesInput{NotebookInstanceLifecycleConfigNameContains: "fg-1"}, "ac e"},
		"no lifecycle":       {apism.ListNotebookInstancesInput{NotebookInstanceLifecycleConfigNameContains: "x"}, ""},
		"repository":         {apism.ListNotebookInstancesInput{DefaultCodeRepositoryContains: "/c/work"}, "c"},
		"another":            {apism.ListNotebookInstancesInput{AdditionalCodeRepositoryEquals: "https://x/1"}, "cd e"},
		"another, exactly":   {apism.ListNotebookInstancesInput{AdditionalCodeRepositoryEquals: "https://x/"}, ""},
		"all of them at one": {apism.ListNotebookInstancesInput{AdditionalCodeRepositoryEquals: "https://x/e", NotebookInstanceLifecycleConfigNameContains: "Cfg", DefaultCodeRepositoryContains: "work"}, "e"},
	} {
		var pages []string
		tc.in.MaxResults = api.Ptr[int64](2)
		for {
			out, err := b.List(t.Context(), call(), &tc.in)
			if err != nil {
				t.Fatal(err)
			}
			page := ""
			for _, s := range out.NotebookInstances {
				page += s.NotebookInstanceName
				if s.NotebookInstanceName == "e" && (s.NotebookInstanceLifecycleConfigName != "Cfg-1" || s.DefaultCodeRepository != "https://git.example/e/Work" || len(s.AdditionalCodeRepositories) != 2) {
					t.Errorf("summary %+v", s)
				}
			}
			pages = append(pages, page)
			if tc.in.NextToken = out.NextToken; tc.in.NextToken == "" {
				break
			}
		}
		if got := strings.Join(pages, " "); got != tc.want {
			t.Errorf("%s: %q, want %q", what, got, tc.want)
		}
	}
}

func TestFolderOf(t *testing.T) {
	t.Parallel()
	for source, want := range map[string]string{
		"https://h/a/b.git": "b", "https://h/a/b": "b", "https://h/b.git/": "b", "https://h/a/b/.git": "b", "https://h": "", "https://h/": "", "https://h/..": "",
		"https://h/a%20b": "a%20b", "https://h:8443/x/y.z": "y.z", "https://h/.git": "", "https://h/.git.git": "", "https://h/.x": "", "https://h/lost+found": "",
	} {
		if got := folderOf(source); got != want {
			t.Errorf("%s: %q, want %q", source, got, want)
		}
	}
}
