package catalog

import (
	"errors"
	"regexp"
	"strings"
	"testing"

	"clary/internal/runtimes"
)

var (
	system311 = Python{"/usr/bin/python3.11", "/usr", 11, "3.11.2"}
	system313 = Python{"/usr/bin/python3.13", "/usr", 13, "3.13.1"}
	system314 = Python{"/usr/bin/python3.14", "/usr", 14, "3.14.0"}
	home311   = Python{"/root/.pyenv/versions/3.11.7/bin/python3.11", "/root/.pyenv/versions/3.11.7", 11, "3.11.7"}
	home312   = Python{"/root/.pyenv/versions/3.12.1/bin/python3.12", "/root/.pyenv/versions/3.12.1", 12, "3.12.1"}
	system310 = Python{"/usr/bin/python3.10", "/usr", 10, "3.10.1"}
)

func TestMatchAndChoose(t *testing.T) {
	t.Parallel()
	const ecr = "683313688378.dkr.ecr.us-east-1.amazonaws.com/"
	for _, tt := range []struct {
		uri     string
		pythons []Python
		want    string // recipe-version-py3N, "none" or "unknown"
		note    string // part of it
	}{
		{ecr + "sagemaker-scikit-learn:1.2-1-cpu-py3", []Python{system311}, "scikit-learn-1.2.1-py311", ""},
		{"141502667606.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-scikit-learn:1.4-2-cpu-py3", []Python{system311}, "scikit-learn-1.4.2-py311", ""},
		{"123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn/sagemaker-scikit-learn:1.2-1", []Python{system311}, "scikit-learn-1.2.1-py311", ""},
		{ecr + "sagemaker-scikit-learn:0.20.0-cpu-py3", []Python{system311}, "scikit-learn-1.1.3-py311", "scikit-learn 1.1.3 instead of 0.20"},
		{ecr + "sagemaker-scikit-learn:0.23-1-cpu-py3", []Python{system311}, "scikit-learn-1.1.3-py311", "instead of 0.23"},
		{ecr + "sagemaker-scikit-learn:1.0-1-cpu-py3", []Python{system311}, "scikit-learn-1.1.3-py311", "instead of 1.0"},
		{ecr + "sagemaker-scikit-learn:1.2-1-cpu-py3", []Python{home312}, "scikit-learn-1.3.2-py312", "nearest newer version with wheels for this machine's Python 3.12"},
		{ecr + "sagemaker-scikit-learn:1.2-1-cpu-py3", []Python{system313}, "scikit-learn-1.5.2-py313", "scikit-learn 1.5.2 instead of 1.2"},
		{ecr + "sagemaker-scikit-learn:1.2-1-cpu-py3", []Python{system314}, "scikit-learn-1.7.2-py314", "scikit-learn 1.7.2 instead of 1.2"},
		{ecr + "sagemaker-scikit-learn:1.9-1-cpu-py3", []Python{system311}, "scikit-learn-1.4.2-py311", "the newest version that this catalog has"},
		// a system interpreter goes before one of somebody's home
		{ecr + "sagemaker-scikit-learn:1.2-1-cpu-py3", []Python{system313, home311}, "scikit-learn-1.5.2-py313", "1.5.2 instead of 1.2"},
		{ecr + "sagemaker-scikit-learn:1.2-1-cpu-py3", []Python{home312, home311}, "scikit-learn-1.2.1-py311", ""},
		{ecr + "sagemaker-scikit-learn:1.2-1-cpu-py3", []Python{system310}, "none", ""},
		{ecr + "sagemaker-scikit-learn:1.2-1-cpu-py3", nil, "none", ""},
		{"081325390199.dkr.ecr.us-east-1.amazonaws.com/sagemaker-base-python-310:1.0", []Python{system311}, "base-python-1-py311", "Python 3.11 instead of 3.10"},
		{"081325390199.dkr.ecr.us-east-1.amazonaws.com/sagemaker-base-python:1.0", []Python{system313}, "base-python-1-py313", ""},
		{"885854791233.dkr.ecr.us-east-1.amazonaws.com/sagemaker-distribution-prod:3.2.0-cpu", []Python{system311}, "scikit-learn-1.4.2-py311", "alone"},
		{"python:3.11", []Python{system311}, "base-python-1-py311", ""},
		{"python", []Python{system311}, "base-python-1-py311", ""},
		{"docker.io/library/python:3.13.1-slim-bookworm", []Python{system311, system313}, "base-python-1-py313", ""},
		{"public.ecr.aws/docker/library/python:3.12", []Python{system311}, "base-python-1-py311", "Python 3.11 instead of 3.12"},
		{"localhost:5000/python:3.11@sha256:" + strings.Repeat("0", 64), []Python{system311}, "base-python-1-py311", ""},
		{"173754725891.dkr.ecr.us-east-1.amazonaws.com/sagemaker-spark-processing:3.5-cpu-py39-v1.0", []Python{system311}, "spark-3.5.9-py311", "not s3://"},
		{"173754725891.dkr.ecr.us-east-1.amazonaws.com/sagemaker-spark-processing:3.3-cpu", []Python{home311}, "spark-3.5.9-py311", "Spark 3.5.9 instead of 3.3: the nearest newer"},
		{ecr + "sagemaker-spark-processing:3.5-cpu", []Python{system313, home311}, "spark-4.1.4-py313", "Spark 4.1.4 instead of 3.5"},
		{ecr + "sagemaker-spark-processing:latest", []Python{system311}, "unknown", ""},
		{"python:2.7", []Python{system311}, "unknown", ""},
		{"python@sha256:" + strings.Repeat("0", 64), []Python{system311}, "unknown", ""},
		{ecr + "sagemaker-scikit-learn", []Python{system311}, "unknown", ""},
		{ecr + "sagemaker-scikit-learn:latest", []Python{system311}, "unknown", ""},
		{ecr + "sagemaker-xgboost:1.7-1", []Python{system311}, "xgboost-2.1.4-py311", "XGBoost 2.1.4 instead of 1.7: the nearest newer"},
		{ecr + "sagemaker-xgboost:3.0-5", []Python{system314}, "xgboost-3.0.5-py314", ""},
		{ecr + "sagemaker-xgboost:1.2-2-cpu-py3", []Python{system314}, "xgboost-3.0.5-py314", "XGBoost 3.0.5 instead of 1.2"},
		{"811284229777.dkr.ecr.us-east-1.amazonaws.com/xgboost:1", []Python{system311}, "xgboost-2.1.4-py311", "instead of 0.72"},
		{ecr + "sagemaker-xgboost:latest", []Python{system311}, "unknown", ""},
		{"763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-training:2.3.0-gpu-py311", []Python{system311}, "pytorch-2.15.0-py311", "PyTorch 2.15.0 instead of 2.3"},
		{"763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-inference:2.15-cpu-py312", []Python{system313}, "pytorch-2.15.0-py313", ""},
		{"763104351884.dkr.ecr.us-east-1.amazonaws.com/tensorflow-inference:2.16-cpu", []Python{system311}, "tensorflow-2.21.0-py311", "TensorFlow 2.21.0 instead of 2.16"},
		{"763104351884.dkr.ecr.us-east-1.amazonaws.com/tensorflow-training:2.21", []Python{system314}, "none", ""},
		{"763104351884.dkr.ecr.us-east-1.amazonaws.com/huggingface-pytorch-inference:2.1.0-transformers4.37.0-cpu-py310-ubuntu22.04", []Python{system311}, "huggingface-2.15.0-py311", "on PyTorch 2.15.0 instead of 2.1"},
		{"763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-training:latest", []Python{system311}, "unknown", ""},
		{"763104351884.dkr.ecr.us-east-1.amazonaws.com/mxnet-training:1.9.0-gpu-py38", []Python{system311}, "unknown", ""},
		{"", nil, "unknown", ""},
		{"my-scikit-learn:1.2-1", nil, "unknown", ""},
	} {
		w, err := match(tt.uri)
		if tt.want == "unknown" {
			if !errors.Is(err, runtimes.ErrUnknownImage) || !strings.Contains(err.Error(), tt.uri) || !strings.Contains(err.Error(), "requirements.txt") {
				t.Errorf("%s: %v", tt.uri, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tt.uri, err)
			continue
		}
		got := "none"
		c, ok := choose(w, tt.pythons)
		if ok {
			got = strings.TrimSuffix(strings.TrimPrefix(c.variant.lockFile(c.python.Minor), "locks/"), ".txt")
		}
		if got != tt.want || (tt.note == "") != (c.note == "") || !strings.Contains(c.note, tt.note) {
			t.Errorf("%s on %v: %s, %q", tt.uri, tt.pythons, got, c.note)
		}
	}
}

// Each lock pins what its recipe says, by hash, for both machines.
func TestLocks(t *testing.T) {
	t.Parallel()
	form := regexp.MustCompile(`^(# [^\n]*\n)?([a-z0-9-]+==[A-Za-z0-9.]+( ; platform_machine == '[a-z0-9_]+')?( \\\n    --hash=sha256:[0-9a-f]{64})+\n)+$`)
	files := map[string]bool{"uv.txt": true}
	for _, v := range Variants() {
		for _, minor := range v.Pythons {
			lock, err := v.lock(minor)
			if err != nil {
				t.Error(err)
				continue
			}
			files[strings.TrimPrefix(v.lockFile(minor), "locks/")] = true
			if !form.Match(lock) {
				t.Errorf("%s is no lock", v.lockFile(minor))
			}
			for _, pin := range v.Pins {
				pin, _, _ = strings.Cut(pin, ";")
				name, version, exact := strings.Cut(pin, "==")
				name, _, _ = strings.Cut(name, "<")
				got := versionOf(lock, name)
				if got == "" || exact && got != version {
					t.Errorf("%s: %s is %q", v.lockFile(minor), pin, got)
				}
			}
		}
	}
	entries, err := locks.ReadDir("locks")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !files[e.Name()] {
			t.Errorf("%s belongs to no recipe", e.Name())
		}
	}
	uv, err := locks.ReadFile("locks/uv.txt")
	if err != nil || !form.Match(uv) || versionOf(uv, "uv") == "" {
		t.Errorf("uv.txt: %v", err)
	}
}

func FuzzMatch(f *testing.F) {
	for _, s := range []string{"a/sagemaker-scikit-learn:1.2-1-cpu-py3", "a/sagemaker-spark-processing:3.5-cpu", "python:3", "x@y", ":::", "//"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, uri string) {
		w, err := match(uri)
		if err != nil {
			if !errors.Is(err, runtimes.ErrUnknownImage) {
				t.Error(err)
			}
			return
		}
		if _, ok := choose(w, []Python{system311}); !ok {
			t.Errorf("%q matched and has no variant", uri)
		}
	})
}
