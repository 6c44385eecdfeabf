package serve

import (
	"fmt"
	"maps"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"clary/internal/stage/scripts"
)

// defaultScript is what sagemaker-inference looks for when nothing is named.
const defaultScript = "inference.py"

// What one request may hold: what the largest payload of a batch transform may.
const mostBytes = 100 << 20

func newSettings(framework, base string, environ []string) (*settings, error) {
	s := &settings{framework: framework, base: base, env: map[string]string{}, most: mostBytes}
	for _, e := range environ {
		if k, v, ok := strings.Cut(e, "="); ok && s.env[k] == "" {
			s.env[k] = v
		}
	}
	number := func(fallback, least int, names ...string) (int, error) {
		for _, name := range names {
			text := s.env[name]
			if text == "" {
				continue
			}
			n, err := strconv.Atoi(text)
			if err != nil || n < least {
				return 0, fmt.Errorf("%s is %q: it must be a whole number of at least %d", name, text, least)
			}
			return n, nil
		}
		return fallback, nil
	}
	var err error
	if s.port, err = number(8080, 1, "SAGEMAKER_BIND_TO_PORT"); err != nil {
		return nil, err
	}
	cpus, err := number(runtime.NumCPU(), 1, "SM_NUM_CPUS")
	if err != nil {
		return nil, err
	}
	if s.workers, err = number(min(cpus, runtime.NumCPU()), 1, "SAGEMAKER_MODEL_SERVER_WORKERS", "MODEL_SERVER_WORKERS"); err != nil {
		return nil, err
	}
	seconds, err := number(60, 0, "SAGEMAKER_MODEL_SERVER_TIMEOUT", "MODEL_SERVER_TIMEOUT")
	if err != nil {
		return nil, err
	}
	s.timeout = time.Duration(seconds) * time.Second
	if framework == XGBoost {
		most, err := number(6<<20, 1, "MAX_CONTENT_LENGTH")
		if err != nil {
			return nil, err
		}
		s.most = min(int64(most), 20<<20)
	}
	return s, s.find()
}

// find says which script serves and where it comes from.
func (s *settings) find() error {
	s.program, s.source = s.env["SAGEMAKER_PROGRAM"], s.env["SAGEMAKER_SUBMIT_DIRECTORY"]
	if s.program == "" && s.framework == XGBoost {
		return nil
	}
	packed := isDir(s.inModel())
	if s.program == "" {
		if !packed || !isFile(filepath.Join(s.inModel(), defaultScript)) {
			if slices.Contains([]string{PyTorch, TensorFlow, HuggingFace}, s.framework) {
				return nil
			}
			return fmt.Errorf("the model names no script: put code/%s into model.tar.gz, or set SAGEMAKER_PROGRAM and SAGEMAKER_SUBMIT_DIRECTORY. It must define model_fn(model_dir)", defaultScript)
		}
		s.program = defaultScript
	}
	if s.source == "" {
		s.source = filepath.Join(s.base, "code")
		if packed {
			s.source = s.inModel()
		}
	}
	// The framework images copy what they serve; sagemaker-inference has it in
	// place.
	if s.framework != ScikitLearn && s.framework != XGBoost && isDir(s.source) && !isFile(filepath.Join(s.source, "setup.py")) {
		s.code = s.source
	}
	return nil
}

// prepare lays out what the workers run.
func (s *settings) prepare() error {
	var err error
	if s.python, err = (&server{settings: s}).sources().Python(); err != nil {
		return err
	}
	s.scripts, err = scripts.Lay()
	return err
}

// environ is a worker's environment.
func (s *settings) environ() []string {
	env := maps.Clone(s.env)
	path := []string{s.scripts}
	if s.code != "" {
		path = append(path, s.code)
	}
	if p := env["PYTHONPATH"]; p != "" {
		path = append(path, p)
	}
	env["PYTHONPATH"] = strings.Join(path, ":")
	env["CLARY_WORKERS"] = strconv.Itoa(s.workers)
	if env["SM_MODEL_DIR"] == "" {
		env["SM_MODEL_DIR"] = filepath.Join(s.base, "model")
	}
	// What one request frees, the next one takes: given back to the system in
	// between, each page costs a fault and is cleared anew.
	if env["MALLOC_MMAP_THRESHOLD_"] == "" && env["MALLOC_TRIM_THRESHOLD_"] == "" {
		env["MALLOC_MMAP_THRESHOLD_"], env["MALLOC_TRIM_THRESHOLD_"] = strconv.Itoa(32<<20), strconv.Itoa(128<<20)
	}
	out := make([]string, 0, len(env))
	for _, k := range slices.Sorted(maps.Keys(env)) {
		out = append(out, k+"="+env[k])
	}
	return out
}
