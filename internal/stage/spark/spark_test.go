package spark

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// job is a /opt/ml with files.
func job(t *testing.T, files map[string]string) string {
	t.Helper()
	ml := t.TempDir()
	all := map[string]string{"config/resourceconfig.json": `{"current_host":"algo-1","hosts":["algo-1"]}`}
	maps.Copy(all, files)
	for name, data := range all {
		p := filepath.Join(ml, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return ml
}

const configured = "processing/input/conf/configuration.json"

// The command lines are those of the SageMaker SDK's processors.
func TestPrepare(t *testing.T) {
	t.Parallel()
	ml := job(t, map[string]string{
		"in/py-files/a.py": "", "in/py-files/b.zip": "", "in/py-files/pack/__init__.py": "", "in/jars/x.jar": "",
		configured: `[{"Classification":"spark-defaults","Properties":{"spark.sql.shuffle.partitions":"3","spark.app.name":"a b"}},
			{"Classification":"core-site","Properties":{"io.file.buffer.size":"8192"}},
			{"Classification":"spark-env","Properties":{},"Configurations":[{"Classification":"export","Properties":{"WORD":"a b"}}]},
			{"Classification":"yarn-site","Properties":{"x":"y"}}]`,
	})
	in := filepath.Join(ml, "in")
	s, err := prepare(ml, []string{
		"--py-files", in + "/py-files", "--jars=" + in + "/jars/x.jar", "--local-spark-event-logs-dir", ml + "/events", "--verbose",
		"/code/app.py", "--a", "b c", "--jars", "mine",
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"--conf", "spark.app.name=a b", "--conf", "spark.sql.shuffle.partitions=3", "--conf", "spark.hadoop.io.file.buffer.size=8192",
		"--py-files", in + "/py-files/a.py," + in + "/py-files/b.zip", "--jars", in + "/jars/x.jar",
		"--conf", "spark.eventLog.enabled=true", "--conf", "spark.eventLog.dir=file://" + ml + "/events", "--verbose",
	}
	if !slices.Equal(s.options, want) {
		t.Errorf("options:\n%q\n%q", s.options, want)
	}
	if app := []string{"/code/app.py", "--a", "b c", "--jars", "mine"}; !slices.Equal(s.app, app) {
		t.Errorf("application: %q", s.app)
	}
	if !slices.Equal(s.ignored, []string{"yarn-site"}) {
		t.Errorf("ignored: %q", s.ignored)
	}
	env := s.environ([]string{"PYTHONPATH=/own", "WORD=x", "A=1"})
	slices.Sort(env)
	if all := []string{"A=1", "PYSPARK_PYTHON=python3", "PYTHONPATH=" + in + "/py-files:/own", "WORD=a b"}; !slices.Equal(env, all) {
		t.Errorf("environment: %q", env)
	}
	if _, err := os.Stat(ml + "/events"); err != nil {
		t.Error(err)
	}
}

func TestOneConfigurationAlone(t *testing.T) {
	t.Parallel()
	s, err := prepare(job(t, map[string]string{configured: `{"Classification":"spark-defaults","Properties":{"a":"b"}}`}), []string{"--class", "org.example.Main", "/code/app.jar"})
	if err != nil || !slices.Equal(s.options, []string{"--conf", "a=b", "--class", "org.example.Main"}) {
		t.Errorf("%q, %v", s.options, err)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		files map[string]string
		args  []string
		want  string
	}{
		{nil, nil, "no application is named"},
		{nil, []string{"--class"}, "--class has no value"},
		{nil, []string{"--no-such", "x", "a.py"}, "no such option: --no-such"},
		{nil, []string{"--jars", "s3://bucket/x.jar", "a.py"}, "give s3://bucket/x.jar to the job as an input"},
		{nil, []string{"--files", "/no/such/file", "a.py"}, "/no/such/file"},
		{map[string]string{"config/resourceconfig.json": `{"hosts":["algo-1","algo-2"]}`}, []string{"a.py"}, "on one host, not on 2"},
		{map[string]string{configured: `[{`}, []string{"a.py"}, "configuration.json"},
	} {
		if _, err := prepare(job(t, tt.files), tt.args); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: %v", tt.args, err)
		}
	}
}
