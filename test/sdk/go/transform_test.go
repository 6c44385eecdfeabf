package sdk

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sagemaker"
	"github.com/aws/aws-sdk-go-v2/service/sagemaker/types"
	"github.com/aws/smithy-go"
)

func TestTransformJob(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	cfg, w := load(t)
	c, objects := sagemaker.NewFromConfig(cfg), s3.NewFromConfig(cfg)
	b, n := bucket(t, objects), name()
	createModel(t, c, objects, b, n, "sums.py")
	put := func(key, text string) {
		must(objects.PutObject(ctx, &s3.PutObjectInput{Bucket: &b, Key: &key, Body: strings.NewReader(text)}))(t)
	}
	put("in/a.csv", "x,1,2\ny,3,4\n")
	put("in/b/c.csv", "z,5,6\n")
	put("bad/a.csv", "x,refuse\n")
	request := func(job, prefix string) *sagemaker.CreateTransformJobInput {
		return &sagemaker.CreateTransformJobInput{
			TransformJobName: &job, ModelName: &n, BatchStrategy: types.BatchStrategyMultiRecord, MaxPayloadInMB: aws.Int32(1),
			TransformInput: &types.TransformInput{
				DataSource: &types.TransformDataSource{S3DataSource: &types.TransformS3DataSource{
					S3DataType: types.S3DataTypeS3Prefix, S3Uri: aws.String("s3://" + b + "/" + prefix),
				}},
				ContentType: aws.String("text/csv"), SplitType: types.SplitTypeLine,
			},
			TransformOutput: &types.TransformOutput{
				S3OutputPath: aws.String("s3://" + b + "/out/" + job), Accept: aws.String("text/csv"), AssembleWith: types.AssemblyTypeLine,
			},
			TransformResources: &types.TransformResources{InstanceType: types.TransformInstanceTypeMlM5Large, InstanceCount: aws.Int32(1)},
			DataProcessing:     &types.DataProcessing{InputFilter: aws.String("$[1:]"), JoinSource: types.JoinSourceInput},
		}
	}
	base := name()
	good, bad := base+"-good", base+"-bad"
	created := must(c.CreateTransformJob(ctx, request(good, "in/")))(t)
	if !strings.HasSuffix(*created.TransformJobArn, ":transform-job/"+good) {
		t.Error(*created.TransformJobArn)
	}
	must(c.CreateTransformJob(ctx, request(bad, "bad/")))(t)
	twice := w.once(t, func() error { _, err := c.CreateTransformJob(ctx, request(good, "in/")); return err })
	if e, ok := errors.AsType[*types.ResourceInUse](twice); !ok || !strings.Contains(e.ErrorMessage(), "already exists") {
		t.Errorf("%v", twice)
	}
	waiter := sagemaker.NewTransformJobCompletedOrStoppedWaiter(c, func(o *sagemaker.TransformJobCompletedOrStoppedWaiterOptions) {
		o.MinDelay, o.MaxDelay = 200*time.Millisecond, time.Second
	})
	d := must(waiter.WaitForOutput(ctx, &sagemaker.DescribeTransformJobInput{TransformJobName: &good}, 4*time.Minute))(t)
	if d.TransformJobStatus != types.TransformJobStatusCompleted || d.TransformEndTime == nil || !d.TransformEndTime.After(*d.TransformStartTime) {
		t.Errorf("%s %v", d.TransformJobStatus, d.FailureReason)
	}
	for key, want := range map[string]string{"a.csv.out": "x,1,2,3\ny,3,4,7\n", "b/c.csv.out": "z,5,6,11\n"} {
		out := must(objects.GetObject(ctx, &s3.GetObjectInput{Bucket: &b, Key: aws.String("out/" + good + "/" + key)}))(t)
		if got, err := io.ReadAll(out.Body); string(got) != want || err != nil {
			t.Errorf("%s: %q, %v", key, got, err)
		}
	}
	if err := waiter.Wait(ctx, &sagemaker.DescribeTransformJobInput{TransformJobName: &bad}, 4*time.Minute); err == nil {
		t.Error("a job whose model refuses a row is waited for without an error")
	}
	failed := must(c.DescribeTransformJob(ctx, &sagemaker.DescribeTransformJobInput{TransformJobName: &bad}))(t)
	if failed.TransformJobStatus != types.TransformJobStatusFailed || !strings.HasPrefix(aws.ToString(failed.FailureReason), "ClientError: ") {
		t.Errorf("%s %v", failed.TransformJobStatus, aws.ToString(failed.FailureReason))
	}
	var names []string
	for p := sagemaker.NewListTransformJobsPaginator(c, &sagemaker.ListTransformJobsInput{
		NameContains: &base, MaxResults: aws.Int32(1), SortBy: types.SortByName, SortOrder: types.SortOrderAscending,
	}); p.HasMorePages(); {
		for _, s := range must(p.NextPage(ctx))(t).TransformJobSummaries {
			names = append(names, *s.TransformJobName)
		}
	}
	if !slices.Equal(names, []string{bad, good}) {
		t.Errorf("%q", names)
	}
	for _, call := range []func() error{
		func() error {
			_, err := c.StopTransformJob(ctx, &sagemaker.StopTransformJobInput{TransformJobName: &good})
			return err
		},
		func() error {
			_, err := c.DescribeTransformJob(ctx, &sagemaker.DescribeTransformJobInput{TransformJobName: aws.String(base + "-no")})
			return err
		},
	} {
		err := w.once(t, call)
		if e, ok := errors.AsType[smithy.APIError](err); !ok || e.ErrorCode() != "ValidationException" || e.ErrorMessage() == "" {
			t.Errorf("%v", err)
		}
	}
}
