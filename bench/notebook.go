package main

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"clary/test/daemon"
)

const notebookRounds = 7

// notebookRows measures how long a notebook instance takes to be in service
// beside a bare jupyter-lab of the same environment, in turns, and what either
// holds when nobody uses it. The runtime is built before.
func (b *bench) notebookRows() (err error) {
	data := filepath.Join(b.dir, "notebooks")
	s, err := b.startClary(data)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	if _, err := b.notebook(s.client, "built"); err != nil {
		return err
	}
	if err := b.endNotebook(s.client, "built"); err != nil {
		return err
	}
	labs, err := filepath.Glob(filepath.Join(data, "runtimes", "*", "env", "bin", "jupyter-lab"))
	if err != nil || len(labs) != 1 {
		return fmt.Errorf("%d runtimes with JupyterLab: %w", len(labs), err)
	}
	python := filepath.Join(filepath.Dir(labs[0]), "python3")
	var ours, floor []time.Duration
	var held, bare int64
	for i := range notebookRounds {
		name := fmt.Sprintf("nb-%d", i)
		took, err := b.notebook(s.client, name)
		if err != nil {
			return err
		}
		ours = append(ours, took)
		if i == 0 {
			if err := b.pause(settle); err != nil {
				return err
			}
			if held, err = heldBelow(data); err != nil {
				return err
			}
		}
		if err := b.endNotebook(s.client, name); err != nil {
			return err
		}
		took, kib, err := b.bareLab(python, i == 0)
		if err != nil {
			return err
		}
		floor = append(floor, took)
		bare = max(bare, kib)
	}
	raw("notebook", ours)
	raw("bare jupyter-lab", floor)
	ratio := float64(quantile(ours, 0.5)) / float64(quantile(floor, 0.5))
	b.add(row{
		name: "Notebook instance, CreateNotebookInstance → InService, JupyterLab in it answers", ours: times(ours),
		floor: fmt.Sprintf("bare jupyter-lab → 200 %s (Clary takes %.2f×)", times(floor), ratio), goal: "≤ 1.15× bare", met: reached(ratio <= 1.15), note: notes["notebook"],
	})
	b.add(row{
		name: "Idle memory (PSS) of a notebook instance, all its processes", ours: mib(held), floor: "bare jupyter-lab " + mib(bare), note: notes["notebookMemory"],
	})
	return nil
}

// notebook makes an instance and gives the time until it is in service.
func (b *bench) notebook(c *client, name string) (time.Duration, error) {
	began := time.Now()
	err := c.json(b.ctx, "sagemaker", "CreateNotebookInstance", map[string]any{
		"NotebookInstanceName": name, "InstanceType": "ml.t3.medium", "RoleArn": "arn:aws:iam::123456789012:role/SageMakerRole",
	}, nil)
	if err != nil {
		return 0, err
	}
	if err := b.notebookIs(c, name, "InService"); err != nil {
		return 0, err
	}
	return time.Since(began), nil
}

// notebookIs waits for a status.
func (b *bench) notebookIs(c *client, name, status string) error {
	for {
		var now struct{ NotebookInstanceStatus, FailureReason string }
		if err := c.json(b.ctx, "sagemaker", "DescribeNotebookInstance", map[string]string{"NotebookInstanceName": name}, &now); err != nil {
			return err
		}
		switch now.NotebookInstanceStatus {
		case status:
			return nil
		case "Failed":
			return fmt.Errorf("notebook instance %s: %s", name, now.FailureReason)
		}
		if err := b.pause(5 * time.Millisecond); err != nil {
			return err
		}
	}
}

func (b *bench) endNotebook(c *client, name string) error {
	if err := c.json(b.ctx, "sagemaker", "StopNotebookInstance", map[string]string{"NotebookInstanceName": name}, nil); err != nil {
		return err
	}
	if err := b.notebookIs(c, name, "Stopped"); err != nil {
		return err
	}
	if err := c.json(b.ctx, "sagemaker", "DeleteNotebookInstance", map[string]string{"NotebookInstanceName": name}, nil); err != nil {
		return err
	}
	for c.json(b.ctx, "sagemaker", "DescribeNotebookInstance", map[string]string{"NotebookInstanceName": name}, nil) == nil {
		if err := b.pause(20 * time.Millisecond); err != nil {
			return err
		}
	}
	return nil // it is gone
}

// bareLab starts jupyter-lab as anyone would and gives the time until it
// answers, and what it holds a while later if that is asked for.
func (b *bench) bareLab(python string, weigh bool) (took time.Duration, kib int64, err error) {
	home, err := os.MkdirTemp(b.dir, "lab-")
	if err != nil {
		return 0, 0, err
	}
	addr, err := port()
	if err != nil {
		return 0, 0, err
	}
	_, number, err := net.SplitHostPort(addr)
	if err != nil {
		return 0, 0, err
	}
	cmd := exec.CommandContext(b.ctx, python, "-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1", "--port="+number, "--port-retries=0", "--allow-root",
		"--IdentityProvider.token=", "--ServerApp.root_dir="+home)
	cmd.Env = append(os.Environ(), "HOME="+home, "PYTHONDONTWRITEBYTECODE=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, 0, err
	}
	defer func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // it has nothing to lose
		_ = cmd.Wait()
	}()
	for {
		resp, err := http.Get("http://" + addr + "/api/status") //nolint:noctx // loopback
		if err == nil {
			_ = resp.Body.Close() // only its status counts
			if resp.StatusCode == http.StatusOK {
				break
			}
		}
		if err := b.pause(5 * time.Millisecond); err != nil {
			return 0, 0, err
		}
	}
	took = time.Since(began)
	if weigh {
		if err := b.pause(settle); err != nil {
			return 0, 0, err
		}
		kib, err = pss(cmd.Process.Pid)
	}
	return took, kib, err
}

// heldBelow is the memory of the tasks of a data folder: supervisors, init and
// all below them. The server itself is none of them.
func heldBelow(data string) (int64, error) {
	ps, err := daemon.Processes()
	if err != nil {
		return 0, err
	}
	var sum int64
	for _, p := range daemon.Below(ps, filepath.Join(data, "tasks")) {
		if kib, err := pss(p.PID); err == nil { // else it is gone
			sum += kib
		}
	}
	return sum, nil
}
