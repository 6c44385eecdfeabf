//go:build linux && nightly

package catalog_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"clary/internal/compute"
	"clary/internal/stage/plan"
)

// TestRealTensorFlow trains by a script and serves the SavedModel, with handlers
// and without. The wheels are some hundred megabytes: `make nightly` runs it.
func TestRealTensorFlow(t *testing.T) {
	t.Parallel()
	s3, d, c := rooms(t)
	rt, err := c.Resolve(t.Context(), "763104351884.dkr.ecr.us-east-1.amazonaws.com/tensorflow-training:2.16.2-cpu-py310")
	if err != nil {
		t.Fatal(err)
	}
	st := ensure(t, c, rt)
	if !st.Ready {
		t.Fatalf("%s: %s", rt.Title, st.Failed)
	}
	s3.Set("bucket", "src/sourcedir.tar.gz", sources(t, map[string]string{"train.py": `
import os, tensorflow as tf
class Line(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([None, 1], tf.float32, name="x")])
    def serve(self, x):
        return {"y": 2.0 * x + 1.0}
m = Line()
tf.saved_model.save(m, os.path.join(os.environ["SM_MODEL_DIR"], "1"), signatures={"serving_default": m.serve})
print(os.environ["SM_FRAMEWORK_MODULE"])
`}))
	exit, log := run(t, d, compute.Task{
		ID: "tf-train", Kind: "training", Name: "tf", Image: st.Image, Args: rt.Train, Env: rt.Env,
		Plan: plan.Plan{Training: &plan.Training{
			JobName: "tf", Region: "us-east-1", Hosts: []string{"algo-1"}, CurrentHost: "algo-1", InstanceType: "ml.m5.large", ScriptMode: true, Framework: rt.Framework,
			HyperParameters: map[string]string{"sagemaker_program": `"train.py"`, "sagemaker_submit_directory": `"s3://bucket/src/sourcedir.tar.gz"`}, OutputS3Uri: "s3://bucket/out/tf/output",
		}},
		Network:  compute.Network{Host: "algo-1", Peers: []string{"algo-1"}},
		Identity: compute.Identity{RoleArn: "arn:aws:iam::123456789012:role/r", AccessKeyID: "AKID", SecretAccessKey: "s", SessionToken: "t", Expiration: time.Now().Add(time.Hour), Region: "us-east-1"},
	})
	if exit.Result.Artifact == "" || !strings.Contains(log, "sagemaker_tensorflow_container.training:main") {
		t.Fatalf("%+v: %s", exit, log)
	}
	serve, err := c.Resolve(t.Context(), "763104351884.dkr.ecr.us-east-1.amazonaws.com/tensorflow-inference:2.16-cpu")
	if err != nil {
		t.Fatal(err)
	}
	plain := serveModel(t, d, serve, st, "tf-serve", "s3://bucket/out/tf/output/model.tar.gz", nil)
	plain.ready()
	model, _ := s3.Object("bucket", "out/tf/output/model.tar.gz")
	s3.Set("bucket", "m/handlers", repacked(t, model, map[string]string{"code/inference.py": `
import json
def input_handler(data, context):
    return json.dumps({"instances": [[float(x)] for x in data.read().decode().split()]})
def output_handler(response, context):
    return " ".join(str(p[0]) for p in response.json()["predictions"]), "text/plain"
`}))
	handlers := serveModel(t, d, serve, st, "tf-handlers", "s3://bucket/m/handlers", nil)
	handlers.ready()
	for _, tt := range []struct {
		c          *container
		kind, body string
		code       int
		want       string
	}{
		{plain, "application/json", `{"instances": [[1.0], [2.5]]}`, 200, `^\{"predictions": \[\[3\.0\], \[6\.0\]\]\}$`},
		{plain, "application/json", `[[1.0]]`, 200, `^\{"predictions": \[\[3\.0\]\]\}$`},
		{plain, "application/json", `{"inputs": {"x": [[1.0]]}}`, 200, `^\{"outputs": \[\[3\.0\]\]\}$`},
		{plain, "text/csv", "1\n2.5\n", 200, `^\{"predictions": \[\[3\.0\], \[6\.0\]\]\}$`},
		{plain, "application/json", `{"instances": [["a"]]}`, 400, `"error"`},
		{plain, "image/png", "x", 415, "is not supported"},
		{handlers, "text/plain", "1 2.5", 200, `^3\.0 6\.0$`},
	} {
		if code, _, body := tt.c.ask(http.MethodPost, "/invocations", tt.kind, "*/*", tt.body); code != tt.code || !regexp.MustCompile(tt.want).MatchString(body) {
			t.Errorf("%s %s: %d %s", tt.kind, tt.body, code, body)
		}
	}
}
