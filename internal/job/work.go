package job

import (
	"context"
	"fmt"
	"maps"
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
	Channels         []string // names of its inputs, for texts
	// Plan is what stage does on one of the hosts.
	Plan func(host string, hosts []string, rt runtimes.Runtime) plan.Plan
}

// hosts is how many instances there are.
func (w *Work) hosts() int { return int(max(1, w.InstanceCount)) }

// named says that the job names its program itself.
func (w *Work) named() bool { return len(w.Entrypoint) > 0 || len(w.Args) > 0 }

const (
	stopGrace  = 120 * time.Second // from SIGTERM to SIGKILL; documentation of StopTrainingJob and StopProcessingJob
	sessionTTL = 2 * time.Hour     // beyond the job's time limit: staging and upload
)

// tasks are the job's instances.
func (e *Engine) tasks(ctx context.Context, rec *resource.Record, w *Work, rt runtimes.Runtime) ([]compute.Task, error) {
	creds, err := e.Sessions.Assume(ctx, w.RoleArn, "SageMaker", w.MaxRuntime+sessionTTL)
	if err != nil {
		return nil, fmt.Errorf("role session: %w", err)
	}
	env := map[string]string{}
	maps.Copy(env, rt.Env)
	maps.Copy(env, w.Env)
	env["AWS_REGION"] = rec.Region

	args := w.Args
	if !w.named() && e.Program != nil {
		args = e.Program(rt)
	}
	peers := make([]string, w.hosts())
	for i := range peers {
		peers[i] = hostName(i)
	}
	out := make([]compute.Task, len(peers))
	for i, host := range peers {
		out[i] = compute.Task{
			ID: taskID(rec.UID, i), Kind: e.Word, Name: rec.Name,
			Image: rt.Image, Entrypoint: w.Entrypoint, Args: args,
			Env:       env,
			Plan:      w.Plan(host, peers, rt),
			Resources: e.resources(w),
			Network:   compute.Network{Host: host, Peers: peers, Isolated: w.Isolated, Egress: e.Egress && !w.Isolated},
			Identity: compute.Identity{
				RoleArn: w.RoleArn, AccessKeyID: creds.AccessKeyID, SecretAccessKey: creds.SecretAccessKey,
				SessionToken: creds.SessionToken, Expiration: creds.Expiration, Region: rec.Region,
			},
			MaxRuntime: w.MaxRuntime,
			Grace:      stopGrace,
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

// note says in the job's status where it runs on something else than was asked.
func (e *Engine) note(w *Work, rt runtimes.Runtime) string {
	var notes []string
	if rt.Note != "" {
		notes = append(notes, rt.Note)
	}
	if r, clamped := e.sized(w); clamped {
		size, _ := meter.Instance(w.InstanceType)
		notes = append(notes, fmt.Sprintf("memory is limited to the machine's %.1f GiB; %s has %d GiB",
			float64(r.MemoryBytes)/(1<<30), w.InstanceType, size.MemoryGiB))
	}
	return strings.Join(notes, "; ")
}

// maxInstances is AWS's default quota of a job.
const maxInstances = 20

// CheckInstances refuses what this machine never has. A feature asks it before
// it creates.
func (e *Engine) CheckInstances(instanceType string, count int64) error {
	const limit = "The account-level service limit '%s' is %d Instances, with current utilization of 0 Instances and a request delta of %d Instances. "
	if acc := meter.Accelerators(instanceType); acc > e.Capacity.GPUs {
		return apierr.New(400, "ResourceLimitExceeded", limit+"This machine has %d of the %d accelerators that the instance type needs; use a CPU instance type.",
			instanceType+" for "+e.noun()+" usage", 0, count, e.Capacity.GPUs, acc)
	}
	if count > maxInstances {
		return apierr.New(400, "ResourceLimitExceeded", limit+"Use fewer instances.", "Maximum number of instances per "+e.noun(), maxInstances, count)
	}
	return nil
}
