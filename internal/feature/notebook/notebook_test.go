package notebook

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"clary/internal/api"
	apism "clary/internal/api/sagemaker"
	"clary/internal/aws/apierr"
	"clary/internal/aws/op"
	"clary/internal/compute"
	"clary/internal/compute/fake"
	"clary/internal/identity"
	"clary/internal/logs"
	"clary/internal/resource"
	"clary/internal/runtimes"
	"clary/internal/store"
	"clary/internal/store/sqlite"
)

const (
	account = "123456789012"
	region  = "us-east-1"
	role    = "arn:aws:iam::123456789012:role/Role"
)

// people allow everything but to pass one role, and make sessions of nothing.
type people struct{ gone bool }

func (*people) Allow(context.Context, resource.Principal, string, string) error { return nil }

func (*people) PassRole(_ context.Context, _ resource.Principal, role, _ string) error {
	if strings.HasSuffix(role, "/Forbidden") {
		return apierr.AccessDenied("not that one")
	}
	return nil
}

func (p *people) Assume(_ context.Context, _, _ string, d time.Duration) (identity.Credentials, error) {
	if p.gone {
		return identity.Credentials{}, apierr.New(404, "NoSuchEntity", "The role with name Role cannot be found.")
	}
	return identity.Credentials{Expiration: time.Now().Add(d)}, nil
}

// builder has the notebooks' runtime once it is asked a second time.
type builder struct{ asked int }

func (*builder) Notebook(context.Context) (runtimes.Runtime, error) {
	return runtimes.Runtime{ID: "x", Title: "JupyterLab", Serve: []string{"serve-notebook"}, Env: map[string]string{"A": "b"}}, nil
}

func (b *builder) Ensure(context.Context, runtimes.Runtime) (runtimes.State, error) {
	b.asked++
	return runtimes.State{Ready: b.asked > 1, Progress: "installing 3 packages"}, nil
}

// searching is a catalog that looks for interpreters until nobody waits for them.
type searching struct {
	builder
	begun chan struct{}
}

func (s *searching) Notebook(ctx context.Context) (runtimes.Runtime, error) {
	close(s.begun)
	<-ctx.Done()
	return runtimes.Runtime{}, ctx.Err()
}

// allIn says that every output is in.
type allIn struct{}

func (allIn) Ensure(compute.TaskID, logs.Stream, ...logs.Side) error { return nil }
func (allIn) Forget(compute.TaskID)                                  {}

func (allIn) Done(context.Context, compute.TaskID, logs.Stream, int64) (bool, error) {
	return true, nil
}

// noLogs takes lines of ours and keeps the last.
type noLogs struct {
	logs.Store
	last string
}

func (n *noLogs) Ingest(_ context.Context, _ logs.Stream, _ string, _, _ int64, lines []logs.Event) error {
	n.last = lines[len(lines)-1].Message
	return nil
}

// door notes who was let in, and when it was shut.
type door struct {
	life time.Duration
	shut int
}

func (d *door) URL(_ context.Context, _ op.Call, rec *resource.Record, life time.Duration) (string, error) {
	d.life = life
	return "http://" + rec.UID + "/?authToken=x", nil
}

func (d *door) Close(context.Context, string) error { d.shut++; return nil }

// bench is the feature on a store and a world of its own.
type bench struct {
	*Notebooks
	t     *testing.T
	db    *sqlite.Store
	world *fake.World
	who   *people
	door  *door
	log   *noLogs
	shelf *shelf
	last  compute.Task
	// trouble is what the driver answers to every call, and deaf to a dial.
	trouble error
	deaf    func() error
	begins  error // of Start alone
}

// lab is a JupyterLab that answers three seconds after its start.
func lab(k compute.Task) fake.Script { return served(k, fake.Agent{Lab: 2 * time.Second}) }

// served is an instance whose first process is a certain one.
func served(k compute.Task, a fake.Agent) fake.Script {
	return fake.Script{
		Delay: time.Second, Forever: true,
		Serve: a.Ports(k, time.Second, runtimes.NotebookPort, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/api/status" {
				w.WriteHeader(http.StatusNotFound)
			}
		})),
	}
}

func newBench(t *testing.T, script func(compute.Task) fake.Script) *bench {
	t.Helper()
	db, err := sqlite.Open(filepath.Join(t.TempDir(), "clary.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, db: db, who: &people{}, door: &door{}, log: &noLogs{}, shelf: &shelf{objects: map[string]string{}}}
	b.world = fake.NewWorld(func(k compute.Task) fake.Script { b.last = k; return script(k) },
		func(what string, _ compute.TaskID, _ bool) error {
			switch {
			case what == "Dial" && b.deaf != nil:
				return b.deaf()
			case what == "Start" && b.begins != nil:
				return b.begins
			}
			return b.trouble
		})
	b.Notebooks = New(Config{
		Store: db, Driver: b.world.Driver(), Catalog: &builder{}, Output: allIn{}, Logs: b.log, Auth: b.who, Sessions: b.who, Door: b.door, Keeper: b.shelf,
		Egress: true, Wake: func(resource.Key) {}, Free: func() error { return nil }, Site: func(uid string) string { return "nb-" + uid + ".localhost:1" },
	})
	t.Cleanup(func() { _ = db.Close() })
	return b
}

func call() op.Call {
	return op.Call{Account: account, Region: region, Principal: resource.Principal{Account: account, Root: true}, Received: time.Now()}
}

func good(name string) *request {
	return &request{NotebookInstanceName: name, InstanceType: "ml.t3.medium", RoleArn: role}
}

// look lets the reconciler take one step.
func (b *bench) look(name string) {
	b.t.Helper()
	if _, err := b.Reconcile(b.t.Context(), key(account, region, name)); err != nil {
		b.t.Fatal(err)
	}
}

// settle looks until the status is the wanted one.
func (b *bench) settle(name, phase string) *apism.DescribeNotebookInstanceOutput {
	b.t.Helper()
	var d *apism.DescribeNotebookInstanceOutput
	for range 200 {
		b.look(name)
		d = b.describe(name)
		if d.NotebookInstanceStatus == phase {
			return d
		}
		time.Sleep(100 * time.Millisecond) // of the bubble
	}
	b.t.Fatalf("%s stays %s, want %s: %s", name, d.NotebookInstanceStatus, phase, d.FailureReason)
	return nil
}

func (b *bench) describe(name string) *apism.DescribeNotebookInstanceOutput {
	b.t.Helper()
	d, err := b.Describe(b.t.Context(), call(), &apism.DescribeNotebookInstanceInput{NotebookInstanceName: name})
	if err != nil {
		b.t.Fatal(err)
	}
	return d
}

// usage are the intervals of a component.
func (b *bench) usage(component string) []resource.Usage {
	b.t.Helper()
	all, err := b.db.ListUsage(b.t.Context(), resource.UsageQuery{Account: account})
	if err != nil {
		b.t.Fatal(err)
	}
	var out []resource.Usage
	for _, u := range all {
		if u.Component == component {
			out = append(out, u)
		}
	}
	return out
}

func (b *bench) do(f func(ctx context.Context, c op.Call) error) {
	b.t.Helper()
	if err := f(b.t.Context(), call()); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) create(in *request) {
	b.t.Helper()
	b.do(func(ctx context.Context, c op.Call) error { _, err := b.Create(ctx, c, in); return err })
}

func (b *bench) start(name string) error {
	_, err := b.Start(b.t.Context(), call(), &apism.StartNotebookInstanceInput{NotebookInstanceName: name})
	return err
}

func (b *bench) stop(name string) error {
	_, err := b.Stop(b.t.Context(), call(), &apism.StopNotebookInstanceInput{NotebookInstanceName: name})
	return err
}

func (b *bench) erase(name string) error {
	_, err := b.Delete(b.t.Context(), call(), &apism.DeleteNotebookInstanceInput{NotebookInstanceName: name})
	return err
}

func (b *bench) update(in *apism.UpdateNotebookInstanceInput) error {
	_, err := b.Update(b.t.Context(), call(), in)
	return err
}

func (b *bench) presign(name string, seconds *int64) (string, error) {
	out, err := b.Presign(b.t.Context(), call(), &apism.CreatePresignedNotebookInstanceUrlInput{NotebookInstanceName: name, SessionExpirationDurationInSeconds: seconds})
	if err != nil {
		return "", err
	}
	return out.AuthorizedUrl, nil
}

func refused(t *testing.T, what string, err error, code, text string) {
	t.Helper()
	e, ok := errors.AsType[*apierr.Error](err)
	if !ok || e.Code != code || e.Status != 400 || !strings.Contains(e.Message, text) {
		t.Errorf("%s: %v, want %s with %q", what, err, code, text)
	}
}

// TestLife takes a notebook through its whole life in a bubble's time.
func TestLife(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, lab)
		defer b.db.Close()
		began := time.Now()
		b.create(good("My-Nb"))
		d := b.describe("My-Nb")
		if d.NotebookInstanceStatus != "Pending" || d.NotebookInstanceArn != "arn:aws:sagemaker:us-east-1:123456789012:notebook-instance/my-nb" ||
			*d.VolumeSizeInGB != 5 || d.DirectInternetAccess != "Enabled" || d.RootAccess != "Enabled" || d.PlatformIdentifier != "notebook-al2023-v1" ||
			d.InstanceMetadataServiceConfiguration.MinimumInstanceMetadataServiceVersion != "1" || d.IpAddressType != "ipv4" || !strings.HasPrefix(d.Url, "nb-") || d.NetworkInterfaceId != "" {
			t.Errorf("just made: %+v", d)
		}
		refused(t, "stop while Pending", b.stop("My-Nb"), "ValidationException", "Status (Pending) not in ([InService]). Unable to transition to (Stopping) for Notebook Instance (arn:")
		refused(t, "delete while Pending", b.erase("My-Nb"), "ValidationException", "Status (Pending) not in ([Stopped, Failed]). Unable to transition to (Deleting)")
		_, err := b.presign("My-Nb", nil)
		refused(t, "presign while Pending", err, "ValidationException", "Status (Pending)")
		b.look("My-Nb")
		if !strings.Contains(b.log.last, "installing 3 packages") {
			t.Errorf("the log says %q", b.log.last)
		}

		b.settle("My-Nb", "InService")
		ready := time.Now()
		if passed := ready.Sub(began); passed < 3*time.Second || passed > 4*time.Second {
			t.Errorf("in service after %s", passed)
		}
		b.judgeTask()
		if use := b.usage("notebook"); len(use) != 1 || !use[0].Start.Equal(ready) || !use[0].End.IsZero() || use[0].InstanceType != "ml.t3.medium" {
			t.Errorf("compute %+v", use)
		}
		url, err := b.presign("My-Nb", nil)
		if err != nil || !strings.HasPrefix(url, "http://") || b.door.life != 12*time.Hour {
			t.Errorf("%s for %s, %v", url, b.door.life, err)
		}
		if _, err := b.presign("My-Nb", api.Ptr[int64](1800)); err != nil || b.door.life != 30*time.Minute {
			t.Errorf("for %s, %v", b.door.life, err)
		}
		refused(t, "start while InService", b.start("My-Nb"), "ValidationException", "Status (InService) not in ([Stopped, Failed]). Unable to transition to (Pending)")
		refused(t, "update while InService", b.update(&apism.UpdateNotebookInstanceInput{NotebookInstanceName: "My-Nb"}), "ValidationException", "Unable to transition to (Updating)")

		rec, err := b.db.Get(t.Context(), key(account, region, "My-Nb"))
		if err != nil {
			t.Fatal(err)
		}
		if err := b.world.Put(compute.VolumeID(rec.UID), "work.ipynb", "mine"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(90 * time.Second)
		if err := b.stop("My-Nb"); err != nil {
			t.Fatal(err)
		}
		if use := b.usage("notebook"); use[0].End.Sub(use[0].Start) != 90*time.Second {
			t.Errorf("stopped after 90 s, billed %s", use[0].End.Sub(use[0].Start))
		}
		b.settle("My-Nb", "Stopped")
		if b.door.shut != 1 || len(b.world.Running()) != 0 {
			t.Errorf("stopped with %d sessions ended and %v running", b.door.shut, b.world.Running())
		}

		refused(t, "a smaller volume", b.update(&apism.UpdateNotebookInstanceInput{NotebookInstanceName: "My-Nb", VolumeSizeInGB: api.Ptr[int64](4)}), "ValidationException", "cannot be made smaller")
		if err := b.update(&apism.UpdateNotebookInstanceInput{NotebookInstanceName: "My-Nb", VolumeSizeInGB: api.Ptr[int64](8), InstanceType: "ml.t3.large", RootAccess: "Disabled"}); err != nil {
			t.Fatal(err)
		}
		if d := b.describe("My-Nb"); d.NotebookInstanceStatus != "Updating" {
			t.Errorf("updated: %s", d.NotebookInstanceStatus)
		}
		grown := time.Now()
		b.settle("My-Nb", "Stopped")
		if bytes, files, ok := b.world.Volume(compute.VolumeID(rec.UID)); !ok || bytes != 8<<30 || files["work.ipynb"] != "mine" {
			t.Errorf("the volume has %d bytes, holds %v", bytes, files)
		}
		if use := b.usage("notebook-volume"); len(use) != 2 || use[0].Quantity != 5 || !use[0].Start.Equal(began) || !use[0].End.Equal(grown) || use[1].Quantity != 8 || !use[1].Start.Equal(grown) || !use[1].End.IsZero() {
			t.Errorf("volume %+v", use)
		}

		if err := b.start("My-Nb"); err != nil {
			t.Fatal(err)
		}
		if d := b.settle("My-Nb", "InService"); d.InstanceType != "ml.t3.large" || fake.Order(b.last).Root || !strings.HasSuffix(string(b.last.ID), "-2") {
			t.Errorf("started again as %s in %s", d.InstanceType, b.last.ID)
		}
		if use := b.usage("notebook"); len(use) != 2 || use[1].InstanceType != "ml.t3.large" {
			t.Errorf("compute %+v", use)
		}
		if err := b.stop("My-Nb"); err != nil {
			t.Fatal(err)
		}
		b.settle("My-Nb", "Stopped")
		if err := b.erase("My-Nb"); err != nil {
			t.Fatal(err)
		}
		gone := time.Now()
		b.vanish("My-Nb")
		if len(b.shelf.objects) != 0 {
			t.Errorf("of an instance with nothing worth keeping there are %v", b.shelf.objects)
		}
		_, err = b.Describe(t.Context(), call(), &apism.DescribeNotebookInstanceInput{NotebookInstanceName: "My-Nb"})
		refused(t, "describe after delete", err, "ValidationException", "RecordNotFound")
		if _, _, ok := b.world.Volume(compute.VolumeID(rec.UID)); ok {
			t.Error("the volume outlives its notebook")
		}
		if use := b.usage("notebook-volume"); len(use) != 2 || !use[1].End.Equal(gone) {
			t.Errorf("volume %+v", use)
		}
	})
}

// judgeTask looks at the task of a notebook in service.
func (b *bench) judgeTask() {
	b.t.Helper()
	k := b.last
	if k.Kind != "notebook" || k.Name != "My-Nb" || len(k.Args) != 1 || k.Dir != runtimes.NotebookDir || k.Env["A"] != "b" || !k.User.Sudo || k.User.Home != runtimes.NotebookHome ||
		!k.Network.Egress || k.Network.Isolated || k.Resources.VCPU != 2 || k.Resources.MemoryBytes != 4<<30 || k.MaxRuntime != 0 || k.Identity.RoleArn != role {
		b.t.Errorf("task %+v", k)
	}
	uid, n, _ := strings.Cut(string(k.ID), "-")
	if n != "1" || len(k.Mounts) != 1 || k.Mounts[0].Volume != compute.VolumeID(uid) || k.Mounts[0].Path != runtimes.NotebookDir {
		b.t.Errorf("task %s mounts %+v", k.ID, k.Mounts)
	}
	var meta struct{ ResourceArn, ResourceName, ExecutionRoleArn string }
	if o := fake.Order(k); !o.Root || o.Name != "My-Nb" || !strings.HasPrefix(o.Arn, "arn:") || len(k.Files) != 2 || k.Files[1].Mode != 0o400 {
		b.t.Errorf("order %+v", o)
	}
	if k.Files[0].Path != "/opt/ml/metadata/resource-metadata.json" || json.Unmarshal(k.Files[0].Data, &meta) != nil ||
		meta.ResourceName != "My-Nb" || meta.ExecutionRoleArn != role || !strings.HasPrefix(meta.ResourceArn, "arn:") {
		b.t.Errorf("files %+v", k.Files)
	}
}

// TestSlowSearch has a server end while an instance waits for the machine's
// interpreters to be looked for.
func TestSlowSearch(t *testing.T) {
	t.Parallel()
	b := newBench(t, lab)
	b.create(good("nb"))
	catalog := &searching{begun: make(chan struct{})}
	b.Catalog = catalog
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	go func() {
		select {
		case <-catalog.begun:
			cancel()
		case <-ctx.Done():
		}
	}()
	for {
		if _, err := b.Reconcile(ctx, key(account, region, "nb")); err != nil {
			if !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			return
		}
	}
}

// TestStatusForm holds what others read of a record.
func TestStatusForm(t *testing.T) {
	t.Parallel()
	b := newBench(t, lab)
	b.create(good("nb"))
	rec, err := b.db.Get(t.Context(), key(account, region, "nb"))
	if err != nil {
		t.Fatal(err)
	}
	var form struct {
		V    int    `json:"v"`
		Task string `json:"task"`
	}
	if err := json.Unmarshal(rec.Status, &form); err != nil || form.V != 1 || form.Task != rec.UID+"-1" || rec.Kind != "NotebookInstance" {
		t.Errorf("%s of kind %s: %+v, %v", rec.Status, rec.Kind, form, err)
	}
}

func TestCreateRefuses(t *testing.T) {
	t.Parallel()
	b := newBench(t, lab)
	for name, tc := range map[string]struct {
		edit       func(*request)
		code, text string
	}{
		"lifecycle":        {func(r *request) { r.LifecycleConfigName = "x" }, "ValidationException", "Config 'arn:aws:sagemaker:us-east-1:123456789012:notebook-instance-lifecycle-config/x'"},
		"repository":       {func(r *request) { r.DefaultCodeRepository = "x" }, "ValidationException", "Cannot find CodeRepository: arn:aws:sagemaker:us-east-1:123456789012:code-repository/x"},
		"repositories":     {func(r *request) { r.AdditionalCodeRepositories = []string{"https://x/y", "z"} }, "ValidationException", "code-repository/z"},
		"one twice":        {func(r *request) { r.AdditionalCodeRepositories = []string{"https://x/y", "https://x/y"} }, "ValidationException", "named twice"},
		"no repository":    {func(r *request) { r.DefaultCodeRepository = "https://x/" }, "ValidationException", "names no Git repository"},
		"and no URL":       {func(r *request) { r.DefaultCodeRepository = "https://u:pa/ss@h/x" }, "ValidationException", "A URL names no Git repository: https://HOST"},
		"a token twice":    {func(r *request) { r.AdditionalCodeRepositories = []string{"https://u:t@x/y?z", "https://u:t@x/y?z"} }, "ValidationException", "SecretArn"},
		"a token in it":    {func(r *request) { r.DefaultCodeRepository = "https://u:t@x/y" }, "ValidationException", "SecretArn"},
		"no internet":      {func(r *request) { r.DirectInternetAccess = "Disabled" }, "ValidationException", "SubnetId"},
		"groups, no net":   {func(r *request) { r.SecurityGroupIds = []string{"sg-1"} }, "ValidationException", "SubnetId"},
		"an accelerator":   {func(r *request) { r.InstanceType = "ml.p3.2xlarge" }, "ResourceLimitExceeded", "'ml.p3.2xlarge for notebook instance usage'"},
		"role not allowed": {func(r *request) { r.RoleArn = "arn:aws:iam::123456789012:role/Forbidden" }, "AccessDeniedException", "not that one"},
		"tag twice":        {func(r *request) { r.Tags = []apism.Tag{{Key: "a"}, {Key: "a"}} }, "ValidationException", "Duplicate tag"},
		"reserved tag":     {func(r *request) { r.Tags = []apism.Tag{{Key: "aws:x"}} }, "ValidationException", "reserved"},
	} {
		in := good("nb")
		tc.edit(in)
		_, err := b.Create(t.Context(), call(), in)
		refused(t, name, err, tc.code, tc.text)
	}
	if len(b.usage("notebook-volume")) != 0 {
		t.Error("a refused notebook has a volume that is billed")
	}
	in := good("nb")
	in.SubnetId, in.SecurityGroupIds, in.DirectInternetAccess, in.KmsKeyId, in.AcceleratorTypes = "subnet-1", []string{"sg-1"}, "Disabled", "key", []string{"ml.eia1.medium"}
	in.Tags = []apism.Tag{{Key: "a", Value: "b"}}
	b.create(in)
	if d := b.describe("nb"); d.SubnetId != "subnet-1" || d.SecurityGroups[0] != "sg-1" || d.DirectInternetAccess != "Disabled" || d.KmsKeyId != "key" || len(d.AcceleratorTypes) != 1 {
		t.Errorf("recorded: %+v", d)
	}
	for _, name := range []string{"nb", "NB"} {
		_, err := b.Create(t.Context(), call(), good(name))
		refused(t, "second of a name", err, "ValidationException", "Cannot create a duplicate Notebook Instance (arn:aws:sagemaker:us-east-1:123456789012:notebook-instance/nb)")
	}
	if err := b.db.View(t.Context(), func(tx store.Tx) error {
		tags, err := tx.Tags("arn:aws:sagemaker:us-east-1:123456789012:notebook-instance/nb")
		if tags["a"] != "b" {
			t.Errorf("tags %v", tags)
		}
		return err
	}); err != nil {
		t.Error(err)
	}
	b.Free = func() error { return store.ErrFull }
	_, err := b.Create(t.Context(), call(), good("more"))
	refused(t, "full disk", err, "ResourceLimitExceeded", "almost full")
}

// TestUpdateRefuses holds what an update may not say of a notebook that is
// stopped.
func TestUpdateRefuses(t *testing.T) {
	t.Parallel()
	b := newBench(t, lab)
	b.create(good("nb"))
	k := key(account, region, "nb")
	if err := b.db.Update(t.Context(), func(tx store.Tx) error {
		r, err := tx.Get(k)
		if err != nil {
			return err
		}
		r.Phase = phaseStopped
		return tx.Put(r)
	}); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		in         apism.UpdateNotebookInstanceInput
		code, text string
	}{
		"lifecycle":        {apism.UpdateNotebookInstanceInput{LifecycleConfigName: "x"}, "ValidationException", "lifecycle-config/x"},
		"repository":       {apism.UpdateNotebookInstanceInput{DefaultCodeRepository: "y"}, "ValidationException", "code-repository/y"},
		"repositories":     {apism.UpdateNotebookInstanceInput{AdditionalCodeRepositories: []string{"z"}}, "ValidationException", "code-repository/z"},
		"one twice":        {apism.UpdateNotebookInstanceInput{DefaultCodeRepository: "https://x/y", AdditionalCodeRepositories: []string{"https://x/y"}}, "ValidationException", "named twice"},
		"an accelerator":   {apism.UpdateNotebookInstanceInput{InstanceType: "ml.p3.2xlarge"}, "ResourceLimitExceeded", "ml.p3.2xlarge"},
		"role not allowed": {apism.UpdateNotebookInstanceInput{RoleArn: "arn:aws:iam::123456789012:role/Forbidden"}, "AccessDeniedException", "not that one"},
		"smaller":          {apism.UpdateNotebookInstanceInput{VolumeSizeInGB: api.Ptr[int64](1)}, "ValidationException", "smaller"},
	} {
		tc.in.NotebookInstanceName = "nb"
		refused(t, name, b.update(&tc.in), tc.code, tc.text)
	}
	yes := api.Ptr(true)
	if err := b.update(&apism.UpdateNotebookInstanceInput{
		NotebookInstanceName: "nb", RoleArn: role + "2", PlatformIdentifier: "notebook-al2-v3", IpAddressType: "dualstack", DisassociateLifecycleConfig: yes,
		DisassociateDefaultCodeRepository: yes, DisassociateAdditionalCodeRepositories: yes, DisassociateAcceleratorTypes: yes,
		InstanceMetadataServiceConfiguration: &apism.InstanceMetadataServiceConfiguration{MinimumInstanceMetadataServiceVersion: "2"},
	}); err != nil {
		t.Fatal(err)
	}
	if d := b.describe("nb"); d.RoleArn != role+"2" || d.PlatformIdentifier != "notebook-al2-v3" || d.IpAddressType != "dualstack" || d.InstanceMetadataServiceConfiguration.MinimumInstanceMetadataServiceVersion != "2" {
		t.Errorf("updated: %+v", d)
	}
}

// TestUnknown holds what each operation says of a notebook that is not.
func TestUnknown(t *testing.T) {
	t.Parallel()
	b := newBench(t, lab)
	_, derr := b.Describe(t.Context(), call(), &apism.DescribeNotebookInstanceInput{NotebookInstanceName: "no"})
	_, perr := b.presign("no", nil)
	for what, err := range map[string]error{
		"describe": derr, "presign": perr, "start": b.start("no"), "stop": b.stop("no"), "delete": b.erase("no"), "update": b.update(&apism.UpdateNotebookInstanceInput{NotebookInstanceName: "no"}),
	} {
		refused(t, what, err, "ValidationException", "RecordNotFound")
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, lab)
		defer b.db.Close()
		begin := time.Now()
		for _, name := range []string{"beta", "alpha", "gamma-nb"} {
			time.Sleep(time.Minute)
			b.create(good(name))
		}
		time.Sleep(time.Minute)
		b.settle("beta", "InService")
		at := func(d time.Duration) api.Time { return api.At(begin.Add(d)) }
		for what, tc := range map[string]struct {
			in   apism.ListNotebookInstancesInput
			want string
		}{
			"all, by name":            {apism.ListNotebookInstancesInput{}, "alpha beta gamma-nb"},
			"by name, downwards":      {apism.ListNotebookInstancesInput{SortBy: "Name", SortOrder: "Descending"}, "gamma-nb beta alpha"},
			"by creation":             {apism.ListNotebookInstancesInput{SortBy: "CreationTime"}, "beta alpha gamma-nb"},
			"by status":               {apism.ListNotebookInstancesInput{SortBy: "Status", MaxResults: api.Ptr[int64](1)}, "beta"},
			"part of a name":          {apism.ListNotebookInstancesInput{NameContains: "MMA-n"}, "gamma-nb"},
			"of a status":             {apism.ListNotebookInstancesInput{StatusEquals: "Pending"}, "alpha gamma-nb"},
			"created after":           {apism.ListNotebookInstancesInput{CreationTimeAfter: at(90 * time.Second)}, "alpha gamma-nb"},
			"created before":          {apism.ListNotebookInstancesInput{CreationTimeBefore: at(90 * time.Second)}, "beta"},
			"modified after":          {apism.ListNotebookInstancesInput{LastModifiedTimeAfter: at(200 * time.Second)}, "beta"},
			"modified before":         {apism.ListNotebookInstancesInput{LastModifiedTimeBefore: at(200 * time.Second)}, "alpha gamma-nb"},
			"lifecycle configuration": {apism.ListNotebookInstancesInput{NotebookInstanceLifecycleConfigNameContains: "x"}, ""},
			"repository":              {apism.ListNotebookInstancesInput{DefaultCodeRepositoryContains: "x"}, ""},
			"other repository":        {apism.ListNotebookInstancesInput{AdditionalCodeRepositoryEquals: "x"}, ""},
		} {
			out, err := b.List(t.Context(), call(), &tc.in)
			if err != nil {
				t.Errorf("%s: %v", what, err)
				continue
			}
			var names []string
			for _, s := range out.NotebookInstances {
				names = append(names, s.NotebookInstanceName)
				if s.InstanceType != "ml.t3.medium" || !strings.HasPrefix(s.Url, "nb-") || len(s.Url) < 30 || s.CreationTime.IsZero() || s.LastModifiedTime.IsZero() || s.NotebookInstanceArn == "" {
					t.Errorf("%s: %+v", what, s)
				}
			}
			if got := strings.Join(names, " "); got != tc.want {
				t.Errorf("%s: %s, want %s", what, got, tc.want)
			}
		}
		var names []string
		in := apism.ListNotebookInstancesInput{MaxResults: api.Ptr[int64](2)}
		for {
			out, err := b.List(t.Context(), call(), &in)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range out.NotebookInstances {
				names = append(names, s.NotebookInstanceName)
			}
			if in.NextToken = out.NextToken; in.NextToken == "" {
				break
			}
		}
		if got := strings.Join(names, " "); got != "alpha beta gamma-nb" {
			t.Errorf("in pages: %s", got)
		}
		_, err := b.List(t.Context(), call(), &apism.ListNotebookInstancesInput{NextToken: "!"})
		refused(t, "a token of nobody", err, "ValidationException", "NextToken")
	})
}

// TestFails sees what becomes of notebooks that cannot be started, and that
// they are billed for nothing but their volume.
func TestFails(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		script fake.Script
		edit   func(*bench)
		reason string
	}{
		"ends again and again": {fake.Script{Delay: time.Second, Run: time.Second}, nil, "five times within ten minutes"},
		"never answers":        {fake.Script{Delay: time.Second, Forever: true}, nil, "did not answer within five minutes"},
		"role is gone":         {fake.Script{}, func(b *bench) { b.who.gone = true }, "cannot be assumed: The role with name Role cannot be found"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, func(compute.Task) fake.Script { return tc.script })
				defer b.db.Close()
				if tc.edit != nil {
					tc.edit(b)
				}
				b.create(good("nb"))
				for range 100 {
					b.look("nb")
					time.Sleep(5 * time.Second)
				}
				d := b.describe("nb")
				if d.NotebookInstanceStatus != "Failed" || !strings.Contains(d.FailureReason, tc.reason) {
					t.Errorf("%s: %s", d.NotebookInstanceStatus, d.FailureReason)
				}
				if len(b.world.Running()) != 0 || len(b.usage("notebook")) != 0 || len(b.usage("notebook-volume")) != 1 {
					t.Errorf("%v run; compute %v", b.world.Running(), b.usage("notebook"))
				}
				refused(t, "stop of a failed one", b.stop("nb"), "ValidationException", "Status (Failed) not in ([InService])")
				b.who.gone = false
				if err := b.start("nb"); err != nil {
					t.Error(err)
				}
				if d := b.describe("nb"); d.NotebookInstanceStatus != "Pending" || d.FailureReason != "" {
					t.Errorf("started again: %s, %s", d.NotebookInstanceStatus, d.FailureReason)
				}
			})
		})
	}
}

// TestStopInTrouble sees that a driver that does not answer keeps nobody from
// ending what costs, and that no second is billed of a program that was over by
// then.
func TestStopInTrouble(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ lives, want time.Duration }{
		"it lived":     {0, 5 * time.Minute},
		"it was over":  {2 * time.Minute, 2*time.Minute - 2*time.Second},
		"it ends soon": {5*time.Minute + 10*time.Second, 5 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, func(k compute.Task) fake.Script {
					sc := lab(k)
					sc.Forever, sc.Run = tc.lives == 0, tc.lives
					return sc
				})
				defer b.db.Close()
				b.create(good("nb"))
				b.settle("nb", "InService")
				time.Sleep(5 * time.Minute)
				b.trouble = errors.New("no answer")
				if err := b.stop("nb"); err != nil {
					t.Fatal(err)
				}
				if phase := b.describe("nb").NotebookInstanceStatus; phase != "Stopping" {
					t.Errorf("%s once it is stopped", phase)
				}
				if _, err := b.Reconcile(t.Context(), key(account, region, "nb")); !errors.Is(err, b.trouble) {
					t.Errorf("the reconciler says %v", err)
				}
				time.Sleep(time.Minute)
				b.trouble = nil
				b.settle("nb", "Stopped")
				if use := b.usage("notebook"); len(use) != 1 || use[0].End.Sub(use[0].Start) != tc.want {
					t.Errorf("compute %+v, want %s", use, tc.want)
				}
				if len(b.tasks) != 0 {
					t.Errorf("%v are remembered of a notebook that rests", b.tasks)
				}
			})
		})
	}
}

// TestRenews sees that the role's credentials do not run out.
func TestRenews(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, lab)
		defer b.db.Close()
		b.create(good("nb"))
		b.settle("nb", "InService")
		for range 24 * 6 {
			time.Sleep(10 * time.Minute)
			b.look("nb")
			if id, ok := b.world.Identity(b.last.ID); !ok || time.Until(id.Expiration) < time.Hour {
				t.Fatalf("the task's session ends at %s", id.Expiration)
			}
		}
		b.who.gone = true
		time.Sleep(3 * time.Hour)
		b.look("nb")
		if b.describe("nb").NotebookInstanceStatus != "InService" || !strings.Contains(b.log.last, "could not be renewed") {
			t.Errorf("a role that is gone: %s", b.log.last)
		}
	})
}
