package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"clary/internal/meter"
	"clary/internal/resource"
)

// served has one endpoint, made at start, on two instances; another had its name
// before.
func (b *bench) served() (start time.Time) {
	start = time.Date(2026, 3, 4, 5, 0, 0, 0, time.UTC)
	use := func(uid string, from time.Time, end time.Time) resource.Usage {
		return resource.Usage{UID: uid, Kind: "Endpoint", Name: "ep", Component: "hosting", InstanceType: "ml.m5.large", Unit: meter.InstanceSecond, Quantity: 1, Start: from, End: end}
	}
	line := func(uid string, micro int64) meter.Line {
		return meter.Line{UID: uid, Kind: "Endpoint", Name: "ep", Component: "hosting", InstanceType: "ml.m5.large", Unit: meter.InstanceSecond, Seconds: 600, MicroUSD: micro}
	}
	b.answer("/_clary/usage", usage{
		Now: start.Add(time.Hour),
		Usage: []resource.Usage{
			use("old", start.Add(-2*time.Hour), start.Add(-time.Hour)), use("new", start.Add(time.Minute), time.Time{}), use("new", start.Add(time.Minute), time.Time{}),
		},
		Bills: map[string]meter.Statement{"minute": {Lines: []meter.Line{line("old", 777), line("new", 230000)}}, "aws": {Lines: []meter.Line{line("new", 220000)}}},
	})
	b.answer("SageMaker.ListEndpoints", map[string]any{"Endpoints": []any{
		map[string]any{"EndpointName": "ep", "EndpointStatus": "InService", "CreationTime": float64(start.Unix()), "LastModifiedTime": float64(start.Unix()) + 90},
	}})
	return start
}

func TestEndpointList(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.answer("/_clary/usage", usage{})
	b.answer("SageMaker.ListNotebookInstances", map[string]any{})
	if code, out, e := b.run("endpoint", "ls"); code != 0 || !strings.HasPrefix(out, "No endpoint.") {
		t.Errorf("%d %s%s", code, out, e)
	}
	if _, out, _ := b.run("endpoint", "ls", "--json"); strings.TrimSpace(out) != "[]" {
		t.Errorf("none as JSON: %s", out)
	}
	b.served()
	for _, verb := range []string{"endpoint ls", "ps"} {
		code, out, e := b.run(strings.Fields(verb)...)
		for _, want := range []string{"ENDPOINT", "ep", "InService", "2 × ml.m5.large", "1h00m ago", "58m30s ago", "$0.230000"} {
			if code != 0 || !strings.Contains(out, want) {
				t.Errorf("%s: no %q in\n%s%s", verb, want, out, e)
			}
		}
		_, out, _ = b.run(append(strings.Fields(verb), "--json")...)
		var rows []endpointRow
		if err := json.Unmarshal([]byte(out), &rows); err != nil || len(rows) != 1 || rows[0].Kind != "Endpoint" || rows[0].MicroUSD != 230000 || rows[0].Instances != "2 × ml.m5.large" {
			t.Errorf("%s: %v %s", verb, err, out)
		}
	}
	if _, out, _ := b.run("cost"); !strings.Contains(out, "hosting") || !strings.Contains(out, "ml.m5.large") || strings.Contains(out, "1 × ml.m5.large") || !strings.Contains(out, "$0.230777") {
		t.Error(out)
	}
	b.on("SageMaker.ListEndpoints", func(map[string]any) (int, any) {
		return 400, map[string]any{"__type": "AccessDeniedException", "message": "no"}
	})
	if code, out, e := b.run("ps"); code != 0 || strings.Contains(out, "ENDPOINT") {
		t.Errorf("who may not see endpoints gets %d %s%s", code, out, e)
	}
	if code, _, e := b.run("endpoint", "ls"); code != 1 || !strings.Contains(e, "AccessDenied") {
		t.Errorf("%d %s", code, e)
	}
}

func TestEndpointDelete(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	looks := 0
	b.on("SageMaker.DescribeEndpoint", func(in map[string]any) (int, any) {
		if looks++; looks < 3 {
			return 200, map[string]any{"EndpointName": "ep", "EndpointStatus": "Deleting"}
		}
		return goneEndpoint(in)
	})
	b.on("SageMaker.DeleteEndpoint", func(in map[string]any) (int, any) {
		if in["EndpointName"] != "ep" {
			return goneEndpoint(in)
		}
		return 200, map[string]any{}
	})
	if code, _, e := b.run("endpoint", "delete", "ep"); code != 0 || looks != 3 {
		t.Errorf("%d %s, after %d looks", code, e, looks)
	}
	if code, _, e := b.run("endpoint", "delete", "other"); code != 1 || !strings.Contains(e, "Could not find endpoint") {
		t.Errorf("%d %s", code, e)
	}
}

// TestEndpointInvoke sends what is given, once, and prints the answer as it is.
func TestEndpointInvoke(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	asked := 0
	var got *http.Request
	var sent string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got, sent = r, string(body)
		if r.URL.Path != "/endpoints/ep/invocations" {
			w.Header().Set("X-Amzn-Errortype", "ModelError")
			w.WriteHeader(http.StatusFailedDependency)
			_, _ = io.WriteString(w, `{"Message":"Received server error (500) from primary","OriginalStatusCode":500}`)
			return
		}
		_, _ = io.WriteString(w, "[0]")
	}))
	t.Cleanup(srv.Close)
	b.write("run/server.json", fmt.Sprintf(`{"Addr":%q,"Region":"eu-west-1","Account":"123456789012"}`, strings.TrimPrefix(srv.URL, "http://")))
	if code, out, e := b.run("endpoint", "invoke", "ep", "1,2", "-t", "text/csv", "--accept", "application/json", "--variant", "B"); code != 0 || out != "[0]" {
		t.Errorf("%d %s%s", code, out, e)
	}
	h := got.Header
	if sent != "1,2" || h.Get("Content-Type") != "text/csv" || h.Get("Accept") != "application/json" || h.Get("X-Amzn-SageMaker-Target-Variant") != "B" || !strings.Contains(h.Get("Authorization"), "/eu-west-1/sagemaker/") {
		t.Errorf("sent %q with %v", sent, h)
	}
	file := filepath.Join(t.TempDir(), "rows.json")
	if err := os.WriteFile(file, []byte(`[1]`), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, e := b.run("endpoint", "invoke", "ep", "--file", file); code != 0 || sent != "[1]" || got.Header.Get("Content-Type") != "application/json" {
		t.Errorf("%d %s, sent %q", code, e, sent)
	}
	asked = 0
	if code, _, e := b.run("endpoint", "invoke", "other", "1"); code != 1 || !strings.Contains(e, "ModelError: Received server error (500)") || asked != 1 {
		t.Errorf("%d %s, asked %d times", code, e, asked)
	}
	if code, _, e := b.run("endpoint", "invoke", "ep", "1", "--file", file); code != 1 || !strings.Contains(e, "send one of them") {
		t.Errorf("%d %s", code, e)
	}
}

// TestEndpointLogs follows an endpoint until it is gone, and tells its streams
// from those of one that had its name before.
func TestEndpointLogs(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.on("SageMaker.DescribeTrainingJob", noJob)
	looks := 0
	b.on("SageMaker.DescribeEndpoint", func(in map[string]any) (int, any) {
		if looks++; looks < 4 {
			return 200, map[string]any{"EndpointName": "ep", "EndpointStatus": "InService", "CreationTime": 17.5}
		}
		return goneEndpoint(in)
	})
	b.on("Logs_20140328.DescribeLogStreams", func(in map[string]any) (int, any) {
		if in["logGroupName"] != "/aws/sagemaker/Endpoints/ep" || in["logStreamNamePrefix"] != nil {
			t.Errorf("asked for %v", in)
		}
		return 200, map[string]any{"logStreams": []any{
			map[string]any{"logStreamName": "All/i-1", "creationTime": 3000}, map[string]any{"logStreamName": "All/i-2", "creationTime": 17500}, map[string]any{"logStreamName": "All/i-3", "creationTime": 19000},
		}}
	})
	b.on("Logs_20140328.GetLogEvents", func(in map[string]any) (int, any) {
		if in["nextToken"] != nil {
			return 200, map[string]any{"nextForwardToken": "f/1"}
		}
		name := in["logStreamName"].(string)
		return 200, map[string]any{"events": []any{map[string]any{"timestamp": len(name), "message": "ready"}}, "nextForwardToken": "f/1"}
	})
	if code, out, e := b.run("logs", "-f", "ep"); code != 0 || out != "All/i-2  ready\nAll/i-3  ready\n" || !strings.Contains(e, "ep: Deleted") {
		t.Errorf("%d %s%s", code, out, e)
	}
	b.answer("SageMaker.DescribeEndpoint", map[string]any{"EndpointName": "ep", "EndpointStatus": "Failed", "CreationTime": 17.5, "FailureReason": "the container did not answer"})
	if code, _, e := b.run("logs", "-f", "--kind", "endpoint", "ep"); code != 1 || !strings.Contains(e, "ep: Failed") || !strings.Contains(e, "did not answer") {
		t.Errorf("%d %s", code, e)
	}
	b.answer("SageMaker.DescribeTrainingJob", map[string]any{"TrainingJobStatus": "Completed"})
	if code, _, e := b.run("logs", "ep"); code != 1 || !strings.Contains(e, "--kind training or --kind endpoint") {
		t.Errorf("%d %s", code, e)
	}
}
