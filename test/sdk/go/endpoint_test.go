package sdk

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sagemaker"
	"github.com/aws/aws-sdk-go-v2/service/sagemaker/types"
	"github.com/aws/aws-sdk-go-v2/service/sagemakerruntime"
	runtimetypes "github.com/aws/aws-sdk-go-v2/service/sagemakerruntime/types"
)

// createModel makes a model of a script, which it puts into the bucket.
func createModel(t *testing.T, c *sagemaker.Client, objects *s3.Client, bucket, name, script string) {
	t.Helper()
	text := must(os.ReadFile("../models/" + script))(t)
	must(objects.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: aws.String("m/code/inference.py"), Body: bytes.NewReader(text)}))(t)
	must(c.CreateModel(t.Context(), &sagemaker.CreateModelInput{
		ModelName: &name, ExecutionRoleArn: aws.String("arn:aws:iam::123456789012:role/SageMakerRole"),
		PrimaryContainer: &types.ContainerDefinition{
			Image: aws.String(os.Getenv("CLARY_TEST_IMAGE")), Environment: map[string]string{"SAGEMAKER_MODEL_SERVER_WORKERS": "1"},
			ModelDataSource: &types.ModelDataSource{S3DataSource: &types.S3ModelDataSource{
				S3Uri: aws.String("s3://" + bucket + "/m/"), S3DataType: types.S3ModelDataTypeS3Prefix, CompressionType: types.ModelCompressionTypeNone,
			}},
		},
	}))(t)
}

func TestEndpoint(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	cfg, w := load(t)
	c, objects, runtime := sagemaker.NewFromConfig(cfg), s3.NewFromConfig(cfg), sagemakerruntime.NewFromConfig(cfg)
	b, n := bucket(t, objects), name()
	createModel(t, c, objects, b, n, "echo.py")
	must(c.CreateEndpointConfig(ctx, &sagemaker.CreateEndpointConfigInput{EndpointConfigName: &n, ProductionVariants: []types.ProductionVariant{{
		VariantName: aws.String("one"), ModelName: &n, InstanceType: types.ProductionVariantInstanceTypeMlM5Large, InitialInstanceCount: aws.Int32(1),
	}}}))(t)
	must(c.CreateEndpoint(ctx, &sagemaker.CreateEndpointInput{EndpointName: &n, EndpointConfigName: &n}))(t)
	described := &sagemaker.DescribeEndpointInput{EndpointName: &n}
	must(sagemaker.NewEndpointInServiceWaiter(c, func(o *sagemaker.EndpointInServiceWaiterOptions) {
		o.MinDelay, o.MaxDelay = 200*time.Millisecond, time.Second
	}).WaitForOutput(ctx, described, 4*time.Minute))(t)

	ask := func(body string) (*sagemakerruntime.InvokeEndpointOutput, error) {
		return runtime.InvokeEndpoint(ctx, &sagemakerruntime.InvokeEndpointInput{
			EndpointName: &n, Body: []byte(body), ContentType: aws.String("application/json"), CustomAttributes: aws.String("trace=7"),
		})
	}
	out := must(ask(`{"say": 6, "by": 2}`))(t)
	if text := string(out.Body); !strings.Contains(text, `"said": 3.0`) || !strings.Contains(text, `"attributes": "trace=7"`) || *out.InvokedProductionVariant != "one" {
		t.Errorf("%s of %s", text, *out.InvokedProductionVariant)
	}
	failed := w.once(t, func() error { _, err := ask(`{"refuse": "no such flower"}`); return err })
	if e, ok := errors.AsType[*runtimetypes.ModelError](failed); !ok || *e.OriginalStatusCode != 400 || !strings.HasPrefix(*e.OriginalMessage, "no such flower") {
		t.Errorf("%v", failed)
	}
	unknown := w.once(t, func() error {
		_, err := runtime.InvokeEndpoint(ctx, &sagemakerruntime.InvokeEndpointInput{EndpointName: aws.String(n + "-no"), Body: []byte("x")})
		return err
	})
	if e, ok := errors.AsType[*runtimetypes.ValidationError](unknown); !ok || !strings.HasSuffix(e.ErrorMessage(), " not found.") {
		t.Errorf("%v", unknown)
	}
	body := bytes.Repeat([]byte("0123456789"), 30_000)
	streamed := must(runtime.InvokeEndpointWithResponseStream(ctx, &sagemakerruntime.InvokeEndpointWithResponseStreamInput{
		EndpointName: &n, Body: body, ContentType: aws.String("application/octet-stream"),
	}))(t)
	var got []byte
	for e := range streamed.GetStream().Events() {
		if part, ok := e.(*runtimetypes.ResponseStreamMemberPayloadPart); ok {
			got = append(got, part.Value.Bytes...)
		}
	}
	if err := streamed.GetStream().Err(); err != nil || !bytes.Equal(got, body) {
		t.Errorf("%d bytes of %d, %v", len(got), len(body), err)
	}

	must(c.DeleteEndpoint(ctx, &sagemaker.DeleteEndpointInput{EndpointName: &n}))(t)
	if err := sagemaker.NewEndpointDeletedWaiter(c, func(o *sagemaker.EndpointDeletedWaiterOptions) {
		o.MinDelay, o.MaxDelay = 200*time.Millisecond, time.Second
	}).Wait(ctx, described, 2*time.Minute); err != nil {
		t.Error(err)
	}
}
