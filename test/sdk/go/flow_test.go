// Package sdk is a module of its own, so that the AWS SDK for Go is no
// dependency of ours. Its tests are run by test/sdk, with `clary run`, against
// a server.
package sdk

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	cwtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	logtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/sagemaker"
	"github.com/aws/aws-sdk-go-v2/service/sagemaker/types"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

const group = "/aws/sagemaker/TrainingJobs"

// wire counts what goes out, attempts included, and keeps the last headers.
type wire struct {
	n    atomic.Int64
	last atomic.Pointer[http.Header]
}

// watch is in the SDK's own chain: with AWS_CA_BUNDLE it takes no other HTTP
// client than its own.
func (w *wire) watch(s *middleware.Stack) error {
	return s.Deserialize.Add(middleware.DeserializeMiddlewareFunc("watch",
		func(ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler) (middleware.DeserializeOutput, middleware.Metadata, error) {
			if r, ok := in.Request.(*smithyhttp.Request); ok {
				w.n.Add(1)
				h := r.Header.Clone()
				w.last.Store(&h)
			}
			return next.HandleDeserialize(ctx, in)
		}), middleware.After)
}

// once fails when more than one request goes out while f runs: the SDK must not
// take our refusals for something to try again.
func (w *wire) once(t *testing.T, f func() error) error {
	t.Helper()
	before := w.n.Load()
	err := f()
	if n := w.n.Load() - before; n != 1 {
		t.Errorf("%d requests for one call (%v)", n, err)
	}
	return err
}

func load(t *testing.T) (aws.Config, *wire) {
	t.Helper()
	if os.Getenv("AWS_ENDPOINT_URL") == "" {
		t.Fatal("AWS_ENDPOINT_URL is not set: run `make sdk`")
	}
	w := &wire{}
	cfg, err := config.LoadDefaultConfig(t.Context(), config.WithAPIOptions([]func(*middleware.Stack) error{w.watch}))
	if err != nil {
		t.Fatal(err)
	}
	return cfg, w
}

func name() string { return "go-" + strings.ToLower(rand.Text()[:12]) }

func must[T any](v T, err error) func(t *testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func request(job, bucket, script string) *sagemaker.CreateTrainingJobInput {
	return &sagemaker.CreateTrainingJobInput{
		TrainingJobName: &job,
		RoleArn:         aws.String("arn:aws:iam::123456789012:role/SageMakerRole"),
		AlgorithmSpecification: &types.AlgorithmSpecification{
			TrainingImage: aws.String(os.Getenv("CLARY_TEST_IMAGE")), TrainingInputMode: types.TrainingInputModeFile,
			ContainerEntrypoint: []string{"/bin/bash", "-c"}, ContainerArguments: []string{script},
			MetricDefinitions: []types.MetricDefinition{{Name: aws.String("loss"), Regex: aws.String("loss=([0-9.]+)")}},
		},
		InputDataConfig: []types.Channel{{
			ChannelName: aws.String("training"),
			DataSource: &types.DataSource{S3DataSource: &types.S3DataSource{
				S3DataType: types.S3DataTypeS3Prefix, S3Uri: aws.String("s3://" + bucket + "/in/"),
			}},
		}},
		OutputDataConfig:  &types.OutputDataConfig{S3OutputPath: aws.String("s3://" + bucket + "/out")},
		ResourceConfig:    &types.ResourceConfig{InstanceType: types.TrainingInstanceTypeMlM5Large, InstanceCount: aws.Int32(1), VolumeSizeInGB: aws.Int32(5)},
		StoppingCondition: &types.StoppingCondition{MaxRuntimeInSeconds: aws.Int32(600)},
	}
}

func bucket(t *testing.T, c *s3.Client) string {
	t.Helper()
	b := name()
	must(c.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &b}))(t)
	return b
}

func TestObjects(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	cfg, w := load(t)
	c := s3.NewFromConfig(cfg)
	b := bucket(t, c)
	body := make([]byte, 3<<20)
	rand.Read(body)
	for i := range 5 {
		must(c.PutObject(ctx, &s3.PutObjectInput{
			Bucket: &b, Key: aws.String(fmt.Sprintf("a b/%d ü", i)), Body: bytes.NewReader(body), Metadata: map[string]string{"who": "me"},
		}))(t)
	}
	got := must(c.GetObject(ctx, &s3.GetObjectInput{Bucket: &b, Key: aws.String("a b/3 ü"), ChecksumMode: s3types.ChecksumModeEnabled}))(t)
	back, err := io.ReadAll(got.Body)
	if err != nil || !bytes.Equal(back, body) || got.Metadata["who"] != "me" || got.ChecksumCRC32 == nil {
		t.Errorf("%d bytes, %v, %v, checksum %v", len(back), got.Metadata, err, got.ChecksumCRC32)
	}
	var keys []string
	for p := s3.NewListObjectsV2Paginator(c, &s3.ListObjectsV2Input{Bucket: &b, Prefix: aws.String("a b/"), MaxKeys: aws.Int32(2)}); p.HasMorePages(); {
		page := must(p.NextPage(ctx))(t)
		for _, o := range page.Contents {
			keys = append(keys, *o.Key)
		}
	}
	if len(keys) != 5 || !slices.IsSorted(keys) {
		t.Errorf("%q", keys)
	}
	noKey := w.once(t, func() error {
		_, err := c.GetObject(ctx, &s3.GetObjectInput{Bucket: &b, Key: aws.String("no")})
		return err
	})
	if _, ok := errors.AsType[*s3types.NoSuchKey](noKey); !ok {
		t.Errorf("%v", noKey)
	}
	noBucket := w.once(t, func() error {
		_, err := c.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: aws.String(b + "-no")})
		return err
	})
	if _, ok := errors.AsType[*s3types.NoSuchBucket](noBucket); !ok {
		t.Errorf("%v", noBucket)
	}
	noHead := w.once(t, func() error {
		_, err := c.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &b, Key: aws.String("no")})
		return err
	})
	if _, ok := errors.AsType[*s3types.NotFound](noHead); !ok {
		t.Errorf("%v", noHead)
	}
	signed := must(s3.NewPresignClient(c).PresignGetObject(ctx, &s3.GetObjectInput{Bucket: &b, Key: aws.String("a b/1 ü")}))(t)
	r := must(http.NewRequestWithContext(ctx, http.MethodGet, signed.URL, nil))(t)
	answer := must(http.DefaultClient.Do(r))(t)
	defer answer.Body.Close()
	if back, err := io.ReadAll(answer.Body); answer.StatusCode != 200 || err != nil || !bytes.Equal(back, body) {
		t.Errorf("presigned: %s, %d bytes, %v", answer.Status, len(back), err)
	}
}

func TestTrainingJob(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	cfg, w := load(t)
	c, objects, logs := sagemaker.NewFromConfig(cfg), s3.NewFromConfig(cfg), cloudwatchlogs.NewFromConfig(cfg)
	b := bucket(t, objects)
	must(objects.PutObject(ctx, &s3.PutObjectInput{Bucket: &b, Key: aws.String("in/data.txt"), Body: strings.NewReader("some data")}))(t)
	job := name()
	in := request(job, b, `cat /opt/ml/input/data/training/data.txt; echo; for i in 3 2 1; do echo "loss=0.$i"; done; echo model > /opt/ml/model/m`)
	created := must(c.CreateTrainingJob(ctx, in))(t)
	if !strings.HasSuffix(*created.TrainingJobArn, ":training-job/"+job) {
		t.Error(*created.TrainingJobArn)
	}
	twice := w.once(t, func() error { _, err := c.CreateTrainingJob(ctx, in); return err })
	if e, ok := errors.AsType[*types.ResourceInUse](twice); !ok || e.ErrorMessage() == "" {
		t.Errorf("%v", twice)
	}
	waiter := sagemaker.NewTrainingJobCompletedOrStoppedWaiter(c, func(o *sagemaker.TrainingJobCompletedOrStoppedWaiterOptions) {
		o.MinDelay, o.MaxDelay = 200*time.Millisecond, time.Second
	})
	d := must(waiter.WaitForOutput(ctx, &sagemaker.DescribeTrainingJobInput{TrainingJobName: &job}, 4*time.Minute))(t)
	if d.TrainingJobStatus != types.TrainingJobStatusCompleted || d.TrainingEndTime == nil || !d.TrainingEndTime.After(*d.TrainingStartTime) || *d.BillableTimeInSeconds < 1 {
		t.Errorf("%s %v %v", d.TrainingJobStatus, d.FailureReason, d.TrainingEndTime)
	}
	if len(d.FinalMetricDataList) != 1 || *d.FinalMetricDataList[0].Value < 0.09 || *d.FinalMetricDataList[0].Value > 0.11 {
		t.Errorf("%v", d.FinalMetricDataList)
	}
	model := must(objects.GetObject(ctx, &s3.GetObjectInput{Bucket: &b, Key: aws.String("out/" + job + "/output/model.tar.gz")}))(t)
	if n, err := io.Copy(io.Discard, model.Body); n == 0 || err != nil {
		t.Errorf("%d %v", n, err)
	}

	streams := must(logs.DescribeLogStreams(ctx, &cloudwatchlogs.DescribeLogStreamsInput{LogGroupName: aws.String(group), LogStreamNamePrefix: aws.String(job + "/")}))(t)
	if len(streams.LogStreams) != 1 {
		t.Fatalf("%v", streams.LogStreams)
	}
	var text []string
	for p := cloudwatchlogs.NewGetLogEventsPaginator(logs, &cloudwatchlogs.GetLogEventsInput{
		LogGroupName: aws.String(group), LogStreamName: streams.LogStreams[0].LogStreamName, StartFromHead: aws.Bool(true), Limit: aws.Int32(2),
	}, func(o *cloudwatchlogs.GetLogEventsPaginatorOptions) { o.StopOnDuplicateToken = true }); p.HasMorePages(); {
		for _, e := range must(p.NextPage(ctx))(t).Events {
			if !strings.HasPrefix(*e.Message, "[clary] ") {
				text = append(text, *e.Message)
			}
		}
	}
	if want := []string{"some data", "loss=0.3", "loss=0.2", "loss=0.1"}; !slices.Equal(text, want) {
		t.Errorf("%q", text)
	}
	found := must(logs.FilterLogEvents(ctx, &cloudwatchlogs.FilterLogEventsInput{LogGroupName: aws.String(group), LogStreamNamePrefix: aws.String(job + "/"), FilterPattern: aws.String("loss")}))(t)
	if len(found.Events) != 3 {
		t.Errorf("%v", found.Events)
	}
	noGroup := w.once(t, func() error {
		_, err := logs.GetLogEvents(ctx, &cloudwatchlogs.GetLogEventsInput{LogGroupName: aws.String("/no"), LogStreamName: aws.String("x")})
		return err
	})
	if _, ok := errors.AsType[*logtypes.ResourceNotFoundException](noGroup); !ok {
		t.Errorf("%v", noGroup)
	}
}

func TestStopAndList(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	cfg, w := load(t)
	c, objects := sagemaker.NewFromConfig(cfg), s3.NewFromConfig(cfg)
	b := bucket(t, objects)
	must(objects.PutObject(ctx, &s3.PutObjectInput{Bucket: &b, Key: aws.String("in/x"), Body: strings.NewReader("x")}))(t)
	base := name()
	jobs := []string{base + "-a", base + "-b", base + "-c"}
	for _, job := range jobs {
		must(c.CreateTrainingJob(ctx, request(job, b, "trap 'exit 0' TERM; sleep 300 & wait")))(t)
		must(c.StopTrainingJob(ctx, &sagemaker.StopTrainingJobInput{TrainingJobName: &job}))(t)
	}
	waiter := sagemaker.NewTrainingJobCompletedOrStoppedWaiter(c, func(o *sagemaker.TrainingJobCompletedOrStoppedWaiterOptions) {
		o.MinDelay, o.MaxDelay = 200*time.Millisecond, time.Second
	})
	for _, job := range jobs {
		d := must(waiter.WaitForOutput(ctx, &sagemaker.DescribeTrainingJobInput{TrainingJobName: &job}, 4*time.Minute))(t)
		if d.TrainingJobStatus != types.TrainingJobStatusStopped {
			t.Errorf("%s: %s %v", job, d.TrainingJobStatus, d.FailureReason)
		}
	}
	var names []string
	pages := 0
	for p := sagemaker.NewListTrainingJobsPaginator(c, &sagemaker.ListTrainingJobsInput{
		NameContains: &base, MaxResults: aws.Int32(2), SortBy: types.SortByName, SortOrder: types.SortOrderAscending, StatusEquals: types.TrainingJobStatusStopped,
	}); p.HasMorePages(); pages++ {
		for _, s := range must(p.NextPage(ctx))(t).TrainingJobSummaries {
			names = append(names, *s.TrainingJobName)
		}
	}
	if !slices.Equal(names, jobs) || pages != 2 {
		t.Errorf("%q in %d pages", names, pages)
	}

	arn := *must(c.DescribeTrainingJob(ctx, &sagemaker.DescribeTrainingJobInput{TrainingJobName: &jobs[0]}))(t).TrainingJobArn
	many := make([]types.Tag, 50)
	for i := range many {
		many[i] = types.Tag{Key: aws.String(fmt.Sprintf("k%02d", i)), Value: aws.String("v")}
	}
	must(c.AddTags(ctx, &sagemaker.AddTagsInput{ResourceArn: &arn, Tags: many}))(t)
	tooMany := w.once(t, func() error {
		_, err := c.AddTags(ctx, &sagemaker.AddTagsInput{ResourceArn: &arn, Tags: []types.Tag{{Key: aws.String("more"), Value: aws.String("v")}}})
		return err
	})
	if _, ok := errors.AsType[*types.ResourceLimitExceeded](tooMany); !ok {
		t.Errorf("%v", tooMany)
	}
	tags := 0
	for p := sagemaker.NewListTagsPaginator(c, &sagemaker.ListTagsInput{ResourceArn: &arn, MaxResults: aws.Int32(50)}); p.HasMorePages(); {
		tags += len(must(p.NextPage(ctx))(t).Tags)
	}
	if tags != 50 {
		t.Errorf("%d tags", tags)
	}

	for code, call := range map[string]func() error{
		"ValidationException": func() error {
			_, err := c.DescribeTrainingJob(ctx, &sagemaker.DescribeTrainingJobInput{TrainingJobName: aws.String(base + "-no")})
			return err
		},
		"UnsupportedOperation": func() error {
			_, err := c.ListHubs(ctx, &sagemaker.ListHubsInput{})
			return err
		},
	} {
		e, ok := errors.AsType[smithy.APIError](w.once(t, call))
		if !ok || e.ErrorCode() != code || e.ErrorMessage() == "" {
			t.Errorf("%s: %v", code, e)
		}
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	cfg, w := load(t)
	c := cloudwatch.NewFromConfig(cfg)
	space := name()
	at := time.Now().Add(-5 * time.Minute).Truncate(time.Minute)
	var data []cwtypes.MetricDatum // more than the SDK sends uncompressed
	for i := range 600 {
		data = append(data, cwtypes.MetricDatum{
			MetricName: aws.String(fmt.Sprintf("m%03d", i)), Timestamp: aws.Time(at.Add(1500 * time.Millisecond)), Value: aws.Float64(float64(i) + 0.5),
			Dimensions: []cwtypes.Dimension{{Name: aws.String("Job"), Value: aws.String("ü")}}, Unit: cwtypes.StandardUnitSeconds,
		})
	}
	must(c.PutMetricData(ctx, &cloudwatch.PutMetricDataInput{Namespace: &space, MetricData: data}))(t)
	if sent := *w.last.Load(); sent.Get("Smithy-Protocol") != "rpc-v2-cbor" || sent.Get("Content-Encoding") != "gzip" {
		t.Errorf("this SDK speaks something else by now: %v", sent)
	}
	dims := data[0].Dimensions
	s := must(c.GetMetricStatistics(ctx, &cloudwatch.GetMetricStatisticsInput{
		Namespace: &space, MetricName: aws.String("m007"), Dimensions: dims, Period: aws.Int32(60), StartTime: aws.Time(at), EndTime: aws.Time(at.Add(time.Hour)),
		Statistics: []cwtypes.Statistic{cwtypes.StatisticAverage, cwtypes.StatisticSampleCount},
	}))(t)
	if len(s.Datapoints) != 1 || *s.Datapoints[0].Average != 7.5 || *s.Datapoints[0].SampleCount != 1 || !s.Datapoints[0].Timestamp.Equal(at) || s.Datapoints[0].Unit != cwtypes.StandardUnitSeconds || s.Datapoints[0].Sum != nil {
		t.Errorf("%+v", s.Datapoints)
	}
	g := must(c.GetMetricData(ctx, &cloudwatch.GetMetricDataInput{StartTime: aws.Time(at), EndTime: aws.Time(at.Add(time.Hour)), MetricDataQueries: []cwtypes.MetricDataQuery{{
		Id: aws.String("q"), MetricStat: &cwtypes.MetricStat{Stat: aws.String("Maximum"), Period: aws.Int32(60), Metric: &cwtypes.Metric{Namespace: &space, MetricName: aws.String("m599"), Dimensions: dims}},
	}}}))(t)
	if len(g.MetricDataResults) != 1 || !slices.Equal(g.MetricDataResults[0].Values, []float64{599.5}) || !g.MetricDataResults[0].Timestamps[0].Equal(at) {
		t.Errorf("%+v", g.MetricDataResults)
	}
	seen := map[string]bool{}
	pages := 0
	for p := cloudwatch.NewListMetricsPaginator(c, &cloudwatch.ListMetricsInput{Namespace: &space}); p.HasMorePages(); pages++ {
		for _, m := range must(p.NextPage(ctx))(t).Metrics {
			seen[*m.MetricName] = true
		}
	}
	if len(seen) != 600 || pages != 2 {
		t.Errorf("%d metrics in %d pages", len(seen), pages)
	}
	bad := w.once(t, func() error {
		_, err := c.PutMetricData(ctx, &cloudwatch.PutMetricDataInput{Namespace: aws.String("AWS/Mine"), MetricData: data[:1]})
		return err
	})
	if e, ok := errors.AsType[*cwtypes.InvalidParameterValueException](bad); !ok || e.ErrorMessage() == "" {
		t.Errorf("%v", bad)
	}
	both := w.once(t, func() error {
		d := data[0]
		d.Values = []float64{1}
		_, err := c.PutMetricData(ctx, &cloudwatch.PutMetricDataInput{Namespace: &space, MetricData: []cwtypes.MetricDatum{d}})
		return err
	})
	if _, ok := errors.AsType[*cwtypes.InvalidParameterCombinationException](both); !ok {
		t.Errorf("%v", both)
	}
}
