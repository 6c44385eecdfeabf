package awsjson

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"clary/internal/api/sagemaker"
	"clary/internal/aws/apierr"
	"clary/internal/aws/facts"
)

func operation(t *testing.T, service, name string) *facts.Operation {
	t.Helper()
	m, err := facts.Load(service)
	if err != nil {
		t.Fatal(err)
	}
	return m.Operations[name]
}

const create = `{"TrainingJobName":"a","AlgorithmSpecification":{"TrainingImage":"i","TrainingInputMode":"File"},
"RoleArn":"arn:aws:iam::123456789012:role/Some","OutputDataConfig":{"S3OutputPath":"s3://b/p","KmsKeyId":""},
"ResourceConfig":{"InstanceType":"ml.m5.large","InstanceCount":1,"VolumeSizeInGB":30},
"StoppingCondition":{"MaxRuntimeInSeconds":60},"unknown":{"x":[1]},"trainingjobname":"wrong","Tags":[],
"EnableNetworkIsolation":false,"Environment":null}`

func TestDecode(t *testing.T) {
	t.Parallel()
	op := operation(t, "sagemaker", "CreateTrainingJob")
	var in sagemaker.CreateTrainingJobRequest
	if err := New("1.1").Decode(op, nil, []byte(create), &in); err != nil {
		t.Fatal(err)
	}
	if in.TrainingJobName != "a" || in.ResourceConfig.InstanceCount == nil || *in.ResourceConfig.InstanceCount != 1 {
		t.Fatalf("%+v", in)
	}
	if in.EnableNetworkIsolation == nil || *in.EnableNetworkIsolation {
		t.Fatal("false is not absent")
	}
}

func TestDecodeErrors(t *testing.T) {
	t.Parallel()
	op := operation(t, "sagemaker", "StopTrainingJob")
	for _, c := range []struct{ body, code, text string }{
		{`{"TrainingJobName":1}`, "SerializationException", "NUMBER_VALUE can not be converted to a String"},
		{`{"TrainingJobName":["a"]}`, "SerializationException", "Start of list found where not expected"},
		{`{"TrainingJobName":{}}`, "SerializationException", "Start of structure or map found where not expected."},
		{`[]`, "SerializationException", "Start of list found where not expected"},
		{`{`, "SerializationException", "not valid JSON"},
		{`{"TrainingJobName":"a","TrainingJobName":"b"}`, "SerializationException", "duplicate"},
		{"{\"TrainingJobName\":\"\xff\"}", "SerializationException", "UTF-8"},
		{``, "ValidationException", "1 validation error detected: Value null at 'trainingJobName' failed to satisfy constraint: Member must not be null"},
		{`{"trainingJobName":"a"}`, "ValidationException", "Value null at 'trainingJobName'"},
	} {
		var in sagemaker.StopTrainingJobRequest
		e := apierr.From(New("1.1").Decode(op, nil, []byte(c.body), &in))
		if e.Code != c.code || e.Status != 400 || !strings.Contains(e.Message, c.text) {
			t.Errorf("%s: %v", c.body, e)
		}
	}
}

func TestEncode(t *testing.T) {
	t.Parallel()
	c := New("1.1")
	w := httptest.NewRecorder()
	out := &sagemaker.ListTrainingJobsResponse{}
	if err := c.Encode(w, nil, operation(t, "sagemaker", "ListTrainingJobs"), out, "rid"); err != nil {
		t.Fatal(err)
	}
	if got := w.Body.String(); got != `{"TrainingJobSummaries":[]}` {
		t.Fatal(got)
	}
	if w.Header().Get("x-amzn-RequestId") != "rid" || w.Header().Get("Content-Type") != "application/x-amz-json-1.1" {
		t.Fatal(w.Header())
	}
	w = httptest.NewRecorder()
	if err := c.Encode(w, nil, operation(t, "sagemaker", "StopTrainingJob"), &struct{}{}, "rid"); err != nil {
		t.Fatal(err)
	}
	if w.Code != 200 || w.Body.Len() != 0 {
		t.Fatal(w.Code, w.Body)
	}
}

func TestEncodeError(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", nil)
	New("1.1").EncodeError(w, r, operation(t, "sagemaker", "CreateTrainingJob"), apierr.InUse("taken"), "rid")
	if got := w.Body.String(); got != `{"Message":"taken","__type":"ResourceInUse","message":"taken"}` {
		t.Fatal(got)
	}
	if w.Code != 400 || w.Header().Get("x-amzn-ErrorType") != "ResourceInUse" {
		t.Fatal(w.Code, w.Header())
	}
	w = httptest.NewRecorder()
	r.Header.Set("x-amzn-query-mode", "true")
	New("1.0").EncodeError(w, r, operation(t, "cloudwatch", "GetMetricStatistics"), apierr.New(400, "InvalidParameterValueException", "no"), "rid")
	if got := w.Header().Get("x-amzn-query-error"); got != "InvalidParameterValue;Sender" {
		t.Fatal(got)
	}
	w = httptest.NewRecorder()
	New("1.0").EncodeError(w, r, nil, apierr.New(500, "InternalFailure", "no"), "rid")
	if w.Code != 500 {
		t.Fatal(w.Code)
	}
}
