package notebook

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"clary/internal/stage/agent"
	"clary/internal/stage/children"
	"clary/internal/stage/home"
)

const kernelEnv = "/opt/clary/env/kernels/python3"

func testInstance(t *testing.T, environ ...string) *instance {
	t.Helper()
	root := t.TempDir()
	for name, data := range map[string]string{
		kernelEnv + "/pyvenv.cfg":                                   "home = /usr/bin\n",
		"/opt/clary/env/pyvenv.cfg":                                 "home = /usr/bin\n",
		"/opt/clary/env/lib/python3.11/site-packages/six.py":        "",
		"/opt/clary/env/etc/jupyter/jupyter_server_config.d/x.json": "{\"x\": 1}",
		"/opt/clary/env/bin/jupyter":                                "#!/opt/clary/env/bin/python\n",
		kernelEnv + "/lib/python3.11/site-packages/six.py":          "",
		kernelEnv + "/bin/pip":                                      "#!" + kernelEnv + "/bin/python\nimport sys\n",
		home.Endpoints:                                              "{}",
		"/opt/clary/env/share/clary/matplotlib/fontlist-v390.json":  "fonts",
	} {
		if err := home.Write(filepath.Join(root, name), data); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/usr/bin/python3.11", filepath.Join(root, kernelEnv, "bin/python")); err != nil {
		t.Fatal(err)
	}
	return newInstance(root, append([]string{"HOME=/home/ec2-user", "PATH=/opt/clary/env/bin:/usr/bin", "AWS_CA_BUNDLE=/x"}, environ...), io.Discard)
}

func (n *instance) read(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(n.path(name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestHomeIsAsOnSageMaker(t *testing.T) {
	t.Parallel()
	n := testInstance(t)
	const own = "# a lifecycle configuration's\n"
	if err := home.Write(n.path("/home/ec2-user/.bashrc"), own); err != nil {
		t.Fatal(err)
	}
	for range 2 { // again, when Jupyter is started again
		if err := n.prepare(); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{
		".jupyter/jupyter_server_config.py":                 `c.ServerApp.root_dir = "/home/ec2-user/SageMaker"`,
		".jupyter/labconfig/default_setting_overrides.json": `"fetchNews": "false"`,
		".config/sagemaker/config.yaml":                     "TelemetryOptOut: true",
		".cache/matplotlib/fontlist-v390.json":              "fonts",
		".bash_profile":                                     ".bashrc",
		".gitconfig":                                        "EC2 Default User",
		"anaconda3/bin/activate":                            `"/home/ec2-user/anaconda3/envs/$1"`,
		"anaconda3/envs/JupyterSystemEnv/etc/jupyter/jupyter_server_config.d/x.json": `{"x": 1}`,
		"anaconda3/envs/JupyterSystemEnv/bin/jupyter":                                "#!/home/ec2-user/anaconda3/envs/JupyterSystemEnv/bin/python\n",
		"anaconda3/envs/python3/pyvenv.cfg":                                          "home = /usr/bin",
		"anaconda3/envs/python3/bin/pip":                                             "#!/home/ec2-user/anaconda3/envs/python3/bin/python\n",
	} {
		if got := n.read(t, "/home/ec2-user/"+name); !strings.Contains(got, want) {
			t.Errorf("%s: %q", name, got)
		}
	}
	if got := n.read(t, "/home/ec2-user/.bashrc"); got != own {
		t.Errorf("a file of the user's was changed: %q", got)
	}
	var spec struct {
		Argv        []string
		DisplayName string `json:"display_name"`
		Language    string
		Env         map[string]string
	}
	if err := json.Unmarshal([]byte(n.read(t, "/home/ec2-user/.local/share/jupyter/kernels/conda_python3/kernel.json")), &spec); err != nil {
		t.Fatal(err)
	}
	if spec.DisplayName != "conda_python3" || spec.Argv[0] != "/home/ec2-user/anaconda3/envs/python3/bin/python" || spec.Language != "python" ||
		!strings.HasPrefix(spec.Env["PATH"], "/home/ec2-user/anaconda3/envs/python3/bin:/home/ec2-user/anaconda3/envs/JupyterSystemEnv/bin:/opt/clary/env/bin:") || !slices.Contains(spec.Argv, "{connection_file}") {
		t.Errorf("%+v", spec)
	}
	var settings map[string]map[string]any
	if err := json.Unmarshal([]byte(n.read(t, "/home/ec2-user/.jupyter/labconfig/default_setting_overrides.json")), &settings); err != nil {
		t.Error(err)
	}
	env := n.environ()
	for _, want := range []string{
		"PATH=/home/ec2-user/anaconda3/envs/python3/bin:/home/ec2-user/anaconda3/envs/JupyterSystemEnv/bin:/opt/clary/env/bin:/usr/bin", "JUPYTER_CONFIG_DIR=/home/ec2-user/.jupyter",
		"JUPYTER_DATA_DIR=/home/ec2-user/.local/share/jupyter", "JUPYTER_RUNTIME_DIR=/home/ec2-user/.local/share/jupyter/runtime", "AWS_CA_BUNDLE=/x",
	} {
		if !slices.Contains(env, want) {
			t.Errorf("%s is not in %q", want, env)
		}
	}
}

// What the way in rests on is not for settings to change.
func TestCommandListensOnLoopback(t *testing.T) {
	t.Parallel()
	argv := testInstance(t).command("")
	for _, want := range []string{"--ServerApp.ip=127.0.0.1", "--ServerApp.port=8888", "--ServerApp.port_retries=0", "--ServerApp.base_url=/", "--no-browser"} {
		if !slices.Contains(argv, want) {
			t.Errorf("%s is not in %q", want, argv[3:])
		}
	}
}

func TestNoKernelNoNotebook(t *testing.T) {
	t.Parallel()
	n := testInstance(t)
	if err := os.RemoveAll(n.path(kernelEnv)); err != nil {
		t.Fatal(err)
	}
	if err := n.prepare(); err == nil || !strings.Contains(err.Error(), "the kernel's environment") {
		t.Errorf("%v", err)
	}
}

// The first process of a notebook instance is this test's binary: see TestMain.
const asProgram = "CLARY_TEST_RUN"

func TestMain(m *testing.M) {
	if script := os.Getenv(asProgram); script != "" {
		// It inherits orphans as the first process of a pid namespace would.
		if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
			fmt.Println(err)
		}
		os.Exit(keepRunning(script))
	}
	os.Exit(m.Run())
}

// keepRunning keeps a shell running as JupyterLab is kept: SIGTERM stops it,
// SIGUSR1 starts it anew.
func keepRunning(script string) int {
	family := children.New()
	stop, restart := make(chan struct{}), make(chan chan<- error)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGTERM, unix.SIGUSR1)
	go func() {
		for s := range signals {
			if s == unix.SIGTERM {
				close(stop)
				return
			}
			restart <- make(chan error, 1)
		}
	}()
	p := program{family: family, patience: time.Second, restart: restart, stop: stop, start: func() (*children.Child, error) {
		return start(family, []string{"/bin/sh", "-c", script}, os.Environ(), "/", nil, &syscall.SysProcAttr{Setpgid: true})
	}}
	code, err := p.keep()
	if err != nil {
		fmt.Println(err)
	}
	return code
}

func inherits(t *testing.T, script string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append(os.Environ(), asProgram+"="+script)
	return cmd
}

func TestExitCodes(t *testing.T) {
	t.Parallel()
	for script, want := range map[string]int{"exit 0": 0, "exit 7": 7, "kill -9 $$": 137, "sleep 0.01 & exit 3": 3} {
		err := inherits(t, script).Run()
		code := 0
		if ee, ok := err.(*exec.ExitError); ok { //nolint:errorlint // Run returns no other
			code = ee.ExitCode()
		}
		if code != want {
			t.Errorf("%s: %d, %v", script, code, err)
		}
	}
}

func TestTermIsHandedOn(t *testing.T) {
	t.Parallel()
	cmd := inherits(t, `trap 'echo bye; exit 5' TERM; echo ready; while :; do sleep 0.05; done`)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	if line, err := lines.ReadString('\n'); line != "ready\n" {
		t.Fatalf("%q, %v", line, err)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if line, err := lines.ReadString('\n'); line != "bye\n" {
		t.Errorf("%q, %v", line, err)
	}
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 5 {
		t.Errorf("%v", err)
	}
}

// A restart that is asked for is none of an end: the program begins anew.
func TestRestart(t *testing.T) {
	t.Parallel()
	cmd := inherits(t, `trap 'echo bye; exit 5' TERM; echo ready; while :; do sleep 0.05; done`)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	for _, want := range []struct {
		line string
		then syscall.Signal
	}{{"ready", syscall.SIGUSR1}, {"bye", 0}, {"ready", syscall.SIGUSR1}, {"bye", 0}, {"ready", syscall.SIGTERM}, {"bye", 0}} {
		if line, err := lines.ReadString('\n'); line != want.line+"\n" {
			t.Fatalf("%q, %v, want %s", line, err, want.line)
		}
		if want.then == 0 {
			continue
		}
		if err := cmd.Process.Signal(want.then); err != nil {
			t.Fatal(err)
		}
	}
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 5 {
		t.Errorf("%v", err)
	}
}

// An order is read once, and is nobody else's to read.
func TestOrder(t *testing.T) {
	t.Parallel()
	n := testInstance(t)
	if o, ordered, err := n.readOrder(); ordered || !o.Root || err != nil {
		t.Errorf("%+v, %v, %v", o, ordered, err)
	}
	if err := home.Write(n.path(agent.OrderFile), `{"Name":"nb","OnStart":"true"}`); err != nil {
		t.Fatal(err)
	}
	if o, ordered, err := n.readOrder(); !ordered || o.Root || o.Name != "nb" || o.OnStart != "true" || err != nil {
		t.Errorf("%+v, %v, %v", o, ordered, err)
	}
	if _, err := os.Stat(n.path(agent.OrderFile)); !os.IsNotExist(err) {
		t.Errorf("the order is still there: %v", err)
	}
	if err := home.Write(n.path(agent.OrderFile), `{`); err != nil {
		t.Fatal(err)
	}
	if _, _, err := n.readOrder(); err == nil {
		t.Error("half an order was taken")
	}
}

// TestFront speaks to JupyterLab by HTTPS, as long as both sides want.
func TestFront(t *testing.T) {
	t.Parallel()
	lab := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = fmt.Fprintf(w, "%s %s", r.Host, r.URL.Path) }))
	t.Cleanup(lab.Close)
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it does not wait
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go (&front{to: lab.Listener.Addr().String()}).serve(l)
	c := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} //nolint:gosec // as scripts do
	t.Cleanup(c.CloseIdleConnections)
	for range 3 {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+l.Addr().String()+"/api/sessions", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if string(b) != l.Addr().String()+" /api/sessions" || err != nil || resp.TLS.PeerCertificates[0].VerifyHostname("localhost") != nil {
			t.Errorf("%q, %v", b, err)
		}
	}
}

// Jupyter can miss its own end; a stop comes to one all the same.
func TestWhatDoesNotEndIsKilled(t *testing.T) {
	t.Parallel()
	cmd := inherits(t, `trap '' TERM; echo ready; while :; do sleep 0.05; done`)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("%q, %v", line, err)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("a stop that was asked for is no failure: %v", err)
	}
}

// An orphan's end is taken notice of: it does not stay as a zombie.
func TestOrphansAreBuried(t *testing.T) {
	t.Parallel()
	const script = `
orphan=$( (sleep 1000 >/dev/null 2>&1 & echo $!) )
kill -0 "$orphan" || exit 2
kill -9 "$orphan"
i=0
while kill -0 "$orphan" 2>/dev/null && [ $i -lt 500 ]; do sleep 0.02; i=$((i+1)); done
[ $i -lt 500 ]`
	cmd := inherits(t, script)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}
