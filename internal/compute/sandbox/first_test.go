package sandbox_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"clary/internal/compute"
	"clary/internal/compute/computetest"
	"clary/internal/compute/sandbox"
	"clary/internal/stage/agent"
)

// The first process of a notebook instance is tried in a sandbox, with a
// runtime whose Python is a shell script that stands for JupyterLab.

const standIn = `#!/bin/bash
case "$*" in
*--no-browser*) ;;
*) exec /usr/bin/python3 "$@" ;;
esac
echo "jupyter runs as $(id -un) in $PWD with $(grep CapPrm /proc/self/status | cut -f2) $(grep CapInh /proc/self/status | cut -f2) SHARED=$SHARED ${@: -1}"
trap 'echo jupyter ends; exit 3' TERM
if [ -e "$JUPYTER_TEST" ]; then . "$JUPYTER_TEST"; fi
while :; do sleep 1000 & wait; done
`

// lab is a runtime for notebook instances.
func lab(t *testing.T) compute.Image {
	t.Helper()
	env := t.TempDir()
	for _, e := range []string{env, env + "/kernels/python3"} {
		for name, text := range map[string]string{"pyvenv.cfg": "home = /usr/bin\n", "lib/python3.11/site-packages/own.py": "", "bin/jupyter": "#!/opt/clary/env/bin/python\n", "bin/aws": "#!/bin/sh\necho aws \"$@\"\n", "bin/python": standIn} {
			p := filepath.Join(e, name)
			if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(p, []byte(text), 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	for d := env; d != "/" && d != os.TempDir(); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return compute.Image{Env: env, Path: []string{"/opt/clary/env/bin"}}
}

// instance is a running notebook instance.
type instance struct {
	t  *testing.T
	d  *sandbox.Driver
	id compute.TaskID
}

// order is one with what every instance has.
func order(o agent.Order) agent.Order {
	o.Name, o.Arn, o.Lifecycle = "nb", "arn:nb", "arn:lc"
	return o
}

// first is a task of a notebook instance with an order.
func first(t *testing.T, id string, v compute.VolumeID, img compute.Image, o agent.Order) compute.Task {
	t.Helper()
	data, err := json.Marshal(order(o))
	if err != nil {
		t.Fatal(err)
	}
	tk := notebook(id, v, "")
	tk.Args, tk.Image = []string{"/run/clary/clary-task", "notebook"}, img
	tk.Files = []compute.File{
		{Path: "/opt/ml/metadata/resource-metadata.json", Mode: 0o444, Data: []byte(`{"ResourceName":"nb"}`)},
		{Path: agent.OrderFile, Mode: 0o400, Data: data},
	}
	tk.Grace = 20 * time.Second
	return tk
}

func begin(t *testing.T, d *sandbox.Driver, tk compute.Task) *instance {
	t.Helper()
	if err := d.Start(t.Context(), tk); err != nil {
		t.Fatal(err)
	}
	return &instance{t, d, tk.ID}
}

// line waits for a line of the output and returns all up to it.
func (i *instance) line(text string) (lines []string) {
	i.t.Helper()
	spool, err := i.d.Spool(i.t.Context(), i.id, 0)
	if err != nil {
		i.t.Fatal(err)
	}
	defer spool.Close() //nolint:errcheck // it was read
	late := time.AfterFunc(2*time.Minute, func() { _ = spool.Close() })
	defer late.Stop()
	for in := bufio.NewScanner(spool); in.Scan(); {
		_, line, _ := strings.Cut(in.Text(), " ")
		lines = append(lines, line)
		if strings.Contains(line, text) {
			return lines
		}
	}
	i.t.Fatalf("no line %q in\n%s", text, strings.Join(lines, "\n"))
	return nil
}

// http asks the first process.
func (i *instance) ask(method, path string) (string, error) {
	c := http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return i.d.Dial(ctx, i.id, agent.Port)
	}}}
	req, err := http.NewRequestWithContext(i.t.Context(), method, "http://first"+path, http.NoBody)
	if err != nil {
		return "", err
	}
	resp, err := c.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close() //nolint:errcheck // it was read
	b := new(strings.Builder)
	_, err = bufio.NewReader(resp.Body).WriteTo(b)
	return b.String(), err
}

// until waits for a state.
func (i *instance) until(what string, ok func(agent.State) bool) agent.State {
	i.t.Helper()
	end := time.Now().Add(2 * time.Minute)
	var last string
	for time.Now().Before(end) {
		text, err := i.ask("GET", "/state")
		var s agent.State
		if err == nil {
			err = json.Unmarshal([]byte(text), &s)
		}
		if err == nil && ok(s) {
			return s
		}
		last = fmt.Sprint(text, err)
		if err == nil && s.Phase == agent.Failed {
			break
		}
		pause := time.NewTimer(20 * time.Millisecond) // there is no event to wait for
		<-pause.C
	}
	i.t.Fatalf("not %s: %s\n%s", what, last, i.so())
	return agent.State{}
}

func (i *instance) phase(p agent.Phase) agent.State {
	i.t.Helper()
	return i.until(string(p), func(s agent.State) bool { return s.Phase == p })
}

// so is the output so far.
func (i *instance) so() string {
	spool, err := i.d.Spool(i.t.Context(), i.id, 0)
	if err != nil {
		return err.Error()
	}
	st, err := i.d.Status(i.t.Context(), i.id)
	if err != nil {
		return err.Error()
	}
	defer spool.Close() //nolint:errcheck // it was read
	b := make([]byte, st.Spooled)
	n, _ := spool.Read(b)
	return string(b[:n])
}

// ends stops the instance and returns its output and its exit.
func (i *instance) ends() ([]string, compute.Exit) {
	i.t.Helper()
	if err := i.d.Stop(i.t.Context(), i.id, 20*time.Second); err != nil {
		i.t.Fatal(err)
	}
	lines := computetest.Lines(i.t, computetest.Output(i.t, i.d, i.id, 0))
	return lines, *computetest.Ended(i.t, i.d, i.id).Exit
}

// stream are the lines of a lifecycle script.
func stream(lines []string, name string) (of []string) {
	for _, l := range lines {
		if text, ok := strings.CutPrefix(l, agent.Mark+name+agent.Mark); ok {
			of = append(of, text)
		}
	}
	return of
}

// forge is a Git server with two repositories, of which one wants a login, and
// the API that knows the secret.
type forge struct {
	url, socket, dir string
	stuck            chan struct{} // closed when somebody clones stuck.git, which answers from the second time on
}

const token = "token-that-nobody-may-see"

func newForge(t *testing.T, p *place) *forge {
	t.Helper()
	f := &forge{dir: t.TempDir(), stuck: make(chan struct{})}
	var once sync.Once
	git := func(dir string, args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "git", args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@b", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@b")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %q: %v\n%s", args, err, out)
		}
	}
	for _, name := range []string{"open.git", "closed.git"} {
		git(f.dir, "init", "-q", "--bare", "-b", "main", name)
		git(filepath.Join(f.dir, name), "config", "http.receivepack", "true")
		work := filepath.Join(f.dir, "work-"+name)
		git(f.dir, "clone", "-q", name, work)
		if err := os.WriteFile(filepath.Join(work, "file"), []byte("of "+name+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		git(work, "add", ".")
		git(work, "commit", "-q", "-m", "first")
		git(work, "push", "-q", "origin", "HEAD:main", "HEAD:dev")
	}
	path, err := exec.LookPath("git")
	if err != nil {
		t.Fatal(err)
	}
	backend := &cgi.Handler{Path: path, Args: []string{"http-backend"}, Env: []string{"GIT_PROJECT_ROOT=" + f.dir, "GIT_HTTP_EXPORT_ALL=1", "REMOTE_USER=x"}, InheritEnv: []string{"PATH"}}
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		if strings.HasPrefix(r.URL.Path, "/closed.git") && (user != "someone" || password != token) {
			w.Header().Set("WWW-Authenticate", `Basic realm="forge"`)
			http.Error(w, "who are you", http.StatusUnauthorized)
			return
		}
		if rest, ok := strings.CutPrefix(r.URL.Path, "/stuck.git"); ok {
			once.Do(func() {
				close(f.stuck)
				<-r.Context().Done()
			})
			r.URL.Path = "/open.git" + rest
		}
		backend.ServeHTTP(w, r)
	}))
	_ = srv.Listener.Close()
	if srv.Listener, err = net.Listen("tcp", "127.0.0.2:0"); err != nil { // the proxy is not asked for 127.0.0.1
		t.Fatal(err)
	}
	srv.Start()
	t.Cleanup(srv.Close)
	f.url = srv.URL
	p.cfg.EgressAllow = []netip.Prefix{netip.MustParsePrefix("127.0.0.2/32")}

	f.socket = filepath.Join(t.TempDir(), "task.sock")
	api := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var in struct{ SecretId string } //nolint:revive // AWS's name
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil || r.Header.Get("X-Amz-Target") != "secretsmanager.GetSecretValue" || !strings.Contains(r.Header.Get("Authorization"), "Credential=AKID/") {
			w.WriteHeader(http.StatusForbidden)
			_, _ = fmt.Fprint(w, `{"__type":"AccessDeniedException","message":"no"}`)
			return
		}
		if in.SecretId != "git-login" {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = fmt.Fprint(w, `{"__type":"ResourceNotFoundException","Message":"Secrets Manager can't find the specified secret."}`)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]string{"SecretString": `{"username":"someone","password":"` + token + `"}`})
	})}
	l := listenLong(t, f.socket)
	go api.Serve(l) //nolint:errcheck // ends with the test
	t.Cleanup(func() { _ = api.Close() })
	p.cfg.APISocket = f.socket
	return f
}

// log is a branch's subjects, of a repository as the server has it.
func (f *forge) log(t *testing.T, repo, branch string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "git", "-C", filepath.Join(f.dir, repo), "log", "--format=%s", branch).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return strings.Join(strings.Fields(string(out)), " ")
}

// connected gives a task the network and the role of an instance.
func connected(tk compute.Task) compute.Task {
	tk.Network = compute.Network{Egress: true}
	tk.Identity = compute.Identity{AccessKeyID: "AKID", SecretAccessKey: "hush", SessionToken: "tok", Expiration: time.Now().Add(time.Hour), Region: "us-east-1"}
	return tk
}
