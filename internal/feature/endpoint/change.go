package endpoint

import (
	"context"
	"errors"
	"strings"
	"time"

	api "clary/internal/api/sagemaker"
	"clary/internal/aws/apierr"
	"clary/internal/aws/op"
	"clary/internal/resource"
	"clary/internal/serving"
	"clary/internal/store"
)

// errNotFound is what every operation answers for an unknown name; SDKs match
// on its words.
func errNotFound(c op.Call, name string) error {
	return apierr.Validation("Could not find endpoint %q.", arnOf(c, name))
}

// idle refuses to change what is under way, or what has failed for good.
func idle(r *resource.Record) error {
	switch r.Phase {
	case serving.PhaseInService:
		return nil
	case serving.PhaseFailed:
		return apierr.Validation("Cannot update failed endpoint %q. Delete it and create it again.", r.Arn)
	}
	return apierr.Validation("Cannot update in-progress endpoint %q.", r.Arn)
}

// change edits an endpoint's record in one transaction and has it looked at.
func (e *Endpoints) change(ctx context.Context, c op.Call, name string, edit func(store.Tx, *resource.Record, *status) error) error {
	switch err := e.edit(ctx, key(c.Account, c.Region, name), edit); {
	case errors.Is(err, store.ErrNotFound):
		return errNotFound(c, name)
	case errors.Is(err, errUnchanged):
		return nil
	default:
		return err
	}
}

func (e *Endpoints) edit(ctx context.Context, k resource.Key, edit func(store.Tx, *resource.Record, *status) error) error {
	err := e.Store.Update(ctx, func(tx store.Tx) error {
		r, err := tx.Get(k)
		if err != nil {
			return err
		}
		st, err := readStatus(r)
		if err != nil {
			return err
		}
		if err := edit(tx, r, &st); err != nil {
			return err
		}
		st.Serving = st.traffic(r.UID)
		if err := st.write(r); err != nil {
			return err
		}
		r.Modified = time.Now()
		r.Due, r.Attempts, r.LastError = r.Modified, 0, ""
		return tx.Put(r)
	})
	if err == nil {
		e.Traffic.Changed(k)
	}
	return err
}

// errUnchanged says that there is nothing to change.
var errUnchanged = errors.New("unchanged")

// Update has an endpoint serve another configuration. What serves now goes on
// until all of the new one is healthy.
func (e *Endpoints) Update(ctx context.Context, c op.Call, in *api.UpdateEndpointInput) (*api.UpdateEndpointOutput, error) {
	if err := checkUpdate(in); err != nil {
		return nil, err
	}
	if err := e.Auth.Allow(ctx, c.Principal, "sagemaker:UpdateEndpoint", configArn(c, in.EndpointConfigName)); err != nil {
		return nil, err
	}
	if err := e.room(); err != nil {
		return nil, err
	}
	err := e.change(ctx, c, in.EndpointName, func(tx store.Tx, r *resource.Record, st *status) error {
		if err := idle(r); err != nil {
			return err
		}
		dep, err := e.snapshot(tx, c, in.EndpointConfigName, time.Now())
		if err != nil {
			return err
		}
		if isTrue(in.RetainAllVariantProperties) {
			dep.retain(st.Live, in.ExcludeRetainedVariantProperties)
		}
		if err := e.checkInstances(dep); err != nil {
			return err
		}
		tags, err := tx.Tags(r.Arn)
		if err != nil {
			return err
		}
		if err := e.admit(ctx, tx, r.Key, tags, dep.uses()); err != nil { // beside the one that serves
			return err
		}
		policy := in.DeploymentConfig
		if isTrue(in.RetainDeploymentConfig) {
			policy = st.Policy
		}
		st.begin(r.UID, dep, policy)
		r.Phase = serving.PhaseUpdating
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &api.UpdateEndpointOutput{EndpointArn: arnOf(c, in.EndpointName)}, nil
}

func checkUpdate(in *api.UpdateEndpointInput) error {
	switch {
	case len(in.ExcludeRetainedVariantProperties) > 0 && !isTrue(in.RetainAllVariantProperties):
		return apierr.Validation("ExcludeRetainedVariantProperties can be given only if RetainAllVariantProperties is true.")
	case in.DeploymentConfig != nil && isTrue(in.RetainDeploymentConfig):
		return apierr.Validation("DeploymentConfig cannot be given if RetainDeploymentConfig is true.")
	}
	return checkPolicy(in.DeploymentConfig)
}

// retain takes over what the deployment that serves has of its own, but for
// what is excluded.
func (d *deployment) retain(live *deployment, but []api.VariantProperty) {
	without := map[string]bool{}
	for _, p := range but {
		without[p.VariantPropertyType] = true
	}
	for i := range d.Variants {
		v := &d.Variants[i]
		was := live.variant(v.Name)
		if was == nil {
			continue
		}
		if !without["DesiredInstanceCount"] {
			v.Count = was.Count
		}
		if !without["DesiredWeight"] {
			v.Weight = was.Weight
		}
	}
	if !without["DataCaptureConfig"] {
		d.Capture = live.Capture
	}
}

// UpdateWeights changes what share of the traffic variants get, and how many
// instances they have.
func (e *Endpoints) UpdateWeights(ctx context.Context, c op.Call, in *api.UpdateEndpointWeightsAndCapacitiesInput) (*api.UpdateEndpointWeightsAndCapacitiesOutput, error) {
	for _, w := range in.DesiredWeightsAndCapacities {
		if w.ServerlessUpdateConfig != nil {
			return nil, apierr.Validation("Clary does not support ServerlessUpdateConfig: no variant is serverless. Nothing was changed.")
		}
	}
	err := e.change(ctx, c, in.EndpointName, func(tx store.Tx, r *resource.Record, st *status) error {
		if err := idle(r); err != nil {
			return err
		}
		var missing []string
		more := make(map[string]int64)
		for _, w := range in.DesiredWeightsAndCapacities {
			v := st.Live.variant(w.VariantName)
			if v == nil {
				missing = append(missing, w.VariantName)
				continue
			}
			if v.Was == nil {
				v.Was = &scale{Count: v.Count, Weight: v.Weight}
			}
			if w.DesiredWeight != nil {
				v.Weight = *w.DesiredWeight
			}
			if w.DesiredInstanceCount != nil {
				more[v.InstanceType] += *w.DesiredInstanceCount - v.Count
				v.Count = *w.DesiredInstanceCount
			}
		}
		if len(missing) > 0 {
			return apierr.Validation("The variant name(s) %q is/are not present within endpoint configuration %q.", strings.Join(missing, ", "), st.Config)
		}
		if err := e.checkInstances(st.Live); err != nil {
			return err
		}
		if uses := usesOf(more); len(uses) > 0 {
			tags, err := tx.Tags(r.Arn)
			if err != nil {
				return err
			}
			if err := e.admit(ctx, tx, r.Key, tags, uses); err != nil {
				return err
			}
		}
		r.Phase, st.Failure = serving.PhaseUpdating, ""
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &api.UpdateEndpointWeightsAndCapacitiesOutput{EndpointArn: arnOf(c, in.EndpointName)}, nil
}

// Delete takes an endpoint's traffic away at once; Reconcile ends what runs,
// and its record.
func (e *Endpoints) Delete(ctx context.Context, c op.Call, in *api.DeleteEndpointInput) (*struct{}, error) {
	return nil, e.change(ctx, c, in.EndpointName, func(_ store.Tx, r *resource.Record, st *status) error {
		if r.Phase == serving.PhaseDeleting {
			return errUnchanged
		}
		r.Phase = serving.PhaseDeleting
		st.Live, st.Next = nil, nil
		return nil
	})
}

func isTrue(b *bool) bool { return b != nil && *b }
