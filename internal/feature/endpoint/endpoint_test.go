package endpoint

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-json-experiment/json"

	"clary/internal/api"
	apism "clary/internal/api/sagemaker"
	"clary/internal/aws/apierr"
	"clary/internal/aws/op"
	"clary/internal/compute"
	"clary/internal/compute/fake"
	"clary/internal/identity"
	"clary/internal/logs"
	"clary/internal/metrics"
	"clary/internal/resource"
	"clary/internal/runtimes"
	"clary/internal/serving"
	"clary/internal/stage/plan"
	"clary/internal/store"
	"clary/internal/store/sqlite"
)

const (
	account = "123456789012"
	region  = "us-east-1"
	role    = "arn:aws:iam::123456789012:role/Role"
)

// sessions make sessions of any role but one that is gone.
type sessions struct{}

func (sessions) Assume(_ context.Context, role, _ string, d time.Duration) (identity.Credentials, error) {
	if strings.HasSuffix(role, "/Gone") {
		return identity.Credentials{}, apierr.New(404, "NoSuchEntity", "The role with name Gone cannot be found.")
	}
	return identity.Credentials{Expiration: time.Now().Add(d)}, nil
}

// guard allows everything but one configuration.
type guard struct{}

func (guard) Allow(_ context.Context, _ resource.Principal, action, arn string) error {
	if strings.HasSuffix(arn, ":endpoint-config/secret") {
		return apierr.AccessDenied("no %s of %s", action, arn)
	}
	return nil
}

func (guard) PassRole(context.Context, resource.Principal, string, string) error { return nil }

// catalog has a runtime that serves, and one for jobs alone.
type catalog struct{}

func (catalog) Resolve(_ context.Context, uri string) (runtimes.Runtime, error) {
	switch uri {
	case "broken":
		return runtimes.Runtime{}, errors.New("the catalog is broken")
	case "unknown":
		return runtimes.Runtime{}, fmt.Errorf("%w: unknown", runtimes.ErrUnknownImage)
	case "jobs":
		return runtimes.Runtime{ID: "j", Title: "a runtime"}, nil
	}
	return runtimes.Runtime{ID: "x", Title: "scikit-learn", Serve: []string{"serve"}, Env: map[string]string{"A": "b", "C": "d"}}, nil
}

func (catalog) Ensure(context.Context, runtimes.Runtime) (runtimes.State, error) {
	return runtimes.State{Ready: true}, nil
}

// allIn says that every output is in.
type allIn struct{}

func (allIn) Ensure(compute.TaskID, logs.Stream, ...logs.Side) error { return nil }
func (allIn) Forget(compute.TaskID)                                  {}

func (allIn) Done(context.Context, compute.TaskID, logs.Stream, int64) (bool, error) {
	return true, nil
}

// book takes lines of ours, and has some of a container.
type book struct {
	logs.Store
	said map[string]string // the last of ours by stream
}

func (b *book) Ingest(_ context.Context, s logs.Stream, _ string, _, _ int64, lines []logs.Event) error {
	b.said[s.Group+" "+s.Name] = lines[len(lines)-1].Message
	return nil
}

func (*book) Events(context.Context, logs.Stream, logs.Read) ([]logs.Event, error) {
	return []logs.Event{{Message: "[clary] not this"}, {Message: "loading the model"}, {Message: "waiting for a lock"}}, nil
}

// counts keeps what was measured.
type counts struct {
	mu   sync.Mutex // guards data
	data []metrics.Datum
}

func (c *counts) PutFrom(_ context.Context, _ string, _ int64, data []metrics.Datum) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.data = append(c.data, data...)
	return nil
}

func (*counts) Offset(context.Context, string) (int64, error) { return 0, nil }

// desk is a router without requests, but those that a test says are open.
type desk struct {
	changed int
	open    map[compute.TaskID]int
}

func (d *desk) Changed(resource.Key)       { d.changed++ }
func (d *desk) Open(id compute.TaskID) int { return d.open[id] }

// bench is the feature on a store and a world of its own.
type bench struct {
	*Endpoints
	t      *testing.T
	db     *sqlite.Store
	world  *fake.World
	log    *book
	counts *counts
	desk   *desk
	mu     sync.Mutex // guards tasks
	tasks  []compute.Task
	full   bool           // the machine has no room
	stuck  compute.TaskID // it can be neither stopped nor removed
}

// server is a model server that answers a while after its task runs.
func server(after time.Duration) fake.Script {
	return fake.Script{
		Delay: time.Second, Forever: true, Ready: after,
		Serve: map[int]func(net.Conn){serving.Port: fake.HTTP(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/ping" {
				w.WriteHeader(http.StatusNotFound)
			}
		}))},
		Uses: compute.Usage{CPU: time.Second, Memory: 1 << 30},
	}
}

func newBench(t *testing.T, script func(compute.Task) fake.Script) *bench {
	t.Helper()
	db, err := sqlite.Open(filepath.Join(t.TempDir(), "clary.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, db: db, log: &book{said: map[string]string{}}, counts: &counts{}, desk: &desk{open: map[compute.TaskID]int{}}}
	b.world = fake.NewWorld(func(k compute.Task) fake.Script {
		b.mu.Lock()
		b.tasks = append(b.tasks, k)
		b.mu.Unlock()
		return script(k)
	}, func(what string, id compute.TaskID, after bool) error {
		switch {
		case what == "Start" && !after && b.full:
			return compute.ErrCapacity
		case (what == "Remove" || what == "Stop") && !after && id == b.stuck:
			return errors.New("it is stuck")
		}
		return nil
	})
	b.Endpoints = New(Config{
		Store: db, Driver: b.world.Driver(), Catalog: catalog{}, Output: allIn{}, Logs: b.log, Auth: guard{}, Sessions: sessions{}, Instances: b.counts, Traffic: b.desk,
		Egress: true, Wake: func(resource.Key) {}, Free: func() error { return nil },
	})
	t.Cleanup(func() { _ = db.Close() })
	return b
}

func call() op.Call {
	return op.Call{Account: account, Region: region, Principal: resource.Principal{Account: account, Root: true}, Received: time.Now()}
}

// put keeps a record of another feature.
func (b *bench) put(kind resource.Kind, name string, spec any) {
	b.t.Helper()
	doc, err := json.Marshal(spec)
	if err != nil {
		b.t.Fatal(err)
	}
	err = b.db.Update(b.t.Context(), func(tx store.Tx) error {
		return tx.Put(&resource.Record{Key: resource.Key{Account: account, Region: region, Kind: kind, Name: name}, UID: resource.NewUID(), Arn: name, Created: time.Now(), Modified: time.Now(), Spec: doc})
	})
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) model(name string, cs ...apism.ContainerDefinition) {
	b.t.Helper()
	in := apism.CreateModelInput{ModelName: name, ExecutionRoleArn: role, Containers: cs}
	if len(cs) == 1 {
		in.PrimaryContainer, in.Containers = &cs[0], nil
	}
	b.put(serving.KindModel, name, in)
}

// config keeps a configuration of variants of one model.
func (b *bench) config(name, model string, edit ...func(*apism.CreateEndpointConfigInput)) {
	b.t.Helper()
	in := apism.CreateEndpointConfigInput{EndpointConfigName: name, ProductionVariants: []apism.ProductionVariant{{
		VariantName: "AllTraffic", ModelName: model, InstanceType: "ml.m5.large", InitialInstanceCount: api.Ptr(int64(1)), InitialVariantWeight: api.Ptr(1.0),
	}}}
	for _, e := range edit {
		e(&in)
	}
	b.put(serving.KindConfig, name, in)
}

func count(n int64) func(*apism.CreateEndpointConfigInput) {
	return func(in *apism.CreateEndpointConfigInput) { in.ProductionVariants[0].InitialInstanceCount = &n }
}

func plainModel() apism.ContainerDefinition {
	return apism.ContainerDefinition{Image: "image", ModelDataUrl: "s3://bucket/model.tar.gz", Environment: map[string]string{"A": "mine"}}
}

func (b *bench) create(name, config string) error {
	_, err := b.Create(b.t.Context(), call(), &apism.CreateEndpointInput{EndpointName: name, EndpointConfigName: config})
	return err
}

func (b *bench) erase(name string) error {
	_, err := b.Delete(b.t.Context(), call(), &apism.DeleteEndpointInput{EndpointName: name})
	return err
}

func (b *bench) update(in *apism.UpdateEndpointInput) error {
	_, err := b.Update(b.t.Context(), call(), in)
	return err
}

func (b *bench) weigh(name, variant string, weight float64, n int64) error {
	_, err := b.UpdateWeights(b.t.Context(), call(), &apism.UpdateEndpointWeightsAndCapacitiesInput{
		EndpointName: name, DesiredWeightsAndCapacities: []apism.DesiredWeightAndCapacity{{VariantName: variant, DesiredWeight: &weight, DesiredInstanceCount: &n}},
	})
	return err
}

func (b *bench) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) describe(name string) *apism.DescribeEndpointOutput {
	b.t.Helper()
	d, err := b.Describe(b.t.Context(), call(), &apism.DescribeEndpointInput{EndpointName: name})
	b.must(err)
	return d
}

// look has the reconciler take one step, and waits as long as it says, but no
// longer than a second: hints come in between.
func (b *bench) look(name string) {
	b.t.Helper()
	res, err := b.Reconcile(b.t.Context(), key(account, region, name))
	b.must(err)
	time.Sleep(min(res.After, time.Second)) // of the bubble
}

// settle looks until something is so.
func (b *bench) settle(name string, is func(*apism.DescribeEndpointOutput) bool) *apism.DescribeEndpointOutput {
	b.t.Helper()
	for range 5000 {
		if d := b.describe(name); is(d) {
			return d
		}
		b.look(name)
	}
	b.t.Fatalf("it stays so: %+v", b.describe(name))
	return nil
}

func (b *bench) until(name, phase string) *apism.DescribeEndpointOutput {
	b.t.Helper()
	return b.settle(name, func(d *apism.DescribeEndpointOutput) bool { return d.EndpointStatus == phase })
}

// vanish looks until the endpoint is no more.
func (b *bench) vanish(name string) {
	b.t.Helper()
	for range 5000 {
		if _, err := b.db.Get(b.t.Context(), key(account, region, name)); errors.Is(err, store.ErrNotFound) {
			return
		}
		b.look(name)
	}
	b.t.Fatalf("it is still there: %+v", b.describe(name))
}

func (b *bench) traffic(name string) serving.Endpoint {
	b.t.Helper()
	rec, err := b.db.Get(b.t.Context(), key(account, region, name))
	b.must(err)
	e, err := serving.Of(rec)
	b.must(err)
	return e
}

func (b *bench) usage() []resource.Usage {
	b.t.Helper()
	all, err := b.db.ListUsage(b.t.Context(), resource.UsageQuery{Account: account})
	b.must(err)
	slices.SortFunc(all, func(x, y resource.Usage) int { return strings.Compare(x.ID, y.ID) })
	return all
}

func denied(t *testing.T, what string, err error, code, text string) {
	t.Helper()
	e, ok := errors.AsType[*apierr.Error](err)
	if !ok || e.Code != code || e.Status != 400 || !strings.Contains(e.Message, text) {
		t.Errorf("%s: %v, want %s with %q", what, err, code, text)
	}
}

const arnX = `"arn:aws:sagemaker:us-east-1:123456789012:endpoint/my-ep"`

// TestLife takes an endpoint through its whole life in a bubble's time.
func TestLife(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(compute.Task) fake.Script { return server(3 * time.Second) })
		defer b.db.Close()
		denied(t, "no configuration", b.create("My-Ep", "c1"), "ValidationException", `Could not find endpoint configuration "arn:aws:sagemaker:us-east-1:123456789012:endpoint-config/c1".`)
		b.config("c1", "m1", func(in *apism.CreateEndpointConfigInput) {
			in.DataCaptureConfig = &apism.DataCaptureConfig{InitialSamplingPercentage: 20, DestinationS3Uri: "s3://b/c", CaptureOptions: []apism.CaptureOption{{CaptureMode: "Input"}}}
		})
		denied(t, "no model", b.create("My-Ep", "c1"), "ValidationException", `Could not find model "arn:aws:sagemaker:us-east-1:123456789012:model/m1".`)
		b.model("m1", plainModel())
		b.must(b.create("My-Ep", "c1"))
		denied(t, "again", b.create("my-ep", "c1"), "ValidationException", "Cannot create already existing endpoint "+arnX+".")
		d := b.describe("My-Ep")
		if d.EndpointStatus != "Creating" || d.EndpointConfigName != "c1" || len(d.ProductionVariants) != 0 || d.PendingDeploymentSummary == nil ||
			*d.PendingDeploymentSummary.ProductionVariants[0].DesiredInstanceCount != 1 || d.PendingDeploymentSummary.ProductionVariants[0].VariantStatus[0].Status != "Creating" {
			t.Errorf("just made: %+v", d)
		}
		denied(t, "update while Creating", b.update(&apism.UpdateEndpointInput{EndpointName: "My-Ep", EndpointConfigName: "c1"}), "ValidationException", "Cannot update in-progress endpoint "+arnX+".")
		began := time.Now()
		d = b.until("My-Ep", "InService")
		if passed := time.Since(began); passed < 4*time.Second || passed > 4*time.Second+100*time.Millisecond {
			t.Errorf("in service after %s, its server after 4s", passed)
		}
		if v := d.ProductionVariants[0]; *v.CurrentInstanceCount != 1 || *v.DesiredInstanceCount != 1 || *v.CurrentWeight != 1 || v.DeployedImages[0].SpecifiedImage != "image" || d.PendingDeploymentSummary != nil ||
			d.DataCaptureConfig == nil || !d.DataCaptureConfig.EnableCapture || d.DataCaptureConfig.CaptureStatus != "Started" || d.FailureReason != "" {
			t.Errorf("in service: %+v", d)
		}
		b.judgeTask()
		e := b.traffic("My-Ep")
		if v := e.Variants[0]; len(e.Variants) != 1 || v.Weight != 1 || v.Containers[0] != "primary" || len(v.Instances) != 1 || v.Instances[0].Tasks[0] != b.tasks[0].ID ||
			e.Capture == nil || e.Capture.Percent != 20 || !e.Capture.Input || e.Capture.Output || e.Capture.RoleArn != role || b.desk.changed == 0 {
			t.Errorf("traffic %+v, capture %+v", e, e.Capture)
		}
		if use := b.usage(); len(use) != 1 || use[0].Component != "hosting" || !use[0].Start.Equal(began.Add(time.Second)) || !use[0].End.IsZero() || use[0].InstanceType != "ml.m5.large" || use[0].Quantity != 1 {
			t.Errorf("usage %+v", use)
		}
		for range 100 {
			b.look("My-Ep")
		}
		if n := len(b.counts.data); n < 2 || b.counts.data[0].Namespace != "/aws/sagemaker/Endpoints" || b.counts.data[0].Dimensions["VariantName"] != "AllTraffic" {
			t.Errorf("%d data: %+v", n, b.counts.data)
		}
		changed := b.desk.changed
		b.must(b.erase("My-Ep"))
		if b.describe("My-Ep").EndpointStatus != "Deleting" || len(b.traffic("My-Ep").Variants) != 0 || b.desk.changed == changed {
			t.Error("it has traffic while it is deleted")
		}
		b.must(b.erase("My-Ep")) // again
		gone := time.Now()
		b.vanish("My-Ep")
		if use := b.usage(); len(use) != 1 || use[0].End.Before(gone) || use[0].End.Sub(gone) > 100*time.Millisecond || len(b.world.Running()) != 0 {
			t.Errorf("usage %+v, running %v", use, b.world.Running())
		}
		_, err := b.Describe(t.Context(), call(), &apism.DescribeEndpointInput{EndpointName: "My-Ep"})
		denied(t, "describe after delete", err, "ValidationException", "Could not find endpoint "+arnX+".")
		denied(t, "delete after delete", b.erase("My-Ep"), "ValidationException", "Could not find endpoint "+arnX+".")
	})
}

// judgeTask looks at the first task.
func (b *bench) judgeTask() {
	b.t.Helper()
	k := b.tasks[0]
	p := k.Plan.Serving
	if k.Kind != "endpoint" || k.Name != "My-Ep" || !slices.Equal(k.Args, []string{"serve"}) || k.Env["A"] != "mine" || k.Env["C"] != "d" || k.Env["AWS_REGION"] != region ||
		k.Env["SAGEMAKER_BIND_TO_PORT"] != "8080" || !k.Network.Egress || k.Resources.VCPU != 2 || k.Resources.MemoryBytes != 8<<30 || k.Resources.DiskBytes != 30<<30 ||
		k.Identity.RoleArn != role || k.Grace != 30*time.Second || !strings.HasSuffix(string(k.ID), "-1") {
		b.t.Errorf("task %+v", k)
	}
	if p == nil || len(p.Models) != 1 || p.Models[0] != (plan.Model{Name: "ModelDataUrl", S3Uri: "s3://bucket/model.tar.gz", Archive: true, LocalPath: "/opt/ml/model"}) {
		b.t.Errorf("plan %+v", p)
	}
}

// A creation that fails stays, with the reason, until it is deleted.
func TestCreationFails(t *testing.T) {
	t.Parallel()
	const ping = "The primary container for production variant AllTraffic did not pass the ping health check. Please check CloudWatch logs for this endpoint."
	for name, tc := range map[string]struct {
		script fake.Script
		edit   func(*apism.CreateModelInput)
		why    string
		cost   time.Duration
	}{
		"it exits":       {fake.Script{Delay: time.Second, Run: time.Minute, Result: plan.Result{ExitCode: 1, Failure: "ImportError: no x"}}, nil, ping + " It exited with code 1. ImportError: no x", time.Minute},
		"it is silent":   {fake.Script{Delay: time.Second, Forever: true}, nil, ping + " It did not answer GET /ping on port 8080 with status 200 within 480 seconds of its start. Its last lines: loading the model\nwaiting for a lock", 481 * time.Second},
		"unknown image":  {fake.Script{}, func(m *apism.CreateModelInput) { m.PrimaryContainer.Image = "unknown" }, `The image "unknown" cannot be used: no runtime for this image: unknown.`, 0},
		"image for jobs": {fake.Script{}, func(m *apism.CreateModelInput) { m.PrimaryContainer.Image = "jobs" }, `The image "jobs" has no program that serves models`, 0},
		"no such role":   {fake.Script{}, func(m *apism.CreateModelInput) { m.ExecutionRoleArn = role + "/Gone" }, "The role " + role + "/Gone cannot be assumed", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, func(compute.Task) fake.Script { return tc.script })
				defer b.db.Close()
				c := plainModel()
				m := apism.CreateModelInput{ModelName: "m", ExecutionRoleArn: role, PrimaryContainer: &c}
				if tc.edit != nil {
					tc.edit(&m)
				}
				b.put(serving.KindModel, "m", m)
				b.config("c", "m")
				b.must(b.create("ep", "c"))
				d := b.until("ep", "Failed")
				if !strings.HasPrefix(d.FailureReason, tc.why) || d.EndpointConfigName != "c" {
					t.Errorf("failed: %q", d.FailureReason)
				}
				for range 20 {
					b.look("ep")
				}
				if ids, err := b.world.Driver().List(t.Context()); err != nil || len(ids) != 0 {
					t.Errorf("tasks stay behind: %v, %v", ids, err)
				}
				var billed time.Duration
				for _, u := range b.usage() {
					billed += u.End.Sub(u.Start)
				}
				if (billed - tc.cost).Abs() > 2*time.Second {
					t.Errorf("billed %s, want %s: %+v", billed, tc.cost, b.usage())
				}
				denied(t, "update", b.update(&apism.UpdateEndpointInput{EndpointName: "ep", EndpointConfigName: "c"}), "ValidationException", "Cannot update failed endpoint")
				b.must(b.erase("ep"))
				b.vanish("ep")
			})
		})
	}
}

// TestCapacity waits for room, and not for ever.
func TestCapacity(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(compute.Task) fake.Script { return server(time.Second) })
		defer b.db.Close()
		b.model("m", plainModel())
		b.config("c", "m")
		b.full = true
		b.must(b.create("ep", "c"))
		for range 200 {
			b.look("ep")
		}
		if d := b.describe("ep"); d.EndpointStatus != "Creating" || !strings.HasPrefix(d.PendingDeploymentSummary.ProductionVariants[0].VariantStatus[0].StatusMessage, msgNoCapacity) {
			t.Errorf("without room: %+v", d)
		}
		b.full = false
		b.until("ep", "InService")
		b.must(b.erase("ep"))
		b.vanish("ep")
		b.full = true
		b.must(b.create("ep", "c"))
		began := time.Now()
		if d := b.until("ep", "Failed"); d.FailureReason != msgNoCapacity || time.Since(began) < capacityBound {
			t.Errorf("after %s: %q", time.Since(began), d.FailureReason)
		}
	})
}

// TestUpdate serves the old configuration until all of the new one is healthy.
func TestUpdate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(k compute.Task) fake.Script {
			if k.Plan.Serving.Models[0].S3Uri == "s3://bucket/bad.tar.gz" {
				return fake.Script{Delay: time.Second, Run: time.Second, Result: plan.Result{ExitCode: 1, Failure: "bad"}}
			}
			return server(time.Second)
		})
		defer b.db.Close()
		b.model("m1", plainModel())
		bad := plainModel()
		bad.ModelDataUrl = "s3://bucket/bad.tar.gz"
		b.model("bad", bad)
		b.config("c1", "m1", count(2))
		b.config("c2", "m1")
		b.config("c3", "bad")
		b.must(b.create("ep", "c1"))
		b.until("ep", "InService")
		old := b.traffic("ep")
		b.desk.open[old.Variants[0].Instances[0].Tasks[0]] = 1

		retain := &apism.UpdateEndpointInput{
			EndpointName: "ep", EndpointConfigName: "c2", RetainAllVariantProperties: api.Ptr(true),
			DeploymentConfig: &apism.DeploymentConfig{BlueGreenUpdatePolicy: &apism.BlueGreenUpdatePolicy{TrafficRoutingConfiguration: &apism.TrafficRoutingConfig{Type: "ALL_AT_ONCE"}}},
		}
		b.must(b.update(retain))
		d := b.describe("ep")
		if d.EndpointStatus != "Updating" || d.EndpointConfigName != "c1" || d.PendingDeploymentSummary.EndpointConfigName != "c2" || *d.PendingDeploymentSummary.ProductionVariants[0].DesiredInstanceCount != 2 {
			t.Errorf("updating: %+v", d)
		}
		denied(t, "weights while Updating", b.weigh("ep", "AllTraffic", 1, 1), "ValidationException", "Cannot update in-progress endpoint")
		for b.describe("ep").EndpointStatus == "Updating" {
			if fmt.Sprint(b.traffic("ep")) != fmt.Sprint(old) {
				t.Fatalf("the old one does not serve: %+v", b.traffic("ep"))
			}
			b.look("ep")
		}
		turned := time.Now()
		d = b.describe("ep")
		if d.EndpointStatus != "InService" || d.EndpointConfigName != "c2" || *d.ProductionVariants[0].CurrentInstanceCount != 2 || d.LastDeploymentConfig == nil || d.FailureReason != "" {
			t.Errorf("updated: %+v", d)
		}
		// Who has a request in flight is waited for, at most a minute.
		for range 40 {
			b.look("ep")
		}
		if n := len(b.world.Running()); n != 3 && time.Since(turned) < drainBound {
			t.Errorf("%d run %s after the turn, one of them with a request in flight", n, time.Since(turned))
		}
		b.settle("ep", func(*apism.DescribeEndpointOutput) bool { return len(b.world.Running()) == 2 })
		if d := time.Since(turned); d < drainBound {
			t.Errorf("a request in flight is waited for %s", d)
		}

		b.must(b.update(&apism.UpdateEndpointInput{EndpointName: "ep", EndpointConfigName: "c3", RetainDeploymentConfig: api.Ptr(true)}))
		good := b.traffic("ep")
		d = b.until("ep", "InService")
		if d.EndpointConfigName != "c2" || !strings.Contains(d.FailureReason, "It exited with code 1. bad") || d.PendingDeploymentSummary != nil || d.LastDeploymentConfig == nil || fmt.Sprint(b.traffic("ep")) != fmt.Sprint(good) {
			t.Errorf("rolled back: %+v", d)
		}
		retain.ExcludeRetainedVariantProperties = []apism.VariantProperty{{VariantPropertyType: "DesiredInstanceCount"}}
		b.must(b.update(retain))
		d = b.until("ep", "InService")
		if *d.ProductionVariants[0].DesiredInstanceCount != 1 || d.FailureReason != "" {
			t.Errorf("without its count: %+v", d)
		}
		b.must(b.weigh("ep", "AllTraffic", 5, 3))
		d = b.until("ep", "InService")
		if v := d.ProductionVariants[0]; *v.CurrentInstanceCount != 3 || *v.CurrentWeight != 5 || b.traffic("ep").Variants[0].Weight != 5 {
			t.Errorf("scaled: %+v", d)
		}
		denied(t, "no such variant", b.weigh("ep", "other", 1, 1), "ValidationException", `The variant name(s) "other" is/are not present within endpoint configuration`)
		b.must(b.erase("ep"))
		b.vanish("ep")
		for _, u := range b.usage() {
			if u.End.IsZero() {
				t.Errorf("%s is open", u.ID)
			}
		}
	})
}

// TestPipeline has a task for each container, and a stream.
func TestPipeline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		fails := false
		b := newBench(t, func(k compute.Task) fake.Script {
			if fails && strings.HasSuffix(string(k.ID), "-4") {
				return fake.Script{Delay: time.Second, Run: time.Second, Result: plan.Result{ExitCode: 2}}
			}
			return server(time.Second)
		})
		defer b.db.Close()
		first, second := plainModel(), apism.ContainerDefinition{
			Image: "image", ModelDataSource: &apism.ModelDataSource{S3DataSource: &apism.S3ModelDataSource{S3Uri: "s3://b/p/", S3DataType: "S3Prefix", CompressionType: "None"}},
			AdditionalModelDataSources: []apism.AdditionalModelDataSource{{ChannelName: "more", S3DataSource: &apism.S3ModelDataSource{S3Uri: "s3://b/x.tar.gz", S3DataType: "S3Object", CompressionType: "Gzip"}}},
		}
		b.model("m", first, second)
		b.config("c", "m")
		b.must(b.create("ep", "c"))
		b.until("ep", "InService")
		v := b.traffic("ep").Variants[0]
		if !slices.Equal(v.Containers, []string{"container-1", "container-2"}) || len(v.Instances) != 1 || len(v.Instances[0].Tasks) != 2 {
			t.Errorf("traffic %+v", v)
		}
		if m := b.tasks[1].Plan.Serving.Models; len(m) != 2 || m[0] != (plan.Model{Name: "ModelDataSource", S3Uri: "s3://b/p/", Prefix: true, LocalPath: "/opt/ml/model"}) ||
			m[1] != (plan.Model{Name: "more", S3Uri: "s3://b/x.tar.gz", Archive: true, LocalPath: "/opt/ml/additional-model-data-sources/more"}) {
			t.Errorf("models %+v", m)
		}
		rec, err := b.db.Get(t.Context(), key(account, region, "ep"))
		b.must(err)
		st, err := readStatus(rec)
		b.must(err)
		if s := stream(rec, &st.Fleet[0], 1); s.Group != "/aws/sagemaker/Endpoints/ep" || s.Name != "AllTraffic/"+st.Fleet[0].id(rec.UID)+"/container-2" {
			t.Errorf("stream %+v", s)
		}
		if len(b.usage()) != 1 {
			t.Errorf("one instance is billed %+v", b.usage())
		}
		fails = true
		b.must(b.update(&apism.UpdateEndpointInput{EndpointName: "ep", EndpointConfigName: "c"}))
		if d := b.until("ep", "InService"); !strings.HasPrefix(d.FailureReason, "The container-2 container for production variant AllTraffic did not pass the ping health check.") {
			t.Errorf("rolled back: %q", d.FailureReason)
		}
		b.settle("ep", func(*apism.DescribeEndpointOutput) bool { return len(b.world.Running()) == 2 })
	})
}

// TestReplaces has another instance in the place of one that dies.
func TestReplaces(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(k compute.Task) fake.Script {
			s := server(time.Second)
			if strings.HasSuffix(string(k.ID), "-2") {
				s.Forever, s.Run, s.Result = false, time.Minute, plan.Result{ExitCode: 9}
			}
			return s
		})
		defer b.db.Close()
		b.model("m", plainModel())
		b.config("c", "m", count(2))
		b.must(b.create("ep", "c"))
		b.until("ep", "InService")
		b.settle("ep", func(*apism.DescribeEndpointOutput) bool { return len(b.traffic("ep").Variants[0].Instances) == 1 })
		d := b.settle("ep", func(*apism.DescribeEndpointOutput) bool { return len(b.traffic("ep").Variants[0].Instances) == 2 })
		if d.EndpointStatus != "InService" || len(b.tasks) != 3 || d.FailureReason != "" {
			t.Errorf("%d tasks: %+v", len(b.tasks), d)
		}
		b.world.Crash()
		b.settle("ep", func(*apism.DescribeEndpointOutput) bool { return len(b.traffic("ep").Variants[0].Instances) == 0 })
		b.settle("ep", func(*apism.DescribeEndpointOutput) bool { return len(b.traffic("ep").Variants[0].Instances) == 2 })
		id := b.tasks[len(b.tasks)-1].ID
		if was, _ := b.world.Identity(id); !was.Expiration.IsZero() {
			time.Sleep(3 * time.Hour)
			for range 20 {
				b.look("ep")
			}
			if is, ok := b.world.Identity(id); !ok || is.Expiration.Sub(was.Expiration) < time.Hour {
				t.Errorf("its session ends at %s, as ever", is.Expiration)
			}
		}
	})
}

func TestRefuses(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(compute.Task) fake.Script { return fake.Script{} })
	b.model("m", plainModel())
	b.config("c", "m")
	b.config("gpu", "m", func(in *apism.CreateEndpointConfigInput) { in.ProductionVariants[0].InstanceType = "ml.g5.xlarge" })
	b.config("many", "m", count(21))
	b.config("none", "m", count(0))
	create := func(config string, edit func(*apism.CreateEndpointInput)) error {
		in := &apism.CreateEndpointInput{EndpointName: "ep", EndpointConfigName: config}
		if edit != nil {
			edit(in)
		}
		_, err := b.Create(t.Context(), call(), in)
		return err
	}
	policy := func(p apism.DeploymentConfig) func(*apism.CreateEndpointInput) {
		return func(in *apism.CreateEndpointInput) { in.DeploymentConfig = &p }
	}
	denied(t, "accelerators", create("gpu", nil), "ResourceLimitExceeded", "The account-level service limit 'ml.g5.xlarge for endpoint usage' is 0 Instances")
	denied(t, "many", create("many", nil), "ResourceLimitExceeded", "is 20 Instances, with current utilization of 0 Instances and a request delta of 21 Instances")
	denied(t, "none", create("none", nil), "ValidationException", "at least 1")
	denied(t, "rolling", create("c", policy(apism.DeploymentConfig{RollingUpdatePolicy: &apism.RollingUpdatePolicy{}})), "ValidationException", "RollingUpdatePolicy")
	denied(t, "alarms", create("c", policy(apism.DeploymentConfig{AutoRollbackConfiguration: &apism.AutoRollbackConfig{Alarms: []apism.Alarm{{}}}})), "ValidationException", "AutoRollbackConfiguration.Alarms")
	denied(t, "canary", create("c", policy(apism.DeploymentConfig{BlueGreenUpdatePolicy: &apism.BlueGreenUpdatePolicy{TrafficRoutingConfiguration: &apism.TrafficRoutingConfig{Type: "CANARY"}}})), "ValidationException", "Type CANARY")
	denied(t, "a secret", create("secret", nil), "AccessDeniedException", "no sagemaker:CreateEndpoint of arn:aws:sagemaker:us-east-1:123456789012:endpoint-config/secret")
	denied(t, "another secret", b.update(&apism.UpdateEndpointInput{EndpointName: "ep", EndpointConfigName: "secret"}), "AccessDeniedException", "no sagemaker:UpdateEndpoint of")
	denied(t, "tags", create("c", func(in *apism.CreateEndpointInput) { in.Tags = []apism.Tag{{Key: "a"}, {Key: "a"}} }), "ValidationException", "Duplicate tag key")
	b.Free = func() error { return store.ErrFull }
	denied(t, "full", create("c", nil), "ResourceLimitExceeded", "disk is almost full")
	b.Free = func() error { return nil }
	denied(t, "missing", b.update(&apism.UpdateEndpointInput{EndpointName: "ep", EndpointConfigName: "c"}), "ValidationException", "Could not find endpoint")
	denied(t, "excluded", b.update(&apism.UpdateEndpointInput{EndpointName: "ep", ExcludeRetainedVariantProperties: []apism.VariantProperty{{}}}), "ValidationException", "only if RetainAllVariantProperties")
	denied(t, "both", b.update(&apism.UpdateEndpointInput{EndpointName: "ep", RetainDeploymentConfig: api.Ptr(true), DeploymentConfig: &apism.DeploymentConfig{}}), "ValidationException", "RetainDeploymentConfig")
}

func TestList(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(compute.Task) fake.Script { return fake.Script{} })
	b.model("m", plainModel())
	b.config("c", "m")
	for i := range 12 {
		b.must(b.create(fmt.Sprintf("ep-%02d", i), "c"))
	}
	b.must(b.erase("ep-03"))
	names := func(in *apism.ListEndpointsInput) (out []string) {
		t.Helper()
		for {
			got, err := b.List(t.Context(), call(), in)
			b.must(err)
			for _, e := range got.Endpoints {
				out = append(out, strings.TrimPrefix(e.EndpointName, "ep-"))
			}
			if in.NextToken = got.NextToken; got.NextToken == "" {
				return out
			}
		}
	}
	if got := names(&apism.ListEndpointsInput{}); len(got) != 12 || got[0] != "11" || got[11] != "00" {
		t.Errorf("newest first: %v", got)
	}
	if got := names(&apism.ListEndpointsInput{SortBy: "Name", SortOrder: "Ascending", MaxResults: api.Ptr(int64(5))}); len(got) != 12 || !slices.IsSorted(got) {
		t.Errorf("by name: %v", got)
	}
	if got := names(&apism.ListEndpointsInput{StatusEquals: "Deleting"}); !slices.Equal(got, []string{"03"}) {
		t.Errorf("deleting: %v", got)
	}
	if got := names(&apism.ListEndpointsInput{NameContains: "P-1", SortBy: "Status"}); len(got) != 2 {
		t.Errorf("of a name: %v", got)
	}
	if got := names(&apism.ListEndpointsInput{CreationTimeAfter: api.At(time.Now().Add(time.Hour))}); len(got) != 0 {
		t.Errorf("of the future: %v", got)
	}
	_, err := b.List(t.Context(), call(), &apism.ListEndpointsInput{NextToken: "x"})
	denied(t, "token", err, "ValidationException", "Invalid NextToken")
}
