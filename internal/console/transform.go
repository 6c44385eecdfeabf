package console

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"clary/internal/api"
	"clary/internal/api/logs"
	sm "clary/internal/api/sagemaker"
)

// dataLog is what a transform job itself writes on each of its hosts.
const dataLog = "/data-log"

// transformJobs are batch transform jobs, as the pages of jobs have them.
func transformJobs() *jobKind {
	return &jobKind{
		Kind: "TransformJob", Section: "batch-transform", Group: "/aws/sagemaker/TransformJobs", Note: "Message",
		Keeps:   "The job ends within half a minute. Objects whose answers are complete by then keep them in S3; of the others nothing is kept.",
		LogNote: "A data-log says what the job asked of the model and what became of each object; the other streams are what the model itself printed.",
		hints: []hint{
			{"respond to ping", "The model's own log, below, tells why it does not answer. The same model would not start on an endpoint either."},
			{"answered 413", "The model takes no batch of this size: lower MaxPayloadInMB, or send single records (BatchStrategy SingleRecord)."},
			{"answered 415", "The model does not read this ContentType: its input_fn says which it reads."},
			{"answered 406", "The model does not write what Accept asks for: its output_fn says what it writes."},
			{"gave no answer", "The model took too long, or ended: its own log says which. InvocationsTimeoutInSeconds in ModelClientConfig gives it longer, a lower MaxPayloadInMB less to do at once."},
			{"mismatched line count", "JoinSource pairs records with answers: the model has to give one answer for each record, in their order."},
			{"answered 5", "The model failed at a batch: what it said is in the data-log below, what it printed before that in its own log."},
			{"No S3 objects found", "Check the input's prefix; the message names it."},
			{"See job logs", "The data-log below names the object, and what was wrong with it."},
		},
		list: listTransform, describe: describeTransform, models: transformModels, main: transformMain, prepare: prepareTransform, data: (*view).scored,
		stop: func(v *view, name string) error {
			_, err := v.act("StopTransformJob", &sm.StopTransformJobRequest{TransformJobName: name})
			return err
		},
	}
}

func listTransform(v *view, q jobQuery) (rows []jobRow, next string, err error) {
	out, err := ask[sm.ListTransformJobsResponse](v, "sagemaker", "ListTransformJobs", &sm.ListTransformJobsRequest{
		NameContains: q.Name, StatusEquals: q.Status, SortBy: q.SortBy, SortOrder: q.SortOrder,
		CreationTimeAfter: q.After, CreationTimeBefore: q.Before, MaxResults: &q.Max, NextToken: q.Page,
	})
	if err != nil {
		return nil, "", err
	}
	for _, j := range out.TransformJobSummaries {
		rows = append(rows, jobRow{Name: j.TransformJobName, Status: j.TransformJobStatus, Note: j.FailureReason, Created: j.CreationTime.Time, Ended: j.TransformEndTime.Time})
	}
	return rows, out.NextToken, nil
}

// transformModels asks for each job: a list does not say what they are of.
func transformModels(v *view, rows []jobRow) error {
	for i := range rows {
		d, err := v.describeTransformJob(rows[i].Name)
		if _, ok := refused(err); ok {
			continue // it may be listed and not read
		}
		if err != nil {
			return err
		}
		rows[i].Model = named{d.ModelName, modelPath(d.ModelName)}
	}
	return nil
}

func (v *view) describeTransformJob(name string) (*sm.DescribeTransformJobResponse, error) {
	return ask[sm.DescribeTransformJobResponse](v, "sagemaker", "DescribeTransformJob", &sm.DescribeTransformJobRequest{TransformJobName: name})
}

func describeTransform(v *view, name string) (*job, error) {
	d, err := v.describeTransformJob(name)
	if err != nil {
		return nil, err
	}
	in, out, on := transformParts(d)
	return &job{
		Name: d.TransformJobName, Status: d.TransformJobStatus, Failure: d.FailureReason,
		Created: d.CreationTime.Time, Ended: d.TransformEndTime.Time, transitions: transformSteps(d),
		Hosts: hostNames(&on.InstanceCount), Config: transformConfig(d, on), Records: transformRecords(d, in, out), Env: pairs(d.Environment),
		Model: d.ModelName, input: in, output: out,
		code: func(region string) ([]snippet, error) { return transformCode(d, region) },
	}, nil
}

// transformParts are the members of a job that every request has.
func transformParts(d *sm.DescribeTransformJobResponse) (*sm.TransformInput, *sm.TransformOutput, *sm.TransformResources) {
	in, out, on := d.TransformInput, d.TransformOutput, d.TransformResources
	if in == nil {
		in = &sm.TransformInput{}
	}
	if out == nil {
		out = &sm.TransformOutput{}
	}
	if on == nil {
		on = &sm.TransformResources{InstanceCount: 1}
	}
	return in, out, on
}

// sourceOf is where an input lies.
func sourceOf(in *sm.TransformInput) sm.TransformS3DataSource {
	if in.DataSource == nil || in.DataSource.S3DataSource == nil {
		return sm.TransformS3DataSource{}
	}
	return *in.DataSource.S3DataSource
}

// transformSteps are what the times of a transform job tell of its history.
func transformSteps(d *sm.DescribeTransformJobResponse) []sm.SecondaryStatusTransition {
	return stepsBetween(d.CreationTime, d.TransformStartTime, d.TransformEndTime, "Transforming", d.TransformJobStatus)
}

// stepsBetween are the steps of a job whose API tells when it was created, when
// it began its work and when it ended.
func stepsBetween(created, began, ended api.Time, work, end string) []sm.SecondaryStatusTransition {
	out := []sm.SecondaryStatusTransition{{Status: "Starting", StartTime: created}}
	step := func(name string, from api.Time) {
		if !from.IsZero() {
			out[len(out)-1].EndTime = from
			out = append(out, sm.SecondaryStatusTransition{Status: name, StartTime: from})
		}
	}
	step(work, began)
	step(end, ended)
	return out
}

func transformConfig(d *sm.DescribeTransformJobResponse, on *sm.TransformResources) []fact {
	var out table
	out.add("ARN", d.TransformJobArn)
	out = append(out, fact{Name: "Model", Value: d.ModelName, Path: modelPath(d.ModelName)})
	out.add("Instances", count(on.InstanceCount)+" × "+on.InstanceType)
	if k := d.DataCaptureConfig; k != nil {
		text := k.DestinationS3Uri
		if yes(k.GenerateInferenceId) {
			text += ", each with an inference ID"
		}
		out.add("Data capture", text)
	}
	if e := d.ExperimentConfig; e != nil {
		out.add("Experiment", e.ExperimentName)
		out.add("Trial", e.TrialName)
	}
	out.add("Labeling job", d.LabelingJobArn)
	out.add("AutoML job", d.AutoMLJobArn)
	return out
}

// transformRecords say how records reach the model and how its answers leave it.
func transformRecords(d *sm.DescribeTransformJobResponse, in *sm.TransformInput, out *sm.TransformOutput) []fact {
	var t table
	source := sourceOf(in)
	t.add("Input", source.S3Uri)
	if source.S3DataType == "ManifestFile" {
		t.add("Listed by", "a manifest")
	}
	if in.CompressionType == "Gzip" {
		t.add("Compression", "Gzip")
	}
	t.add("Content type", in.ContentType)
	t.add("Split", map[string]string{
		"": "None: an object is one record", "None": "None: an object is one record", "Line": "Line: each line is a record", "RecordIO": "RecordIO", "TFRecord": "TFRecord",
	}[in.SplitType])
	t.add("Batches", map[string]string{
		"": "as the container says, else MultiRecord", "MultiRecord": "MultiRecord: as many records as fit", "SingleRecord": "SingleRecord: one record each",
	}[d.BatchStrategy])
	switch n := d.MaxPayloadInMB; {
	case n == nil:
		t.add("Payload", "as the container says, else at most 6 MB")
	case *n == 0:
		t.add("Payload", "unlimited, sent in chunks")
	default:
		t.add("Payload", "at most "+count(*n)+" MB")
	}
	if n := d.MaxConcurrentTransforms; n != nil && *n > 0 {
		t.add("At a time", count(*n)+" on each instance")
	} else {
		t.add("At a time", "as the container says, else one on each instance")
	}
	if c := d.ModelClientConfig; c != nil {
		if n := c.InvocationsTimeoutInSeconds; n != nil {
			t.add("Timeout", span(time.Duration(*n)*time.Second)+" for each batch")
		}
		if n := c.InvocationsMaxRetries; n != nil {
			t.add("Retries", map[bool]string{true: "none", false: "at most " + count(*n)}[*n == 0])
		}
	}
	if p := d.DataProcessing; p != nil {
		t.add("Input filter", filter(p.InputFilter))
		t.add("Join", map[string]string{"Input": "each answer to its input record", "None": ""}[p.JoinSource])
		t.add("Output filter", filter(p.OutputFilter))
	}
	t.add("Accept", out.Accept)
	t.add("Assembled", map[string]string{
		"": "None: answers one after the other", "None": "None: answers one after the other", "Line": "Line: each answer on lines of its own",
	}[out.AssembleWith])
	t.add("Output", out.S3OutputPath)
	return t
}

// filter is a JSONPath, if it is not of everything.
func filter(s string) string {
	if s == "$" {
		return ""
	}
	return s
}

// prepareTransform asks for the model and for the streams of the log. The model
// may be gone, or be another of its name by now; then the streams tell.
func prepareTransform(v *view, j *job) error {
	var parts []string
	m, err := v.describeModel(j.Model)
	if e, ok := refused(err); ok {
		for i, f := range j.Config {
			if f.Name == "Model" && strings.Contains(e.Message, "Could not find model ") {
				j.Config[i] = fact{Name: "Model", Value: j.Model + " (deleted since)"}
			}
		}
		m, err = &sm.DescribeModelOutput{}, nil
	}
	if err != nil {
		return err
	}
	list := containersOf(m)
	for i, c := range list {
		j.Config = append(j.Config, fact{Name: "Image", Value: c.Image})
		if len(list) > 1 {
			parts = append(parts, "/"+cmp.Or(c.Host, fmt.Sprintf("container-%d", i+1)))
		}
	}
	if err := v.streamsOfJob(j); err != nil {
		return err
	}
	if len(parts) == 0 {
		parts = []string{""}
	}
	for _, h := range j.Hosts {
		for _, p := range parts {
			j.writers = append(j.writers, h+p)
		}
		for _, s := range j.found {
			if w := hostOf(s); w != h+dataLog && (w == h || strings.HasPrefix(w, h+"/")) && !slices.Contains(j.writers, w) {
				j.writers = append(j.writers, w)
			}
		}
		j.writers = append(j.writers, h+dataLog)
	}
	return nil
}

// shownJobStreams is as many as DescribeLogStreams gives at once.
const shownJobStreams = 50

// streamsOfJob are those of this job, not of one that had its name before.
func (v *view) streamsOfJob(j *job) error {
	out, err := ask[logs.DescribeLogStreamsResponse](v, "logs", "DescribeLogStreams",
		&logs.DescribeLogStreamsRequest{LogGroupName: j.Kind.Group, LogStreamNamePrefix: j.Name + "/", Limit: ptr(shownJobStreams)})
	if e, ok := refused(err); ok && e.Code == "ResourceNotFoundException" {
		return nil
	}
	if err != nil {
		return err
	}
	for _, s := range out.LogStreams {
		if j.stream(hostOf(s.LogStreamName)) == s.LogStreamName {
			j.found = append(j.found, s.LogStreamName)
		}
	}
	return nil
}

// transformMain is the data-log where a failure leads there, and else what a
// model prints: of a pipeline's containers the first that printed anything.
func transformMain(j *job) string {
	host := j.mainHost()
	if strings.Contains(j.Failure, "See job logs") {
		return host + dataLog
	}
	own := slices.DeleteFunc(slices.Clone(j.writers), func(w string) bool {
		return w == host+dataLog || w != host && !strings.HasPrefix(w, host+"/")
	})
	for _, w := range own {
		if slices.Contains(j.found, j.stream(w)) {
			return w
		}
	}
	return own[0]
}

// transformCode writes the request that made a job, and the nearest to it with
// either SDK, whose classes of that name take the same.
func transformCode(d *sm.DescribeTransformJobResponse, region string) ([]snippet, error) {
	in := &sm.CreateTransformJobRequest{
		TransformJobName: again(d.TransformJobName), ModelName: d.ModelName, MaxConcurrentTransforms: d.MaxConcurrentTransforms,
		ModelClientConfig: d.ModelClientConfig, MaxPayloadInMB: d.MaxPayloadInMB, BatchStrategy: d.BatchStrategy, Environment: d.Environment,
		TransformInput: d.TransformInput, TransformOutput: d.TransformOutput, DataCaptureConfig: d.DataCaptureConfig,
		TransformResources: d.TransformResources, DataProcessing: d.DataProcessing, ExperimentConfig: d.ExperimentConfig,
	}
	v2, err := transformerOf(d, "sagemaker.transformer", "sagemaker.inputs")
	if err != nil {
		return nil, err
	}
	v3, err := transformerOf(d, "sagemaker.core.transformer", "sagemaker.core.shapes")
	if err != nil {
		return nil, err
	}
	return jobCode("transform-job", in, region, v2, v3)
}

// transformerOf starts the job by an SDK's Transformer, which waits for its end.
func transformerOf(d *sm.DescribeTransformJobResponse, module, capture string) (string, error) {
	var b pythonCall
	in, out, on := transformParts(d)
	say := func(name, value string) {
		if value != "" && value != "None" { // which all have who are not told otherwise
			b.arg(name, pythonString(value))
		}
	}
	b.say("from %s import Transformer\n", module)
	if d.DataCaptureConfig != nil {
		b.say("from %s import BatchDataCaptureConfig\n", capture)
	}
	b.WriteString("\ntransformer = Transformer(\n")
	say("model_name", d.ModelName)
	b.number("instance_count", &on.InstanceCount)
	say("instance_type", on.InstanceType)
	say("strategy", d.BatchStrategy)
	b.number("max_payload", d.MaxPayloadInMB)
	b.number("max_concurrent_transforms", d.MaxConcurrentTransforms)
	say("output_path", out.S3OutputPath)
	say("accept", out.Accept)
	say("assemble_with", out.AssembleWith)
	say("output_kms_key", out.KmsKeyId)
	say("volume_kms_key", on.VolumeKmsKeyId)
	b.dict("env", d.Environment)
	b.WriteString(")\ntransformer.transform(\n")
	source := sourceOf(in)
	say("data", source.S3Uri)
	say("data_type", source.S3DataType)
	say("content_type", in.ContentType)
	say("compression_type", in.CompressionType)
	say("split_type", in.SplitType)
	if p := d.DataProcessing; p != nil {
		say("input_filter", filter(p.InputFilter))
		say("output_filter", filter(p.OutputFilter))
		say("join_source", p.JoinSource)
	}
	if c := d.ModelClientConfig; c != nil {
		if err := b.literal("model_client_config", c); err != nil {
			return "", err
		}
	}
	if e := d.ExperimentConfig; e != nil {
		if err := b.literal("experiment_config", e); err != nil {
			return "", err
		}
	}
	if k := d.DataCaptureConfig; k != nil {
		text := "BatchDataCaptureConfig(destination_s3_uri=" + pythonString(k.DestinationS3Uri)
		if k.KmsKeyId != "" {
			text += ", kms_key_id=" + pythonString(k.KmsKeyId)
		}
		if yes(k.GenerateInferenceId) {
			text += ", generate_inference_id=True"
		}
		b.arg("batch_data_capture_config", text+")")
	}
	b.WriteString(")\n")
	return b.String(), nil
}

// literal is a dictionary with the API's own names.
func (b *pythonCall) literal(name string, v any) error {
	text, err := json.Marshal(v, json.Deterministic(true))
	if err != nil {
		return fmt.Errorf("code: %w", err)
	}
	python, err := pythonOf(text)
	if err != nil {
		return fmt.Errorf("code: %w", err)
	}
	b.arg(name, python)
	return nil
}

// transformsOf are those of the last transform jobs that are of a model.
func (v *view) transformsOf(model string) (users, error) {
	out, err := ask[sm.ListTransformJobsResponse](v, "sagemaker", "ListTransformJobs",
		&sm.ListTransformJobsRequest{SortBy: "CreationTime", SortOrder: "Descending", MaxResults: ptr(configsPage)})
	if denied(err) {
		return users{Unknown: true}, nil
	}
	if err != nil {
		return users{}, err
	}
	u := users{More: out.NextToken != ""}
	for _, j := range out.TransformJobSummaries {
		d, err := v.describeTransformJob(j.TransformJobName)
		if _, ok := refused(err); ok {
			continue
		}
		if err != nil {
			return users{}, err
		}
		if d.ModelName == model {
			u.List = append(u.List, named{j.TransformJobName, transformJobs().path(j.TransformJobName)})
		}
	}
	return u, nil
}
