package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"clary/internal/compute"
	"clary/internal/compute/sandbox"
)

const (
	burstJobs    = 1000
	burstClients = 16
	floorTasks   = 200
)

// burstRow has jobs created as fast as the server takes them, and counts them
// afterwards: each once, completed, with one closed interval in the ledger.
func (b *bench) burstRow() (err error) {
	s, err := b.startClary(filepath.Join(b.dir, "jobs"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	if err := b.runtimeReady(s.client); err != nil {
		return err
	}
	floor, err := b.bareBurst()
	if err != nil {
		return fmt.Errorf("bare tasks: %w", err)
	}
	own, kids, err := cpuWithChildren(s.cmd.Process.Pid)
	if err != nil {
		return err
	}
	prefix := fmt.Sprintf("burst-%d-", time.Now().Unix())
	begin := time.Now()
	created, err := createMany(b.ctx, s.client, prefix)
	if err != nil {
		return err
	}
	if err := noneInProgress(b.ctx, s.client, prefix); err != nil {
		return err
	}
	took := time.Since(begin)
	own2, kids2, err := cpuWithChildren(s.cmd.Process.Pid)
	if err != nil {
		return err
	}
	if err := checkBurst(b.ctx, s.client, prefix, begin); err != nil {
		return err
	}
	server, tasks := (own2-own)/burstJobs, (kids2-kids)/burstJobs
	rate := burstJobs / took.Seconds()
	b.add(row{
		name:  fmt.Sprintf("Burst: %s jobs `true` at once, sandboxed; all counted, each completed and metered once", count(burstJobs)),
		ours:  fmt.Sprintf("%.0f jobs/s; all created after %.1f s, all ended after %.1f s; CPU a job: server %s, task %s", rate, created.Seconds(), took.Seconds(), ms(server), ms(tasks)),
		floor: fmt.Sprintf("bare sandbox, as many at once: %.0f tasks/s", floor),
		goal:  "≥ 100 jobs/s", met: reached(rate >= 100), note: notes["burst"],
	})
	return nil
}

// cpuWithChildren is how long a process, and those of its children that have
// ended, with theirs, have run on a CPU.
func cpuWithChildren(pid int) (own, children time.Duration, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0, err
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 15 {
		return 0, 0, errors.New("stat is short")
	}
	var ticks [4]int64 // user and system, of its own and of its children
	for i := range ticks {
		if ticks[i], err = strconv.ParseInt(fields[11+i], 10, 64); err != nil {
			return 0, 0, err
		}
	}
	const tick = 10 * time.Millisecond
	return time.Duration(ticks[0]+ticks[1]) * tick, time.Duration(ticks[2]+ticks[3]) * tick, nil
}

func createMany(ctx context.Context, c *client, prefix string) (time.Duration, error) {
	begin := time.Now()
	next := make(chan int)
	errs := make(chan error, burstClients)
	var wg sync.WaitGroup
	for range burstClients {
		wg.Go(func() {
			for i := range next {
				if err := c.json(ctx, "sagemaker", "CreateTrainingJob", trainingJob(fmt.Sprintf("%s%d", prefix, i), knownImage, "/bin/true"), nil); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	for i := range burstJobs {
		select {
		case next <- i:
		case err := <-errs:
			close(next)
			wg.Wait()
			return 0, err
		}
	}
	close(next)
	wg.Wait()
	select {
	case err := <-errs:
		return 0, err
	default:
	}
	return time.Since(begin), nil
}

type jobsPage struct {
	TrainingJobSummaries []struct{ TrainingJobName, TrainingJobStatus string }
	NextToken            string
}

// noneInProgress waits until a list of the unfinished is empty.
func noneInProgress(ctx context.Context, c *client, prefix string) error {
	for deadline := time.Now().Add(5 * time.Minute); ; {
		var p jobsPage
		err := c.json(ctx, "sagemaker", "ListTrainingJobs", map[string]any{"NameContains": prefix, "StatusEquals": "InProgress", "MaxResults": 1}, &p)
		switch {
		case err != nil:
			return err
		case len(p.TrainingJobSummaries) == 0 && p.NextToken == "":
			return nil
		case time.Now().After(deadline):
			return fmt.Errorf("%s has not ended", p.TrainingJobSummaries[0].TrainingJobName)
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// checkBurst says what is wrong: a job lost, there twice, not completed, not
// metered or metered twice.
func checkBurst(ctx context.Context, c *client, prefix string, since time.Time) error {
	seen := map[string]string{}
	for token := ""; ; {
		in := map[string]any{"NameContains": prefix, "MaxResults": 100}
		if token != "" {
			in["NextToken"] = token
		}
		var p jobsPage
		if err := c.json(ctx, "sagemaker", "ListTrainingJobs", in, &p); err != nil {
			return err
		}
		for _, j := range p.TrainingJobSummaries {
			if seen[j.TrainingJobName] != "" {
				return fmt.Errorf("job %s is listed twice", j.TrainingJobName)
			}
			if seen[j.TrainingJobName] = j.TrainingJobStatus; j.TrainingJobStatus != "Completed" {
				return fmt.Errorf("job %s is %s", j.TrainingJobName, j.TrainingJobStatus)
			}
		}
		if token = p.NextToken; token == "" {
			break
		}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url+"/_clary/usage?from="+since.UTC().Add(-time.Second).Format(time.RFC3339), http.NoBody)
	if err != nil {
		return err
	}
	body, err := c.send(req, "sagemaker", nil)
	if err != nil {
		return err
	}
	var report struct {
		Usage []struct {
			Name       string
			Start, End time.Time
		}
	}
	if err := json.Unmarshal(body, &report); err != nil {
		return err
	}
	metered := map[string]int{}
	for _, u := range report.Usage {
		if seen[u.Name] == "" {
			continue
		}
		metered[u.Name]++
		if u.End.IsZero() || u.End.Before(u.Start) {
			return fmt.Errorf("job %s is metered from %s to %s", u.Name, u.Start, u.End)
		}
	}
	for i := range burstJobs {
		name := fmt.Sprintf("%s%d", prefix, i)
		if seen[name] == "" || metered[name] != 1 {
			return fmt.Errorf("job %s: status %q, metered %d times", name, seen[name], metered[name])
		}
	}
	if len(seen) != burstJobs {
		return fmt.Errorf("%d jobs are listed, want %d", len(seen), burstJobs)
	}
	return nil
}

// bareBurst is how many tasks a second the driver alone brings to their end,
// as many at once as it takes.
func (b *bench) bareBurst() (float64, error) {
	d, err := sandbox.New(sandbox.Config{Dir: filepath.Join(b.dir, "burst"), TaskBinary: filepath.Join(filepath.Dir(b.clary), "clary-task")})
	if err != nil {
		return 0, err
	}
	defer d.Close() //nolint:errcheck // returns nil
	open := map[compute.TaskID]bool{}
	begin := time.Now()
	for made := 0; made < floorTasks || len(open) > 0; {
		if made < floorTasks {
			id := compute.TaskID(fmt.Sprintf("floor-%d", made))
			switch err := d.Start(b.ctx, compute.Task{ID: id, Kind: "bench", Args: []string{"/bin/true"}}); {
			case err == nil:
				open[id] = true
				made++
				continue
			case !errors.Is(err, compute.ErrCapacity):
				return 0, err
			}
		}
		select {
		case id := <-d.Changes():
			if !open[id] {
				continue
			}
			st, err := d.Status(b.ctx, id)
			if err != nil {
				return 0, err
			}
			if st.Phase != compute.Ended {
				continue
			}
			if st.Exit.Reason != compute.ReasonExited {
				return 0, fmt.Errorf("bare task: %+v", *st.Exit)
			}
			delete(open, id)
			if err := d.Remove(b.ctx, id); err != nil {
				return 0, err
			}
		case <-b.ctx.Done():
			return 0, b.ctx.Err()
		}
	}
	return floorTasks / time.Since(begin).Seconds(), nil
}
