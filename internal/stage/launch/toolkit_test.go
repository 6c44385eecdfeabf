package launch

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// With -toolkit=PATH the cases are run by the real training toolkit's train
// too and compared; -update then records what it did. Without it the record in
// testdata is the measure.
var (
	toolkit = flag.String("toolkit", os.Getenv("CLARY_TOOLKIT"), "the real toolkit's train program")
	update  = flag.Bool("update", false, "record what the toolkit does")
)

// outcome is all that a script and a client can see of a launch.
type outcome struct {
	Code    int
	Args    []string          `json:",omitempty"`
	Dir     string            `json:",omitempty"`
	Env     map[string]string `json:",omitempty"`
	Failure string            `json:",omitempty"`
	Files   []string          // below code/ and output/
}

const dump = `
import json, os, sys
keep = ("SM_", "SAGEMAKER_", "CURRENT_HOST", "TRAINING_JOB")
with open(os.environ["DUMP"], "w") as f:
    json.dump({"Args": sys.argv, "Dir": os.getcwd(), "Env": {k: v for k, v in os.environ.items() if k.startswith(keep)}}, f)
`

type toolkitCase struct {
	name    string
	hps     map[string]string // added to the usual ones
	program string
	sources map[string]string
	archive bool // pass them as sourcedir.tar.gz
	// codeDiffers: the toolkit ends with 1 whatever the script ended with.
	codeDiffers bool
}

func toolkitCases() []toolkitCase {
	py := map[string]string{"train.py": dump}
	return []toolkitCase{
		{name: "values", program: "train.py", sources: py, hps: map[string]string{
			"epochs": "3", "lr": "0.10", "flag": "true", "off": "false", "nothing": "null", "name": `"a b"`, "raw": "plain text",
			"lst": `[1, "x", null, true, 2.50, ["it's"], {"z": 1, "a": "q\"'"}]`, "obj": `{"b": {"d": 1.0, "c": null}, "a": "x y"}`,
			"x": "1", "big": "12345678901234567890", "small": "1e-7", "large": "1e16", "mid": "123456789.125", "neg": "-0.0", "inf": "1e999",
			"empty": `""`, "model-dir": `"d"`, "nan": "NaN", "minf": "-Infinity", "uni": `"ü\u2028😀"`, "quote": `"it's"`, "multi": `"a\nb"`,
			"half": `{"a":`, "int0": "-0", "exp": "1E5", "sp": " 7 ", "z": `[]`, "e": `{}`, "f1": "100000000000000000000.0", "f2": "0.0001", "f3": "0.00001",
			"quoted": `"\"x\""`,
		}},
		{name: "channels", program: "train.py", sources: py},
		{name: "framework parameters", program: "train.py", sources: py, hps: map[string]string{"sagemaker_custom": "1", "sagemaker_other": `"x"`, "_tuning_objective_metric": `"loss"`}},
		{name: "folder", program: "bin/train.py", sources: map[string]string{"bin/train.py": dump}},
		{name: "archive", program: "train.py", sources: map[string]string{"train.py": dump, "lib/util.py": "x = 1\n"}, archive: true},
		{
			name: "shell", program: "run.sh", sources: map[string]string{"run.sh": "#!/bin/sh\npython dump.py \"$@\"\n", "dump.py": dump},
			hps: map[string]string{"text": `"a 'b' $HOME"`, "n": "1"},
		},
		{name: "exit code", program: "train.py", sources: map[string]string{"train.py": "import sys; sys.exit(3)\n"}, codeDiffers: true},
		{name: "exception", program: "train.py", sources: map[string]string{"train.py": "raise ValueError('bad data')\n"}},
		{name: "own failure file", program: "train.py", sources: map[string]string{"train.py": "import os\nopen(os.environ['SM_OUTPUT_DIR'] + '/failure', 'w').write('mine')\nraise SystemExit(1)\n"}},
		{name: "option as name", program: "-c.py", sources: py},
		{name: "absolute name", program: "/etc/passwd", sources: py},
		{name: "parent name", program: "a/../../train.py", sources: py},
		{name: "spaces in name", program: "my train.py", sources: py},
	}
}

func (c toolkitCase) prepare(t *testing.T) (base string) {
	t.Helper()
	base = t.TempDir()
	write := func(name, data string) {
		t.Helper()
		p := filepath.Join(base, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	hps := map[string]string{
		"sagemaker_submit_directory": strconv.Quote(base + "/src"), "sagemaker_program": strconv.Quote(c.program),
		"sagemaker_container_log_level": "20", "sagemaker_job_name": `"job-1"`, "sagemaker_region": `"us-east-1"`,
	}
	for n, data := range c.sources {
		write("src/"+n, data)
	}
	if c.archive {
		write("in/sourcedir.tar.gz", tarball(t, c.sources))
		hps["sagemaker_submit_directory"] = strconv.Quote(base + "/in/sourcedir.tar.gz")
	}
	maps.Copy(hps, c.hps)
	data, err := json.Marshal(hps)
	if err != nil {
		t.Fatal(err)
	}
	write("input/config/hyperparameters.json", string(data))
	write("input/config/inputdataconfig.json", `{"train":{"TrainingInputMode":"File","ContentType":"text/csv","S3DistributionType":"FullyReplicated","RecordWrapperType":"None"},"Test-1":{"TrainingInputMode":"File"}}`)
	write("input/config/resourceconfig.json", `{"current_host":"localhost","current_instance_type":"ml.m5.large","current_group_name":"homogeneousCluster","hosts":["localhost"],"instance_groups":[{"instance_group_name":"homogeneousCluster","instance_type":"ml.m5.large","hosts":["localhost"]}],"network_interface_name":"eth0"}`)
	for _, d := range []string{"model", "output/data"} {
		if err := os.MkdirAll(filepath.Join(base, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return base
}

func tarball(t *testing.T, files map[string]string) string {
	t.Helper()
	var b bytes.Buffer
	gz := gzip.NewWriter(&b)
	tw := tar.NewWriter(gz)
	for _, n := range slices.Sorted(maps.Keys(files)) {
		if err := tw.WriteHeader(&tar.Header{Name: n, Mode: 0o644, Size: int64(len(files[n]))}); err != nil {
			t.Fatal(err)
		}
		if _, err := tw.Write([]byte(files[n])); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(tw.Close(), gz.Close()); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// pythonDir is a folder that holds python and nothing else.
func pythonDir(t *testing.T) string {
	t.Helper()
	p := "/usr/bin/python3"
	if _, err := os.Stat(p); err != nil {
		if p, err = exec.LookPath("python3"); err != nil {
			t.Fatal("these tests need python3")
		}
	}
	dir := t.TempDir()
	if err := os.Symlink(p, filepath.Join(dir, "python")); err != nil {
		t.Fatal(err)
	}
	return dir
}

func (c toolkitCase) environ(base, path string) []string {
	return []string{
		"PATH=" + path + ":/usr/bin:/bin", "DUMP=" + base + "/dump.json", "TRAINING_JOB_NAME=job-1", "AWS_REGION=us-east-1",
		"HOME=" + base, "PYTHONDONTWRITEBYTECODE=1", "LANG=C.UTF-8",
	}
}

func seen(t *testing.T, base string, code int, python string) outcome {
	t.Helper()
	o := outcome{Code: code}
	if data, err := os.ReadFile(base + "/dump.json"); err == nil {
		if err := json.Unmarshal(data, &o); err != nil {
			t.Fatal(err)
		}
	}
	if data, err := os.ReadFile(base + "/output/failure"); err == nil {
		o.Failure = string(data)
	}
	for _, d := range []string{"code", "output"} {
		_ = filepath.WalkDir(filepath.Join(base, d), func(p string, e os.DirEntry, err error) error {
			if err == nil && !e.IsDir() {
				rel, _ := filepath.Rel(base, p)
				o.Files = append(o.Files, rel)
			}
			return nil
		})
	}
	delete(o.Env, "SAGEMAKER_BASE_DIR") // how the toolkit is told its base
	data, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(data), base, "/opt/ml")
	text = strings.ReplaceAll(text, python, "PYTHON")
	cpus := regexp.MustCompile(`(SM_NUM_CPUS":"|num_cpus\\":)\d+`)
	text = cpus.ReplaceAllString(text, "${1}N")
	out := outcome{}
	if err := json.Unmarshal([]byte(text), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func (c toolkitCase) ours(t *testing.T) outcome {
	t.Helper()
	base, dir := c.prepare(t), pythonDir(t)
	var log bytes.Buffer
	code := Main(context.Background(), base, c.environ(base, dir), &log, &log)
	t.Logf("%s", log.String())
	return seen(t, base, code, dir+"/python")
}

func (c toolkitCase) theirs(t *testing.T) outcome {
	t.Helper()
	base := c.prepare(t)
	dir := filepath.Dir(*toolkit)
	cmd := exec.Command(*toolkit)
	cmd.Env = append(c.environ(base, dir), "SAGEMAKER_BASE_DIR="+base)
	out, err := cmd.CombinedOutput()
	code := 0
	if ee, ok := errors.AsType[*exec.ExitError](err); ok {
		code = ee.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s", out)
	return seen(t, base, code, dir+"/python")
}

// TestAsTheToolkit compares the launcher with the toolkit of SageMaker's own
// images: environment, arguments, files, failure.
func TestAsTheToolkit(t *testing.T) {
	t.Parallel()
	for _, c := range toolkitCases() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			golden := filepath.Join("testdata", strings.ReplaceAll(c.name, " ", "_")+".json")
			var want outcome
			if *toolkit != "" {
				want = c.theirs(t)
				if *update {
					data, err := json.MarshalIndent(want, "", "\t")
					if err == nil {
						err = os.WriteFile(golden, append(data, '\n'), 0o644)
					}
					if err != nil {
						t.Fatal(err)
					}
				}
			} else {
				data, err := os.ReadFile(golden)
				if err == nil {
					err = json.Unmarshal(data, &want)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			got := c.ours(t)
			if c.codeDiffers {
				want.Code = got.Code
			}
			compare(t, got, want)
		})
	}
}

// compare knows the two intended differences: our ErrorMessage says why, and
// refusals are in our own words.
func compare(t *testing.T, got, want outcome) {
	t.Helper()
	if got.Code != want.Code {
		t.Errorf("exit code %d, want %d", got.Code, want.Code)
	}
	if !slices.Equal(got.Args, want.Args) || got.Dir != want.Dir {
		t.Errorf("args %q in %s,\nwant %q in %s", got.Args, got.Dir, want.Args, want.Dir)
	}
	if !slices.Equal(got.Files, want.Files) {
		t.Errorf("files %q, want %q", got.Files, want.Files)
	}
	for _, k := range slices.Sorted(maps.Keys(want.Env)) {
		if g, ok := got.Env[k]; !ok || g != want.Env[k] {
			t.Errorf("%s = %q,\nwant %q", k, g, want.Env[k])
		}
	}
	for k, v := range got.Env {
		if _, ok := want.Env[k]; !ok {
			t.Errorf("%s = %q is none of the toolkit's", k, v)
		}
	}
	message := regexp.MustCompile(`(?s)ErrorMessage ".*"\n`)
	g := message.ReplaceAllString(got.Failure, "ErrorMessage \"\"\n")
	w := message.ReplaceAllString(want.Failure, "ErrorMessage \"\"\n")
	if strings.HasPrefix(w, "The training entry point") {
		if !strings.HasPrefix(g, "the entry point") {
			t.Errorf("failure %q, want %q", g, w)
		}
	} else if g != w {
		t.Errorf("failure %q, want %q", g, w)
	}
}

func ExampleMain() {
	fmt.Println(shellQuote("a b"), shellQuote("it's"), shellQuote(""), shellQuote("x=1"))
	// Output: 'a b' 'it'"'"'s' '' x=1
}
