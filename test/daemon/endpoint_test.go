package daemon_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"clary/internal/client"
)

// answerer is a model that says who it is.
const answerer = `import os
def model_fn(folder):
    return open(os.path.join(folder, "name")).read()
def input_fn(body, content_type):
    return body if isinstance(body, str) else body.decode()
def predict_fn(data, model):
    return model + " heard " + data
def output_fn(prediction, accept):
    return prediction
`

// archived is a model.tar.gz of some files.
func archived(t testing.TB, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for name, text := range files {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(text)), Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// hosted is what DescribeEndpoint tells.
type hosted struct {
	EndpointStatus, EndpointConfigName, FailureReason string
	ProductionVariants                                []struct{ CurrentInstanceCount, DesiredInstanceCount int }
}

func (w *world) endpoint(t testing.TB, name string) (d hosted) {
	t.Helper()
	if err := w.SageMaker(t.Context(), "DescribeEndpoint", map[string]string{"EndpointName": name}, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// settles waits until an endpoint serves a configuration with some instances,
// and nothing else.
func (w *world) settles(t testing.TB, name, config string, instances int) {
	t.Helper()
	var d hosted
	defer func() {
		if t.Failed() {
			t.Logf("it is %+v", d)
		}
	}()
	eventually(t, name+" to serve "+config, func() bool {
		d = w.endpoint(t, name)
		if d.EndpointStatus == "Failed" || d.FailureReason != "" {
			t.Fatalf("it is %s: %s", d.EndpointStatus, d.FailureReason)
		}
		return d.EndpointStatus == "InService" && d.EndpointConfigName == config && d.ProductionVariants[0].CurrentInstanceCount == instances && len(w.tasksOf(t, name)) == instances
	})
}

// tasksOf are the ids of an endpoint's tasks that have not ended.
func (w *world) tasksOf(t testing.TB, name string) (ids []string) {
	t.Helper()
	all, err := w.Tasks()
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range all {
		if k.Name == name && !k.Exited {
			ids = append(ids, k.ID)
		}
	}
	slices.Sort(ids)
	return ids
}

// ask invokes an endpoint.
func (w *world) ask(t testing.TB, name, question string) string {
	t.Helper()
	code, answer, err := w.Invoke(t.Context(), name, "text/plain", []byte(question))
	if err != nil || code != http.StatusOK {
		t.Fatalf("invoke: %d %s, %v", code, answer, err)
	}
	return string(answer)
}

// TestEndpoint kills the server under an endpoint: while it serves, while it is
// updated, and while it is deleted, and one of its instances. What serves goes
// on, is found again, and is billed once.
func TestEndpoint(t *testing.T) {
	t.Parallel()
	w := start(t, dataDir(t))
	const name = "answers"
	for _, model := range []string{"one", "two"} {
		w.must(w.Put(t.Context(), bucket, model+"/model.tar.gz", archived(t, map[string]string{"name": model, "code/inference.py": answerer})))
		w.must(w.SageMaker(t.Context(), "CreateModel", map[string]any{
			"ModelName": model, "ExecutionRoleArn": "arn:aws:iam::123456789012:role/Unknown",
			"PrimaryContainer": map[string]any{
				"Image": "123456789012.dkr.ecr.us-east-1.amazonaws.com/sagemaker-base-python:3.10", "ModelDataUrl": "s3://" + bucket + "/" + model + "/model.tar.gz",
				"Environment": map[string]string{"SAGEMAKER_PROGRAM": "inference.py", "SAGEMAKER_MODEL_SERVER_WORKERS": "1"},
			},
		}, nil))
		w.must(w.SageMaker(t.Context(), "CreateEndpointConfig", map[string]any{
			"EndpointConfigName": model, "ProductionVariants": []any{map[string]any{"VariantName": "AllTraffic", "ModelName": model, "InstanceType": "ml.m5.large", "InitialInstanceCount": 2}},
		}, nil))
	}
	w.must(w.SageMaker(t.Context(), "CreateEndpoint", map[string]string{"EndpointName": name, "EndpointConfigName": "one"}, nil))
	w.settles(t, name, "one", 2)
	again := func() {
		t.Helper()
		w.must(w.Kill())
		w.must(w.Start(context.WithoutCancel(t.Context())))
	}

	before := w.tasksOf(t, name)
	again()
	if got := w.ask(t, name, "x"); got != "one heard x" {
		t.Errorf("after the server was killed it says %q", got)
	}
	w.settles(t, name, "one", 2)
	if after := w.tasksOf(t, name); !slices.Equal(before, after) {
		t.Errorf("its tasks were %q, and are %q", before, after)
	}

	task := w.TaskOf(name)
	w.must(task.Kill("supervisor"))
	for n := 0; slices.Contains(w.tasksOf(t, name), task.ID) || len(w.tasksOf(t, name)) < 2; n++ {
		w.ask(t, name, fmt.Sprint(n))
	}
	w.settles(t, name, "one", 2)

	w.must(w.SageMaker(t.Context(), "UpdateEndpoint", map[string]string{"EndpointName": name, "EndpointConfigName": "two"}, nil))
	again()
	for got := ""; got != "two heard x"; {
		if got = w.ask(t, name, "x"); got != "one heard x" && got != "two heard x" {
			t.Fatalf("while it is updated it says %q", got)
		}
	}
	w.settles(t, name, "two", 2)

	w.must(w.SageMaker(t.Context(), "DeleteEndpoint", map[string]string{"EndpointName": name}, nil))
	again()
	eventually(t, "it to be gone", func() bool {
		err := w.SageMaker(t.Context(), "DescribeEndpoint", map[string]string{"EndpointName": name}, new(hosted))
		return client.Code(err) == "ValidationException" && strings.Contains(err.Error(), "Could not find endpoint")
	})
	usage, err := w.Usage(t.Context())
	w.must(err)
	if len(usage[name]) != 5 {
		t.Errorf("%d intervals are billed of 5 instances: %+v", len(usage[name]), usage[name])
	}
	for _, u := range usage[name] {
		if u.Component != "hosting" || u.Quantity != 1 || !u.End.After(u.Start) || u.End.After(time.Now()) {
			t.Errorf("billed %+v", u)
		}
	}
	eventually(t, "nothing to be left", func() bool { return len(w.Left(usage[name][0].UID)) == 0 })
}
