package endpointconfig

import (
	"slices"

	apism "clary/internal/api/sagemaker"
	"clary/internal/aws/apierr"
	"clary/internal/job"
)

// refuse refuses what the API allows and no endpoint of ours can do.
func refuse(what string) error {
	return apierr.Validation("Clary does not support %s for endpoints. Nothing was created.", what)
}

// check refuses what the API's model allows and we cannot do, and what AWS
// refuses beyond it. Members that change nothing here are recorded and listed
// in docs/DIVERGENCES.md.
func check(in *request) error {
	switch {
	case in.AsyncInferenceConfig != nil:
		return refuse("AsyncInferenceConfig")
	case in.ExplainerConfig != nil:
		return refuse("ExplainerConfig")
	case len(in.ShadowProductionVariants) > 0:
		return refuse("ShadowProductionVariants")
	case in.MetricsConfig != nil:
		return refuse("MetricsConfig")
	case in.CrossRegionTrafficConfig != nil:
		return refuse("CrossRegionTrafficConfig")
	case in.ExecutionRoleArn != "" || job.IsTrue(in.EnableNetworkIsolation):
		return refuse("ExecutionRoleArn and EnableNetworkIsolation of an endpoint configuration, which are those of inference components (a model has its own),")
	}
	var names []string
	for i := range in.ProductionVariants {
		v := &in.ProductionVariants[i]
		if slices.Contains(names, v.VariantName) {
			return apierr.Validation("Duplicate VariantName %q in ProductionVariants: the variants of an endpoint must have unique names.", v.VariantName)
		}
		names = append(names, v.VariantName)
		if err := checkVariant(v); err != nil {
			return err
		}
	}
	if d := in.DataCaptureConfig; d != nil && !job.IsS3(d.DestinationS3Uri) {
		return apierr.Validation("Invalid DestinationS3Uri %q in DataCaptureConfig: it must be of the form s3://bucket/prefix.", d.DestinationS3Uri)
	}
	return nil
}

func checkVariant(v *apism.ProductionVariant) error {
	if what := unsupported(v); what != "" {
		return refuse(what)
	}
	switch {
	case v.InstanceType == "":
		return apierr.Validation("InstanceType is required in variant %q.", v.VariantName)
	case v.InitialInstanceCount == nil:
		return apierr.Validation("InitialInstanceCount is required in variant %q.", v.VariantName)
	case v.InitialVariantWeight != nil && *v.InitialVariantWeight < 0:
		return apierr.Validation("Invalid InitialVariantWeight of variant %q: it must not be negative.", v.VariantName)
	}
	return nil
}

// unsupported names what no endpoint of ours can do of a variant.
func unsupported(v *apism.ProductionVariant) string {
	switch r := v.RoutingConfig; {
	case v.ServerlessConfig != nil:
		return "ServerlessConfig"
	case v.ModelName == "":
		return "variants without a ModelName, which are those of inference components,"
	case len(v.InstancePools) > 0 || v.VariantInstanceProvisionTimeoutInSeconds != nil:
		return "InstancePools and VariantInstanceProvisionTimeoutInSeconds"
	case v.ManagedInstanceScaling != nil:
		return "ManagedInstanceScaling"
	case v.AcceleratorType != "":
		return "AcceleratorType"
	case v.CoreDumpConfig != nil:
		return "CoreDumpConfig"
	case job.IsTrue(v.EnableSSMAccess):
		return "EnableSSMAccess"
	case v.CapacityReservationConfig != nil:
		return "CapacityReservationConfig"
	case len(v.AcceleratorPartitionLayouts) > 0:
		return "AcceleratorPartitionLayouts"
	case r != nil && (r.PrefixAwareRoutingConfig != nil || r.RoutingStrategy == "PREFIX_AWARE" || r.RoutingStrategy == "KV_AWARE"):
		return "RoutingConfig with PrefixAwareRoutingConfig, PREFIX_AWARE or KV_AWARE"
	}
	return ""
}
