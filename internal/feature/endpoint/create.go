package endpoint

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/go-json-experiment/json"

	"clary/internal/api"
	apism "clary/internal/api/sagemaker"
	"clary/internal/aws/apierr"
	"clary/internal/aws/op"
	"clary/internal/aws/tags"
	"clary/internal/budget"
	"clary/internal/meter"
	"clary/internal/resource"
	"clary/internal/serving"
	"clary/internal/store"
)

const (
	defaultStartup  = 8 * 60 // seconds, as documented
	defaultDownload = 60 * 60
	maxInstances    = 20 // of an endpoint, AWS's default quota
)

// Create accepts an endpoint: one transaction, no compute touched. As on AWS,
// the caller must be allowed it of the configuration too.
func (e *Endpoints) Create(ctx context.Context, c op.Call, in *apism.CreateEndpointInput) (*apism.CreateEndpointOutput, error) {
	if err := checkPolicy(in.DeploymentConfig); err != nil {
		return nil, err
	}
	if err := e.Auth.Allow(ctx, c.Principal, "sagemaker:CreateEndpoint", configArn(c, in.EndpointConfigName)); err != nil {
		return nil, err
	}
	if err := e.room(); err != nil {
		return nil, err
	}
	named, err := tags.Map(in.Tags)
	if err != nil {
		return nil, err
	}
	spec, err := json.Marshal(in)
	if err != nil {
		return nil, fmt.Errorf("spec: %w", err)
	}
	now := time.Now()
	rec := resource.Record{
		Key: key(c.Account, c.Region, in.EndpointName), UID: resource.NewUID(), Arn: arnOf(c, in.EndpointName),
		Phase: serving.PhaseCreating, Created: now, Modified: now, Due: now, Spec: spec,
	}
	err = e.Store.Update(ctx, func(tx store.Tx) error {
		// Two names that differ in case have one ARN.
		if _, err := tx.ByArn(rec.Arn); !errors.Is(err, store.ErrNotFound) {
			if err == nil {
				err = store.ErrExists
			}
			return err
		}
		st := status{V: 1, Config: in.EndpointConfigName}
		dep, err := e.snapshot(tx, c, in.EndpointConfigName, now)
		if err != nil {
			return err
		}
		if err := e.checkInstances(dep); err != nil {
			return err
		}
		if err := e.admit(ctx, tx, rec.Key, named, dep.uses()); err != nil {
			return err
		}
		st.begin(rec.UID, dep, in.DeploymentConfig)
		r := rec
		if err := st.write(&r); err != nil {
			return err
		}
		if err := tx.Put(&r); err != nil {
			return err
		}
		return tx.PutTags(rec.Arn, named)
	})
	if errors.Is(err, store.ErrExists) {
		return nil, apierr.Validation("Cannot create already existing endpoint %q.", rec.Arn)
	}
	if err != nil {
		return nil, err
	}
	e.track(&rec)
	return &apism.CreateEndpointOutput{EndpointArn: rec.Arn}, nil
}

// begin has a deployment come to be, beside the one that serves.
func (st *status) begin(uid string, dep *deployment, policy *apism.DeploymentConfig) {
	st.Deployments++
	dep.N, dep.Policy = st.Deployments, policy
	st.Next, st.Failure = dep, ""
	for i := range dep.Variants {
		v := &dep.Variants[i]
		for range v.Count {
			st.add(uid, dep, v, dep.Began, dep.Began)
		}
	}
}

// uses are what a deployment's instances are about to cost.
func (d *deployment) uses() []resource.Usage {
	counts := make(map[string]int64)
	for i := range d.Variants {
		counts[d.Variants[i].InstanceType] += d.Variants[i].Count
	}
	return usesOf(counts)
}

// usesOf are those of instances, by their type.
func usesOf(counts map[string]int64) (out []resource.Usage) {
	for _, t := range slices.Sorted(maps.Keys(counts)) {
		if counts[t] > 0 {
			out = append(out, resource.Usage{Component: component, InstanceType: t, Unit: meter.InstanceSecond, Quantity: counts[t]})
		}
	}
	return out
}

// admit asks whether hard budgets have room for instances.
func (e *Endpoints) admit(ctx context.Context, tx store.Tx, k resource.Key, tags map[string]string, uses []resource.Usage) error {
	return budget.Admit(ctx, e.Gate, tx, budget.Ask{Key: k, Tags: tags, Uses: uses})
}

// room refuses what needs disk when there is hardly any.
func (e *Endpoints) room() error {
	if e.Free() != nil {
		return apierr.New(400, "ResourceLimitExceeded",
			"The server's disk is almost full and takes no more endpoints. Delete objects or endpoints, or give the data folder more room, and try again.")
	}
	return nil
}

// snapshot reads a configuration and its models as they are now. Their features
// have refused what no endpoint can serve.
func (e *Endpoints) snapshot(tx store.Tx, c op.Call, name string, now time.Time) (*deployment, error) {
	var cfg apism.CreateEndpointConfigInput
	if err := read(tx, resource.Key{Account: c.Account, Region: c.Region, Kind: serving.KindConfig, Name: name}, &cfg); errors.Is(err, store.ErrNotFound) {
		return nil, apierr.Validation("Could not find endpoint configuration %q.", configArn(c, name))
	} else if err != nil {
		return nil, err
	}
	dep := &deployment{Config: name, Began: now, Capture: cfg.DataCaptureConfig}
	for i := range cfg.ProductionVariants {
		p := &cfg.ProductionVariants[i]
		v, err := readVariant(tx, c, p)
		if err != nil {
			return nil, err
		}
		dep.Variants = append(dep.Variants, *v)
	}
	return dep, nil
}

// readVariant is a variant of a configuration with its model.
func readVariant(tx store.Tx, c op.Call, p *apism.ProductionVariant) (*variant, error) {
	var m apism.CreateModelInput
	if err := read(tx, resource.Key{Account: c.Account, Region: c.Region, Kind: serving.KindModel, Name: p.ModelName}, &m); errors.Is(err, store.ErrNotFound) {
		return nil, apierr.Validation("Could not find model %q.", modelArn(c, p.ModelName))
	} else if err != nil {
		return nil, err
	}
	v := &variant{
		Name: p.VariantName, InstanceType: p.InstanceType, Count: api.Value(p.InitialInstanceCount), Weight: 1,
		Model: p.ModelName, RoleArn: m.ExecutionRoleArn, Isolated: api.Value(m.EnableNetworkIsolation),
		Containers: serving.Containers(&m), VolumeGB: api.Value(p.VolumeSizeInGB), Routing: p.RoutingConfig,
		Startup:  cmp.Or(api.Value(p.ContainerStartupHealthCheckTimeoutInSeconds), defaultStartup),
		Download: cmp.Or(api.Value(p.ModelDataDownloadTimeoutInSeconds), defaultDownload),
	}
	if p.InitialVariantWeight != nil {
		v.Weight = *p.InitialVariantWeight
	}
	return v, nil
}

// read gives a record's spec.
func read(tx store.Tx, k resource.Key, to any) error {
	r, err := tx.Get(k)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(r.Spec, to); err != nil {
		return fmt.Errorf("%s %s: spec: %w", k.Kind, k.Name, err)
	}
	return nil
}

// checkInstances refuses what serves nothing, and what this machine never has.
func (e *Endpoints) checkInstances(dep *deployment) error {
	const limit = "The account-level service limit '%s' is %d Instances, with current utilization of 0 Instances and a request delta of %d Instances. "
	var all int64
	for i := range dep.Variants {
		v := &dep.Variants[i]
		all += v.Count
		if v.Count < 1 {
			return apierr.Validation("The production variant %q has %d instances: an endpoint's variant has at least 1.", v.Name, v.Count)
		}
		if acc := meter.Accelerators(v.InstanceType); acc > e.Capacity.GPUs {
			return apierr.New(400, "ResourceLimitExceeded", limit+"This machine has %d of the %d accelerators that the instance type needs; use a CPU instance type.",
				v.InstanceType+" for endpoint usage", 0, v.Count, e.Capacity.GPUs, acc)
		}
	}
	if all > maxInstances {
		return apierr.New(400, "ResourceLimitExceeded", limit+"Use fewer instances.", "Maximum number of instances per endpoint", maxInstances, all)
	}
	return nil
}

// checkPolicy refuses ways to deploy that we do not have.
func checkPolicy(p *apism.DeploymentConfig) error {
	const no = "Clary does not support %s of DeploymentConfig: a deployment takes the traffic all at once. Nothing was changed."
	switch {
	case p == nil:
	case p.RollingUpdatePolicy != nil:
		return apierr.Validation(no, "RollingUpdatePolicy")
	case p.AutoRollbackConfiguration != nil && len(p.AutoRollbackConfiguration.Alarms) > 0:
		return apierr.Validation(no, "AutoRollbackConfiguration.Alarms")
	case p.BlueGreenUpdatePolicy == nil:
	default:
		b := p.BlueGreenUpdatePolicy
		if t := b.TrafficRoutingConfiguration; t != nil && t.Type != "ALL_AT_ONCE" {
			return apierr.Validation(no, "BlueGreenUpdatePolicy.TrafficRoutingConfiguration.Type "+t.Type)
		}
	}
	return nil
}
