package cli

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// A transform job is one among the jobs, and a name of three kinds is asked back
// for.
func TestTransformJobs(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.usage()
	at := float64(time.Date(2026, 3, 4, 5, 0, 30, 0, time.UTC).Unix())
	b.answer("SageMaker.ListTransformJobs", map[string]any{"TransformJobSummaries": []any{
		map[string]any{"TransformJobName": "score", "TransformJobStatus": "Failed", "CreationTime": at, "TransformEndTime": at + 20},
	}})
	_, out, e := b.run("ps", "--json")
	var rows []psRow
	if err := json.Unmarshal([]byte(out), &rows); err != nil || len(rows) != 3 || rows[1].Kind != "TransformJob" || rows[1].Name != "score" || rows[1].Ended == nil || rows[1].Status != "Failed" {
		t.Errorf("%v %s%s", err, out, e)
	}
	if _, out, _ := b.run("ps"); !strings.Contains(out, "transform") {
		t.Error(out)
	}
	b.answer("SageMaker.DescribeTrainingJob", map[string]any{"TrainingJobStatus": "Completed"})
	b.answer("SageMaker.DescribeTransformJob", map[string]any{"TransformJobName": "x", "TransformJobStatus": "Failed", "FailureReason": "ClientError: See job logs", "CreationTime": 17.5, "TransformResources": map[string]any{"InstanceCount": 2}})
	b.on("Logs_20140328.DescribeLogStreams", func(in map[string]any) (int, any) {
		if in["logGroupName"] != "/aws/sagemaker/TransformJobs" {
			return 400, map[string]any{"__type": "ResourceNotFoundException"}
		}
		var streams []any // of this job, and of one that had its name before
		for _, name := range []string{"x/algo-1-16/data-log", "x/algo-1-17/data-log", "x/algo-1-17/scale", "x/algo-2-17"} {
			streams = append(streams, map[string]any{"logStreamName": name})
		}
		return 200, map[string]any{"logStreams": streams}
	})
	b.on("Logs_20140328.GetLogEvents", func(in map[string]any) (int, any) {
		name := in["logStreamName"].(string)
		events := []any{}
		if in["nextToken"] == nil {
			events = append(events, map[string]any{"timestamp": len(name), "message": "of " + name})
		}
		return 200, map[string]any{"events": events, "nextForwardToken": "f"}
	})
	if code, _, e := b.run("logs", "x"); code != 1 || !strings.Contains(e, "a training job and a transform job are named x: say --kind training or --kind transform") {
		t.Errorf("%d %s", code, e)
	}
	b.answer("SageMaker.DescribeProcessingJob", map[string]any{"ProcessingJobStatus": "Completed"})
	if code, _, e := b.run("logs", "x"); code != 1 || !strings.Contains(e, "a training job, a processing job and a transform job are named x: say --kind training, --kind processing or --kind transform") {
		t.Errorf("%d %s", code, e)
	}
	want := "algo-2  of x/algo-2-17\nalgo-1/scale  of x/algo-1-17/scale\nalgo-1/data-log  of x/algo-1-17/data-log\n"
	if code, out, e := b.run("logs", "-f", "x", "--kind", "transform"); code != 1 || out != want || !strings.Contains(e, "x: Failed") || !strings.Contains(e, "ClientError: See job logs") {
		t.Errorf("%d %s%s", code, out, e)
	}
	if code, _, e := b.run("logs", "y", "--kind", "endpoint"); code != 1 || !strings.Contains(e, "no endpoint y") {
		t.Errorf("%d %s", code, e)
	}
}
