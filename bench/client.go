package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"clary/internal/aws/sigv4"
)

const region = "us-west-2"

// client signs as any AWS client does, and keeps its connections.
type client struct {
	url   string
	creds sigv4.Credentials
	http  *http.Client
}

func newClient(url string, creds sigv4.Credentials) *client {
	return &client{url: url, creds: creds, http: &http.Client{
		Timeout:   time.Minute,
		Transport: &http.Transport{MaxIdleConnsPerHost: 64, MaxConnsPerHost: 64, DisableCompression: true},
	}}
}

// targets of the services that are measured.
func target(service string) (prefix string) {
	if service == "logs" {
		return "Logs_20140328."
	}
	return "SageMaker."
}

// call makes one signed request and returns its body.
func (c *client) call(ctx context.Context, service, operation string, body []byte) ([]byte, error) {
	req, err := c.request(ctx, service, operation, body)
	if err != nil {
		return nil, err
	}
	return c.send(req, service, body)
}

// request is a call that is not signed yet.
func (c *client) request(ctx context.Context, service, operation string, body []byte) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url+"/", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-amz-json-1.1")
	req.Header.Set("X-Amz-Target", target(service)+operation)
	return req, nil
}

func (c *client) send(req *http.Request, service string, body []byte) ([]byte, error) {
	sum := sha256.Sum256(body)
	sigv4.Sign(req, c.creds, region, service, hex.EncodeToString(sum[:]), time.Now())
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode/100 != 2 {
		return nil, fmt.Errorf("%s: HTTP %d: %.300s", req.Header.Get("X-Amz-Target"), resp.StatusCode, data)
	}
	return data, nil
}

// json calls and decodes.
func (c *client) json(ctx context.Context, service, operation string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	data, err := c.call(ctx, service, operation, body)
	if err != nil || out == nil {
		return err
	}
	return json.Unmarshal(data, out)
}

// bucket makes a bucket, or finds that it did.
func (c *client) bucket(ctx context.Context, name string) error {
	body := []byte(`<CreateBucketConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><LocationConstraint>` + region + `</LocationConstraint></CreateBucketConfiguration>`)
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, c.url+"/"+name, bytes.NewReader(body))
	if err != nil {
		return err
	}
	if _, err = c.send(req, "s3", body); err != nil && strings.Contains(err.Error(), "BucketAlreadyOwnedByYou") {
		return nil
	}
	return err
}

// hammer runs fn from n goroutines for a while, or until it fails.
func hammer(ctx context.Context, n int, period time.Duration, fn func(ctx context.Context, worker, i int) error) (series, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var mu sync.Mutex // guards out
	var out series
	var wg sync.WaitGroup
	begin := time.Now()
	for w := range n {
		wg.Go(func() {
			var lat []time.Duration
			for i := 0; time.Since(begin) < period && ctx.Err() == nil; i++ {
				t := time.Now()
				if err := fn(ctx, w, i); err != nil {
					cancel(err)
					return
				}
				lat = append(lat, time.Since(t))
			}
			mu.Lock()
			defer mu.Unlock()
			out.lat = append(out.lat, lat...)
		})
	}
	wg.Wait()
	out.took = time.Since(begin)
	if err := context.Cause(ctx); err != nil {
		return out, err
	}
	return out, nil
}

func trainingJob(name, image string, command ...string) map[string]any {
	return map[string]any{
		"TrainingJobName": name,
		"RoleArn":         "arn:aws:iam::123456789012:role/SageMakerRole",
		"AlgorithmSpecification": map[string]any{
			"TrainingImage": image, "TrainingInputMode": "File", "ContainerEntrypoint": command,
		},
		"HyperParameters":   map[string]string{"epochs": "10", "lr": "0.01", "note": strings.Repeat("x", 400)},
		"OutputDataConfig":  map[string]string{"S3OutputPath": "s3://" + bucketName + "/out"},
		"ResourceConfig":    map[string]any{"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 5},
		"StoppingCondition": map[string]any{"MaxRuntimeInSeconds": 600},
	}
}

func processingJob(name string, command ...string) map[string]any {
	return map[string]any{
		"ProcessingJobName":   name,
		"RoleArn":             "arn:aws:iam::123456789012:role/SageMakerRole",
		"AppSpecification":    map[string]any{"ImageUri": knownImage, "ContainerEntrypoint": command},
		"ProcessingResources": map[string]any{"ClusterConfig": map[string]any{"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 30}},
		"StoppingCondition":   map[string]any{"MaxRuntimeInSeconds": 3600},
	}
}

const (
	bucketName = "clary-bench"
	knownImage = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3"
	noImage    = "123456789012.dkr.ecr.us-west-2.amazonaws.com/nobody-pushed-this:1"
)
