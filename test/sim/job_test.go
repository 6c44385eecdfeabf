package sim

import (
	"context"
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
	"clary/internal/feature/training"
	"clary/internal/resource"
	"clary/internal/stage/plan"
	"clary/internal/store"
)

// job is what a client does and how its task goes.
type job struct {
	name       string
	script     fake.Script
	maxRuntime time.Duration
	create     time.Duration // after the beginning
	stop       time.Duration // after it was created; 0: never
	erase      bool          // deleted once it is over

	slept time.Duration // by the machine, in the middle of the task's run

	created, deleted atomic.Bool // answered
	stopped          atomic.Bool // asked for, and not refused

	mu    sync.Mutex          // guards final
	final *compute.TaskStatus // the last word of its supervisor
}

func (j *job) key() resource.Key {
	return resource.Key{Account: account, Region: region, Kind: training.Kind, Name: j.name}
}

func newJob(rng *rand.Rand, name string, calm bool) *job {
	span := func(most time.Duration) time.Duration { return time.Duration(rng.Int64N(int64(most))) }
	j := &job{name: name, create: span(10 * time.Minute), maxRuntime: 30*time.Minute + span(3*time.Hour), erase: rng.IntN(4) == 0}
	run := []time.Duration{time.Second, time.Minute, time.Hour, 6 * time.Hour}[rng.IntN(4)]
	sc := &j.script
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
	switch rng.IntN(8) {
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
	if rng.IntN(3) == 0 {
		j.stop = 1 + span([]time.Duration{time.Second, time.Minute, 2 * time.Hour}[rng.IntN(3)])
	}
	if !calm && rng.IntN(3) == 0 {
		j.slept = span(time.Hour)
	}
	return j
}

func (j *job) request() *apism.CreateTrainingJobRequest {
	return &apism.CreateTrainingJobRequest{
		TrainingJobName: j.name, RoleArn: "arn:aws:iam::" + account + ":role/Role",
		AlgorithmSpecification: &apism.AlgorithmSpecification{
			TrainingImage: "image", TrainingInputMode: "File",
			MetricDefinitions: []apism.MetricDefinition{{Name: "loss", Regex: "loss=([0-9]+);"}},
		},
		OutputDataConfig:  &apism.OutputDataConfig{S3OutputPath: "s3://bucket/out"},
		ResourceConfig:    &apism.ResourceConfig{InstanceType: "ml.m5.large", InstanceCount: api.Ptr(int64(1)), VolumeSizeInGB: api.Ptr(int64(30))},
		StoppingCondition: &apism.StoppingCondition{MaxRuntimeInSeconds: api.Ptr(int64(j.maxRuntime / time.Second))},
	}
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
					_, err := l.jobs.Stop(context.Background(), call(), &apism.StopTrainingJobRequest{TrainingJobName: j.name})
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
		_, err := l.jobs.Create(context.Background(), call(), j.request())
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
			_, err := l.jobs.Delete(context.Background(), call(), &apism.DeleteTrainingJobRequest{TrainingJobName: j.name})
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

// named remembers whose task this is.
func (s *sim) named(t compute.Task) {
	s.booked(t)
	s.mu.Lock()
	defer s.mu.Unlock()
	if j := s.plans[t.Name]; j != nil {
		s.names[t.ID] = j
	}
}

func (s *sim) jobOf(id compute.TaskID) *job {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.names[id]
}

// clocks shows a status with the clocks of a machine that slept in the middle
// of the task's run.
func (s *sim) clocks(id compute.TaskID, st *compute.TaskStatus) {
	j := s.jobOf(id)
	if j == nil {
		s.bookClocks(id, st)
		return
	}
	if st.Started.IsZero() {
		return
	}
	middle := st.Started.Add(j.script.Run / 2)
	seen := func(at time.Time) time.Time {
		if at.After(middle) {
			return at.Add(j.slept)
		}
		return at
	}
	for i := range st.Steps {
		st.Steps[i].At = seen(st.Steps[i].At)
	}
	if st.Heartbeat.After(middle) {
		st.Suspended = j.slept
	}
	st.Heartbeat = seen(st.Heartbeat)
	if st.Exit != nil {
		e := *st.Exit
		e.At = seen(e.At)
		st.Exit = &e
	}
}

// removed keeps the last word of a task that is about to be forgotten.
func (s *sim) removed(ctx context.Context, d compute.Driver, id compute.TaskID) {
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
	if j == nil {
		s.fail("task %s is of no job", id)
		return
	}
	if st.Phase != compute.Ended && st.Phase != compute.Lost {
		s.fail("%s: its task was removed while it was %s", j.name, st.Phase)
	}
	s.clocks(id, &st)
	j.mu.Lock()
	j.final = &st
	j.mu.Unlock()
}
