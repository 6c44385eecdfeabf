package daemon

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"clary/internal/aws/sigv4"
	"clary/internal/client"
	"clary/internal/identity"
	"clary/internal/resource"
)

// Region is where API calls go.
const Region = "us-east-1"

// API calls a server as its operator: signed calls, as any AWS client makes
// them. It goes on over a restart of the server.
type API struct {
	*client.Client
	url   string
	creds sigv4.Credentials
	http  *http.Client
}

// API is a client with the server's root key.
func (d *Daemon) API() (*API, error) {
	key, err := identity.ReadRootKey(filepath.Join(d.Data, "keys"))
	if err != nil {
		return nil, err
	}
	a := &API{
		url:   "http://" + d.Listen,
		creds: sigv4.Credentials{AccessKeyID: key.AccessKeyID, SecretAccessKey: key.SecretAccessKey},
		http:  &http.Client{Timeout: time.Minute},
	}
	a.Client = client.New(client.Config{
		Endpoint: a.url, Region: Region,
		Credentials: func(context.Context) (client.Credentials, error) {
			return client.Credentials{AccessKeyID: key.AccessKeyID, SecretAccessKey: key.SecretAccessKey}, nil
		},
	}).Patient(30*time.Second, nil)
	return a, nil
}

// do makes one signed call and gives the answer's status and body.
func (a *API) do(ctx context.Context, method, path, service, contentType string, body []byte) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, a.url+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	sum := sha256.Sum256(body)
	sigv4.Sign(req, a.creds, Region, service, hex.EncodeToString(sum[:]), time.Now())
	resp, err := a.http.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end
	data, err := io.ReadAll(resp.Body)
	return resp.StatusCode, data, err
}

// CreateBucket makes a bucket, or finds that it did.
func (a *API) CreateBucket(ctx context.Context, name string) error {
	code, data, err := a.do(ctx, http.MethodPut, "/"+name, "s3", "", nil)
	if err == nil && code/100 != 2 && !bytes.Contains(data, []byte("BucketAlreadyOwnedByYou")) {
		err = fmt.Errorf("create bucket %s: HTTP %d: %s", name, code, data)
	}
	return err
}

// TryPut stores an object in one attempt and gives S3's refusal as it came.
func (a *API) TryPut(ctx context.Context, bucket, key string, body []byte) (status int, answer string, err error) {
	code, data, err := a.do(ctx, http.MethodPut, "/"+bucket+"/"+key, "s3", "application/octet-stream", body)
	return code, string(data), err
}

// IAM calls an action of IAM with its parameters in pairs.
func (a *API) IAM(ctx context.Context, action string, params ...string) error {
	return a.query(ctx, "iam", "2010-05-08", action, params)
}

// SNS calls an action of SNS with its parameters in pairs.
func (a *API) SNS(ctx context.Context, action string, params ...string) error {
	return a.query(ctx, "sns", "2010-03-31", action, params)
}

func (a *API) query(ctx context.Context, service, version, action string, params []string) error {
	form := url.Values{"Action": {action}, "Version": {version}}
	for i := 0; i+1 < len(params); i += 2 {
		form.Set(params[i], params[i+1])
	}
	code, data, err := a.do(ctx, http.MethodPost, "/", service, "application/x-www-form-urlencoded", []byte(form.Encode()))
	if err == nil && code/100 != 2 {
		err = fmt.Errorf("%s: HTTP %d: %s", action, code, data)
	}
	return err
}

// Role makes a role for jobs that a policy's statements describe, and gives
// its ARN.
func (a *API) Role(ctx context.Context, name string, statements ...string) (string, error) {
	const trust = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"sagemaker.amazonaws.com","AWS":"arn:aws:iam::123456789012:root"},"Action":"sts:AssumeRole"}]}`
	if err := a.IAM(ctx, "CreateRole", "RoleName", name, "AssumeRolePolicyDocument", trust); err != nil {
		return "", err
	}
	policy := `{"Version":"2012-10-17","Statement":[` + strings.Join(statements, ",") + `]}`
	if err := a.IAM(ctx, "PutRolePolicy", "RoleName", name, "PolicyName", "p", "PolicyDocument", policy); err != nil {
		return "", err
	}
	return "arn:aws:iam::123456789012:role/" + name, nil
}

// Assume takes a role that the account itself may take, as Role makes them.
func (a *API) Assume(ctx context.Context, role string) (sigv4.Credentials, error) {
	form := url.Values{"Action": {"AssumeRole"}, "Version": {"2011-06-15"}, "RoleArn": {role}, "RoleSessionName": {"test"}}
	code, data, err := a.do(ctx, http.MethodPost, "/", "sts", "application/x-www-form-urlencoded", []byte(form.Encode()))
	if err == nil && code/100 != 2 {
		err = fmt.Errorf("AssumeRole: HTTP %d: %s", code, data)
	}
	var out struct {
		Result struct {
			Credentials struct{ AccessKeyId, SecretAccessKey, SessionToken string } //nolint:revive // the API's spelling
		} `xml:"AssumeRoleResult"`
	}
	if err == nil {
		err = xml.Unmarshal(data, &out)
	}
	c := out.Result.Credentials
	return sigv4.Credentials{AccessKeyID: c.AccessKeyId, SecretAccessKey: c.SecretAccessKey, SessionToken: c.SessionToken}, err
}

// Job is what DescribeTrainingJob tells.
type Job struct {
	TrainingJobName, TrainingJobStatus, SecondaryStatus, FailureReason string
	TrainingStartTime, TrainingEndTime                                 float64
	BillableTimeInSeconds, TrainingTimeInSeconds                       *int64
	ModelArtifacts                                                     struct{ S3ModelArtifacts string }
	SecondaryStatusTransitions                                         []struct {
		Status, StatusMessage string
		StartTime, EndTime    float64
	}
}

// Over says whether the job has come to its end.
func (j *Job) Over() bool {
	return j.TrainingJobStatus == "Completed" || j.TrainingJobStatus == "Failed" || j.TrainingJobStatus == "Stopped"
}

// SageMaker calls an operation.
func (a *API) SageMaker(ctx context.Context, operation string, in, out any) error {
	return a.JSON(ctx, "sagemaker", "SageMaker."+operation, in, out)
}

// Describe looks at a training job.
func (a *API) Describe(ctx context.Context, name string) (*Job, error) {
	j := new(Job)
	return j, a.SageMaker(ctx, "DescribeTrainingJob", map[string]string{"TrainingJobName": name}, j)
}

// Invoke asks an endpoint, and gives its answer whatever it is.
func (a *API) Invoke(ctx context.Context, endpoint, contentType string, body []byte) (status int, answer []byte, err error) {
	return a.do(ctx, http.MethodPost, "/endpoints/"+endpoint+"/invocations", "sagemaker", contentType, body)
}

// AwaitJob waits until a job has come to its end.
func (a *API) AwaitJob(ctx context.Context, name string) (*Job, error) {
	for {
		j, err := a.Describe(ctx, name)
		if err != nil {
			return j, fmt.Errorf("job %s: %w", name, err)
		}
		if j.Over() {
			return j, nil
		}
		select {
		case <-ctx.Done():
			return j, fmt.Errorf("job %s is still %s, %s: %w", name, j.TrainingJobStatus, j.SecondaryStatus, ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// ProcessingJob is what DescribeProcessingJob tells.
type ProcessingJob struct {
	ProcessingJobName, ProcessingJobStatus, FailureReason, ExitMessage string
	ProcessingStartTime, ProcessingEndTime                             float64
}

// AwaitProcessing waits until a processing job has come to its end.
func (a *API) AwaitProcessing(ctx context.Context, name string) (*ProcessingJob, error) {
	for {
		j := new(ProcessingJob)
		if err := a.SageMaker(ctx, "DescribeProcessingJob", map[string]string{"ProcessingJobName": name}, j); err != nil {
			return j, fmt.Errorf("job %s: %w", name, err)
		}
		if s := j.ProcessingJobStatus; s == "Completed" || s == "Failed" || s == "Stopped" {
			return j, nil
		}
		select {
		case <-ctx.Done():
			return j, fmt.Errorf("job %s is still %s: %w", name, j.ProcessingJobStatus, ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// TransformJob is what DescribeTransformJob tells.
type TransformJob struct {
	TransformJobName, TransformJobStatus, FailureReason string
	TransformStartTime, TransformEndTime                float64
}

// AwaitTransform waits until a transform job has come to its end.
func (a *API) AwaitTransform(ctx context.Context, name string) (*TransformJob, error) {
	for {
		j := new(TransformJob)
		if err := a.SageMaker(ctx, "DescribeTransformJob", map[string]string{"TransformJobName": name}, j); err != nil {
			return j, fmt.Errorf("job %s: %w", name, err)
		}
		if s := j.TransformJobStatus; s == "Completed" || s == "Failed" || s == "Stopped" {
			return j, nil
		}
		select {
		case <-ctx.Done():
			return j, fmt.Errorf("job %s is still %s: %w", name, j.TransformJobStatus, ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// The log groups of jobs.
const (
	logGroup        = "/aws/sagemaker/TrainingJobs"
	ProcessingGroup = "/aws/sagemaker/ProcessingJobs"
	TransformGroup  = "/aws/sagemaker/TransformJobs"
)

// streams are the names of a job's log streams.
func (a *API) streams(ctx context.Context, group, job string) ([]string, error) {
	var out struct {
		LogStreams []struct {
			LogStreamName string `json:"logStreamName"`
		} `json:"logStreams"`
	}
	err := a.JSON(ctx, "logs", "Logs_20140328.DescribeLogStreams", map[string]string{"logGroupName": group, "logStreamNamePrefix": job + "/"}, &out)
	if client.Code(err) == "ResourceNotFoundException" {
		err = nil
	}
	var names []string
	for _, s := range out.LogStreams {
		names = append(names, s.LogStreamName)
	}
	return names, err
}

// LogLines are the messages of a training job's log streams, in order.
func (a *API) LogLines(ctx context.Context, job string) ([]string, error) {
	by, err := a.Streams(ctx, logGroup, job)
	var lines []string
	for _, s := range slices.Sorted(maps.Keys(by)) {
		lines = append(lines, by[s]...)
	}
	return lines, err
}

// Streams are the messages of a job's log streams, in order, by their names.
func (a *API) Streams(ctx context.Context, group, job string) (map[string][]string, error) {
	streams, err := a.streams(ctx, group, job)
	if err != nil {
		return nil, err
	}
	by := map[string][]string{}
	for _, s := range streams {
		for token := ""; ; {
			in := map[string]any{"logGroupName": group, "logStreamName": s, "startFromHead": true}
			if token != "" {
				in["nextToken"] = token
			}
			var page struct {
				Events []struct {
					Message string `json:"message"`
				} `json:"events"`
				Next string `json:"nextForwardToken"`
			}
			if err := a.JSON(ctx, "logs", "Logs_20140328.GetLogEvents", in, &page); err != nil {
				return nil, err
			}
			for _, e := range page.Events {
				by[s] = append(by[s], e.Message)
			}
			if page.Next == token {
				break
			}
			token = page.Next
		}
	}
	return by, nil
}

// Usage is what is billed of the jobs, by name.
func (a *API) Usage(ctx context.Context) (map[string][]resource.Usage, error) {
	var out struct{ Usage []resource.Usage }
	if err := a.Document(ctx, "sagemaker", "/_clary/usage", url.Values{"region": {"*"}}, &out); err != nil {
		return nil, err
	}
	by := map[string][]resource.Usage{}
	for _, u := range out.Usage {
		by[u.Name] = append(by[u.Name], u)
	}
	return by, nil
}

// Python is a command that runs a script: arguments are short and of one line,
// so that it comes as a hyperparameter.
func Python(script string) func(map[string]any) {
	return func(in map[string]any) {
		line, _ := json.Marshal(script) // a string always can
		in["HyperParameters"] = map[string]string{"script": string(line)}
		alg, _ := in["AlgorithmSpecification"].(map[string]any)
		if alg["ContainerEntrypoint"] == nil {
			alg["ContainerEntrypoint"] = []string{"/usr/bin/python3", "-u", "-c", "import json; exec(json.loads(json.load(open('/opt/ml/input/config/hyperparameters.json'))['script']))"}
		}
	}
}

// JobRequest is a CreateTrainingJob in the plain Python image; options make it
// whole.
func JobRequest(name, bucket string, options ...func(map[string]any)) map[string]any {
	in := map[string]any{
		"TrainingJobName": name,
		"RoleArn":         "arn:aws:iam::123456789012:role/Unknown",
		"AlgorithmSpecification": map[string]any{
			"TrainingImage":     "123456789012.dkr.ecr.us-east-1.amazonaws.com/sagemaker-base-python:3.10",
			"TrainingInputMode": "File",
		},
		"OutputDataConfig":  map[string]any{"S3OutputPath": "s3://" + bucket + "/out"},
		"ResourceConfig":    map[string]any{"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
		"StoppingCondition": map[string]any{"MaxRuntimeInSeconds": 600},
	}
	for _, o := range options {
		o(in)
	}
	return in
}

// Channel adds an input.
func Channel(name, uri string) func(map[string]any) {
	return func(in map[string]any) {
		old, _ := in["InputDataConfig"].([]any)
		in["InputDataConfig"] = append(old, map[string]any{
			"ChannelName": name,
			"DataSource":  map[string]any{"S3DataSource": map[string]any{"S3DataType": "S3Prefix", "S3Uri": uri}},
		})
	}
}

// With sets a member.
func With(member string, v any) func(map[string]any) {
	return func(in map[string]any) { in[member] = v }
}

// DeleteLog deletes the log streams of a job.
func (a *API) DeleteLog(ctx context.Context, job string) error {
	streams, err := a.streams(ctx, logGroup, job)
	for _, s := range streams {
		in := map[string]string{"logGroupName": logGroup, "logStreamName": s}
		if derr := a.JSON(ctx, "logs", "Logs_20140328.DeleteLogStream", in, nil); derr != nil && client.Code(derr) != "ResourceNotFoundException" {
			err = errors.Join(err, derr)
		}
	}
	return err
}
