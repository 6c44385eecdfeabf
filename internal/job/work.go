package job

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"clary/internal/aws/apierr"
	"clary/internal/compute"
	"clary/internal/meter"
	"clary/internal/resource"
	"clary/internal/runtimes"
	"clary/internal/stage/plan"
)

// Work is what a job asks for, of whatever kind it is.
type Work struct {
	Image, RoleArn   string
	Entrypoint, Args []string
	Env              map[string]string // above the runtime's own
	InstanceType     string
	InstanceCount    int64
	VolumeGB         int64
	MaxRuntime       time.Duration
	Isolated         bool
	Metrics          []plan.Metric
	Channels         []string      // names of its inputs, for texts
	Grace            time.Duration // from SIGTERM to SIGKILL; 0: stopGrace
	// Plan is what stage does on one of the hosts.
	Plan func(host string, hosts []string, rt runtimes.Runtime) plan.Plan
	// First is what the first container of each instance is called where there
	// are further ones.
	First string
	// Further are the containers of each instance beyond its first. Each is a
	// task of its own that serves the first for as long as that one runs: the
	// job's end, its times and its bill are those of the first ones.
	Further []Container
}

// Container is one of those that an instance has beyond its first.
type Container struct {
	Name  string // of its log, and for texts
	Image string
	Env   map[string]string // above the runtime's own
	Plan  func(rt runtimes.Runtime) plan.Plan
}

// hosts is how many instances there are.
func (w *Work) hosts() int { return int(max(1, w.InstanceCount)) }

// tasks is how many tasks they are: the first containers of all instances, then
// the further ones, instance by instance.
func (w *Work) tasks() int { return w.hosts() * (1 + len(w.Further)) }

// place says of which instance a task is, and which of its containers, both
// from 0.
func (w *Work) place(task int) (instance, container int) {
	rest := task - w.hosts()
	if rest < 0 {
		return task, 0
	}
	return rest / len(w.Further), 1 + rest%len(w.Further)
}

// hostName is how the others of its job reach a task.
func (w *Work) hostName(task int) string {
	instance, container := w.place(task)
	if container == 0 {
		return hostName(instance)
	}
	return FurtherHost(hostName(instance), container)
}

// FurtherHost is the name by which an instance's first container reaches a
// further one; they are counted from 1.
func FurtherHost(host string, further int) string {
	return fmt.Sprintf("%s-container-%d", host, further+1)
}

// title is how texts know a task.
func (w *Work) title(task int) string {
	instance, container := w.place(task)
	switch {
	case container == 0:
		return hostName(instance)
	case w.hosts() == 1:
		return w.Further[container-1].Name
	}
	return hostName(instance) + "/" + w.Further[container-1].Name
}

// images are those of an instance's containers, in their order.
func (w *Work) images() []string {
	uris := []string{w.Image}
	for _, c := range w.Further {
		uris = append(uris, c.Image)
	}
	return uris
}

// named says that the job names its program itself.
func (w *Work) named() bool { return len(w.Entrypoint) > 0 || len(w.Args) > 0 }

const (
	stopGrace  = 120 * time.Second // from SIGTERM to SIGKILL; documentation of StopTrainingJob and StopProcessingJob
	sessionTTL = 2 * time.Hour     // beyond the job's time limit: staging and upload
)

// tasks are the job's, given the runtimes of an instance's containers.
func (e *Engine) tasks(ctx context.Context, rec *resource.Record, w *Work, rts []runtimes.Runtime) ([]compute.Task, error) {
	creds, err := e.Sessions.Assume(ctx, w.RoleArn, "SageMaker", w.MaxRuntime+sessionTTL)
	if err != nil {
		return nil, fmt.Errorf("role session: %w", err)
	}
	peers := make([]string, w.tasks())
	for i := range peers {
		peers[i] = w.hostName(i)
	}
	out := make([]compute.Task, len(peers))
	for i, host := range peers {
		_, container := w.place(i)
		rt, own := rts[container], w.Env
		var p plan.Plan
		if container == 0 {
			p = w.Plan(host, peers[:w.hosts()], rt)
		} else {
			own, p = w.Further[container-1].Env, w.Further[container-1].Plan(rt)
		}
		env := map[string]string{}
		maps.Copy(env, rt.Env)
		maps.Copy(env, own)
		env["AWS_REGION"] = rec.Region
		args := w.Args
		if !w.named() && e.Program != nil {
			args = e.Program(rt)
		}
		out[i] = compute.Task{
			ID: taskID(rec.UID, i), Kind: e.Word, Name: rec.Name,
			Image: rt.Image, Entrypoint: w.Entrypoint, Args: args,
			Env:       env,
			Plan:      p,
			Resources: e.resources(w),
			Network:   compute.Network{Host: host, Peers: peers, Isolated: w.Isolated, Egress: e.Egress && !w.Isolated},
			Identity: compute.Identity{
				RoleArn: w.RoleArn, AccessKeyID: creds.AccessKeyID, SecretAccessKey: creds.SecretAccessKey,
				SessionToken: creds.SessionToken, Expiration: creds.Expiration, Region: rec.Region,
			},
			MaxRuntime: w.MaxRuntime,
			Grace:      w.grace(),
		}
	}
	return out, nil
}

// resources are the instance type's, divided by the operator's scale; memory
// is what the machine has at most.
func (e *Engine) resources(w *Work) compute.Resources {
	r, _ := e.sized(w)
	r.DiskBytes = max(0, w.VolumeGB) << 30
	return r
}

// sized are the limits of the instance type, and whether this machine has less.
func (e *Engine) sized(w *Work) (compute.Resources, bool) {
	size, _ := meter.Instance(w.InstanceType)
	return e.Capacity.Sized(size.VCPU, size.MemoryGiB, e.Scale)
}

// about tells what texts need to know of the job.
func (e *Engine) about(w *Work) about {
	r, clamped := e.sized(w)
	return about{family: &e.Family, work: w, memory: r.MemoryBytes, larger: meter.Larger(w.InstanceType), clamped: clamped}
}

// grace is how long a task may take to end when it is asked to.
func (w *Work) grace() time.Duration {
	if w.Grace > 0 {
		return w.Grace
	}
	return stopGrace
}

// note says in the job's status where it runs on something else than was asked.
func (e *Engine) note(w *Work, rts []runtimes.Runtime) string {
	var notes []string
	for _, rt := range rts {
		if rt.Note != "" && !slices.Contains(notes, rt.Note) {
			notes = append(notes, rt.Note)
		}
	}
	if r, clamped := e.sized(w); clamped {
		size, _ := meter.Instance(w.InstanceType)
		notes = append(notes, fmt.Sprintf("memory is limited to the machine's %.1f GiB; %s has %d GiB",
			float64(r.MemoryBytes)/(1<<30), w.InstanceType, size.MemoryGiB))
	}
	return strings.Join(notes, "; ")
}

// CheckContainers refuses more containers than this machine ever runs at once.
func (e *Engine) CheckContainers(instanceType string, count int64, containers int) error {
	if all := count * int64(containers); e.Capacity.Tasks > 0 && all > int64(e.Capacity.Tasks) {
		return apierr.New(400, "ResourceLimitExceeded", quota+"The model has %d containers, so that the instances would have %d together, and this machine runs %d at once; use fewer instances.",
			instanceType+" for "+e.noun()+" usage", e.Capacity.Tasks/containers, count, containers, all, e.Capacity.Tasks)
	}
	return nil
}

const quota = "The account-level service limit '%s' is %d Instances, with current utilization of 0 Instances and a request delta of %d Instances. "

// maxInstances is AWS's default quota of a job.
const maxInstances = 20

// CheckInstances refuses what this machine never has. A feature asks it before
// it creates.
func (e *Engine) CheckInstances(instanceType string, count int64) error {
	if acc := meter.Accelerators(instanceType); acc > e.Capacity.GPUs {
		return apierr.New(400, "ResourceLimitExceeded", quota+"This machine has %d of the %d accelerators that the instance type needs; use a CPU instance type.",
			instanceType+" for "+e.noun()+" usage", 0, count, e.Capacity.GPUs, acc)
	}
	if count > maxInstances {
		return apierr.New(400, "ResourceLimitExceeded", quota+"Use fewer instances.", "Maximum number of instances per "+e.noun(), maxInstances, count)
	}
	return nil
}
