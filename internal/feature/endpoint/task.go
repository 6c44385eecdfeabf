package endpoint

import (
	"context"
	"fmt"
	"maps"
	"strconv"
	"time"

	"clary/internal/compute"
	"clary/internal/meter"
	"clary/internal/resource"
	"clary/internal/runtimes"
	"clary/internal/serving"
	"clary/internal/stage/plan"
)

const (
	stopGrace = 30 * time.Second // from SIGTERM to SIGKILL, as documented
	diskGB    = 30               // of an instance that names no VolumeSizeInGB
)

// tasks are an instance's containers.
func (e *Endpoints) tasks(ctx context.Context, rec *resource.Record, v *variant, in *instance, rts map[string]runtimes.Runtime) ([]compute.Task, error) {
	id, err := e.identity(ctx, rec, v.RoleArn)
	if err != nil {
		return nil, err
	}
	size := e.resources(v)
	out := make([]compute.Task, len(in.Tasks))
	for i, t := range in.Tasks {
		c := &v.Containers[i]
		rt := rts[c.Image]
		env := map[string]string{}
		maps.Copy(env, rt.Env)
		maps.Copy(env, c.Environment)
		env["AWS_REGION"], env["SAGEMAKER_BIND_TO_PORT"] = rec.Region, strconv.Itoa(serving.Port)
		out[i] = compute.Task{
			ID: t.ID, Kind: "endpoint", Name: rec.Name,
			Image: rt.Image, Args: rt.Serve, Env: env,
			Plan: plan.Plan{Serving: &plan.Serving{
				Region: rec.Region, RoleArn: v.RoleArn, VCPU: size.VCPU, Models: serving.Models(c), NetworkIsolation: v.Isolated,
			}},
			Resources: size,
			Network:   compute.Network{Host: c.ContainerHostname, Isolated: v.Isolated, Egress: e.Egress && !v.Isolated},
			Identity:  id,
			Grace:     stopGrace,
		}
	}
	return out, nil
}

// identity is a new session of a model's role.
func (e *Endpoints) identity(ctx context.Context, rec *resource.Record, role string) (compute.Identity, error) {
	creds, err := e.Sessions.Assume(ctx, role, "SageMaker", sessionTTL)
	if err != nil {
		return compute.Identity{}, fmt.Errorf("role session: %w", err)
	}
	return compute.Identity{
		RoleArn: role, AccessKeyID: creds.AccessKeyID, SecretAccessKey: creds.SecretAccessKey,
		SessionToken: creds.SessionToken, Expiration: creds.Expiration, Region: rec.Region,
	}, nil
}

// resources are the instance type's, for each container, divided by the
// operator's scale; memory is what the machine has at most.
func (e *Endpoints) resources(v *variant) compute.Resources {
	size, _ := meter.Instance(v.InstanceType)
	r, _ := e.Capacity.Sized(size.VCPU, size.MemoryGiB, e.Scale)
	r.DiskBytes = diskGB << 30
	if v.VolumeGB > 0 {
		r.DiskBytes = v.VolumeGB << 30
	}
	return r
}
