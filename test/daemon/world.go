package daemon

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Task is what lies in the folder of a task, seen from outside.
type Task struct {
	ID     string
	Name   string // of the job, or of what else it is of
	PID    int    // of the supervisor; 0: none has begun
	Phase  string
	Steps  []string
	Exited bool
}

// Tasks reads the folders of the tasks of jobs, notebooks and endpoints; builds of
// runtimes are left out.
func (d *Daemon) Tasks() ([]Task, error) {
	dirs, err := filepath.Glob(filepath.Join(d.Data, "tasks", "[a-z0-9]*"))
	if err != nil {
		return nil, err
	}
	var out []Task
	for _, dir := range dirs {
		var spec struct{ Task struct{ Kind, Name string } }
		if err := readJSON(filepath.Join(dir, "spec.json"), &spec); err != nil || !slices.Contains([]string{"training", "processing", "transform", "notebook", "endpoint"}, spec.Task.Kind) {
			continue // being made or removed
		}
		t := Task{ID: filepath.Base(dir), Name: spec.Task.Name}
		var st struct {
			PID   int
			Phase string
			Steps []struct{ Name string }
			Exit  json.RawMessage
		}
		if readJSON(filepath.Join(dir, "status.json"), &st) == nil {
			t.PID, t.Phase, t.Exited = st.PID, st.Phase, len(st.Exit) > 0 && string(st.Exit) != "null"
			for _, s := range st.Steps {
				t.Steps = append(t.Steps, s.Name)
			}
		}
		out = append(out, t)
	}
	return out, nil
}

// TaskOf finds the task of a job, that of its first instance; nil if there is
// none.
func (d *Daemon) TaskOf(job string) *Task {
	ts, err := d.Tasks()
	if err != nil {
		return nil
	}
	for _, t := range ts {
		if t.Name == job {
			return &t
		}
	}
	return nil
}

func readJSON(path string, v any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, v)
}

// Process is one of the machine's.
type Process struct {
	PID, Parent int
	Args        []string
}

// Processes lists the machine's.
func Processes() ([]Process, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var out []Process
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		stat, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil {
			continue // gone meanwhile
		}
		f := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
		if len(f) < 2 || string(f[0]) == "Z" {
			continue
		}
		parent, _ := strconv.Atoi(string(f[1]))
		args, _ := os.ReadFile("/proc/" + e.Name() + "/cmdline")
		out = append(out, Process{pid, parent, strings.Split(strings.TrimRight(string(args), "\x00"), "\x00")})
	}
	return out, nil
}

// Below are the processes whose arguments name a folder, or a file in it, and
// all that descend from them: what tasks on a data folder run.
func Below(ps []Process, dir string) []Process {
	byPID := make(map[int]Process, len(ps))
	for _, p := range ps {
		byPID[p.PID] = p
	}
	var out []Process
	for _, p := range ps {
		for up, ok := p, true; ok; up, ok = byPID[up.Parent] {
			if strings.Contains(strings.Join(up.Args, " ")+"/", dir+"/") {
				out = append(out, p)
				break
			}
		}
	}
	return out
}

// Clear ends what still runs on a folder, a runtime's build too, which would
// write on, and removes the folder.
func Clear(dir string) error {
	for deadline := time.Now().Add(time.Minute); ; {
		ps, err := Processes()
		if err != nil {
			return err
		}
		for _, p := range Below(ps, dir) {
			_ = syscall.Kill(p.PID, syscall.SIGKILL) // it may end by itself meanwhile
		}
		if err := os.RemoveAll(dir); err == nil || time.Now().After(deadline) {
			return err
		}
	}
}

// Kill ends one process of a task as kill -9 does: "supervisor", "init",
// "stage", "serve" for a model server of ours, or "program" for what the job
// runs.
func (t *Task) Kill(what string) error {
	pid, err := t.find(what)
	if err != nil {
		return err
	}
	return syscall.Kill(pid, syscall.SIGKILL)
}

// Has says whether the task has such a process now.
func (t *Task) Has(what string) bool {
	_, err := t.find(what)
	return err == nil
}

func (t *Task) find(what string) (int, error) {
	ps, err := Processes()
	if err != nil {
		return 0, err
	}
	verb := func(p Process, v string) bool {
		return len(p.Args) > 1 && strings.Contains(p.Args[0], "clary-task") && p.Args[1] == v
	}
	below := map[int]bool{t.PID: true}
	for range 8 { // parents may stand after their children
		for _, p := range ps {
			if below[p.Parent] {
				below[p.PID] = true
			}
		}
	}
	var said []string
	for _, p := range ps {
		if !below[p.PID] {
			continue
		}
		said = append(said, fmt.Sprintf("%d<%d %q", p.PID, p.Parent, p.Args))
		hit := false
		switch what {
		case "supervisor":
			hit = p.PID == t.PID
		case "init", "stage", "serve":
			hit = verb(p, what)
		case "program":
			hit = p.PID != t.PID && (len(p.Args) == 0 || !strings.Contains(p.Args[0], "clary-task"))
		}
		if hit {
			return p.PID, nil
		}
	}
	return 0, fmt.Errorf("task %s of %s has no %s: %s", t.ID, t.Name, what, strings.Join(said, "; "))
}

// Left names what is still there of tasks with these ids: folders, processes,
// control groups, mounts. It is empty when nothing is.
func (d *Daemon) Left(ids ...string) []string {
	var left []string
	found := func(what, where string) {
		for _, id := range ids {
			if strings.Contains(where, id) {
				left = append(left, what+" "+where)
				return
			}
		}
	}
	entries, err := os.ReadDir(filepath.Join(d.Data, "tasks"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		left = append(left, err.Error())
	}
	for _, e := range entries {
		found("folder", e.Name())
	}
	ps, err := Processes()
	if err != nil {
		left = append(left, err.Error())
	}
	for _, p := range ps {
		found(fmt.Sprintf("process %d", p.PID), strings.Join(p.Args, " "))
		if groups, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", p.PID)); err == nil {
			for line := range strings.Lines(string(groups)) {
				found(fmt.Sprintf("process %d %q in group", p.PID, p.Args), strings.TrimSpace(line))
			}
		}
	}
	_ = filepath.WalkDir("/sys/fs/cgroup", func(p string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() && strings.HasPrefix(e.Name(), "clary-") {
			found("control group", p)
		}
		return nil
	})
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		left = append(left, err.Error())
	}
	for line := range strings.Lines(string(mounts)) {
		found("mount", strings.TrimSpace(line))
	}
	return left
}
