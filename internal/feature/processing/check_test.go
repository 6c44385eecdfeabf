package processing

import (
	"strings"
	"testing"

	"clary/internal/api"
	apism "clary/internal/api/sagemaker"
	"clary/internal/job/jobtest"
)

func input(name, local string, edit ...func(*apism.ProcessingInput)) apism.ProcessingInput {
	in := apism.ProcessingInput{InputName: name, S3Input: &apism.ProcessingS3Input{S3Uri: "s3://b/in", LocalPath: local, S3DataType: "S3Prefix"}}
	for _, e := range edit {
		e(&in)
	}
	return in
}

func output(name, local string, edit ...func(*apism.ProcessingOutput)) apism.ProcessingOutput {
	out := apism.ProcessingOutput{OutputName: name, S3Output: &apism.ProcessingS3Output{S3Uri: "s3://b/out", LocalPath: local, S3UploadMode: "EndOfJob"}}
	for _, e := range edit {
		e(&out)
	}
	return out
}

func TestCreateRefuses(t *testing.T) {
	t.Parallel()
	p := bench(t, nil)
	const in, out = "/opt/ml/processing/input", "/opt/ml/processing/output"
	inputs := func(is ...apism.ProcessingInput) func(*request) {
		return func(r *request) { r.ProcessingInputs = is }
	}
	outputs := func(os ...apism.ProcessingOutput) func(*request) {
		return func(r *request) { r.ProcessingOutputConfig = &apism.ProcessingOutputConfig{Outputs: os} }
	}
	cluster := func(edit func(*apism.ProcessingClusterConfig)) func(*request) {
		return func(r *request) { edit(r.ProcessingResources.ClusterConfig) }
	}
	athena := func(i *apism.ProcessingInput) {
		i.S3Input, i.DatasetDefinition = nil, &apism.DatasetDefinition{AthenaDatasetDefinition: &apism.AthenaDatasetDefinition{}}
	}
	for name, tc := range map[string]struct {
		edit func(*request)
		code string
		text string
	}{
		"no image":         {func(r *request) { r.AppSpecification.ImageUri = "" }, "ValidationException", "Invalid image URI"},
		"no instance type": {cluster(func(c *apism.ProcessingClusterConfig) { c.InstanceType = "" }), "ValidationException", "InstanceType is required"},
		"preferences": {cluster(func(c *apism.ProcessingClusterConfig) {
			c.InstancePreferences = []apism.ProcessingInstancePreference{{}}
		}), "ValidationException", "InstancePreferences"},
		"selected type":        {cluster(func(c *apism.ProcessingClusterConfig) { c.SelectedInstanceType = "ml.m5.large" }), "ValidationException", "SelectedInstanceType"},
		"selected count":       {cluster(func(c *apism.ProcessingClusterConfig) { c.SelectedInstanceCount = api.Ptr(int64(1)) }), "ValidationException", "SelectedInstanceCount"},
		"accelerator":          {cluster(func(c *apism.ProcessingClusterConfig) { c.InstanceType = "ml.p3.2xlarge" }), "ResourceLimitExceeded", "service limit 'ml.p3.2xlarge for processing job usage' is 0 Instances"},
		"too many instances":   {cluster(func(c *apism.ProcessingClusterConfig) { c.InstanceCount = api.Ptr(int64(100)) }), "ResourceLimitExceeded", "request delta of 100 Instances"},
		"input twice":          {inputs(input("a", in+"/a"), input("a", in+"/b")), "ValidationException", `Duplicate input name "a"`},
		"input without source": {inputs(input("a", in, func(i *apism.ProcessingInput) { i.S3Input = nil })), "ValidationException", "exactly one of S3Input and DatasetDefinition"},
		"input of two sources": {inputs(input("a", in, func(i *apism.ProcessingInput) { i.DatasetDefinition = &apism.DatasetDefinition{} })), "ValidationException", "exactly one of S3Input and DatasetDefinition"},
		"empty definition": {inputs(input("a", in, athena, func(i *apism.ProcessingInput) {
			i.AppManaged, i.DatasetDefinition = api.Ptr(true), &apism.DatasetDefinition{}
		})), "ValidationException", "exactly one of AthenaDatasetDefinition and RedshiftDatasetDefinition"},
		"athena":                {inputs(input("a", in, athena)), "ValidationException", "no Athena or Redshift"},
		"pipe":                  {inputs(input("a", in, func(i *apism.ProcessingInput) { i.S3Input.S3InputMode = "Pipe" })), "ValidationException", "S3InputMode Pipe"},
		"gzip":                  {inputs(input("a", in, func(i *apism.ProcessingInput) { i.S3Input.S3CompressionType = "Gzip" })), "ValidationException", "only with S3InputMode Pipe"},
		"input not S3":          {inputs(input("a", in, func(i *apism.ProcessingInput) { i.S3Input.S3Uri = "https://b/in" })), "ValidationException", "Invalid S3Uri"},
		"input of no bucket":    {inputs(input("a", in, func(i *apism.ProcessingInput) { i.S3Input.S3Uri = "s3:///in" })), "ValidationException", "Invalid S3Uri"},
		"input nowhere":         {inputs(input("a", "")), "ValidationException", `LocalPath is required for input "a"`},
		"input outside":         {inputs(input("a", "/opt/ml/input")), "ValidationException", "must begin with /opt/ml/processing/"},
		"input beside":          {inputs(input("a", "/opt/ml/processing-2/a")), "ValidationException", "must begin with /opt/ml/processing/"},
		"input climbs":          {inputs(input("a", "/opt/ml/processing/../config")), "ValidationException", "must begin with /opt/ml/processing/"},
		"inputs in one place":   {inputs(input("a", in), input("b", in+"/")), "ValidationException", "is that of another input"},
		"output twice":          {outputs(output("a", out), output("a", out+"/b")), "ValidationException", `Duplicate output name "a"`},
		"output without target": {outputs(output("a", out, func(o *apism.ProcessingOutput) { o.S3Output = nil })), "ValidationException", "exactly one of S3Output and FeatureStoreOutput"},
		"feature store": {outputs(output("a", out, func(o *apism.ProcessingOutput) {
			o.S3Output, o.FeatureStoreOutput = nil, &apism.ProcessingFeatureStoreOutput{FeatureGroupName: "g"}
		})), "ValidationException", "only when AppManaged is True"},
		"output not S3":      {outputs(output("a", out, func(o *apism.ProcessingOutput) { o.S3Output.S3Uri = "https://b/out" })), "ValidationException", "Invalid S3Uri"},
		"output nowhere":     {outputs(output("a", "")), "ValidationException", `LocalPath is required for output "a"`},
		"output outside":     {outputs(output("a", "/tmp/out")), "ValidationException", "must begin with /opt/ml/processing/"},
		"output in an input": {func(r *request) { inputs(input("a", in))(r); outputs(output("b", in))(r) }, "ValidationException", "is that of an input"},
		"tag twice":          {func(r *request) { r.Tags = []apism.Tag{{Key: "a"}, {Key: "a"}} }, "ValidationException", "Duplicate tag"},
		"reserved tag":       {func(r *request) { r.Tags = []apism.Tag{{Key: "AWS:x"}} }, "ValidationException", "reserved"},
	} {
		t.Run(name, func(t *testing.T) {
			r := good("job")
			tc.edit(r)
			_, err := p.Create(t.Context(), jobtest.Call(), r)
			if codeOf(err) != tc.code || !strings.Contains(err.Error(), tc.text) {
				t.Errorf("%v, want %s with %q", err, tc.code, tc.text)
			}
		})
	}
	if _, err := p.Describe(t.Context(), jobtest.Call(), &apism.DescribeProcessingJobRequest{ProcessingJobName: "job"}); codeOf(err) != "ValidationException" || !strings.Contains(err.Error(), "Could not find requested job with name: job") {
		t.Errorf("a refused job is described: %v", err)
	}
}

// TestCreateTakes has what only looks wrong.
func TestCreateTakes(t *testing.T) {
	t.Parallel()
	p := bench(t, nil)
	managed := api.Ptr(true)
	for name, edit := range map[string]func(*request){
		"the whole folder": func(r *request) { r.ProcessingInputs = []apism.ProcessingInput{input("a", base+"/")} },
		"an input of the program's": func(r *request) {
			r.ProcessingInputs = []apism.ProcessingInput{
				{InputName: "a", AppManaged: managed, DatasetDefinition: &apism.DatasetDefinition{RedshiftDatasetDefinition: &apism.RedshiftDatasetDefinition{}}},
				{InputName: "b", AppManaged: managed, S3Input: &apism.ProcessingS3Input{S3Uri: "https://b/in", S3InputMode: "Pipe", S3DataType: "S3Prefix"}},
			}
		},
		"an output of the program's": func(r *request) {
			r.ProcessingOutputConfig = &apism.ProcessingOutputConfig{Outputs: []apism.ProcessingOutput{
				{OutputName: "a", AppManaged: managed, FeatureStoreOutput: &apism.ProcessingFeatureStoreOutput{FeatureGroupName: "g"}},
			}}
		},
		"two outputs of one folder": func(r *request) {
			r.ProcessingOutputConfig = &apism.ProcessingOutputConfig{Outputs: []apism.ProcessingOutput{output("a", base+"/out"), output("b", base+"/out")}}
		},
		"no outputs": func(r *request) {
			r.ProcessingOutputConfig = &apism.ProcessingOutputConfig{Outputs: []apism.ProcessingOutput{}}
		},
	} {
		r := good(strings.ReplaceAll(strings.ReplaceAll(name, " ", "-"), "'", ""))
		edit(r)
		if _, err := p.Create(t.Context(), jobtest.Call(), r); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
