package notebook

import (
	"context"
	"fmt"
	"maps"
	"time"

	"clary/internal/compute"
	"clary/internal/meter"
	"clary/internal/resource"
	"clary/internal/runtimes"
	"clary/internal/stage/agent"
)

const (
	user      = "ec2-user"
	diskBytes = 30 << 30         // for what is written outside of the volume, gone at stop
	stopGrace = 30 * time.Second // from SIGTERM to SIGKILL

	sessionTTL   = 6 * time.Hour // of the role's session
	sessionFresh = 4 * time.Hour // what is left of it before it is renewed
)

// renewable says whether a session is old enough to be replaced.
func renewable(expires, now time.Time) bool { return expires.Sub(now) < sessionFresh }

// task is the notebook's next run.
func (n *Notebooks) task(ctx context.Context, rec *resource.Record, st *status, spec *request, rt runtimes.Runtime, order agent.Order) (compute.Task, error) {
	id, err := n.identity(ctx, rec, spec)
	if err != nil {
		return compute.Task{}, err
	}
	meta, err := marshal(map[string]string{"ResourceArn": rec.Arn, "ResourceName": rec.Name, "ExecutionRoleArn": spec.RoleArn})
	if err != nil {
		return compute.Task{}, err
	}
	said, err := encode(order)
	if err != nil {
		return compute.Task{}, err
	}
	env := map[string]string{}
	maps.Copy(env, rt.Env)
	env["AWS_REGION"] = rec.Region
	return compute.Task{
		ID: st.Task, Kind: "notebook", Name: rec.Name,
		Image: rt.Image, Args: rt.Serve, Dir: runtimes.NotebookDir, Env: env,
		// Lifecycle scripts are root's: what RootAccess takes from the user is
		// taken inside, by the order.
		User:   &compute.User{Name: user, Home: runtimes.NotebookHome, Sudo: true},
		Mounts: []compute.Mount{{Volume: volumeID(rec), Path: runtimes.NotebookDir}},
		Files: []compute.File{
			{Path: "/opt/ml/metadata/resource-metadata.json", Mode: 0o444, Data: meta},
			{Path: agent.OrderFile, Mode: 0o400, Data: said},
		},
		Resources: n.resources(spec),
		Network:   compute.Network{Egress: n.Egress && orElse(spec.DirectInternetAccess, enabled) == enabled},
		Identity:  id,
		Grace:     stopGrace,
	}, nil
}

// identity is a new session of the notebook's role.
func (n *Notebooks) identity(ctx context.Context, rec *resource.Record, spec *request) (compute.Identity, error) {
	creds, err := n.Sessions.Assume(ctx, spec.RoleArn, "SageMaker", sessionTTL)
	if err != nil {
		return compute.Identity{}, fmt.Errorf("role session: %w", err)
	}
	return compute.Identity{
		RoleArn: spec.RoleArn, AccessKeyID: creds.AccessKeyID, SecretAccessKey: creds.SecretAccessKey,
		SessionToken: creds.SessionToken, Expiration: creds.Expiration, Region: rec.Region,
	}, nil
}

func (n *Notebooks) resources(spec *request) compute.Resources {
	size, _ := meter.Instance(spec.InstanceType)
	r, _ := n.Capacity.Sized(size.VCPU, size.MemoryGiB, n.Scale)
	r.DiskBytes = diskBytes
	return r
}

func (n *Notebooks) about(spec *request) about {
	return about{instance: spec.InstanceType, memory: n.resources(spec).MemoryBytes, larger: meter.Larger(spec.InstanceType)}
}

func orElse(s, d string) string {
	if s == "" {
		return d
	}
	return s
}
