package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"time"

	"clary/internal/compute"
	"clary/internal/compute/sandbox"
)

const jobRuns = 60

type described struct {
	TrainingJobStatus, ProcessingJobStatus, TransformJobStatus, SecondaryStatus, FailureReason string
}

// finish creates a training job and waits for its end as a client would.
func finish(ctx context.Context, c *client, name string, every time.Duration, command ...string) (time.Duration, error) {
	return finishJob(ctx, c, "TrainingJob", trainingJob(name, knownImage, command...), every)
}

// finishJob does so with a job of any kind.
func finishJob(ctx context.Context, c *client, kind string, request map[string]any, every time.Duration) (time.Duration, error) {
	begin := time.Now()
	if err := c.json(ctx, "sagemaker", "Create"+kind, request, nil); err != nil {
		return 0, err
	}
	name := request[kind+"Name"]
	for {
		var d described
		if err := c.json(ctx, "sagemaker", "Describe"+kind, map[string]any{kind + "Name": name}, &d); err != nil {
			return 0, err
		}
		switch status := d.TrainingJobStatus + d.ProcessingJobStatus + d.TransformJobStatus; status { // the others are absent
		case "Completed":
			return time.Since(begin), nil
		case "Failed", "Stopped":
			return 0, fmt.Errorf("job %s: %s: %s", name, status, d.FailureReason)
		}
		select {
		case <-time.After(every):
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// runtimeReady builds the runtime, which the figures leave out.
func (b *bench) runtimeReady(c *client) error {
	if err := c.bucket(b.ctx, bucketName); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(b.ctx, 10*time.Minute)
	defer cancel()
	took, err := finish(ctx, c, fmt.Sprintf("first-%d", time.Now().UnixNano()), 100*time.Millisecond, "/bin/true")
	fmt.Printf("   the first job, which builds the runtime: %s\n", took.Round(time.Millisecond))
	return err
}

// jobRows measures a whole job beside its floors, one of each in turn.
func (b *bench) jobRows() (err error) {
	s, err := b.startClary(filepath.Join(b.dir, "jobs"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	if err := b.runtimeReady(s.client); err != nil {
		return err
	}
	d, err := sandbox.New(sandbox.Config{Dir: filepath.Join(b.dir, "tasks"), TaskBinary: filepath.Join(filepath.Dir(b.clary), "clary-task")})
	if err != nil {
		return err
	}
	defer d.Close() //nolint:errcheck // returns nil

	var jobs, processing, bare, exec1, python, pythonExec []time.Duration
	for i := range jobRuns {
		took, err := finish(b.ctx, s.client, fmt.Sprintf("true-%d", i), 2*time.Millisecond, "/bin/true")
		if err != nil {
			return err
		}
		jobs = append(jobs, took)
		if took, err = finishJob(b.ctx, s.client, "ProcessingJob", processingJob(fmt.Sprintf("true-%d", i), "/bin/true"), 2*time.Millisecond); err != nil {
			return err
		}
		processing = append(processing, took)
		if took, err = bareTask(b.ctx, d, compute.TaskID(fmt.Sprintf("bare-%d", i))); err != nil {
			return err
		}
		bare = append(bare, took)
		if took, err = run1("/bin/true"); err != nil {
			return err
		}
		exec1 = append(exec1, took)
		if i%3 != 0 {
			continue
		}
		if took, err = finish(b.ctx, s.client, fmt.Sprintf("python-%d", i), 2*time.Millisecond, "python3", "-c", "pass"); err != nil {
			return err
		}
		python = append(python, took)
		if took, err = run1("/usr/bin/python3", "-c", "pass"); err != nil {
			return err
		}
		pythonExec = append(pythonExec, took)
	}
	raw("job true", jobs)
	raw("processing job true", processing)
	raw("bare sandbox", bare)
	raw("job python", python)
	over := float64(quantile(jobs, 0.5)) / float64(quantile(bare, 0.5))
	b.add(row{
		name: "Job `true`, created → Completed, sandboxed, one at a time", ours: times(jobs),
		floor: fmt.Sprintf("fork+exec %s; bare sandbox %s (Clary takes %.1f×)", times(exec1), times(bare), over),
		goal:  "p50 ≤ 20 ms", met: within(jobs, 20*time.Millisecond), note: notes["job"],
	})
	b.add(row{
		name: "Processing job `true`, the same", ours: times(processing),
		floor: fmt.Sprintf("bare sandbox %s (Clary takes %.1f×)", times(bare), float64(quantile(processing, 0.5))/float64(quantile(bare, 0.5))),
		goal:  "p50 ≤ 20 ms", met: within(processing, 20*time.Millisecond), note: notes["job"],
	})
	b.add(row{
		name: "Job `python3 -c pass`, the same", ours: times(python), floor: "fork+exec " + times(pythonExec), goal: "p50 ≤ 45 ms", met: within(python, 45*time.Millisecond), note: notes["python"],
	})
	return nil
}

// bareTask starts the driver's sandbox and waits for its end, with no server,
// stage or store.
func bareTask(ctx context.Context, d *sandbox.Driver, id compute.TaskID) (time.Duration, error) {
	begin := time.Now()
	if err := d.Start(ctx, compute.Task{ID: id, Kind: "bench", Args: []string{"/bin/true"}}); err != nil {
		return 0, err
	}
	for {
		st, err := d.Status(ctx, id)
		if err != nil {
			return 0, err
		}
		if st.Phase == compute.Ended {
			took := time.Since(begin)
			if st.Exit.Reason != compute.ReasonExited {
				return 0, fmt.Errorf("bare task: %+v", *st.Exit)
			}
			return took, d.Remove(ctx, id)
		}
		select {
		case <-d.Changes():
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

func run1(argv ...string) (time.Duration, error) {
	begin := time.Now()
	err := exec.Command(argv[0], argv[1:]...).Run() //nolint:noctx // it ends at once
	return time.Since(begin), err
}
