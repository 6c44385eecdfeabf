package launch

import (
	"context"
	"maps"
	"os"
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
