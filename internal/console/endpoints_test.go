package console

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"clary/internal/api"
	"clary/internal/api/logs"
	sm "clary/internal/api/sagemaker"
	"clary/internal/aws/op"
	"clary/internal/meter"
	"clary/internal/resource"
)

// serving answers for a model m, a configuration c of it, and an endpoint e with
// the variants A and B, which is being updated.
func (w *world) serving(operation string) (any, error) {
	at := w.job.CreationTime
	switch operation {
	case "ListModels":
		out := &sm.ListModelsOutput{NextToken: "more"}
		for range configsPage {
			out.Models = append(out.Models, sm.ModelSummary{ModelName: "m", CreationTime: at})
		}
		return out, nil
	case "DescribeModel":
		source := func(uri string) *sm.S3ModelDataSource { return &sm.S3ModelDataSource{S3Uri: uri} }
		return &sm.DescribeModelOutput{ModelName: "m", ModelArn: "arn:of:m", CreationTime: at, EnableNetworkIsolation: api.Ptr(true), Containers: []sm.ContainerDefinition{
			{
				ContainerHostname: "scale", Image: "reg/scale:1", ModelDataUrl: "s3://b/scale.tar.gz", Environment: map[string]string{"WORDS": "<b>&"},
				AdditionalModelDataSources: []sm.AdditionalModelDataSource{{ChannelName: "more", S3DataSource: source("s3://b/more.txt")}},
			},
			{ContainerHostname: "guess", Image: "reg/guess:2", ModelDataSource: &sm.ModelDataSource{S3DataSource: source("s3://b/guess/")}},
		}}, nil
	case "ListEndpointConfigs":
		out := &sm.ListEndpointConfigsOutput{NextToken: "more"}
		for range configsPage {
			out.EndpointConfigs = append(out.EndpointConfigs, sm.EndpointConfigSummary{EndpointConfigName: "c", CreationTime: at})
		}
		return out, nil
	case "DescribeEndpointConfig":
		return &sm.DescribeEndpointConfigOutput{EndpointConfigName: "c", EndpointConfigArn: "arn:of:c", CreationTime: at, ProductionVariants: []sm.ProductionVariant{
			{VariantName: "A", ModelName: "m", InstanceType: "ml.m5.large", InitialInstanceCount: api.Ptr(int64(2))},
			{VariantName: "B", ModelName: "other", InstanceType: "ml.c5.xlarge", InitialInstanceCount: api.Ptr(int64(1)), InitialVariantWeight: api.Ptr(3.0)},
		}, DataCaptureConfig: &sm.DataCaptureConfig{InitialSamplingPercentage: 20, DestinationS3Uri: "s3://b/kept"}}, nil
	case "ListEndpoints":
		out := &sm.ListEndpointsOutput{NextToken: "more"}
		for range jobsPage {
			out.Endpoints = append(out.Endpoints, sm.EndpointSummary{EndpointName: "e", EndpointStatus: "InService", CreationTime: at, LastModifiedTime: at})
		}
		out.Endpoints = out.Endpoints[:configsPage]
		return out, nil
	}
	e := &sm.DescribeEndpointOutput{
		EndpointName: "e", EndpointArn: "arn:of:e", EndpointConfigName: "c", EndpointStatus: "Updating", CreationTime: at, LastModifiedTime: api.At(at.Add(time.Minute)),
		FailureReason: "the last update: <b>& did not answer",
		ProductionVariants: []sm.ProductionVariantSummary{
			{VariantName: "A", CurrentWeight: api.Ptr(1.0), DesiredWeight: api.Ptr(2.0), CurrentInstanceCount: api.Ptr(int64(1)), DesiredInstanceCount: api.Ptr(int64(2)), DeployedImages: []sm.DeployedImage{{SpecifiedImage: "reg/scale:1"}}},
			{VariantName: "B", CurrentWeight: api.Ptr(3.0), DesiredWeight: api.Ptr(3.0), CurrentInstanceCount: api.Ptr(int64(1)), DesiredInstanceCount: api.Ptr(int64(1))},
		},
		PendingDeploymentSummary: &sm.PendingDeploymentSummary{EndpointConfigName: "next", StartTime: at, ProductionVariants: []sm.PendingProductionVariantSummary{
			{VariantName: "A", InstanceType: "ml.m5.large", DesiredInstanceCount: api.Ptr(int64(1)), VariantStatus: []sm.ProductionVariantStatus{{Status: "Creating", StatusMessage: "Pulling", StartTime: at}}},
		}},
	}
	if w.served != nil {
		w.served(e)
	}
	return e, nil
}

// endpointStreams are of its instances, and of one of an endpoint that had its
// name before.
func (w *world) endpointStreams() []logs.LogStream {
	now, before := w.job.CreationTime.UnixMilli(), w.job.CreationTime.UnixMilli()-1
	return []logs.LogStream{
		{LogStreamName: "B/i-2", CreationTime: &now}, {LogStreamName: "A/i-1", CreationTime: &now}, {LogStreamName: "A/i-0", CreationTime: &before},
	}
}

// visit gives a page's body.
func visit(t *testing.T, c *Console, cookie *http.Cookie, path string, status int) string {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "http://console.localhost"+path, http.NoBody)
	r.AddCookie(cookie)
	rec := httptest.NewRecorder()
	c.ServeHTTP(rec, r)
	if rec.Code != status {
		t.Errorf("%s: %d %.300s", path, rec.Code, rec.Body)
	}
	return rec.Body.String()
}

func TestEndpointPages(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.gauges = map[string]float64{
		"AWS/SageMaker Invocations EndpointName=e": 6, "AWS/SageMaker Invocation5XXErrors EndpointName=e": 2, "AWS/SageMaker Invocation4XXErrors EndpointName=e": 0,
		"AWS/SageMaker ModelLatency EndpointName=e": 12000, "/aws/sagemaker/Endpoints CPUUtilization EndpointName=e": 42,
	}
	c, cookie := open(t, w)
	for path, want := range map[string][]string{
		"/models":   {`href="/models/m"`, "scale:1 → guess:2", "s3%3A%2F%2Fb%2Fscale.tar.gz", "Next page", "Oldest first"},
		"/models/m": {"arn:of:m", "isolated", "scale", "guess", "more.txt", "WORDS", `href="/endpoint-configurations/c"`, "and perhaps others", `&#34;ModelName&#34;: &#34;m&#34;`},
		"/endpoint-configurations": {
			`href="/endpoint-configurations/c"`, `href="/models/m"`, "2 × ml.m5.large", "1 × ml.c5.xlarge", "$3.0000<",
		},
		"/endpoint-configurations/c": {"arn:of:c", `href="/models/other"`, "25 %", "75 %", "20 % of the requests, in s3://b/kept", `href="/endpoints/e"`, "create_endpoint"},
		"/endpoints":                 {`href="/endpoints/e"`, "InService", "Next page", `aria-sort="descending"`},
		"/endpoints/e": {
			"arn:of:e", "Why the last change failed", "Deployment in progress", `href="/endpoint-configurations/next"`, "Pulling", "2 × ml.m5.large", `href="/models/m"`, "1 → 2", "75 %",
			"Invocations", "Errors of the model (5xx)", "Model latency", "CPU utilization", "B/i-2", `href="/endpoints/e?host=A%2Fi-1#log"`, "loss=1", "of B/i-2",
			"invoke_endpoint", `EndpointName=&#34;e&#34;`, "/endpoints/e/delete", "by=ResourceName", "Updating",
		},
		"/endpoints/e/log?q=rows": {"All streams", "rows of A/i-1", "rows of B/i-2"},
		"/endpoints/e/delete":     {"Delete the endpoint", "Let it serve", "<code>c</code>"},
	} {
		body := visit(t, c, cookie, path, http.StatusOK)
		for _, s := range want {
			if !strings.Contains(body, s) {
				t.Errorf("%s lacks %q", path, s)
			}
		}
		for _, s := range []string{"A/i-0", "Errors of the caller", "Overhead latency</figcaption>"} {
			if strings.Contains(body, s) {
				t.Errorf("%s shows %q", path, s)
			}
		}
	}
	for _, path := range []string{"/endpoints/e?variant=C", "/endpoints/e?hours=1000", "/endpoints/e?hours=x", "/endpoints/e?host=A%2Fi-0", "/endpoints/e/log?host=x"} {
		visit(t, c, cookie, path, http.StatusNotFound)
	}
	w.served = func(e *sm.DescribeEndpointOutput) {
		e.EndpointStatus, e.FailureReason, e.PendingDeploymentSummary, e.ProductionVariants = "Failed", "no answer", nil, nil
	}
	body := visit(t, c, cookie, "/endpoints/e", http.StatusOK)
	if !strings.Contains(body, "Why it failed") || strings.Contains(body, "data-tail") || strings.Contains(body, "Deployment in progress") || !strings.Contains(body, "loss=1") {
		t.Errorf("of one that failed: %s", body)
	}
	for _, s := range []string{`session.delete_endpoint(&#34;e&#34;)`, `Endpoint.get(&#34;e&#34;`, `sm.delete_endpoint(EndpointName=&#34;e&#34;)`, "aws sagemaker delete-endpoint --region us-east-1 --endpoint-name e", `<a href="/endpoint-configurations/c">c</a> has the code`} {
		if !strings.Contains(body, s) {
			t.Errorf("of one that failed lacks %q", s)
		}
	}
	if strings.Contains(strings.ToLower(body), "invoke") {
		t.Errorf("one that failed is to be invoked: %s", body)
	}
	if body := visit(t, c, cookie, "/endpoints/e/delete", http.StatusOK); strings.Contains(body, "serve<") || strings.Contains(body, "in flight") {
		t.Errorf("one that failed serves: %s", body)
	}
}

// TestEndpointCosts: what an endpoint costs is what the ledger has of it, not of
// one that had its name before.
func TestEndpointCosts(t *testing.T) {
	t.Parallel()
	w := newWorld()
	created := w.job.CreationTime.Time
	use := func(uid, kind string, start, end time.Time) resource.Usage {
		return resource.Usage{UID: uid, Kind: endpointKind, Name: "e", Component: "hosting", InstanceType: kind, Unit: meter.InstanceSecond, Quantity: 1, Start: start, End: end}
	}
	w.usage = []resource.Usage{
		use("old", "ml.m5.large", created.Add(-time.Hour), created.Add(-time.Minute)), use("new", "ml.m5.large", created, time.Time{}),
		use("new", "ml.m5.large", created.Add(time.Minute), time.Time{}), use("new", "ml.c5.xlarge", created, created.Add(time.Minute)),
	}
	lines := func(old, now int64) meter.Statement {
		return meter.Statement{Lines: []meter.Line{{Name: "e", UID: "old", MicroUSD: old}, {Name: "e", UID: "new", MicroUSD: now}}}
	}
	w.bills = map[string]meter.Statement{"minute": lines(7_000_000, 2_500_000), "aws": lines(7_000_000, 2_400_000)}
	c, cookie := open(t, w)
	for _, path := range []string{"/endpoints", "/endpoints/e", "/endpoints/e/delete", "/"} {
		body := visit(t, c, cookie, path, http.StatusOK)
		if !strings.Contains(body, "$2.5000") || !strings.Contains(body, "$2.0000") || strings.Contains(body, "$7") || strings.Contains(body, "$9") {
			t.Errorf("%s: %s", path, body)
		}
	}
	if body := visit(t, c, cookie, "/endpoints/e", http.StatusOK); !strings.Contains(body, "costs $2.0000 an hour until deleted") || !strings.Contains(body, "2 × ml.m5.large<") || !strings.Contains(body, "$2.4000") {
		t.Errorf("%s", body)
	}
}

// deleter notes what is deleted.
type deleter struct {
	*world
	name string
}

func (d *deleter) Call(ctx context.Context, c op.Call, in any) (any, error) {
	if in, ok := in.(*sm.DeleteEndpointInput); ok {
		d.name = in.EndpointName
		return nil, nil
	}
	return d.world.Call(ctx, c, in)
}

func TestEndpointDelete(t *testing.T) {
	t.Parallel()
	w := newWorld()
	c, cookie := open(t, w)
	d := &deleter{world: w}
	c.cfg.Calls = d
	for token, want := range map[string]int{formToken(cookie.Value): http.StatusSeeOther, "wrong": http.StatusForbidden} {
		d.name = ""
		r := httptest.NewRequest(http.MethodPost, "http://console.localhost/endpoints/e/delete", strings.NewReader(url.Values{"token": {token}}.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Origin", "http://console.localhost")
		r.AddCookie(cookie)
		rec := httptest.NewRecorder()
		c.ServeHTTP(rec, r)
		if rec.Code != want || (d.name == "e") != (want == http.StatusSeeOther) {
			t.Errorf("%d, %q was deleted", rec.Code, d.name)
		}
	}
}

// Counts are shown as rates: nothing where nothing was counted, and the same
// whatever the period.
func TestPerMinute(t *testing.T) {
	t.Parallel()
	from := time.Date(2026, 1, 2, 3, 0, 30, 0, time.UTC)
	at := func(minute int) time.Time { return from.Truncate(time.Minute).Add(time.Duration(minute) * time.Minute) }
	for _, tt := range []struct {
		period time.Duration
		sums   []point
		want   string
	}{
		{time.Minute, []point{{at(1), 4}, {at(3), 2}}, "0 4 0 2 0 0 0 0 0 0 0"},
		{5 * time.Minute, []point{{at(0), 10}, {at(5), 5}}, "2 1 0"},
		{time.Minute, nil, "0 0 0 0 0 0 0 0 0 0 0"},
	} {
		var got []string
		for _, p := range perMinute(tt.sums, from, from.Add(10*time.Minute), tt.period) {
			got = append(got, fmt.Sprint(p.value))
		}
		if s := strings.Join(got, " "); s != tt.want {
			t.Errorf("%s: %s, want %s", tt.period, s, tt.want)
		}
	}
}
