package awsjson

import (
	"bytes"
	"testing"

	"github.com/go-json-experiment/json"

	"clary/internal/api/logs"
	"clary/internal/api/sagemaker"
	"clary/internal/aws/apierr"
	"clary/internal/aws/facts"
)

// FuzzDecode: whatever the body, it is read or refused with a client's error;
// what was read and is written again is read as the same.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"TrainingJobName":"a","Environment":{"a":"b"},"Tags":[{"Key":"k","Value":"v"}],"ResourceConfig":{"InstanceCount":1,"VolumeSizeInGB":1e1}}`))
	f.Add([]byte(`{"logGroupName":"g","logStreamName":"s","logEvents":[{"timestamp":1700000000000,"message":"\ud83d\ude00"}]}`))
	f.Add([]byte(`null`))
	f.Add([]byte(` {"a":{"b":[[[[]]]]},"TrainingJobName":null}`))
	f.Add([]byte(`{"CreationTimeAfter":1.7e9,"MaxResults":-0}`))
	type target struct {
		op *facts.Operation
		in func() any
	}
	var targets []target
	for name, in := range map[string]func() any{
		"CreateTrainingJob": func() any { return new(sagemaker.CreateTrainingJobRequest) }, "ListTrainingJobs": func() any { return new(sagemaker.ListTrainingJobsRequest) },
		"PutLogEvents": func() any { return new(logs.PutLogEventsRequest) },
	} {
		for _, service := range []string{"sagemaker", "logs"} {
			m, err := facts.Load(service)
			if err != nil {
				f.Fatal(err)
			}
			if o := m.Operations[name]; o != nil {
				targets = append(targets, target{o, in})
			}
		}
	}
	c := New("1.1")
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, to := range targets {
			in := to.in()
			if err := c.Decode(to.op, nil, body, in); err != nil {
				if apierr.From(err).Status != 400 {
					t.Fatal(err)
				}
				continue
			}
			generic := map[string]any{}
			if err := c.Decode(to.op, nil, body, &generic); err != nil {
				t.Fatalf("%s as a map: %v", to.op.Name, err)
			}
			first, err := json.Marshal(in, json.Deterministic(true))
			if err != nil {
				t.Fatal(err)
			}
			again := to.in()
			if err := json.Unmarshal(first, again); err != nil {
				t.Fatal(err)
			}
			second, err := json.Marshal(again, json.Deterministic(true))
			if err != nil || !bytes.Equal(first, second) {
				t.Fatalf("%s\n%s\n%v", first, second, err)
			}
		}
	})
}
