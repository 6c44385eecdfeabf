package endpoint

import (
	"context"
	"errors"

	"clary/internal/api"
	apism "clary/internal/api/sagemaker"
	"clary/internal/aws/op"
	"clary/internal/resource"
	"clary/internal/serving"
	"clary/internal/store"
)

// atRest says that a phase is none that passes by itself.
func atRest(phase string) bool {
	switch phase {
	case serving.PhaseInService, serving.PhaseOutOfService, serving.PhaseFailed, serving.PhaseUpdateRollbackFailed:
		return true
	}
	return false
}

// Describe answers with how an endpoint stands: what serves, and what shall. An
// SDK that waits for a change is told when it is over: deploy() of version 2 looks
// at an endpoint every 30 s, and it may take but one.
func (e *Endpoints) Describe(ctx context.Context, c op.Call, in *apism.DescribeEndpointInput) (*apism.DescribeEndpointOutput, error) {
	k := key(c.Account, c.Region, in.EndpointName)
	get := func(ctx context.Context) (*resource.Record, error) { return e.Store.Get(ctx, k) }
	r, err := e.holds.Await(ctx, c, e.Store, get, atRest)
	if errors.Is(err, store.ErrNotFound) {
		return nil, errNotFound(c, in.EndpointName)
	}
	if err != nil {
		return nil, err
	}
	if atRest(r.Phase) {
		e.holds.Forget(r.UID)
	}
	st, err := readStatus(r)
	if err != nil {
		return nil, err
	}
	out := &apism.DescribeEndpointOutput{
		EndpointName: r.Name, EndpointArn: r.Arn, EndpointConfigName: st.Config, EndpointStatus: r.Phase, FailureReason: st.Failure,
		CreationTime: api.At(r.Created), LastModifiedTime: api.At(r.Modified), LastDeploymentConfig: st.Policy,
	}
	if l := st.Live; l != nil {
		out.DataCaptureConfig = captured(l.Capture)
		for i := range l.Variants {
			out.ProductionVariants = append(out.ProductionVariants, st.summary(l, &l.Variants[i], r.Phase))
		}
	}
	if n := st.Next; n != nil {
		out.PendingDeploymentSummary = &apism.PendingDeploymentSummary{EndpointConfigName: n.Config, StartTime: api.At(n.Began)}
		for i := range n.Variants {
			out.PendingDeploymentSummary.ProductionVariants = append(out.PendingDeploymentSummary.ProductionVariants, st.pending(n, &n.Variants[i]))
		}
	}
	return out, nil
}

// summary is a variant that serves.
func (st *status) summary(d *deployment, v *variant, phase string) apism.ProductionVariantSummary {
	_, healthy := st.count(d, v.Name)
	out := apism.ProductionVariantSummary{
		VariantName: v.Name, DeployedImages: images(d, v), CurrentWeight: api.Ptr(v.weight()), DesiredWeight: api.Ptr(v.Weight),
		CurrentInstanceCount: &healthy, DesiredInstanceCount: api.Ptr(v.Count), RoutingConfig: v.Routing,
	}
	if v.Was != nil && (phase == serving.PhaseUpdating || phase == serving.PhaseRollingBack) {
		out.VariantStatus = []apism.ProductionVariantStatus{{Status: "Updating", StatusMessage: st.said(d, v)}}
	}
	return out
}

// pending is a variant that shall serve.
func (st *status) pending(d *deployment, v *variant) apism.PendingProductionVariantSummary {
	_, healthy := st.count(d, v.Name)
	return apism.PendingProductionVariantSummary{
		VariantName: v.Name, DeployedImages: images(d, v), CurrentWeight: api.Ptr(float64(0)), DesiredWeight: api.Ptr(v.Weight),
		CurrentInstanceCount: &healthy, DesiredInstanceCount: api.Ptr(v.Count), InstanceType: v.InstanceType, RoutingConfig: v.Routing,
		VariantStatus: []apism.ProductionVariantStatus{{Status: "Creating", StatusMessage: st.said(d, v), StartTime: api.At(d.Began)}},
	}
}

// said is what there is to tell of the instances of a variant that are not
// healthy yet.
func (st *status) said(d *deployment, v *variant) string {
	for i := range st.Fleet {
		if in := &st.Fleet[i]; in.Deployment == d.N && in.Variant == v.Name && in.Away == nil && in.Ready == nil && in.Said != "" {
			return cut(in.Said)
		}
	}
	return ""
}

func images(d *deployment, v *variant) []apism.DeployedImage {
	out := make([]apism.DeployedImage, len(v.Containers))
	for i := range v.Containers {
		image := v.Containers[i].Image
		out[i] = apism.DeployedImage{SpecifiedImage: image, ResolvedImage: image, ResolutionTime: api.At(d.Began)}
	}
	return out
}

// captured is how Describe shows a configuration of data capture.
func captured(c *apism.DataCaptureConfig) *apism.DataCaptureConfigSummary {
	if c == nil {
		return nil
	}
	out := &apism.DataCaptureConfigSummary{
		EnableCapture: enabled(c), CaptureStatus: "Stopped", CurrentSamplingPercentage: c.InitialSamplingPercentage,
		DestinationS3Uri: c.DestinationS3Uri, KmsKeyId: c.KmsKeyId,
	}
	if out.EnableCapture {
		out.CaptureStatus = "Started"
	}
	return out
}
