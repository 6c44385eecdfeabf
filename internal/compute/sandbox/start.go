package sandbox

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"clary/internal/compute"
	"clary/internal/compute/sandbox/task"
)

// The host ids of tasks lie above those that distributions hand out to users,
// services and containers. Each task has two.
const (
	firstUID = 1_900_000_000
	lastUID  = 2_000_000_000
)

// Start accepts a task durably and starts its supervisor.
func (d *Driver) Start(_ context.Context, t compute.Task) error {
	if err := checkID(t.ID); err != nil {
		return err
	}
	if err := d.accept(t); err != nil {
		return fmt.Errorf("task %s: %w", t.ID, err)
	}
	if _, err := task.ReadStatus(d.dir(t.ID)); !errors.Is(err, fs.ErrNotExist) {
		return nil // it has begun; Status tells how it goes
	}
	if alive, err := task.Alive(d.dir(t.ID)); err != nil || alive {
		return err
	}
	return d.spawn(t.ID)
}

// accept writes the task's folder, whole and on disk, or finds it written.
func (d *Driver) accept(t compute.Task) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.known(t.ID); err == nil {
		return nil
	} else if !errors.Is(err, compute.ErrNotFound) {
		return err
	}
	if err := d.admit(); err != nil {
		return err
	}
	s, err := d.spec(t)
	if err != nil {
		return err
	}
	tmp := filepath.Join(d.cfg.Dir, "."+string(t.ID))
	if err := os.RemoveAll(tmp); err != nil {
		return err
	}
	if err := os.Mkdir(tmp, 0o700); err != nil {
		return err
	}
	if err := task.Write(tmp, task.SpecFile, s, task.Durable); err != nil {
		return err
	}
	if err := os.Rename(tmp, d.dir(t.ID)); err != nil {
		return err
	}
	if err := task.SyncDir(d.cfg.Dir); err != nil {
		return err
	}
	d.uids[s.HostUID] = t.ID
	return nil
}

func (d *Driver) spec(t compute.Task) (*task.Spec, error) {
	secret, err := credentialsPath()
	if err != nil {
		return nil, err
	}
	machine, err := machineSize()
	if err != nil {
		return nil, err
	}
	s := &task.Spec{
		Task: t, Created: time.Now(), CredentialsPath: secret,
		APISocket: d.cfg.APISocket, CABundle: d.cfg.CABundle, UploadLimit: d.cfg.UploadLimit, MaxOutput: d.cfg.MaxOutput,
		Egress: task.Egress{Allow: d.cfg.EgressAllow, HTTPProxy: d.cfg.HTTPProxy, HTTPSProxy: d.cfg.HTTPSProxy, NoProxy: d.cfg.NoProxy},
		Limits: task.Limits{
			VCPU: min(t.Resources.VCPU, machine.VCPU), MemoryBytes: min(t.Resources.MemoryBytes, machine.MemoryBytes),
			DiskBytes: t.Resources.DiskBytes, PIDs: t.Resources.PIDs,
		},
	}
	if d.root {
		if s.HostUID, err = d.freeUID(); err != nil {
			return nil, err
		}
	}
	s.Env, s.Filter = environment(s), d.filter
	return s, nil
}

// freeUID finds a pair that no task of this folder has. Folders begin at
// different places, so that two servers of one machine hardly meet.
func (d *Driver) freeUID() (int, error) {
	const pairs = (lastUID - firstUID) / 2
	h := fnv.New32a()
	_, _ = h.Write([]byte(d.cfg.Dir))
	first := int(h.Sum32()) % pairs
	for i := range pairs {
		uid := firstUID + (first+i)%pairs*2
		if _, used := d.uids[uid]; !used {
			return uid, nil
		}
	}
	return 0, fmt.Errorf("%w: every user id is taken", compute.ErrCapacity)
}

// spawn starts a supervisor that nothing ties to this process: a session of
// its own, no descriptor of ours, no signal when we end.
func (d *Driver) spawn(id compute.TaskID) error {
	dir := d.dir(id)
	log, err := os.OpenFile(filepath.Join(dir, task.LogFile), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("task %s: %w", id, err)
	}
	defer log.Close()
	cmd := exec.Command(d.cfg.TaskBinary, "supervise", dir) //nolint:noctx // it must outlive every context
	cmd.Dir = "/"
	cmd.Env = []string{"GOMAXPROCS=2", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	ready, stdin, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("task %s: %w", id, err)
	}
	cmd.Stdin, cmd.Stderr = stdin, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start()
	_ = stdin.Close()
	if err != nil {
		_ = ready.Close()
		return fmt.Errorf("task %s: start supervisor: %w", id, err)
	}
	go func() { _ = cmd.Wait() }() // collects it, should we live longer
	d.watchFrom(id, ready)
	return nil
}
