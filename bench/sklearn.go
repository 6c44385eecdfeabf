package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"clary/internal/compute"
	"clary/internal/compute/sandbox"
)

const (
	sklearnRuns = 12
	// One line: an entry point's arguments hold no line breaks.
	sklearnScript = "from sklearn.datasets import make_classification; from sklearn.linear_model import LogisticRegression; " +
		"x, y = make_classification(200, random_state=0); print(LogisticRegression().fit(x, y).score(x, y))"
)

// sklearnRow measures a job that imports and fits beside what the same script
// takes on the host, with the runtime's own Python, and a sandbox that does
// nothing. All files are in the page cache; no process is kept warm.
func (b *bench) sklearnRow() (err error) {
	data := filepath.Join(b.dir, "jobs")
	s, err := b.startClary(data)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	if err := b.runtimeReady(s.client); err != nil {
		return err
	}
	pythons, err := filepath.Glob(filepath.Join(data, "runtimes", "*", "env", "bin", "python3"))
	if err != nil || len(pythons) != 1 {
		return fmt.Errorf("%d runtimes with Python: %w", len(pythons), err)
	}
	d, err := sandbox.New(sandbox.Config{Dir: filepath.Join(b.dir, "sktasks"), TaskBinary: filepath.Join(filepath.Dir(b.clary), "clary-task")})
	if err != nil {
		return err
	}
	defer d.Close() //nolint:errcheck // returns nil
	var jobs, bare, host []time.Duration
	for i := range sklearnRuns {
		took, err := finish(b.ctx, s.client, fmt.Sprintf("sklearn-%d", i), 2*time.Millisecond, "python3", "-c", sklearnScript)
		if err != nil {
			return err
		}
		jobs = append(jobs, took)
		if took, err = bareTask(b.ctx, d, compute.TaskID(fmt.Sprintf("bare-%d", i))); err != nil {
			return err
		}
		bare = append(bare, took)
		cmd := exec.CommandContext(b.ctx, pythons[0], "-c", sklearnScript)
		cmd.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1")
		begin := time.Now()
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("%s: %w", pythons[0], err)
		}
		host = append(host, time.Since(begin))
	}
	raw("job sklearn", jobs)
	raw("sklearn on the host", host)
	floor := quantile(bare, 0.5) + quantile(host, 0.5)
	over := float64(quantile(jobs, 0.5)) / float64(floor)
	b.add(row{
		name:  "Job with scikit-learn: import and fit, created → Completed, no warm pool",
		ours:  times(jobs),
		floor: fmt.Sprintf("the script on the host %s, bare sandbox %s (Clary takes %.2f× their sum)", times(host), times(bare), over),
		goal:  "≤ 1.1× the floor", met: reached(over <= 1.1), note: notes["sklearn"],
	})
	return nil
}
