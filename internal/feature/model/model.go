// Package model is the Model family: containers, with the artifacts that they
// load, under a name.
//
// It keeps records and runs nothing: an endpoint reads the record, whose spec
// is the request, when a deployment begins. Start at Operations.
package model

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
type request = apism.CreateModelInput

// Models serves the operations.
type Models struct {
	set  document.Set[request]
	auth identity.Authorizer
}

// New makes the feature.
func New(s store.Store, auth identity.Authorizer) *Models {
	return &Models{document.Set[request]{Store: s, Kind: serving.KindModel, Type: "model"}, auth}
}

// Name is the service whose operations these are.
func (*Models) Name() string { return "sagemaker" }

// Operations lists what this package serves.
func (m *Models) Operations() map[string]op.Handler {
	return map[string]op.Handler{
		"CreateModel":   op.On(op.Op(m.Create), func(c op.Call, in *request) string { return m.set.Arn(c, in.ModelName) }),
		"DescribeModel": op.On(op.Op(m.Describe), func(c op.Call, in *apism.DescribeModelInput) string { return m.set.Arn(c, in.ModelName) }),
		"DeleteModel":   op.On(op.Op(m.Delete), func(c op.Call, in *apism.DeleteModelInput) string { return m.set.Arn(c, in.ModelName) }),
		"ListModels":    op.Op(m.List),
	}
}

// found words a missing record as AWS does.
func (m *Models) found(c op.Call, name string, err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return apierr.Validation("Could not find model %q.", m.set.Arn(c, name))
	}
	return err
}

// Create makes a model known by a name. Nothing is fetched.
func (m *Models) Create(ctx context.Context, c op.Call, in *request) (*apism.CreateModelOutput, error) {
	if in.ExecutionRoleArn != "" {
		if err := m.auth.PassRole(ctx, c.Principal, in.ExecutionRoleArn, "sagemaker.amazonaws.com"); err != nil {
			return nil, err
		}
	}
	if err := check(in); err != nil {
		return nil, err
	}
	arn := m.set.Arn(c, in.ModelName)
	err := m.set.Create(ctx, c, in.ModelName, in, in.Tags)
	if errors.Is(err, store.ErrExists) {
		return nil, apierr.Validation("Cannot create already existing model %q.", arn)
	}
	if err != nil {
		return nil, err
	}
	return &apism.CreateModelOutput{ModelArn: arn}, nil
}

// Describe answers with the request, and the defaults that AWS tells.
func (m *Models) Describe(ctx context.Context, c op.Call, in *apism.DescribeModelInput) (*apism.DescribeModelOutput, error) {
	rec, spec, err := m.set.Get(ctx, c, in.ModelName)
	if err != nil {
		return nil, m.found(c, in.ModelName, err)
	}
	out := &apism.DescribeModelOutput{
		ModelName: rec.Name, ModelArn: rec.Arn, CreationTime: api.At(rec.Created),
		PrimaryContainer: spec.PrimaryContainer, Containers: spec.Containers, InferenceExecutionConfig: spec.InferenceExecutionConfig,
		ExecutionRoleArn: spec.ExecutionRoleArn, VpcConfig: spec.VpcConfig, EnableNetworkIsolation: spec.EnableNetworkIsolation,
	}
	if out.EnableNetworkIsolation == nil {
		out.EnableNetworkIsolation = api.Ptr(false)
	}
	if out.PrimaryContainer != nil {
		filled(out.PrimaryContainer)
	}
	for i := range out.Containers {
		filled(&out.Containers[i])
	}
	return out, nil
}

// filled puts in what AWS tells of a container beyond the request: the same
// artifact in its newer form too.
func filled(c *apism.ContainerDefinition) {
	if c.Mode == "" {
		c.Mode = "SingleModel"
	}
	if c.ModelDataUrl != "" {
		c.ModelDataSource = &apism.ModelDataSource{S3DataSource: &apism.S3ModelDataSource{S3Uri: c.ModelDataUrl, S3DataType: "S3Object", CompressionType: "Gzip"}}
	}
}

// List pages through the models, the newest first unless asked otherwise.
func (m *Models) List(ctx context.Context, c op.Call, in *apism.ListModelsInput) (*apism.ListModelsOutput, error) {
	q := resource.Query{
		NameContains: in.NameContains, CreatedAfter: in.CreationTimeAfter.Time, CreatedBefore: in.CreationTimeBefore.Time,
		Sort: resource.SortCreated, Descending: in.SortOrder != "Ascending", Token: in.NextToken, Short: true,
	}
	if in.SortBy == "Name" {
		q.Sort = resource.SortName
	}
	recs, next, err := m.set.List(ctx, c, q, in.MaxResults)
	if err != nil {
		return nil, err
	}
	out := &apism.ListModelsOutput{Models: make([]apism.ModelSummary, 0, len(recs)), NextToken: next}
	for _, rec := range recs {
		out.Models = append(out.Models, apism.ModelSummary{ModelName: rec.Name, ModelArn: m.set.Arn(c, rec.Name), CreationTime: api.At(rec.Created)})
	}
	return out, nil
}

// Delete forgets a model. Its artifacts stay, and an endpoint that serves it
// goes on.
func (m *Models) Delete(ctx context.Context, c op.Call, in *apism.DeleteModelInput) (*struct{}, error) {
	return nil, m.found(c, in.ModelName, m.set.Delete(ctx, c, in.ModelName))
}
