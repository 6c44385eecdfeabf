package sim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"clary/internal/api"
	apism "clary/internal/api/sagemaker"
	"clary/internal/aws/apierr"
	"clary/internal/aws/op"
	"clary/internal/compute"
	"clary/internal/compute/fake"
	"clary/internal/feature/processing"
	"clary/internal/feature/training"
	"clary/internal/feature/transform"
	engine "clary/internal/job"
	"clary/internal/resource"
	"clary/internal/serving"
	"clary/internal/stage/plan"
	"clary/internal/store"
)

// job is what a client does and how its tasks go.
type job struct {
	name       string
	kind       resource.Kind
	scripts    []fake.Script // of its tasks: its hosts, and then what further containers they have
	hosts      int
	maxRuntime time.Duration
	create     time.Duration // after the beginning
	stop       time.Duration // after it was created; 0: never
	erase      bool          // deleted once it is over

	slept time.Duration // by the machine, in the middle of the first host's run

	created, deleted atomic.Bool // answered
	stopped          atomic.Bool // asked for, and not refused

	mu     sync.Mutex                  // guards what follows
	nap    time.Time                   // when the machine sleeps
	finals map[int]*compute.TaskStatus // the last words of the hosts' supervisors
	gaveUp map[int]int                 // how often a host was forgotten since others had no room
}

func (j *job) key() resource.Key {
	return resource.Key{Account: account, Region: region, Kind: j.kind, Name: j.name}
}

// group is the log group of jobs of its kind, and the namespace of metrics.
func (j *job) group() string { return "/aws/sagemaker/" + string(j.kind) + "s" }

func newJob(rng *rand.Rand, name string, hosts int, calm bool) *job {
	span := func(most time.Duration) time.Duration { return time.Duration(rng.Int64N(int64(most))) }
	j := &job{
		name: name, kind: []resource.Kind{training.Kind, processing.Kind}[rng.IntN(2)],
		create: span(10 * time.Minute), maxRuntime: 30*time.Minute + span([]time.Duration{30 * time.Minute, 30 * time.Minute, time.Hour, 3 * time.Hour}[rng.IntN(4)]), erase: rng.IntN(4) == 0,
		finals: make(map[int]*compute.TaskStatus), gaveUp: make(map[int]int),
	}
	if hosts == 0 {
		hosts = []int{1, 1, 2, 3}[rng.IntN(4)]
	}
	j.hosts = hosts
	run := []time.Duration{time.Second, time.Minute, time.Hour, 6 * time.Hour}[rng.IntN(4)]
	for range hosts {
		j.scripts = append(j.scripts, newScript(rng, name, run, hosts))
	}
	if rng.IntN(3) == 0 {
		j.stop = 1 + span([]time.Duration{time.Second, time.Minute, 2 * time.Hour}[rng.IntN(3)])
	}
	if !calm && rng.IntN(3) == 0 {
		j.slept = span(time.Hour)
	}
	return j
}

func newScript(rng *rand.Rand, name string, run time.Duration, hosts int) (sc fake.Script) {
	span := func(most time.Duration) time.Duration { return time.Duration(rng.Int64N(int64(most))) }
	sc.Delay, sc.Run = span(20*time.Second), time.Millisecond+span(run)
	at := span(sc.Run)
	sc.Steps = []fake.Step{{Name: plan.StepDownloading, At: span(at + 1)}, {Name: plan.StepTraining, At: at}}
	if rng.IntN(4) > 0 {
		sc.Steps = append(sc.Steps, fake.Step{Name: plan.StepUploading, At: at + span(sc.Run-at)})
	}
	if rng.IntN(10) == 0 {
		sc.Steps = nil // it fails before it does anything
	}
	for i := range rng.IntN(30) {
		sc.Output = append(sc.Output, fmt.Sprintf("line %d of %s loss=%d;", i, name, i))
	}
	switch rng.IntN(8 * hosts) {
	case 0:
		sc.Result = plan.Result{ExitCode: 1, Failure: "it broke"}
	case 1:
		sc.Reason = compute.ReasonMemory
	case 2:
		sc.Forever = true
	case 3:
		sc.Lost = sc.Delay + span(sc.Run)
	}
	sc.IgnoreTERM = rng.IntN(3) == 0
	return sc
}

// score makes a transform job of it, on as many instances with some containers
// each.
func (j *job) score(rng *rand.Rand) {
	j.kind, j.erase = transform.Kind, false // there is no operation that deletes one
	for i := range j.scripts {
		s := &j.scripts[i]
		s.Forever = s.Forever && j.stop > 0 // nothing else ends it
		for k := range rng.IntN(10) {
			s.Output = append(s.Output, fmt.Sprintf("%sdata %d of %s", plan.DataLog, k, j.name))
		}
		rng.Shuffle(len(s.Output), func(a, b int) { s.Output[a], s.Output[b] = s.Output[b], s.Output[a] })
	}
	for range j.hosts * rng.IntN(3) {
		j.scripts = append(j.scripts, newServer(rng, j.name, j.scripts[0].Delay+j.scripts[0].Run, j.hosts))
	}
}

// newServer is a further container of an instance, which mostly serves until it
// is stopped.
func newServer(rng *rand.Rand, name string, run time.Duration, hosts int) (sc fake.Script) {
	span := func(most time.Duration) time.Duration { return time.Duration(rng.Int64N(int64(most))) }
	sc.Delay, sc.Run = span(20*time.Second), time.Millisecond+span(2*run)
	at := span(sc.Run)
	sc.Steps = []fake.Step{{Name: plan.StepDownloading, At: span(at + 1)}, {Name: plan.StepTraining, At: at}}
	for i := range rng.IntN(10) {
		sc.Output = append(sc.Output, fmt.Sprintf("line %d of a server of %s", i, name))
	}
	switch rng.IntN(12 * hosts) {
	case 0: // it ends by itself
	case 1:
		sc.Result = plan.Result{ExitCode: 1, Failure: "it broke"}
	case 2:
		sc.Reason = compute.ReasonMemory
	case 3:
		sc.Lost = sc.Delay + span(sc.Run)
	default:
		sc.Forever = true
	}
	sc.IgnoreTERM = rng.IntN(3) == 0
	return sc
}

// containers is how many each of its instances has.
func (j *job) containers() int { return len(j.scripts) / j.hosts }

// leader is the first container of the instance that a task is of.
func (j *job) leader(task int) int {
	if task < j.hosts {
		return task
	}
	return (task - j.hosts) / (j.containers() - 1)
}

// stream is that of a task's output, given when the job was created.
func (j *job) stream(task int, created time.Time) string {
	name := fmt.Sprintf("%s/algo-%d-%d", j.name, j.leader(task)+1, created.Unix())
	if n := j.containers(); n > 1 {
		container := 1
		if task >= j.hosts {
			container = 2 + (task-j.hosts)%(n-1)
		}
		name += fmt.Sprintf("/container-%d", container)
	}
	return name
}

// createScoring creates a transform job, and the model that it is of.
func (l *life) createScoring(j *job) error {
	name := fmt.Sprint("model-of-", j.name)
	k := resource.Key{Account: account, Region: region, Kind: serving.KindModel, Name: name}
	m := apism.CreateModelInput{ModelName: name, ExecutionRoleArn: role}
	for range j.containers() {
		m.Containers = append(m.Containers, apism.ContainerDefinition{Image: "image"})
	}
	spec, err := json.Marshal(m)
	if err != nil {
		return err
	}
	err = l.store.Update(context.Background(), func(tx store.Tx) error {
		if _, err := tx.Get(k); !errors.Is(err, store.ErrNotFound) {
			return err
		}
		return tx.Put(&resource.Record{Key: k, UID: resource.NewUID(), Arn: "arn:model/" + name, Created: time.Now(), Modified: time.Now(), Spec: spec})
	})
	if err != nil {
		return err
	}
	_, err = l.transform.Create(context.Background(), call(), &apism.CreateTransformJobRequest{
		TransformJobName: j.name, ModelName: name,
		TransformInput:     &apism.TransformInput{DataSource: &apism.TransformDataSource{S3DataSource: &apism.TransformS3DataSource{S3DataType: "S3Prefix", S3Uri: "s3://bucket/in"}}},
		TransformOutput:    &apism.TransformOutput{S3OutputPath: "s3://bucket/out"},
		TransformResources: &apism.TransformResources{InstanceType: "ml.m5.large", InstanceCount: int64(j.hosts)},
	})
	return err
}

// role is the jobs' own.
const role = "arn:aws:iam::" + account + ":role/Role"

func (l *life) createJob(j *job) error {
	if j.kind == transform.Kind {
		return l.createScoring(j)
	}
	hosts, limit := int64(j.hosts), int64(j.maxRuntime/time.Second)
	if j.kind == processing.Kind {
		_, err := l.processing.Create(context.Background(), call(), &apism.CreateProcessingJobRequest{
			ProcessingJobName: j.name, RoleArn: role,
			AppSpecification: &apism.AppSpecification{ImageUri: "image", ContainerEntrypoint: []string{"run"}},
			ProcessingResources: &apism.ProcessingResources{ClusterConfig: &apism.ProcessingClusterConfig{
				InstanceType: "ml.m5.large", InstanceCount: &hosts, VolumeSizeInGB: 30,
			}},
			StoppingCondition: &apism.ProcessingStoppingCondition{MaxRuntimeInSeconds: limit},
		})
		return err
	}
	_, err := l.training.Create(context.Background(), call(), &apism.CreateTrainingJobRequest{
		TrainingJobName: j.name, RoleArn: role, Tags: l.s.tagged(j.name),
		AlgorithmSpecification: &apism.AlgorithmSpecification{
			TrainingImage: "image", TrainingInputMode: "File",
			MetricDefinitions: []apism.MetricDefinition{{Name: "loss", Regex: "loss=([0-9]+);"}},
		},
		OutputDataConfig:  &apism.OutputDataConfig{S3OutputPath: "s3://bucket/out"},
		ResourceConfig:    &apism.ResourceConfig{InstanceType: "ml.m5.large", InstanceCount: &hosts, VolumeSizeInGB: api.Ptr(int64(30))},
		StoppingCondition: &apism.StoppingCondition{MaxRuntimeInSeconds: &limit},
	})
	return err
}

// engine is the one that carries the job.
func (l *life) engine(j *job) *engine.Engine {
	switch j.kind {
	case processing.Kind:
		return l.processing.Engine
	case transform.Kind:
		return l.transform.Engine
	}
	return l.training.Engine
}

func call() op.Call {
	return op.Call{Account: account, Region: region, Principal: resource.Principal{Account: account, Root: true}, Received: time.Now()}
}

// clients lets every job's client do what it wants, and waits for them.
func (s *sim) clients() {
	var wg sync.WaitGroup
	for _, j := range s.plans {
		wg.Go(func() {
			time.Sleep(j.create)
			s.create(j)
			if j.stop > 0 {
				time.Sleep(j.stop)
				s.insist(func(l *life) error {
					err := l.engine(j).Stop(context.Background(), call(), j.name)
					if e, ok := errors.AsType[*apierr.Error](err); ok && e.Code == "ValidationException" {
						return nil // it was over
					}
					j.stopped.Store(true) // or perhaps: whoever got no answer cannot know
					return err
				})
			}
			if j.erase {
				s.erase(j)
			}
		})
	}
	for _, b := range s.books {
		wg.Go(func() { s.client(b) })
	}
	for _, w := range s.sites {
		wg.Go(func() { s.visitor(w) })
	}
	wg.Wait()
}

// insist does what a client does whose call was not answered: it calls again.
func (s *sim) insist(do func(l *life) error) {
	for {
		l := s.server()
		err := do(l)
		switch {
		case err == nil:
			return
		case errors.Is(err, errDead) || errors.Is(err, errFlaky) || l.dead.Load():
			time.Sleep(time.Second)
		case s.full() && refused(err):
			time.Sleep(time.Minute)
		default:
			s.fail("a call was answered with %v", err)
			return
		}
	}
}

// refused says whether an error is what a full disk makes.
func refused(err error) bool {
	e, ok := errors.AsType[*apierr.Error](err)
	return errors.Is(err, store.ErrFull) || ok && e.Code == "ResourceLimitExceeded"
}

func (s *sim) create(j *job) {
	first := true
	s.insist(func(l *life) error {
		err := l.createJob(j)
		if e, ok := errors.AsType[*apierr.Error](err); ok && e.Code == "ResourceInUse" && !first {
			err = nil // the call before did it after all
		}
		first = false
		return err
	})
	j.created.Store(true)
}

// erase deletes the job when it is over.
func (s *sim) erase(j *job) {
	deadline := time.Now().Add(patience)
	for time.Now().Before(deadline) {
		gone := false
		s.insist(func(l *life) error {
			err := l.engine(j).Delete(context.Background(), call(), j.name)
			if e, ok := errors.AsType[*apierr.Error](err); ok {
				switch e.Code {
				case "ResourceInUse":
					return nil // not over yet
				case "ResourceNotFound", "ValidationException":
					err = nil // the call before did it after all
				}
			}
			gone = err == nil
			return err
		})
		if gone {
			j.deleted.Store(true)
			return
		}
		time.Sleep(time.Minute)
	}
}

// hostOf is which of its job's tasks one is, from 0.
func hostOf(id compute.TaskID) int { return int(id[len(id)-1] - '1') }

// named remembers whose task this is.
func (s *sim) named(t compute.Task) {
	s.booked(t)
	s.sited(t)
	s.mu.Lock()
	defer s.mu.Unlock()
	j := s.plans[t.Name]
	if j == nil {
		return
	}
	s.names[t.ID] = j
	j.mu.Lock()
	defer j.mu.Unlock()
	if sc := j.scripts[0]; j.nap.IsZero() {
		j.nap = time.Now().Add(sc.Delay + sc.Run/2)
	}
}

func (s *sim) jobOf(id compute.TaskID) *job {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.names[id]
}

// clocks shows a status with the clocks of a machine that slept meanwhile.
func (s *sim) clocks(id compute.TaskID, st *compute.TaskStatus) {
	j := s.jobOf(id)
	if j == nil {
		s.bookClocks(id, st)
		return
	}
	if st.Started.IsZero() {
		return
	}
	j.mu.Lock()
	nap := j.nap
	j.mu.Unlock()
	seen := func(at time.Time) time.Time {
		if at.After(nap) {
			return at.Add(j.slept)
		}
		return at
	}
	for i := range st.Steps {
		st.Steps[i].At = seen(st.Steps[i].At)
	}
	if st.Heartbeat.After(nap) && !st.Started.After(nap) {
		st.Suspended = j.slept
	}
	st.Started, st.Heartbeat = seen(st.Started), seen(st.Heartbeat)
	if st.Exit != nil {
		e := *st.Exit
		e.At = seen(e.At)
		st.Exit = &e
	}
}

// removed keeps the last word of a task that is about to be forgotten.
func (s *sim) removed(ctx context.Context, l *life, d compute.Driver, id compute.TaskID) {
	j := s.jobOf(id)
	st, err := d.Status(ctx, id)
	if errors.Is(err, compute.ErrNotFound) {
		return
	}
	if err != nil {
		s.fail("status of %s: %v", id, err)
		return
	}
	if b := s.bookOf(id); b != nil {
		s.bookClocks(id, &st)
		b.removed(s, id, st)
		return
	}
	if w := s.siteOf(id); w != nil {
		s.bookClocks(id, &st)
		w.removed(s, id, st)
		return
	}
	if j == nil {
		s.fail("task %s is of no job", id)
		return
	}
	ctx = context.WithoutCancel(ctx) // the server may be on its way out
	rec, err := l.store.Get(ctx, j.key())
	if err != nil {
		s.fail("%s: its task was removed after its record: %v", j.name, err)
		return
	}
	if !over(rec.Phase) && rec.Phase != "Deleting" {
		s.gaveUp(ctx, l, j, id)
		return
	}
	if st.Phase != compute.Ended && st.Phase != compute.Lost {
		s.fail("%s: its task was removed while it was %s", j.name, st.Phase)
	}
	s.clocks(id, &st)
	j.mu.Lock()
	j.finals[hostOf(id)] = &st
	j.mu.Unlock()
}

// gaveUp sees that a host which is forgotten before its job's end is one of
// several that never were a job together.
func (s *sim) gaveUp(ctx context.Context, l *life, j *job, id compute.TaskID) {
	use, err := l.store.ListUsage(ctx, resource.UsageQuery{Account: account, Region: region, Kind: j.kind, Names: []string{j.name}})
	if err != nil || len(use) > 0 || len(j.scripts) == 1 {
		s.fail("%s: one of %d hosts was given up, billed %v, %v", j.name, len(j.scripts), spans(use), err)
	}
	j.mu.Lock()
	j.gaveUp[hostOf(id)]++
	j.mu.Unlock()
}
