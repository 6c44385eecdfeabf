package endpointconfig

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"clary/internal/api"
	apism "clary/internal/api/sagemaker"
	"clary/internal/aws/apierr"
	"clary/internal/aws/op"
	"clary/internal/resource"
	"clary/internal/store"
	"clary/internal/store/sqlite"
)

const prefix = "arn:aws:sagemaker:eu-west-1:123456789012:endpoint-config/"

func call() op.Call { return op.Call{Account: "123456789012", Region: "eu-west-1"} }

// people let every role be passed but one.
type people struct{}

func (people) Allow(context.Context, resource.Principal, string, string) error { return nil }

func (people) PassRole(_ context.Context, _ resource.Principal, arn, _ string) error {
	if strings.HasSuffix(arn, "/other") {
		return apierr.New(400, "AccessDeniedException", "may not pass %s", arn)
	}
	return nil
}

// open has the models cats and dogs.
func open(t *testing.T) *Configs {
	t.Helper()
	db, err := sqlite.Open(filepath.Join(t.TempDir(), "clary.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	e := New(db, people{})
	for _, name := range []string{"cats", "dogs"} {
		if err := e.models.Create(t.Context(), call(), name, &apism.CreateModelInput{ModelName: name}, nil); err != nil {
			t.Fatal(err)
		}
	}
	return e
}

func variant(name, model string) apism.ProductionVariant {
	return apism.ProductionVariant{VariantName: name, ModelName: model, InstanceType: "ml.m5.large", InitialInstanceCount: api.Ptr(int64(1))}
}

func one(name string) *request {
	return &request{EndpointConfigName: name, ProductionVariants: []apism.ProductionVariant{variant("AllTraffic", "cats")}}
}

func refused(t *testing.T, err error, text string) {
	t.Helper()
	if e, ok := errors.AsType[*apierr.Error](err); !ok || e.Code != "ValidationException" || e.Status != 400 || !strings.Contains(e.Message, text) {
		t.Errorf("%v, want a ValidationException with %q", err, text)
	}
}

func TestLife(t *testing.T) {
	t.Parallel()
	e := open(t)
	in := one("Pets")
	in.Tags = []apism.Tag{{Key: "team", Value: "red"}}
	in.KmsKeyId, in.VpcConfig = "key", &apism.VpcConfig{Subnets: []string{"subnet-1"}, SecurityGroupIds: []string{"sg-1"}}
	in.DataCaptureConfig = &apism.DataCaptureConfig{InitialSamplingPercentage: 20, DestinationS3Uri: "s3://b/kept", CaptureOptions: []apism.CaptureOption{{CaptureMode: "Input"}}}
	second := variant("B", "dogs")
	second.InitialVariantWeight, second.InitialInstanceCount = api.Ptr(0.5), api.Ptr(int64(2))
	second.RoutingConfig = &apism.ProductionVariantRoutingConfig{RoutingStrategy: "LEAST_OUTSTANDING_REQUESTS"}
	in.ProductionVariants = append(in.ProductionVariants, second)
	made, err := e.Create(t.Context(), call(), in)
	if err != nil || made.EndpointConfigArn != prefix+"pets" {
		t.Fatalf("%+v, %v", made, err)
	}
	var tags map[string]string
	if err := e.set.Store.View(t.Context(), func(tx store.Tx) error { tags, err = tx.Tags(made.EndpointConfigArn); return err }); err != nil || tags["team"] != "red" {
		t.Errorf("tags: %v, %v", tags, err)
	}
	for _, again := range []string{"Pets", "pets"} {
		_, err := e.Create(t.Context(), call(), one(again))
		refused(t, err, `Cannot create already existing endpoint configuration "`+prefix+`pets".`)
	}

	got, err := e.Describe(t.Context(), call(), &apism.DescribeEndpointConfigInput{EndpointConfigName: "Pets"})
	if err != nil {
		t.Fatal(err)
	}
	if got.EndpointConfigName != "Pets" || got.EndpointConfigArn != prefix+"pets" || got.CreationTime.IsZero() || got.KmsKeyId != "key" || got.VpcConfig.Subnets[0] != "subnet-1" || got.DataCaptureConfig.InitialSamplingPercentage != 20 ||
		got.EnableNetworkIsolation == nil || *got.EnableNetworkIsolation {
		t.Errorf("%+v", got)
	}
	for i, want := range []struct {
		name, model string
		weight      float64
		count       int64
	}{{"AllTraffic", "cats", 1, 1}, {"B", "dogs", 0.5, 2}} {
		if v := got.ProductionVariants[i]; v.VariantName != want.name || v.ModelName != want.model || *v.InitialVariantWeight != want.weight || *v.InitialInstanceCount != want.count {
			t.Errorf("variant %d: %+v", i, v)
		}
	}

	// what it names may go; it stays as it is
	if err := e.models.Delete(t.Context(), call(), "cats"); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Describe(t.Context(), call(), &apism.DescribeEndpointConfigInput{EndpointConfigName: "Pets"}); err != nil {
		t.Error(err)
	}

	elsewhere := call()
	elsewhere.Region = "us-east-1"
	_, err = e.Describe(t.Context(), elsewhere, &apism.DescribeEndpointConfigInput{EndpointConfigName: "Pets"})
	refused(t, err, `Could not find endpoint configuration "arn:aws:sagemaker:us-east-1:123456789012:endpoint-config/pets".`)
	if _, err := e.Delete(t.Context(), call(), &apism.DeleteEndpointConfigInput{EndpointConfigName: "Pets"}); err != nil {
		t.Error(err)
	}
	_, err = e.Delete(t.Context(), call(), &apism.DeleteEndpointConfigInput{EndpointConfigName: "Pets"})
	refused(t, err, `Could not find endpoint configuration "`+prefix+`pets".`)
}

func TestRefused(t *testing.T) {
	t.Parallel()
	e := open(t)
	first := func(edit func(*apism.ProductionVariant)) func(*request) {
		return func(in *request) { edit(&in.ProductionVariants[0]) }
	}
	routed := func(r apism.ProductionVariantRoutingConfig) func(*request) {
		return first(func(v *apism.ProductionVariant) { v.RoutingConfig = &r })
	}
	for name, tc := range map[string]struct {
		edit func(*request)
		text string
	}{
		"no such model": {first(func(v *apism.ProductionVariant) { v.ModelName = "Birds" }), `Could not find model "arn:aws:sagemaker:eu-west-1:123456789012:model/birds".`},
		"second's model": {func(in *request) {
			in.ProductionVariants = append(in.ProductionVariants, variant("B", "birds"))
		}, `Could not find model "arn:aws:sagemaker:eu-west-1:123456789012:model/birds".`},
		"variant twice": {func(in *request) {
			in.ProductionVariants = append(in.ProductionVariants, variant("AllTraffic", "dogs"))
		}, `Duplicate VariantName "AllTraffic"`},
		"no type":     {first(func(v *apism.ProductionVariant) { v.InstanceType = "" }), "InstanceType is required"},
		"no count":    {first(func(v *apism.ProductionVariant) { v.InitialInstanceCount = nil }), "InitialInstanceCount is required"},
		"component":   {first(func(v *apism.ProductionVariant) { v.ModelName = "" }), "inference components"},
		"serverless":  {first(func(v *apism.ProductionVariant) { v.ServerlessConfig = &apism.ProductionVariantServerlessConfig{} }), "ServerlessConfig"},
		"pools":       {first(func(v *apism.ProductionVariant) { v.InstancePools = []apism.InstancePool{{}} }), "InstancePools"},
		"pools' time": {first(func(v *apism.ProductionVariant) { v.VariantInstanceProvisionTimeoutInSeconds = api.Ptr(int64(300)) }), "VariantInstanceProvisionTimeoutInSeconds"},
		"scaling": {first(func(v *apism.ProductionVariant) {
			v.ManagedInstanceScaling = &apism.ProductionVariantManagedInstanceScaling{}
		}), "ManagedInstanceScaling"},
		"accelerator": {first(func(v *apism.ProductionVariant) { v.AcceleratorType = "ml.eia2.medium" }), "AcceleratorType"},
		"core dumps":  {first(func(v *apism.ProductionVariant) { v.CoreDumpConfig = &apism.ProductionVariantCoreDumpConfig{} }), "CoreDumpConfig"},
		"shell":       {first(func(v *apism.ProductionVariant) { v.EnableSSMAccess = api.Ptr(true) }), "EnableSSMAccess"},
		"reservation": {first(func(v *apism.ProductionVariant) {
			v.CapacityReservationConfig = &apism.ProductionVariantCapacityReservationConfig{}
		}), "CapacityReservationConfig"},
		"partitions": {first(func(v *apism.ProductionVariant) {
			v.AcceleratorPartitionLayouts = []apism.AcceleratorPartitionLayout{{}}
		}), "AcceleratorPartitionLayouts"},
		"routed by text":  {routed(apism.ProductionVariantRoutingConfig{RoutingStrategy: "PREFIX_AWARE"}), "PREFIX_AWARE"},
		"routed by cache": {routed(apism.ProductionVariantRoutingConfig{RoutingStrategy: "KV_AWARE"}), "KV_AWARE"},
		"asynchronous":    {func(in *request) { in.AsyncInferenceConfig = &apism.AsyncInferenceConfig{} }, "AsyncInferenceConfig"},
		"explained":       {func(in *request) { in.ExplainerConfig = &apism.ExplainerConfig{} }, "ExplainerConfig"},
		"shadow":          {func(in *request) { in.ShadowProductionVariants = []apism.ProductionVariant{variant("B", "dogs")} }, "ShadowProductionVariants"},
		"metrics":         {func(in *request) { in.MetricsConfig = &apism.MetricsConfig{} }, "MetricsConfig"},
		"regions":         {func(in *request) { in.CrossRegionTrafficConfig = &apism.CrossRegionTrafficConfig{} }, "CrossRegionTrafficConfig"},
		"role":            {func(in *request) { in.ExecutionRoleArn = "arn:aws:iam::123456789012:role/r" }, "ExecutionRoleArn"},
		"isolation":       {func(in *request) { in.EnableNetworkIsolation = api.Ptr(true) }, "EnableNetworkIsolation"},
		"capture nowhere": {func(in *request) { in.DataCaptureConfig = &apism.DataCaptureConfig{DestinationS3Uri: "https://b/k"} }, "Invalid DestinationS3Uri"},
		"reserved tag":    {func(in *request) { in.Tags = []apism.Tag{{Key: "aws:x"}} }, "reserved"},
	} {
		t.Run(name, func(t *testing.T) {
			in := one("a")
			tc.edit(in)
			_, err := e.Create(t.Context(), call(), in)
			refused(t, err, tc.text)
		})
	}
	in := one("a")
	in.ExecutionRoleArn = "arn:aws:iam::123456789012:role/other"
	if _, err := e.Create(t.Context(), call(), in); err == nil || !strings.Contains(err.Error(), "may not pass") {
		t.Errorf("a role that may not be passed: %v", err)
	}
	out, err := e.List(t.Context(), call(), &apism.ListEndpointConfigsInput{})
	if err != nil || len(out.EndpointConfigs) != 0 || out.EndpointConfigs == nil {
		t.Errorf("something was made, or the list is absent: %+v, %v", out, err)
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	synctest.Test(t, list)
}

func list(t *testing.T) {
	e := open(t)
	begin := time.Now()
	for _, name := range []string{"delta", "alpha", "charlie", "bravo"} {
		time.Sleep(time.Minute)
		if _, err := e.Create(t.Context(), call(), one(name)); err != nil {
			t.Fatal(err)
		}
	}
	minute := func(n int) api.Time { return api.At(begin.Add(time.Duration(n) * time.Minute)) }
	type in = apism.ListEndpointConfigsInput
	for _, tt := range []struct {
		in   in
		want string
	}{
		{in{}, "[bravo charlie alpha delta]"},
		{in{SortOrder: "Ascending"}, "[delta alpha charlie bravo]"},
		{in{SortBy: "CreationTime", SortOrder: "Descending"}, "[bravo charlie alpha delta]"},
		{in{SortBy: "Name"}, "[delta charlie bravo alpha]"},
		{in{SortBy: "Name", SortOrder: "Ascending"}, "[alpha bravo charlie delta]"},
		{in{NameContains: "R"}, "[bravo charlie]"},
		{in{CreationTimeAfter: minute(2)}, "[bravo charlie]"},
		{in{CreationTimeBefore: minute(2)}, "[delta]"},
	} {
		for _, page := range []int64{1, 3, 100} {
			in, names := tt.in, []string{}
			in.MaxResults = &page
			for {
				out, err := e.List(t.Context(), call(), &in)
				if err != nil {
					t.Fatal(err)
				}
				for _, s := range out.EndpointConfigs {
					if s.EndpointConfigArn != prefix+s.EndpointConfigName || s.CreationTime.IsZero() {
						t.Errorf("%+v", s)
					}
					names = append(names, s.EndpointConfigName)
				}
				if in.NextToken = out.NextToken; in.NextToken == "" {
					break
				}
			}
			if got := fmt.Sprint(names); got != tt.want {
				t.Errorf("%+v by %d: %s, want %s", tt.in, page, got, tt.want)
			}
		}
	}
	_, err := e.List(t.Context(), call(), &in{NextToken: "x"})
	refused(t, err, "Invalid NextToken")
}
