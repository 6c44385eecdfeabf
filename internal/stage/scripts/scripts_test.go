package scripts

import (
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// python runs a program on the machine's own interpreter, which has no packages.
func python(t *testing.T, program string, args ...string) string {
	t.Helper()
	dir, err := Lay()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	p := "/usr/bin/python3"
	if _, err := os.Stat(p); err != nil {
		if p, err = exec.LookPath("python3"); err != nil {
			t.Fatal("these tests need python3")
		}
	}
	cmd := exec.Command(p, append([]string{"-P", "-c", program}, args...)...)
	cmd.Env = append(os.Environ(), "PYTHONPATH="+dir, "PYTHONDONTWRITEBYTECODE=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

// All that is laid out can be read by Python.
func TestSyntax(t *testing.T) {
	t.Parallel()
	python(t, `
import ast, pathlib, sys
names = [p for p in pathlib.Path(sys.path[0]).rglob("*.py")]
assert len(names) > 10, names
for p in names:
    ast.parse(p.read_text(), str(p))
`)
}

// The hyperparameters of XGBoost's image are what it takes them for.
func TestXGBoostParameters(t *testing.T) {
	t.Parallel()
	type parameters map[string]string
	cases := []struct {
		given parameters
		want  string // of the error, or the whole result in JSON
	}{
		{parameters{"num_round": "10", "eta": "0.3", "objective": "reg:linear", "max_depth": "5"}, `{"eta":0.3,"max_depth":5,"num_round":10,"objective":"reg:squarederror"}`},
		{parameters{"num_round": "1", "eval_metric": "rmse,r2", "predictor": "cpu_predictor", "updater": "refresh, prune"}, `{"eval_metric":["rmse","r2"],"num_round":1,"updater":"refresh,prune"}`},
		{parameters{"num_round": "1", "eval_metric": "['auc']", "objective": "binary:logistic", "_tuning_objective_metric": "validation:auc"}, `{"_tuning_objective_metric":"validation:auc","eval_metric":["auc"],"num_round":1,"objective":"binary:logistic"}`},
		{parameters{"num_round": "1", "eval_metric": "error@0.7"}, `{"eval_metric":["error@0.7"],"num_round":1}`},
		{parameters{}, "Missing required hyperparameter: num_round"},
		{parameters{"num_round": "0"}, "Hyperparameter num_round: value 0 is not in range"},
		{parameters{"num_round": "1.5"}, "Hyperparameter num_round: value 1.5 is not in range: it must be a whole number, at least 1"},
		{parameters{"num_round": "1", "eta": "nan"}, "Hyperparameter eta: value nan is not in range"},
		{parameters{"num_round": "1", "subsample": "0"}, "it must be a number, at most 1 and more than 0"},
		{parameters{"num_round": "1", "depth": "3"}, "Extraneous hyperparameter found: depth"},
		{parameters{"num_round": "1", "booster": "tree"}, "Hyperparameter booster: value tree is not in range"},
		{parameters{"num_round": "1", "eval_metric": "speed"}, "value speed is not in range"},
		{parameters{"num_round": "1", "eval_metric": "auc"}, "Metric 'auc' can only be applied for classification and ranking problems."},
		{parameters{"num_round": "1", "objective": "multi:softmax"}, "Require input for parameter 'num_class'"},
		{parameters{"num_round": "1", "num_class": "3"}, "Do not need to setup parameter 'num_class'"},
		{parameters{"num_round": "1", "_kfold": "3"}, "_kfold is not supported"},
		{parameters{"num_round": "1", "tree_method": "gpu_hist"}, "has no GPU"},
		{parameters{"num_round": "1", "_tuning_objective_metric": "test:rmse"}, "it must be like validation:rmse"},
	}
	var given []parameters
	for _, c := range cases {
		given = append(given, c.given)
	}
	data, err := json.Marshal(given)
	if err != nil {
		t.Fatal(err)
	}
	out := python(t, `
import contextlib, io, json, sys
from clary_runtime.xgb_parameters import UserError, validated
for given in json.loads(sys.argv[1]):
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            p = validated(given)
        print(json.dumps(p, sort_keys=True, separators=(",", ":")))
    except UserError as e:
        print(e)
`, string(data))
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != len(cases) {
		t.Fatalf("%d answers: %s", len(lines), out)
	}
	for i, c := range cases {
		if strings.HasPrefix(c.want, "{") && lines[i] != c.want || !strings.Contains(lines[i], c.want) {
			t.Errorf("%v: %s, want %s", c.given, lines[i], c.want)
		}
	}
}
