package endpoint

import (
	api "clary/internal/api/sagemaker"
	"clary/internal/aws/arn"
	"clary/internal/aws/op"
)

// Operations lists what this package serves.
func (e *Endpoints) Operations() map[string]op.Handler {
	return map[string]op.Handler{
		"CreateEndpoint":   op.On(op.Op(e.Create), func(c op.Call, in *api.CreateEndpointInput) string { return arnOf(c, in.EndpointName) }),
		"DescribeEndpoint": op.On(op.Op(e.Describe), func(c op.Call, in *api.DescribeEndpointInput) string { return arnOf(c, in.EndpointName) }),
		"UpdateEndpoint":   op.On(op.Op(e.Update), func(c op.Call, in *api.UpdateEndpointInput) string { return arnOf(c, in.EndpointName) }),
		"UpdateEndpointWeightsAndCapacities": op.On(op.Op(e.UpdateWeights), func(c op.Call, in *api.UpdateEndpointWeightsAndCapacitiesInput) string {
			return arnOf(c, in.EndpointName)
		}),
		"DeleteEndpoint": op.On(op.Op(e.Delete), func(c op.Call, in *api.DeleteEndpointInput) string { return arnOf(c, in.EndpointName) }),
		"ListEndpoints":  op.Op(e.List),
	}
}

func arnOf(c op.Call, name string) string {
	return arn.SageMaker(c.Region, c.Account, "endpoint", name)
}

func configArn(c op.Call, name string) string {
	return arn.SageMaker(c.Region, c.Account, "endpoint-config", name)
}

func modelArn(c op.Call, name string) string {
	return arn.SageMaker(c.Region, c.Account, "model", name)
}
