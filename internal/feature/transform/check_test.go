package transform

import (
	"strings"
	"testing"

	"clary/internal/api"
	apism "clary/internal/api/sagemaker"
	"clary/internal/job/jobtest"
)

// data is a request whose records are processed so.
func data(d apism.DataProcessing, content, split, accept, assemble string) func(*request) {
	return func(r *request) {
		r.DataProcessing = &d
		r.TransformInput.ContentType, r.TransformInput.SplitType = content, split
		r.TransformOutput.Accept, r.TransformOutput.AssembleWith = accept, assemble
	}
}

// inferenceIDs is a request whose answers get ids.
func inferenceIDs(content, split, accept string) func(*request) {
	return func(r *request) {
		data(apism.DataProcessing{}, content, split, accept, "")(r)
		r.DataCaptureConfig = &apism.BatchDataCaptureConfig{DestinationS3Uri: "s3://b/kept", GenerateInferenceId: api.Ptr(true)}
	}
}

func payload(mb, many int64) func(*request) {
	return func(r *request) { r.MaxPayloadInMB, r.MaxConcurrentTransforms = api.Ptr(mb), api.Ptr(many) }
}

var join = apism.DataProcessing{JoinSource: "Input"}

func TestCreateRefuses(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.Capacity.Tasks = 5
	for name, tc := range map[string]struct {
		edit func(*request)
		code string
		text string
	}{
		"no such model":           {func(r *request) { r.ModelName = "Nobody" }, "ValidationException", `Could not find model "arn:aws:sagemaker:us-east-1:123456789012:model/nobody".`},
		"augmented manifest":      {func(r *request) { r.TransformInput.DataSource.S3DataSource.S3DataType = "AugmentedManifestFile" }, "ValidationException", "S3DataType AugmentedManifestFile"},
		"conversations":           {func(r *request) { r.TransformInput.DataSource.S3DataSource.S3DataType = "Converse" }, "ValidationException", "Invalid S3DataType Converse"},
		"input not S3":            {func(r *request) { r.TransformInput.DataSource.S3DataSource.S3Uri = "https://b/in" }, "ValidationException", `Invalid S3Uri "https://b/in"`},
		"input of no bucket":      {func(r *request) { r.TransformInput.DataSource.S3DataSource.S3Uri = "s3:///in" }, "ValidationException", "Invalid S3Uri"},
		"output not S3":           {func(r *request) { r.TransformOutput.S3OutputPath = "https://b/out" }, "ValidationException", `Invalid S3OutputPath "https://b/out"`},
		"capture not S3":          {func(r *request) { r.DataCaptureConfig = &apism.BatchDataCaptureConfig{DestinationS3Uri: "https://b"} }, "ValidationException", "Invalid DestinationS3Uri"},
		"payload":                 {payload(101, 0), "ValidationException", "MaxPayloadInMB 101: it must not exceed 100 MB"},
		"payloads":                {payload(6, 17), "ValidationException", "MaxConcurrentTransforms * MaxPayloadInMB must not exceed 100 MB"},
		"payloads by a little":    {payload(51, 2), "ValidationException", "it is 2 * 51 MB"},
		"accelerator":             {func(r *request) { r.TransformResources.InstanceType = "ml.p3.2xlarge" }, "ResourceLimitExceeded", "service limit 'ml.p3.2xlarge for transform job usage' is 0 Instances"},
		"too many instances":      {func(r *request) { r.TransformResources.InstanceCount = 100 }, "ResourceLimitExceeded", "Maximum number of instances per transform job"},
		"input filter":            {data(apism.DataProcessing{InputFilter: "features"}, "text/csv", "Line", "", ""), "ValidationException", `Invalid InputFilter: "features" is not a JSONPath`},
		"output filter":           {data(apism.DataProcessing{OutputFilter: "$..id"}, "text/csv", "Line", "", ""), "ValidationException", `Invalid OutputFilter: "$..id" is not a JSONPath`},
		"join of nothing":         {data(join, "", "", "", ""), "ValidationException", `Invalid ContentType ""`},
		"join of images":          {data(join, "image/png", "", "text/csv", "Line"), "ValidationException", `Invalid ContentType "image/png"`},
		"join without Accept":     {data(join, "text/csv", "Line", "", "Line"), "ValidationException", `Invalid Accept ""`},
		"join with images":        {data(join, "text/csv", "Line", "image/png", "Line"), "ValidationException", `Invalid Accept "image/png"`},
		"join of two formats":     {data(join, "text/csv", "Line", "application/json", "Line"), "ValidationException", "cannot join records of text/csv with answers of application/json"},
		"join of the other two":   {data(join, "application/json", "", "text/csv; charset=utf-8", "Line"), "ValidationException", "cannot join records of application/json with answers of text/csv"},
		"join of whole files":     {data(join, "text/csv", "", "text/csv", "Line"), "ValidationException", "needs SplitType Line"},
		"join without lines":      {data(join, "text/csv", "Line", "text/csv", "None"), "ValidationException", "need AssembleWith Line"},
		"filter of whole files":   {data(apism.DataProcessing{InputFilter: "$[1:]"}, "text/csv", "None", "", ""), "ValidationException", "needs SplitType Line"},
		"filter of what":          {data(apism.DataProcessing{InputFilter: "$[1:]"}, "", "Line", "", ""), "ValidationException", "Invalid ContentType"},
		"columns by name":         {data(apism.DataProcessing{InputFilter: "$.features"}, "text/csv", "Line", "", ""), "ValidationException", `Invalid InputFilter "$.features": a row of text/csv`},
		"joined columns by name":  {data(apism.DataProcessing{JoinSource: "Input", OutputFilter: "$['id']"}, "text/csv", "Line", "text/csv", "Line"), "ValidationException", `Invalid OutputFilter "$['id']": a row of text/csv`},
		"output filter of images": {data(apism.DataProcessing{OutputFilter: "$[0]"}, "text/csv", "Line", "image/png", "Line"), "ValidationException", `Invalid Accept "image/png"`},
		"framed documents":        {data(apism.DataProcessing{InputFilter: "$.id"}, "application/json", "RecordIO", "", ""), "ValidationException", "need SplitType Line or None, not RecordIO"},
		"ids of images":           {inferenceIDs("image/png", "None", ""), "ValidationException", "GenerateInferenceId needs one of"},
		"ids of framed records":   {inferenceIDs("application/x-recordio", "RecordIO", "text/csv"), "ValidationException", "not RecordIO"},
		"too many containers":     {func(r *request) { r.ModelName, r.TransformResources.InstanceCount = "pipe", 3 }, "ResourceLimitExceeded", "service limit 'ml.m5.large for transform job usage' is 2 Instances, with current utilization of 0 Instances and a request delta of 3 Instances. The model has 2 containers, so that the instances would have 6 together, and this machine runs 5 at once"},
		"tag twice":               {func(r *request) { r.Tags = []apism.Tag{{Key: "a"}, {Key: "a"}} }, "ValidationException", "Duplicate tag"},
	} {
		t.Run(name, func(t *testing.T) {
			r := good("job")
			tc.edit(r)
			_, err := b.Create(t.Context(), jobtest.Call(), r)
			if codeOf(err) != tc.code || !strings.Contains(err.Error(), tc.text) {
				t.Errorf("%v, want %s with %q", err, tc.code, tc.text)
			}
		})
	}
	if _, err := b.Describe(t.Context(), jobtest.Call(), &apism.DescribeTransformJobRequest{TransformJobName: "job"}); codeOf(err) != "ValidationException" {
		t.Errorf("a refused job is described: %v", err)
	}
}

// TestCreateTakes has what only looks wrong.
func TestCreateTakes(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.Capacity.Tasks = 5
	for name, edit := range map[string]func(*request){
		"ids-of-rows":              inferenceIDs("text/csv", "Line", ""),
		"ids-of-answers":           inferenceIDs("image/png", "None", "application/json"),
		"as-many-as-run":           func(r *request) { r.ModelName, r.TransformResources.InstanceCount = "pipe", 2 },
		"all-that-fits":            payload(100, 1),
		"many-small-ones":          payload(1, 100),
		"no-limit":                 payload(0, 200),
		"many-of-no-size":          func(r *request) { r.MaxConcurrentTransforms = api.Ptr(int64(200)) },
		"everything":               data(apism.DataProcessing{InputFilter: "$", OutputFilter: "$", JoinSource: "None"}, "image/png", "", "", ""),
		"columns":                  data(apism.DataProcessing{InputFilter: "$[1:]"}, "text/csv", "Line", "", ""),
		"columns-and-JSON-answers": data(apism.DataProcessing{InputFilter: "$[1:]"}, "text/csv;charset=utf-8", "Line", "application/json", ""),
		"joined-columns":           data(apism.DataProcessing{InputFilter: "$[1:]", JoinSource: "Input", OutputFilter: "$[0,-1]"}, "TEXT/CSV", "Line", "text/csv", "Line"),
		"joined-members":           data(apism.DataProcessing{InputFilter: "$.features", JoinSource: "Input", OutputFilter: "$['id','SageMakerOutput']"}, "application/jsonlines", "Line", "application/json", "Line"),
		"a-joined-document":        data(join, "application/json", "None", "application/json", "None"),
		"a-manifest":               func(r *request) { r.TransformInput.DataSource.S3DataSource.S3DataType = "ManifestFile" },
	} {
		r := good(name)
		edit(r)
		if _, err := b.Create(t.Context(), jobtest.Call(), r); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
