package model

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"clary/internal/api"
	apism "clary/internal/api/sagemaker"
	"clary/internal/aws/apierr"
	"clary/internal/aws/op"
	"clary/internal/resource"
	"clary/internal/store"
	"clary/internal/store/sqlite"
)

const (
	prefix = "arn:aws:sagemaker:eu-west-1:123456789012:model/"
	role   = "arn:aws:iam::123456789012:role/serving"
	image  = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3"
)

func call() op.Call { return op.Call{Account: "123456789012", Region: "eu-west-1"} }

// people lets one role be passed, and keeps those that it was asked for.
type people struct{ asked []string }

func (*people) Allow(context.Context, resource.Principal, string, string) error { return nil }

func (p *people) PassRole(_ context.Context, _ resource.Principal, arn, service string) error {
	p.asked = append(p.asked, arn+" "+service)
	if arn != role {
		return apierr.New(400, "AccessDeniedException", "may not pass %s", arn)
	}
	return nil
}

func open(t *testing.T) (*Models, *people) {
	t.Helper()
	db, err := sqlite.Open(filepath.Join(t.TempDir(), "clary.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	p := &people{}
	return New(db, p), p
}

func one(name string) *request {
	return &request{
		ModelName: name, ExecutionRoleArn: role,
		PrimaryContainer: &apism.ContainerDefinition{Image: image, ModelDataUrl: "s3://b/out/model.tar.gz", Environment: map[string]string{"A": "b"}},
	}
}

func refused(t *testing.T, err error, text string) {
	t.Helper()
	if e, ok := errors.AsType[*apierr.Error](err); !ok || e.Code != "ValidationException" || e.Status != 400 || !strings.Contains(e.Message, text) {
		t.Errorf("%v, want a ValidationException with %q", err, text)
	}
}

func describe(t *testing.T, m *Models, name string) *apism.DescribeModelOutput {
	t.Helper()
	out, err := m.Describe(t.Context(), call(), &apism.DescribeModelInput{ModelName: name})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestLife(t *testing.T) {
	t.Parallel()
	m, p := open(t)
	in := one("Cats")
	in.Tags = []apism.Tag{{Key: "team", Value: "red"}}
	made, err := m.Create(t.Context(), call(), in)
	if err != nil || made.ModelArn != prefix+"cats" {
		t.Fatalf("%+v, %v", made, err)
	}
	if want := []string{role + " sagemaker.amazonaws.com"}; !slices.Equal(p.asked, want) {
		t.Errorf("roles to pass: %q, want %q", p.asked, want)
	}
	var tags map[string]string
	if err := m.set.Store.View(t.Context(), func(tx store.Tx) error { tags, err = tx.Tags(made.ModelArn); return err }); err != nil || tags["team"] != "red" {
		t.Errorf("tags: %v, %v", tags, err)
	}
	for _, again := range []string{"Cats", "cats"} {
		_, err := m.Create(t.Context(), call(), one(again))
		refused(t, err, `Cannot create already existing model "`+prefix+`cats".`)
	}

	got := describe(t, m, "Cats")
	c := got.PrimaryContainer
	if got.ModelName != "Cats" || got.ModelArn != prefix+"cats" || got.ExecutionRoleArn != role || got.CreationTime.IsZero() || len(got.Containers) > 0 ||
		got.EnableNetworkIsolation == nil || *got.EnableNetworkIsolation {
		t.Errorf("%+v", got)
	}
	if c.Image != image || c.Mode != "SingleModel" || c.ModelDataUrl != "s3://b/out/model.tar.gz" || c.Environment["A"] != "b" {
		t.Errorf("%+v", c)
	}
	if s := c.ModelDataSource.S3DataSource; s.S3Uri != c.ModelDataUrl || s.S3DataType != "S3Object" || s.CompressionType != "Gzip" {
		t.Errorf("the artifact in its newer form: %+v", s)
	}

	elsewhere := call()
	elsewhere.Region = "us-east-1"
	_, err = m.Describe(t.Context(), elsewhere, &apism.DescribeModelInput{ModelName: "Cats"})
	refused(t, err, `Could not find model "arn:aws:sagemaker:us-east-1:123456789012:model/cats".`)

	if _, err := m.Delete(t.Context(), call(), &apism.DeleteModelInput{ModelName: "Cats"}); err != nil {
		t.Error(err)
	}
	_, err = m.Delete(t.Context(), call(), &apism.DeleteModelInput{ModelName: "Cats"})
	refused(t, err, `Could not find model "`+prefix+`cats".`)
}

func TestPipeline(t *testing.T) {
	t.Parallel()
	m, _ := open(t)
	in := one("line")
	in.PrimaryContainer, in.EnableNetworkIsolation = nil, api.Ptr(true)
	in.InferenceExecutionConfig = &apism.InferenceExecutionConfig{Mode: "Serial"}
	in.Containers = []apism.ContainerDefinition{
		{ContainerHostname: "scale", Image: image, ModelDataSource: &apism.ModelDataSource{S3DataSource: &apism.S3ModelDataSource{S3Uri: "s3://b/scale/", S3DataType: "S3Prefix", CompressionType: "None"}}},
		{ContainerHostname: "guess", Image: image, ModelDataUrl: "s3://b/guess.tar.gz", AdditionalModelDataSources: []apism.AdditionalModelDataSource{
			{ChannelName: "words", S3DataSource: &apism.S3ModelDataSource{S3Uri: "s3://b/words.txt", S3DataType: "S3Object", CompressionType: "None"}},
		}},
	}
	if _, err := m.Create(t.Context(), call(), in); err != nil {
		t.Fatal(err)
	}
	got := describe(t, m, "line")
	if got.PrimaryContainer != nil || len(got.Containers) != 2 || !*got.EnableNetworkIsolation || got.InferenceExecutionConfig.Mode != "Serial" {
		t.Fatalf("%+v", got)
	}
	a, b := got.Containers[0], got.Containers[1]
	if a.ContainerHostname != "scale" || a.ModelDataUrl != "" || a.ModelDataSource.S3DataSource.S3DataType != "S3Prefix" || a.Mode != "SingleModel" {
		t.Errorf("%+v", a)
	}
	if b.ContainerHostname != "guess" || b.ModelDataSource.S3DataSource.S3Uri != "s3://b/guess.tar.gz" || b.AdditionalModelDataSources[0].ChannelName != "words" {
		t.Errorf("%+v", b)
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	m, p := open(t)
	container := func(edit func(*apism.ContainerDefinition)) func(*request) {
		return func(in *request) { edit(in.PrimaryContainer) }
	}
	source := func(s apism.S3ModelDataSource) func(*request) {
		return container(func(c *apism.ContainerDefinition) {
			c.ModelDataUrl, c.ModelDataSource = "", &apism.ModelDataSource{S3DataSource: &s}
		})
	}
	more := func(names ...string) func(*request) {
		return container(func(c *apism.ContainerDefinition) {
			for _, n := range names {
				c.AdditionalModelDataSources = append(c.AdditionalModelDataSources, apism.AdditionalModelDataSource{
					ChannelName: n, S3DataSource: &apism.S3ModelDataSource{S3Uri: "s3://b/k", S3DataType: "S3Object", CompressionType: "None"},
				})
			}
		})
	}
	line := func(names ...string) func(*request) {
		return func(in *request) {
			in.PrimaryContainer = nil
			for _, n := range names {
				in.Containers = append(in.Containers, apism.ContainerDefinition{ContainerHostname: n, Image: image})
			}
		}
	}
	cases := map[string]struct {
		edit func(*request)
		text string
	}{
		"no container":       {func(in *request) { in.PrimaryContainer = nil }, "Neither PrimaryContainer nor Containers"},
		"both":               {func(in *request) { in.Containers = []apism.ContainerDefinition{{Image: image}} }, "Both PrimaryContainer and Containers"},
		"no role":            {func(in *request) { in.ExecutionRoleArn = "" }, "ExecutionRoleArn is required"},
		"direct":             {func(in *request) { in.InferenceExecutionConfig = &apism.InferenceExecutionConfig{Mode: "Direct"} }, "InferenceExecutionConfig.Mode Direct"},
		"no image":           {container(func(c *apism.ContainerDefinition) { c.Image = "" }), "Image is required in PrimaryContainer"},
		"no image in a line": {func(in *request) { line("")(in); in.Containers[0].Image = "" }, "Image is required in each of Containers"},
		"package":            {container(func(c *apism.ContainerDefinition) { c.ModelPackageName = "p" }), "does not support ModelPackageName"},
		"specification":      {container(func(c *apism.ContainerDefinition) { c.InferenceSpecificationName = "p" }), "does not support InferenceSpecificationName"},
		"many models":        {container(func(c *apism.ContainerDefinition) { c.Mode = "MultiModel" }), "Mode MultiModel"},
		"many models' cache": {container(func(c *apism.ContainerDefinition) { c.MultiModelConfig = &apism.MultiModelConfig{} }), "MultiModelConfig"},
		"metrics":            {container(func(c *apism.ContainerDefinition) { c.ContainerMetricsConfig = &apism.ContainerMetricsConfig{} }), "ContainerMetricsConfig"},
		"two artifacts":      {container(func(c *apism.ContainerDefinition) { c.ModelDataSource = &apism.ModelDataSource{} }), "Both ModelDataUrl and ModelDataSource"},
		"artifact by https":  {container(func(c *apism.ContainerDefinition) { c.ModelDataUrl = "https://s3.amazonaws.com/b/k" }), "Invalid ModelDataUrl"},
		"artifact is bucket": {container(func(c *apism.ContainerDefinition) { c.ModelDataUrl = "s3://b" }), "Invalid ModelDataUrl"},
		"artifact is folder": {container(func(c *apism.ContainerDefinition) { c.ModelDataUrl = "s3://b/k/" }), "Invalid ModelDataUrl"},
		"empty source": {container(func(c *apism.ContainerDefinition) {
			c.ModelDataUrl, c.ModelDataSource = "", &apism.ModelDataSource{}
		}), "S3DataSource is required"},
		"hub":                 {source(apism.S3ModelDataSource{S3Uri: "s3://b/k", S3DataType: "S3Object", HubAccessConfig: &apism.InferenceHubAccessConfig{}}), "HubAccessConfig"},
		"manifest":            {source(apism.S3ModelDataSource{S3Uri: "s3://b/k", S3DataType: "S3Object", ManifestS3Uri: "s3://b/m"}), "ManifestS3Uri"},
		"etag":                {source(apism.S3ModelDataSource{S3Uri: "s3://b/k", S3DataType: "S3Object", ETag: "e"}), "ETag"},
		"source by https":     {source(apism.S3ModelDataSource{S3Uri: "https://b/k", S3DataType: "S3Object"}), `Invalid S3Uri "https://b/k" of ModelDataSource`},
		"zipped prefix":       {source(apism.S3ModelDataSource{S3Uri: "s3://b/k/", S3DataType: "S3Prefix", CompressionType: "Gzip"}), "only with S3DataType S3Object"},
		"prefix of no folder": {source(apism.S3ModelDataSource{S3Uri: "s3://b/k", S3DataType: "S3Prefix", CompressionType: "None"}), "must end with a slash"},
		"object of no key":    {source(apism.S3ModelDataSource{S3Uri: "s3://b/k/", S3DataType: "S3Object", CompressionType: "None"}), "s3://bucket/key"},
		"channel twice":       {more("a", "a"), `Duplicate ChannelName "a"`},
		"channel climbs":      {more(".."), `Invalid ChannelName ".."`},
		"hosts of one name":   {line("a", "a"), `Duplicate ContainerHostname "a"`},
		"some hosts named":    {line("a", "", "b"), "given for 2 of 3 Containers"},
		"reserved tag":        {func(in *request) { in.Tags = []apism.Tag{{Key: "aws:x"}} }, "reserved"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			in := one("a")
			tc.edit(in)
			_, err := m.Create(t.Context(), call(), in)
			refused(t, err, tc.text)
		})
	}
	in := one("a")
	in.ExecutionRoleArn = "arn:aws:iam::123456789012:role/other"
	if _, err := m.Create(t.Context(), call(), in); err == nil || !strings.Contains(err.Error(), "may not pass") {
		t.Errorf("a role that may not be passed: %v", err)
	}
	out, err := m.List(t.Context(), call(), &apism.ListModelsInput{})
	if err != nil || len(out.Models) != 0 || out.Models == nil {
		t.Errorf("something was made, or the list is absent: %+v, %v", out, err)
	}
	if n := len(p.asked); n != len(cases) { // of each but the one without a role, before anything else; and of the last
		t.Errorf("asked for %d roles", n)
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	synctest.Test(t, list)
}

func list(t *testing.T) {
	m, _ := open(t)
	begin := time.Now()
	for _, name := range []string{"delta", "alpha", "charlie", "bravo"} {
		time.Sleep(time.Minute)
		if _, err := m.Create(t.Context(), call(), one(name)); err != nil {
			t.Fatal(err)
		}
	}
	minute := func(n int) api.Time { return api.At(begin.Add(time.Duration(n) * time.Minute)) }
	type in = apism.ListModelsInput
	for _, tt := range []struct {
		in   in
		want string
	}{
		{in{}, "[bravo charlie alpha delta]"},
		{in{SortOrder: "Ascending"}, "[delta alpha charlie bravo]"},
		{in{SortBy: "CreationTime", SortOrder: "Descending"}, "[bravo charlie alpha delta]"},
		{in{SortBy: "Name"}, "[delta charlie bravo alpha]"},
		{in{SortBy: "Name", SortOrder: "Ascending"}, "[alpha bravo charlie delta]"},
		{in{NameContains: "R"}, "[bravo charlie]"},
		{in{CreationTimeAfter: minute(2)}, "[bravo charlie]"},
		{in{CreationTimeBefore: minute(2)}, "[delta]"},
	} {
		for _, page := range []int64{1, 3, 100} {
			in, names := tt.in, []string{}
			in.MaxResults = &page
			for {
				out, err := m.List(t.Context(), call(), &in)
				if err != nil {
					t.Fatal(err)
				}
				for _, s := range out.Models {
					if s.ModelArn != prefix+s.ModelName || s.CreationTime.IsZero() {
						t.Errorf("%+v", s)
					}
					names = append(names, s.ModelName)
				}
				if in.NextToken = out.NextToken; in.NextToken == "" {
					break
				}
			}
			if got := fmt.Sprint(names); got != tt.want {
				t.Errorf("%+v by %d: %s, want %s", tt.in, page, got, tt.want)
			}
		}
	}
	_, err := m.List(t.Context(), call(), &in{NextToken: "x"})
	refused(t, err, "Invalid NextToken")
}
