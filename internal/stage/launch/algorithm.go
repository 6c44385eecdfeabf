package launch

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"strings"

	"clary/internal/stage/scripts"
)

// algorithm is the program that stands in for that of the image, which a job
// without a script runs; "" if there is a script, or no algorithm.
func (l *launcher) algorithm(entry string) string {
	_, sources := l.sm["sagemaker_submit_directory"]
	if entry == "" && !sources && strings.HasPrefix(l.env["SAGEMAKER_TRAINING_MODULE"], "sagemaker_xgboost_container.") {
		return scripts.Package + ".xgb_train"
	}
	return ""
}

func (l *launcher) runAlgorithm(ctx context.Context, program string, vars map[string]string) error {
	python, err := l.python()
	if err != nil {
		return err
	}
	dir, err := scripts.Lay()
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary folder
	maps.Copy(l.env, vars)
	l.env["PYTHONPATH"] = strings.TrimSuffix(dir+":"+l.env["PYTHONPATH"], ":")
	return l.exec(ctx, "Framework Error", []string{python, "-P", "-m", program, l.base})
}

// standIn lets a script import what it finds of sagemaker-containers in the
// image, unless the package itself is installed.
func (l *launcher) standIn() (done func(), err error) {
	module := l.env["SAGEMAKER_TRAINING_MODULE"]
	if !strings.HasPrefix(module, "sagemaker_sklearn_container.") && !strings.HasPrefix(module, "sagemaker_xgboost_container.") {
		return func() {}, nil
	}
	if found, err := filepath.Glob(filepath.Join(l.env["VIRTUAL_ENV"], "lib/python3.*/site-packages/sagemaker_containers")); err != nil || len(found) > 0 {
		return func() {}, err
	}
	dir, err := scripts.Lay()
	if err != nil {
		return nil, err
	}
	l.env["PYTHONPATH"] += ":" + filepath.Join(dir, scripts.StandIn) + ":" + dir
	return func() { _ = os.RemoveAll(dir) }, nil // a temporary folder
}
