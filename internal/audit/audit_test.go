package audit

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	s3api "clary/internal/api/s3"
	api "clary/internal/api/sagemaker"
	sm "clary/internal/api/secretsmanager"
	"clary/internal/aws/apierr"
	"clary/internal/aws/facts"
	"clary/internal/aws/op"
	"clary/internal/identity"
	"clary/internal/resource"
	"clary/internal/store"
	"clary/internal/store/sqlite"
)

func open(t *testing.T) (*sqlite.Store, *Recorder) {
	t.Helper()
	s, err := sqlite.Open(filepath.Join(t.TempDir(), "db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s, &Recorder{Store: s, Log: slog.New(slog.DiscardHandler)}
}

func call(operation string) op.Call {
	return op.Call{
		Account: "123456789012", Region: "eu-west-1", Service: "sagemaker", Operation: operation, RequestID: "r-1", UserAgent: "Boto3/1",
		Received:  time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC),
		Principal: resource.Principal{Account: "123456789012", Arn: "arn:aws:sts::123456789012:assumed-role/Role/me", AccessKeyID: "ASIA1", RoleArn: "arn:aws:iam::123456789012:role/Role"},
	}
}

func all(t *testing.T, s *sqlite.Store) []resource.Event {
	t.Helper()
	list, _, err := s.ListEvents(t.Context(), resource.EventQuery{Account: "123456789012", Region: "eu-west-1", Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

const arn = "arn:aws:sagemaker:eu-west-1:123456789012:training-job/iris"

func TestRecord(t *testing.T) {
	t.Parallel()
	s, r := open(t)
	in := &api.CreateTrainingJobRequest{TrainingJobName: "iris", Environment: map[string]string{"TOKEN": "s3cret"}}
	ctx, end := r.Begin(t.Context(), call("CreateTrainingJob"), &identity.Request{}, in, arn)
	err := s.Update(ctx, func(tx store.Tx) error {
		return tx.Put(&resource.Record{Key: resource.Key{Account: "1", Kind: "K", Name: "n"}, UID: "u", Created: time.Now(), Modified: time.Now()})
	})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(all(t, s)); n != 1 {
		t.Fatalf("%d events before the call's end", n)
	}
	if err := end(nil); err != nil {
		t.Fatal(err)
	}
	_, end = r.Begin(t.Context(), call("StopTrainingJob"), &identity.Request{}, &api.StopTrainingJobRequest{TrainingJobName: "iris"}, arn)
	if err := end(apierr.AccessDenied("no")); err != nil {
		t.Fatal(err)
	}
	_, end = r.Begin(t.Context(), call("DescribeTrainingJob"), &identity.Request{}, nil, arn)
	if err := end(nil); err != nil {
		t.Fatal(err)
	}
	list := all(t, s)
	if len(list) != 2 {
		t.Fatalf("%d events", len(list))
	}
	for _, want := range []string{`"eventName":"CreateTrainingJob"`, `"trainingJobName":"iris"`, `"environment":"` + hidden, `"type":"AWS::SageMaker::TrainingJob"`, `"userName":"me"`, `"type":"AssumedRole"`} {
		if !strings.Contains(string(list[1].Text), want) {
			t.Errorf("%s lacks %s", list[1].Text, want)
		}
	}
	if strings.Contains(string(list[1].Text), "s3cret") {
		t.Error("a secret is in the record")
	}
	if !strings.Contains(string(list[0].Text), `"errorCode":"AccessDenied`) {
		t.Errorf("%s", list[0].Text)
	}
}

// Neither a text nor bytes that a secret is given are recorded, and it is found
// by its name.
func TestSecretValues(t *testing.T) {
	t.Parallel()
	s, r := open(t)
	for _, in := range []any{
		&sm.CreateSecretRequest{Name: "git-my-secret", SecretString: "pa55word"},
		&sm.PutSecretValueRequest{SecretId: "git-my-secret", SecretBinary: []byte("pa55word"), RotationToken: "t0ken"},
	} {
		c := call("PutSecretValue")
		c.Service = "secretsmanager"
		_, end := r.Begin(t.Context(), c, nil, in, "arn:aws:secretsmanager:eu-west-1:123456789012:secret:git-my-secret-AbCdEf")
		if err := end(nil); err != nil {
			t.Fatal(err)
		}
	}
	for _, e := range all(t, s) {
		for _, bad := range []string{"pa55word", base64.StdEncoding.EncodeToString([]byte("pa55word")), "t0ken"} {
			if strings.Contains(string(e.Text), bad) {
				t.Errorf("%s is in %s", bad, e.Text)
			}
		}
		if !strings.Contains(string(e.Text), hidden) || e.Source != "secretsmanager.amazonaws.com" || e.ResourceType != "AWS::SecretsManager::Secret" || e.ResourceName != "git-my-secret" {
			t.Errorf("%+v %s", e, e.Text)
		}
	}
	if _, err := verify(all(t, s)); err != nil {
		t.Error(err)
	}
}

// A password in the address of a repository is refused, and that is recorded
// without it.
func TestLogins(t *testing.T) {
	t.Parallel()
	s, r := open(t)
	for _, in := range []any{
		&api.CreateCodeRepositoryInput{CodeRepositoryName: "r", GitConfig: &api.GitConfig{RepositoryUrl: "https://me:pa55/word@git.example.com/x"}},
		&api.CreateNotebookInstanceInput{DefaultCodeRepository: "https://me:pa55word@git.example.com/x", AdditionalCodeRepositories: []string{"plain", "https://me:pa55word@git.example.com/y"}},
	} {
		_, end := r.Begin(t.Context(), call("CreateNotebookInstance"), nil, in, arn)
		if err := end(apierr.Validation("no")); err != nil {
			t.Fatal(err)
		}
	}
	for _, e := range all(t, s) {
		if text := string(e.Text); strings.Contains(text, "pa55") || !strings.Contains(text, hidden+"@git.example.com/x") {
			t.Errorf("%s", text)
		}
	}
	if text := string(all(t, s)[0].Text); !strings.Contains(text, `"plain"`) {
		t.Errorf("%s", text)
	}
}

// What the service does by itself is recorded as its own.
func TestService(t *testing.T) {
	t.Parallel()
	s, r := open(t)
	c := call("StopNotebookInstance")
	c.Principal = resource.Principal{Account: c.Account, Service: "sagemaker.amazonaws.com"}
	_, end := r.Begin(t.Context(), c, nil, &api.StopNotebookInstanceInput{NotebookInstanceName: "nb"}, "arn:aws:sagemaker:eu-west-1:123456789012:notebook-instance/nb")
	if err := end(nil); err != nil {
		t.Fatal(err)
	}
	list := all(t, s)
	if _, err := verify(list); err != nil || len(list) != 1 || list[0].User != "sagemaker.amazonaws.com" || list[0].ResourceName != "nb" {
		t.Errorf("%+v, %v", list, err)
	}
	for _, want := range []string{`"type":"AWSService"`, `"invokedBy":"sagemaker.amazonaws.com"`, `"notebookInstanceName":"nb"`} {
		if !strings.Contains(string(list[0].Text), want) {
			t.Errorf("%s lacks %s", list[0].Text, want)
		}
	}
}

// An answer that nobody would know of is refused; a refusal is answered even
// if the record cannot be kept.
func TestUnrecorded(t *testing.T) {
	t.Parallel()
	boom := errors.New("disk")
	r := &Recorder{Store: failing{boom}, Log: slog.New(slog.DiscardHandler)}
	_, end := r.Begin(t.Context(), call("CreateModel"), nil, nil, "")
	if err := end(nil); !errors.Is(err, boom) {
		t.Errorf("%v", err)
	}
	_, end = r.Begin(t.Context(), call("CreateModel"), nil, nil, "")
	if err := end(apierr.Validation("no")); err != nil {
		t.Errorf("%v", err)
	}
}

type failing struct{ err error }

func (f failing) AppendEvent(context.Context, *store.Pending) error { return f.err }

func chain(t *testing.T, n int) []resource.Event {
	t.Helper()
	s, r := open(t)
	for i := range n {
		_, end := r.Begin(t.Context(), call("CreateModel"), nil, &api.CreateModelInput{ModelName: fmt.Sprintf("m%d", i)}, fmt.Sprintf("arn:aws:sagemaker:eu-west-1:123456789012:model/m%d", i))
		if err := end(nil); err != nil {
			t.Fatal(err)
		}
	}
	return all(t, s)
}

func verify(list []resource.Event) (Chain, error) { return verifyAs(Chain{}, list) }

func verifyAs(c Chain, list []resource.Event) (Chain, error) {
	for _, e := range list {
		if err := c.Add(string(e.Text), Shown{e.ID, e.Name, e.Source, e.User, e.AccessKeyID, e.At, e.ResourceType, e.ResourceName}); err != nil {
			return c, err
		}
	}
	return c, c.End()
}

func TestVerify(t *testing.T) {
	t.Parallel()
	texts := chain(t, 6)
	c, err := verify(texts)
	if err != nil || c.Count != 6 || c.Head.Sequence != 6 {
		t.Fatalf("%+v %v", c, err)
	}
	if _, err := verifyAs(Chain{Account: "123456789012", Region: "eu-west-1"}, texts); err != nil {
		t.Error(err)
	}
	for _, other := range []Chain{{Region: "eu-west-2"}, {Account: "1"}} {
		if _, err := verifyAs(other, texts); !errors.Is(err, errBroken) {
			t.Errorf("another's chain: %v", err)
		}
	}
	tampered := func(f func([]resource.Event) []resource.Event) []resource.Event { return f(slices.Clone(texts)) }
	edited := func(f func(*resource.Event)) []resource.Event {
		return tampered(func(x []resource.Event) []resource.Event { f(&x[2]); return x })
	}
	for name, bad := range map[string][]resource.Event{
		"altered":         edited(func(e *resource.Event) { e.Text = bytes.Replace(e.Text, []byte(`"m3"`), []byte(`"m9"`), 1) }),
		"left out":        tampered(func(x []resource.Event) []resource.Event { return slices.Delete(x, 2, 3) }),
		"first gone":      tampered(func(x []resource.Event) []resource.Event { return x[:5] }),
		"exchanged":       tampered(func(x []resource.Event) []resource.Event { x[2], x[3] = x[3], x[2]; return x }),
		"no place":        edited(func(e *resource.Event) { e.Text = []byte("{}") }),
		"said twice":      tampered(func(x []resource.Event) []resource.Event { return slices.Insert(x, 3, x[3]) }),
		"not an JSON":     edited(func(e *resource.Event) { e.Text = []byte("?") }),
		"as another call": edited(func(e *resource.Event) { e.Name = "CreateTrainingJob" }),
		"by another user": edited(func(e *resource.Event) { e.User = "you" }),
		"by another key":  edited(func(e *resource.Event) { e.AccessKeyID = "ASIA2" }),
		"of other times":  edited(func(e *resource.Event) { e.At = e.At.Add(time.Second) }),
		"of another kind": edited(func(e *resource.Event) { e.ResourceType = "AWS::S3::Bucket" }),
		"of another name": edited(func(e *resource.Event) { e.ResourceName = "m9" }),
		"as another ID":   edited(func(e *resource.Event) { e.ID = "1" }),
		"elsewhere":       edited(func(e *resource.Event) { e.Source = "s3.amazonaws.com" }),
	} {
		if _, err := verify(bad); !errors.Is(err, errBroken) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := verify(nil); err != nil {
		t.Error(err)
	}
}

// What is done to a bucket is recorded where the bucket is: nobody gets it out
// of sight by signing for another region.
func TestBucketRegion(t *testing.T) {
	t.Parallel()
	s, r := open(t)
	r.BucketRegion = func(_ context.Context, bucket string) string { return map[string]string{"mine": "eu-west-1"}[bucket] }
	for _, bucket := range []string{"mine", "nobodys"} {
		c := call("DeleteBucket")
		c.Service, c.Region = "s3", "xx-hidden-9"
		_, end := r.Begin(t.Context(), c, nil, &s3api.DeleteBucketRequest{Bucket: bucket}, "arn:aws:s3:::"+bucket)
		if err := end(apierr.AccessDenied("no")); err != nil {
			t.Fatal(err)
		}
	}
	if list := all(t, s); len(list) != 1 || list[0].ResourceName != "mine" || !strings.Contains(string(list[0].Text), `"awsRegion":"eu-west-1"`) {
		t.Errorf("%+v", list)
	}
}

// What a client says is recorded even if it is no text.
func TestNoText(t *testing.T) {
	t.Parallel()
	s, r := open(t)
	c := call("StopTrainingJob")
	c.UserAgent = "agent\xff"
	_, end := r.Begin(t.Context(), c, nil, map[string]any{"Né\xff": "x\xff", "Ärger": "y"}, "")
	if err := end(apierr.Validation("no \xff")); err != nil {
		t.Fatal(err)
	}
	list := all(t, s)
	if len(list) != 1 {
		t.Fatalf("%d events", len(list))
	}
	for _, want := range []string{"\"agent\uFFFD\"", "\"né\uFFFD\":\"x\uFFFD\"", "\"Ärger\":\"y\"", "no \uFFFD"} {
		if !strings.Contains(string(list[0].Text), want) {
			t.Errorf("%s lacks %s", list[0].Text, want)
		}
	}
}

// A request that is too large to be repeated does not look like one without
// parameters.
func TestLargeParameters(t *testing.T) {
	t.Parallel()
	got := string(parameters(&api.CreateModelInput{ModelName: strings.Repeat("m", maxParameters)}))
	if !strings.Contains(got, `"omitted":true`) || len(got) > 200 {
		t.Errorf("%.300s", got)
	}
}

// What the models call sensitive is hidden, wherever it stands in a request.
func TestSecrets(t *testing.T) {
	t.Parallel()
	n := 0
	for _, service := range []string{"sagemaker", "iam", "s3", "logs", "cloudwatch"} {
		m, err := facts.Load(service)
		if err != nil {
			t.Fatal(err)
		}
		seen := make(map[*facts.Shape]bool)
		var walk func(name string, x *facts.Shape)
		walk = func(name string, x *facts.Shape) {
			if x.Sensitive && name != "" {
				n++
				if !secret(name) {
					t.Errorf("%s: %s is sensitive", service, name)
				}
			}
			if len(x.Members) > 0 {
				if seen[x] {
					return
				}
				seen[x] = true
			}
			for _, y := range x.Members {
				walk(y.Name, y.Shape)
			}
			for _, y := range []*facts.Member{x.Element, x.Value} {
				if y != nil {
					walk(name, y.Shape)
				}
			}
		}
		for name, o := range m.Operations {
			if o.Input != nil && Records(service, name) {
				walk("", o.Input)
			}
		}
	}
	if n == 0 {
		t.Error("the models call nothing sensitive")
	}
}

// Every operation is either read-only by its name or recorded; data is not.
func TestRecords(t *testing.T) {
	t.Parallel()
	m, err := facts.Load("sagemaker")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for name := range m.Operations {
		read := slices.ContainsFunc([]string{"Describe", "List", "Get", "Search", "Query", "BatchDescribe"}, func(p string) bool { return strings.HasPrefix(name, p) })
		if Records("sagemaker", name) == read {
			t.Errorf("%s: recorded %v", name, !read)
		}
		n++
	}
	if n < 400 {
		t.Errorf("%d operations", n)
	}
	for _, c := range []struct {
		service, op string
		want        bool
	}{
		{"s3", "PutObject", false},
		{"s3", "CreateBucket", true},
		{"s3", "DeleteObjects", false},
		{"s3", "PutBucketPolicy", true},
		{"logs", "PutLogEvents", false},
		{"logs", "CreateLogGroup", true},
		{"logs", "StartLiveTail", false},
		{"iam", "CreateRole", true},
		{"iam", "SimulatePrincipalPolicy", false},
		{"sts", "AssumeRole", false},
		{"cloudwatch", "PutMetricData", false},
		{"cloudwatch", "PutMetricAlarm", true},
	} {
		if Records(c.service, c.op) != c.want {
			t.Errorf("%s %s", c.service, c.op)
		}
	}
}

func TestResourceOf(t *testing.T) {
	t.Parallel()
	for arn, want := range map[string][2]string{
		arn:                                   {"AWS::SageMaker::TrainingJob", "iris"},
		"arn:aws:s3:::bucket":                 {"AWS::S3::Bucket", "bucket"},
		"arn:aws:iam::123456789012:role/Some": {"AWS::IAM::Role", "Some"},
		"arn:aws:logs:eu-west-1:123456789012:log-group:/x/y:*": {"AWS::Logs::LogGroup", "/x/y"},
	} {
		if k, n := resourceOf(arn); k != want[0] || n != want[1] {
			t.Errorf("%s: %s %s", arn, k, n)
		}
	}
}
