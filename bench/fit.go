package main

import (
	"bufio"
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

//go:embed fit/v2.py
var fitV2 string

//go:embed fit/v3.py
var fitV3 string

const fitRounds = 3

// fitted is one job: how long its caller waited, how much of that before the
// job was asked for, and how long the job was.
type fitted struct{ Asked, Before, Fit, Job float64 }

// over is what the caller waited beyond the job that it had asked for. What the
// SDK does before it asks is a figure of its own.
func (f fitted) over() time.Duration { return seconds(f.Fit - f.Before - f.Job) }

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// fitRows measure how long the SageMaker SDKs' own waiting takes beyond the
// job, with Describe held as it is by default and as --hold-describe does. The
// job itself is the floor, and what the SDK does before it asks for it.
func (b *bench) fitRows() error {
	venvs, err := b.venvs()
	if err != nil {
		return err
	}
	for _, c := range []struct {
		sdk, script, call string
		held              bool
		short             bool // jobs below the SDK's first pause
		goal              time.Duration
	}{
		{"V2", fitV2, "fit() of SDK v2", false, true, 5300 * time.Millisecond},
		{"V3", fitV3, "train() of SDK v3", false, true, 0},
		{"V2", fitV2, "fit() of SDK v2", true, false, 300 * time.Millisecond},
		{"V3", fitV3, "train() of SDK v3", true, false, 300 * time.Millisecond},
	} {
		var flags []string
		jobs, what := []string{"1", "2", "4"}, "jobs of 1 to 4 s"
		if !c.short {
			jobs, what = []string{"6", "12"}, "jobs of 6 and 12 s"
		}
		if c.held {
			flags = []string{"--hold-describe", "50s"}
			what += ", --hold-describe=50s"
		}
		all, err := b.fit(venvs[c.sdk], c.script, jobs, flags)
		if err != nil {
			return fmt.Errorf("%s: %w", c.call, err)
		}
		var over, took, before, floor []time.Duration
		for _, f := range all {
			over, took = append(over, f.over()), append(took, seconds(f.Fit))
			before, floor = append(before, seconds(f.Before)), append(floor, seconds(f.Job))
		}
		raw("fit "+c.sdk+" "+what, took)
		raw("before CreateTrainingJob", before)
		raw("job", floor)
		r := row{name: c.call + ", " + what, note: notes["fit"]}
		if c.short {
			r.ours, r.floor = times(took), "the job itself "+times(floor)+"; the SDK before it asks for it "+times(before)
			if c.goal > 0 {
				r.goal, r.met = "≤ 5.3 s", reached(slices.Max(took) <= c.goal)
			}
		} else {
			r.ours, r.floor = times(over)+" beyond the job", "the job itself; the SDK before it asks for it "+times(before)
			r.goal, r.met, r.note = "≤ 0.3 s beyond", reached(slices.Max(over) <= c.goal), notes["fitHeld"]
		}
		b.add(r)
	}
	return nil
}

// venvs are the tests' environments with the SDKs.
func (b *bench) venvs() (map[string]string, error) {
	cmd := exec.CommandContext(b.ctx, "go", "run", "./tool/setup")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%v: %w", cmd.Args, err)
	}
	venvs := map[string]string{}
	for line := range strings.Lines(string(out)) {
		if name, dir, ok := strings.Cut(strings.TrimSpace(strings.TrimPrefix(line, "export CLARY_VENV_")), "="); ok {
			venvs[name] = dir
		}
	}
	return venvs, nil
}

// fit runs a script with an SDK against a server of its own. What the first job
// builds is there for the others, and the first is not counted.
func (b *bench) fit(venv, script string, jobs, flags []string) (all []fitted, err error) {
	data := filepath.Join(b.dir, "jobs")
	s, err := b.startClary(data, flags...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	if err := b.announced(data, s); err != nil {
		return nil, err
	}
	args := []string{"run", "--data", data, "--", filepath.Join(venv, "bin", "python"), "-c", script, "0"}
	for range fitRounds {
		args = append(args, jobs...)
	}
	cmd := exec.CommandContext(b.ctx, b.clary, args...)
	var log bytes.Buffer
	cmd.Stderr = &log
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%w: %.2000s", err, log.String())
	}
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		text, ok := strings.CutPrefix(lines.Text(), "FIT ")
		if !ok {
			continue
		}
		var f fitted
		if err := json.Unmarshal([]byte(text), &f); err != nil {
			return nil, err
		}
		if f.Asked > 0 {
			all = append(all, f)
		}
	}
	if want := fitRounds * len(jobs); len(all) != want {
		return nil, fmt.Errorf("%d of %d jobs were told", len(all), want)
	}
	return all, nil
}

// announced waits until the data folder names this server, and not the one
// before it, to other verbs.
func (b *bench) announced(data string, s *server) error {
	for deadline := time.Now().Add(time.Minute); b.ctx.Err() == nil && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		var r struct{ PID int }
		text, err := os.ReadFile(filepath.Join(data, "run", "server.json"))
		if err == nil && json.Unmarshal(text, &r) == nil && r.PID == s.cmd.Process.Pid {
			return nil
		}
	}
	return errors.Join(b.ctx.Err(), errors.New("the server did not say where it listens"))
}
