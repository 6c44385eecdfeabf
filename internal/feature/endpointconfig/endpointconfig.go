// Package endpointconfig is the EndpointConfig family: which models an endpoint
// serves, on how many instances of which type, and what of the traffic is kept.
//
// It keeps records and runs nothing: an endpoint reads the record, whose spec
// is the request, when a deployment begins. A configuration never changes.
// Start at Operations.
package endpointconfig

import (
	"context"
	"errors"

	"clary/internal/api"
	apism "clary/internal/api/sagemaker"
	"clary/internal/aws/apierr"
	"clary/internal/aws/op"
	"clary/internal/document"
	"clary/internal/identity"
	"clary/internal/resource"
	"clary/internal/serving"
	"clary/internal/store"
)

// request is the stored spec.
type request = apism.CreateEndpointConfigInput

// Configs serves the operations.
type Configs struct {
	set    document.Set[request]
	models document.Set[apism.CreateModelInput]
	auth   identity.Authorizer
}

// New makes the feature.
func New(s store.Store, auth identity.Authorizer) *Configs {
	return &Configs{
		set:    document.Set[request]{Store: s, Kind: serving.KindConfig, Type: "endpoint-config"},
		models: document.Set[apism.CreateModelInput]{Store: s, Kind: serving.KindModel, Type: "model"},
		auth:   auth,
	}
}

// Name is the service whose operations these are.
func (*Configs) Name() string { return "sagemaker" }

// Operations lists what this package serves.
func (e *Configs) Operations() map[string]op.Handler {
	return map[string]op.Handler{
		"CreateEndpointConfig": op.On(op.Op(e.Create), func(c op.Call, in *request) string { return e.set.Arn(c, in.EndpointConfigName) }),
		"DescribeEndpointConfig": op.On(op.Op(e.Describe), func(c op.Call, in *apism.DescribeEndpointConfigInput) string {
			return e.set.Arn(c, in.EndpointConfigName)
		}),
		"DeleteEndpointConfig": op.On(op.Op(e.Delete), func(c op.Call, in *apism.DeleteEndpointConfigInput) string {
			return e.set.Arn(c, in.EndpointConfigName)
		}),
		"ListEndpointConfigs": op.Op(e.List),
	}
}

// found words a missing record as AWS does.
func (e *Configs) found(c op.Call, name string, err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return apierr.Validation("Could not find endpoint configuration %q.", e.set.Arn(c, name))
	}
	return err
}

// Create keeps a configuration of models that exist. Nothing is started.
func (e *Configs) Create(ctx context.Context, c op.Call, in *request) (*apism.CreateEndpointConfigOutput, error) {
	if in.ExecutionRoleArn != "" {
		if err := e.auth.PassRole(ctx, c.Principal, in.ExecutionRoleArn, "sagemaker.amazonaws.com"); err != nil {
			return nil, err
		}
	}
	if err := check(in); err != nil {
		return nil, err
	}
	for _, v := range in.ProductionVariants {
		if err := e.checkModel(ctx, c, v.ModelName); err != nil {
			return nil, err
		}
	}
	arn := e.set.Arn(c, in.EndpointConfigName)
	err := e.set.Create(ctx, c, in.EndpointConfigName, in, in.Tags)
	if errors.Is(err, store.ErrExists) {
		return nil, apierr.Validation("Cannot create already existing endpoint configuration %q.", arn)
	}
	if err != nil {
		return nil, err
	}
	return &apism.CreateEndpointConfigOutput{EndpointConfigArn: arn}, nil
}

// checkModel refuses a model that does not exist. It may be deleted a moment
// later, as on AWS: a deployment looks again.
func (e *Configs) checkModel(ctx context.Context, c op.Call, name string) error {
	_, _, err := e.models.Get(ctx, c, name)
	if errors.Is(err, store.ErrNotFound) {
		return apierr.Validation("Could not find model %q.", e.models.Arn(c, name))
	}
	return err
}

// Describe answers with the request, and the defaults that AWS tells.
func (e *Configs) Describe(ctx context.Context, c op.Call, in *apism.DescribeEndpointConfigInput) (*apism.DescribeEndpointConfigOutput, error) {
	rec, spec, err := e.set.Get(ctx, c, in.EndpointConfigName)
	if err != nil {
		return nil, e.found(c, in.EndpointConfigName, err)
	}
	for i := range spec.ProductionVariants {
		if v := &spec.ProductionVariants[i]; v.InitialVariantWeight == nil {
			v.InitialVariantWeight = api.Ptr(1.0)
		}
	}
	return &apism.DescribeEndpointConfigOutput{
		EndpointConfigName: rec.Name, EndpointConfigArn: rec.Arn, CreationTime: api.At(rec.Created),
		ProductionVariants: spec.ProductionVariants, DataCaptureConfig: spec.DataCaptureConfig, KmsKeyId: spec.KmsKeyId, VpcConfig: spec.VpcConfig,
		EnableNetworkIsolation: api.Ptr(false), // the models' own counts
	}, nil
}

// List pages through the configurations, the newest first unless asked
// otherwise.
func (e *Configs) List(ctx context.Context, c op.Call, in *apism.ListEndpointConfigsInput) (*apism.ListEndpointConfigsOutput, error) {
	q := resource.Query{
		NameContains: in.NameContains, CreatedAfter: in.CreationTimeAfter.Time, CreatedBefore: in.CreationTimeBefore.Time,
		Sort: resource.SortCreated, Descending: in.SortOrder != "Ascending", Token: in.NextToken, Short: true,
	}
	if in.SortBy == "Name" {
		q.Sort = resource.SortName
	}
	recs, next, err := e.set.List(ctx, c, q, in.MaxResults)
	if err != nil {
		return nil, err
	}
	out := &apism.ListEndpointConfigsOutput{EndpointConfigs: make([]apism.EndpointConfigSummary, 0, len(recs)), NextToken: next}
	for _, rec := range recs {
		out.EndpointConfigs = append(out.EndpointConfigs, apism.EndpointConfigSummary{
			EndpointConfigName: rec.Name, EndpointConfigArn: e.set.Arn(c, rec.Name), CreationTime: api.At(rec.Created),
		})
	}
	return out, nil
}

// Delete forgets a configuration. An endpoint that was made of it goes on.
func (e *Configs) Delete(ctx context.Context, c op.Call, in *apism.DeleteEndpointConfigInput) (*struct{}, error) {
	return nil, e.found(c, in.EndpointConfigName, e.set.Delete(ctx, c, in.EndpointConfigName))
}
