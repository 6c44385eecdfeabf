// Package spark is smspark-submit, the program of a SageMaker Spark image: it
// starts Spark on the one host of a job, with what the SageMaker SDK has put
// into the job's inputs and on its command line. Nothing of Spark is in here.
// Start at Main.
package spark

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// submission is what is asked for.
type submission struct {
	options []string // of spark-submit, before the application
	app     []string // the application and its arguments
	env     map[string]string
	ignored []string // what the configuration says to parts that are not here
}

// Where a task has PySpark, and a job its files.
const (
	homes = "/opt/clary/env/lib/python3.*/site-packages/pyspark"
	base  = "/opt/ml"
)

// Main becomes Spark, or says why it cannot.
func Main(args, environ []string, stderr io.Writer) int {
	found, _ := filepath.Glob(homes) // the pattern is a constant
	if len(found) != 1 {
		_, _ = fmt.Fprintln(stderr, "smspark-submit: this image has no Spark")
		return 1
	}
	home := found[0]
	s, err := prepare(base, args)
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "smspark-submit:", err) // it is the reason of the failure
		return 1
	}
	for _, what := range s.ignored {
		_, _ = fmt.Fprintln(stderr, "smspark-submit: the configuration of", what, "is for what is not here, and is ignored")
	}
	argv := []string{
		filepath.Join(home, "bin/spark-submit"), "--master", "local[*]",
		"--conf", "spark.driver.host=127.0.0.1", "--conf", "spark.driver.bindAddress=127.0.0.1", "--conf", "spark.ui.enabled=false",
	}
	// A configuration's options come after this one and win.
	var shm syscall.Statfs_t
	if err := syscall.Statfs("/dev/shm", &shm); err == nil { // half of the task's memory
		argv = append(argv, "--conf", fmt.Sprintf("spark.driver.memory=%dm", shm.Blocks*uint64(shm.Bsize)>>20))
	}
	argv = append(append(argv, s.options...), s.app...)
	s.env["SPARK_HOME"] = home
	err = syscall.Exec(argv[0], argv, s.environ(environ))
	_, _ = fmt.Fprintf(stderr, "smspark-submit: %s: %v\n", argv[0], err)
	return 1
}

// environ is a program's environment with the submission's, each name once.
func (s *submission) environ(from []string) []string {
	all := map[string]string{"PYSPARK_PYTHON": "python3"}
	for _, e := range from {
		if k, v, ok := strings.Cut(e, "="); ok {
			all[k] = v
		}
	}
	if own := all["PYTHONPATH"]; own != "" && s.env["PYTHONPATH"] != "" {
		s.env["PYTHONPATH"] += ":" + own
	}
	maps.Copy(all, s.env)
	var out []string
	for k, v := range all {
		out = append(out, k+"="+v)
	}
	return out
}

// prepare reads the command line and the job's configuration.
func prepare(ml string, args []string) (submission, error) {
	s := submission{env: map[string]string{}}
	var hosts struct {
		Hosts []string `json:"hosts"`
	}
	if err := read(filepath.Join(ml, "config/resourceconfig.json"), &hosts); err != nil {
		return s, err
	}
	if n := len(hosts.Hosts); n > 1 {
		return s, fmt.Errorf("Clary runs Spark on one host, not on %d: create the job with an instance count of 1 and a larger instance type", n) //nolint:staticcheck // a name
	}
	if err := s.configure(filepath.Join(ml, "processing/input/conf/configuration.json")); err != nil {
		return s, err
	}
	for len(args) > 0 && strings.HasPrefix(args[0], "--") {
		name, value, glued := strings.Cut(args[0], "=")
		args = args[1:]
		if name == "--verbose" {
			s.options = append(s.options, name)
			continue
		}
		if !glued {
			if len(args) == 0 {
				return s, fmt.Errorf("%s has no value", name)
			}
			value, args = args[0], args[1:]
		}
		if err := s.option(name, value); err != nil {
			return s, err
		}
	}
	if len(args) == 0 {
		return s, errors.New("no application is named")
	}
	s.app = args
	return s, nil
}

func (s *submission) option(name, value string) error {
	switch name {
	case "--class":
		s.options = append(s.options, name, value)
	case "--jars", "--files", "--py-files":
		files, err := s.files(name, value)
		if err != nil || len(files) == 0 {
			return err
		}
		s.options = append(s.options, name, strings.Join(files, ","))
	case "--local-spark-event-logs-dir":
		if err := os.MkdirAll(value, 0o777); err != nil {
			return err
		}
		s.conf("spark.eventLog.enabled", "true")
		s.conf("spark.eventLog.dir", "file://"+value)
	default:
		return fmt.Errorf("no such option: %s", name)
	}
	return nil
}

func (s *submission) conf(key, value string) { s.options = append(s.options, "--conf", key+"="+value) }

// files are those that an option names: of a folder, what is in it.
func (s *submission) files(name, value string) ([]string, error) {
	var out []string
	for place := range strings.SplitSeq(value, ",") {
		if scheme, _, remote := strings.Cut(place, "://"); remote && scheme != "file" {
			return nil, fmt.Errorf("%s: Spark has no file system for %s here: give %s to the job as an input", name, scheme, place)
		}
		place = strings.TrimPrefix(place, "file://")
		entries, err := os.ReadDir(place)
		if errors.Is(err, syscall.ENOTDIR) {
			out = append(out, place)
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		for _, e := range entries {
			if e.Type().IsRegular() {
				out = append(out, filepath.Join(place, e.Name()))
			}
		}
		if name == "--py-files" { // packages are folders
			s.env["PYTHONPATH"] = strings.TrimPrefix(s.env["PYTHONPATH"]+":"+place, ":")
		}
	}
	return out, nil
}

// classification is a part of a configuration as EMR has it.
type classification struct {
	Classification string
	Properties     map[string]string
	Configurations []classification
}

// configure reads what the SDK's configuration argument says.
func (s *submission) configure(file string) error {
	var all []classification
	err := read(file, &all)
	if _, one := errors.AsType[*json.UnmarshalTypeError](err); one {
		all = make([]classification, 1)
		err = read(file, &all[0])
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, c := range all {
		prefix := ""
		switch c.Classification {
		case "spark-defaults":
		case "core-site":
			prefix = "spark.hadoop."
		case "spark-env":
			for _, below := range c.Configurations {
				if below.Classification == "export" {
					maps.Copy(s.env, below.Properties)
				}
			}
			continue
		default:
			s.ignored = append(s.ignored, c.Classification)
			continue
		}
		for _, k := range slices.Sorted(maps.Keys(c.Properties)) {
			s.conf(prefix+k, c.Properties[k])
		}
	}
	return nil
}

func read(file string, v any) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return nil
}
