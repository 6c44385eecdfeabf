package stage

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"clary/internal/stage/home"
)

func testHost(t *testing.T, files map[string]string) *Host {
	t.Helper()
	root := t.TempDir()
	for name, data := range files {
		p := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(data), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return &Host{Root: root, Env: map[string]string{}}
}

func TestLayerOverTheRuntime(t *testing.T) {
	t.Parallel()
	h := testHost(t, map[string]string{
		envPath + "/pyvenv.cfg":                          "home = /usr/bin\n",
		envPath + "/lib/python3.11/site-packages/six.py": "",
		envPath + "/bin/pip":                             "#!/opt/clary/env/bin/python\nimport sys\n",
		envPath + "/bin/activate":                        "# no program\n",
		envPath + "/bin/tool":                            "\x7fELF",
	})
	if err := os.Symlink("/usr/bin/python3.11", h.path(envPath+"/bin/python")); err != nil {
		t.Fatal(err)
	}
	h.Env["PATH"] = envPath + "/bin:/run/clary/bin:/usr/bin"
	for range 2 { // a second time changes nothing
		if err := h.prepareEnv(); err != nil {
			t.Fatal(err)
		}
		h.Env["PATH"] = strings.TrimPrefix(h.Env["PATH"], venvPath+"/bin:")
	}
	if err := h.prepareEnv(); err != nil {
		t.Fatal(err)
	}
	if got := h.Env["PATH"]; got != venvPath+"/bin:"+envPath+"/bin:/run/clary/bin:/usr/bin" {
		t.Errorf("PATH %s", got)
	}
	if h.Env["VIRTUAL_ENV"] != venvPath {
		t.Errorf("env %q", h.Env)
	}
	for name, want := range map[string]string{
		"/pyvenv.cfg": "home = /usr/bin\n",
		"/lib/python3.11/site-packages/clary-runtime.pth": "import site; site.addsitedir(\"/opt/clary/env/lib/python3.11/site-packages\")\n",
		"/bin/pip": "#!/opt/ml/.venv/bin/python\nimport sys\n",
	} {
		if data, err := os.ReadFile(h.path(venvPath + name)); err != nil || string(data) != want {
			t.Errorf("%s: %q, %v", name, data, err)
		}
	}
	if to, err := os.Readlink(h.path(venvPath + "/bin/python")); err != nil || to != "/usr/bin/python3.11" {
		t.Errorf("python leads to %s, %v", to, err)
	}
	for _, name := range []string{"activate", "tool"} {
		if _, err := os.Lstat(h.path(venvPath + "/bin/" + name)); err == nil {
			t.Errorf("%s is in the layer", name)
		}
	}
}

func TestNoRuntimeNoLayer(t *testing.T) {
	t.Parallel()
	h := testHost(t, nil)
	if err := h.prepareEnv(); err != nil || len(h.Env) != 0 {
		t.Errorf("%v, %q", err, h.Env)
	}
}

func TestHome(t *testing.T) {
	t.Parallel()
	const list = "root/.aws/models/endpoints.json"
	for _, tt := range []struct {
		name             string
		isolated, ca     bool
		botocore         bool
		config, endpoint bool
	}{
		{"usual", false, true, true, true, true},
		{"isolated", true, true, true, false, false},
		{"no CA, no trust", false, false, true, true, false},
		{"no botocore", false, true, false, true, false},
	} {
		files := map[string]string{}
		if tt.botocore {
			files[home.Endpoints] = "{}"
		}
		h := testHost(t, files)
		if tt.ca {
			h.Env["AWS_CA_BUNDLE"] = "/run/clary/ca.pem"
		}
		if err := h.prepareHome(tt.isolated); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(h.path("root/.config/sagemaker/config.yaml"))
		if (err == nil) != tt.config || tt.config && !strings.Contains(string(data), "TelemetryOptOut: true") {
			t.Errorf("%s: config %q, %v", tt.name, data, err)
		}
		to, err := os.Readlink(h.path(list))
		if (err == nil) != tt.endpoint || tt.endpoint && to != home.Endpoints {
			t.Errorf("%s: %s, %v", tt.name, to, err)
		}
	}
}
