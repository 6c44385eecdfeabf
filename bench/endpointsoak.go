package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"clary/internal/compute"
	"clary/internal/compute/sandbox/task"
)

const (
	soakWorkers = 8
	soakUpdates = 3
	soakCalm    = 3 * time.Second
	deployTime  = 10 * time.Minute
)

// modelScript answers with what it was asked.
const modelScript = `def model_fn(model_dir): return None
def input_fn(body, content_type): return body
def predict_fn(data, model): return data
def output_fn(prediction, accept): return prediction
`

// servedModel makes a model of modelScript, and the configurations of an
// endpoint of n instances, all alike but for their names.
func (b *bench) servedModel(c *client, n int, configs ...string) error {
	err := b.model(c, "bench", modelScript)
	for _, name := range configs {
		err = errors.Join(err, c.json(b.ctx, "sagemaker", "CreateEndpointConfig", map[string]any{
			"EndpointConfigName": name,
			"ProductionVariants": []any{map[string]any{"VariantName": "AllTraffic", "ModelName": "bench", "InstanceType": "ml.m5.large", "InitialInstanceCount": n}},
		}, nil))
	}
	return err
}

// model makes a model of a script for scikit-learn's image.
func (b *bench) model(c *client, name, script string) error {
	if err := c.bucket(b.ctx, bucketName); err != nil {
		return err
	}
	var buf bytes.Buffer
	z := gzip.NewWriter(&buf)
	t := tar.NewWriter(z)
	if err := t.WriteHeader(&tar.Header{Name: "code/inference.py", Mode: 0o644, Size: int64(len(script)), ModTime: time.Now()}); err != nil {
		return err
	}
	if _, err := t.Write([]byte(script)); err != nil {
		return err
	}
	if err := errors.Join(t.Close(), z.Close()); err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(b.ctx, http.MethodPut, c.url+"/"+bucketName+"/models/"+name+".tar.gz", bytes.NewReader(buf.Bytes()))
	if err != nil {
		return err
	}
	if _, err := c.send(req, "s3", buf.Bytes()); err != nil {
		return err
	}
	return c.json(b.ctx, "sagemaker", "CreateModel", map[string]any{
		"ModelName": name, "ExecutionRoleArn": "arn:aws:iam::123456789012:role/SageMakerRole",
		"PrimaryContainer": map[string]any{
			"Image": knownImage, "ModelDataUrl": "s3://" + bucketName + "/models/" + name + ".tar.gz",
			"Environment": map[string]string{"SAGEMAKER_PROGRAM": "inference.py", "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code"},
		},
	}, nil)
}

// deploy creates or updates an endpoint, and gives the time until it is in
// service.
func (b *bench) deploy(c *client, operation, name, config string) (time.Duration, error) {
	begin := time.Now()
	if err := c.json(b.ctx, "sagemaker", operation, map[string]any{"EndpointName": name, "EndpointConfigName": config}, nil); err != nil {
		return 0, err
	}
	err := b.until(deployTime, func() (bool, error) {
		var d struct{ EndpointStatus, EndpointConfigName, FailureReason string }
		if err := c.json(b.ctx, "sagemaker", "DescribeEndpoint", map[string]any{"EndpointName": name}, &d); err != nil {
			return false, err
		}
		if d.EndpointStatus == "Failed" || d.EndpointStatus == "UpdateRollbackFailed" || d.EndpointStatus == "InService" && d.EndpointConfigName != config {
			return false, fmt.Errorf("endpoint %s is %s: %s", name, d.EndpointStatus, d.FailureReason)
		}
		return d.EndpointStatus == "InService", nil
	})
	return time.Since(begin), err
}

// until asks again and again.
func (b *bench) until(most time.Duration, is func() (bool, error)) error {
	for deadline := time.Now().Add(most); ; {
		ok, err := is()
		if ok || err != nil {
			return err
		}
		if time.Now().After(deadline) {
			return errors.New("it takes too long")
		}
		if err := b.pause(2 * time.Millisecond); err != nil {
			return err
		}
	}
}

// asked is one request of the soak.
type asked struct {
	begun time.Time
	took  time.Duration
	err   error
}

// endpointSoak asks an endpoint of two instances without a pause while it is
// updated and while one of the two is killed. A request may fail only if it was
// under way when that one was.
func (b *bench) endpointSoak() (err error) {
	data := filepath.Join(b.dir, "endpointsoak")
	s, err := b.startClary(data)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	c := s.client
	if err := b.servedModel(c, 2, "blue", "green"); err != nil {
		return err
	}
	took, err := b.deploy(c, "CreateEndpoint", "bench", "blue")
	if err != nil {
		return err
	}
	fmt.Printf("   in service after %s, its runtime built\n", took.Round(time.Millisecond))
	l := startLoad(b.ctx, c)
	killed, err := b.disturb(c, l, data)
	all := l.stop()
	if err := errors.Join(err, b.undeploy(c, "bench")); err != nil {
		return err
	}
	return b.judge(all, l.begun, killed)
}

// soakLoad is requests without a pause.
type soakLoad struct {
	begun  time.Time
	cancel context.CancelFunc
	wg     sync.WaitGroup
	mu     sync.Mutex // guards all
	all    []asked
	count  atomic.Int64
}

func startLoad(ctx context.Context, c *client) *soakLoad {
	ctx, cancel := context.WithCancel(ctx)
	l := &soakLoad{begun: time.Now(), cancel: cancel}
	body := []byte("1,2,3\n")
	for range soakWorkers {
		l.wg.Go(func() {
			var mine []asked
			for ctx.Err() == nil {
				a := asked{begun: time.Now()}
				a.err = invoke(context.WithoutCancel(ctx), c, body)
				a.took = time.Since(a.begun)
				mine = append(mine, a)
				l.count.Add(1)
			}
			l.mu.Lock()
			defer l.mu.Unlock()
			l.all = append(l.all, mine...)
		})
	}
	return l
}

func (l *soakLoad) stop() []asked {
	l.cancel()
	l.wg.Wait()
	slices.SortFunc(l.all, func(a, b asked) int { return a.begun.Compare(b.begun) })
	return l.all
}

// disturb updates the endpoint under load, then kills an instance and waits
// until there are two again. It says when it killed.
func (b *bench) disturb(c *client, l *soakLoad, data string) (killed time.Time, err error) {
	say := func(what string) { fmt.Printf("   %6.2f s: %s\n", time.Since(l.begun).Seconds(), what) }
	if err := b.pause(soakCalm); err != nil {
		return killed, err
	}
	for i := range soakUpdates {
		config := []string{"green", "blue"}[i%2]
		say("UpdateEndpoint to " + config)
		if _, err := b.deploy(c, "UpdateEndpoint", "bench", config); err != nil {
			return killed, err
		}
		say("in service with " + config)
		if err := b.pause(soakCalm); err != nil {
			return killed, err
		}
	}
	var before []compute.TaskID
	err = b.until(time.Minute, func() (bool, error) { // those of the last update have ended
		before, err = running(data)
		return len(before) == 2, err
	})
	if err != nil {
		return killed, fmt.Errorf("two instances run: %w", err)
	}
	st, err := task.ReadStatus(filepath.Join(data, "tasks", string(before[0])))
	if err != nil {
		return killed, err
	}
	killed = time.Now()
	if err := syscall.Kill(st.PID, syscall.SIGKILL); err != nil {
		return killed, err
	}
	say("killed the instance of task " + string(before[0]))
	err = b.until(deployTime, func() (bool, error) {
		now, err := running(data)
		if err != nil || len(now) != 2 || slices.Contains(now, before[0]) {
			return false, err
		}
		var d struct {
			EndpointStatus     string
			ProductionVariants []struct{ CurrentInstanceCount int }
		}
		err = c.json(b.ctx, "sagemaker", "DescribeEndpoint", map[string]any{"EndpointName": "bench"}, &d)
		return err == nil && d.EndpointStatus == "InService" && len(d.ProductionVariants) == 1 && d.ProductionVariants[0].CurrentInstanceCount == 2, err
	})
	if err != nil {
		return killed, err
	}
	say("two instances again")
	return killed, b.pause(soakCalm)
}

// running are the tasks that run.
func running(data string) (ids []compute.TaskID, err error) {
	dirs, err := os.ReadDir(filepath.Join(data, "tasks"))
	if err != nil {
		return nil, err
	}
	for _, d := range dirs {
		st, err := task.ReadStatus(filepath.Join(data, "tasks", d.Name()))
		if err == nil && st.Phase == compute.Running && syscall.Kill(st.PID, 0) == nil {
			ids = append(ids, compute.TaskID(d.Name()))
		}
	}
	return ids, nil
}

// judge prints the series and says whether it is as it must be.
func (b *bench) judge(all []asked, begun, killed time.Time) error {
	fmt.Println("   second: requests, failed, p50 / p99 / longest")
	var bad []error
	inFlight := 0
	for from := 0; from < len(all); {
		second := int(all[from].begun.Sub(begun) / time.Second)
		var lat []time.Duration
		failed := 0
		for ; from < len(all) && int(all[from].begun.Sub(begun)/time.Second) == second; from++ {
			a := all[from]
			lat = append(lat, a.took)
			if a.err == nil {
				continue
			}
			failed++
			if !a.begun.After(killed) && a.begun.Add(a.took).After(killed) {
				inFlight++
				continue
			}
			bad = append(bad, fmt.Errorf("at %.3f s, %.3f s from the kill: %w", a.begun.Sub(begun).Seconds(), a.begun.Sub(killed).Seconds(), a.err))
		}
		fmt.Printf("   %3d: %5d, %d, %s / %s / %s\n", second, len(lat), failed, ms(quantile(lat, 0.5)), ms(quantile(lat, 0.99)), ms(slices.Max(lat)))
	}
	took := make([]time.Duration, len(all))
	for i, a := range all {
		took[i] = a.took
	}
	b.add(row{
		name: fmt.Sprintf("Endpoint of two instances, %d updates and one instance killed under load from %d clients", soakUpdates, soakWorkers),
		ours: fmt.Sprintf("%s requests, %s; %d failed that were under way at the killed one, %d others", count(float64(len(all))), times(took), inFlight, len(bad)),
		goal: "no other fails", met: reached(len(bad) == 0 && inFlight <= soakWorkers),
	})
	if len(bad) > 0 {
		return fmt.Errorf("%d requests failed that had nothing to do with the killed instance: %w", len(bad), errors.Join(bad[:min(len(bad), 20)]...))
	}
	return nil
}
