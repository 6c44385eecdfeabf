// Package notebook is what a notebook instance runs: its first process clones
// repositories, runs the scripts of a lifecycle configuration, starts JupyterLab
// and waits for it, as its server's order says (package agent). It runs as root
// of the task, where there is one, and so does nothing in the user's folders
// itself and asks the user's programs for nothing. JupyterLab runs as the user,
// with no rights of its own, and listens on loopback alone: whoever reaches that
// port has been let in by the server, which asks for no password inside. Start
// at Main.
package notebook

import (
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"clary/internal/stage/activity"
	"clary/internal/stage/build"
	"clary/internal/stage/home"
	"clary/internal/stage/user"
	"clary/internal/stage/venv"
)

// Port is where Jupyter listens, on 127.0.0.1.
const Port = 8888

// Kernel is the name of the kernel and of its environment, as on SageMaker,
// envJupyter that of JupyterLab's own.
const (
	Kernel     = "conda_python3"
	envPy3     = "python3"
	envJupyter = "JupyterSystemEnv"
)

// NoRoot is a file that says that the instance's user may not become root.
const NoRoot = "/etc/clary/no-root"

// patience is how long Jupyter may take to end. It needs less than a second, but
// stays for ever when a kernel of its could not be started.
const patience = 10 * time.Second

//go:embed files
var files embed.FS

// instance is one run.
type instance struct {
	root string // "/" in a task
	env  map[string]string
	out  io.Writer
	// where it all is, as the task sees it
	home, work, jupyter, data, envs string
}

// Main runs a notebook instance to its end and returns the exit code.
func Main(environ []string, out io.Writer) int {
	n := newInstance("/", environ, &whole{w: out})
	if err := user.NoBequest(); err != nil {
		n.say("%v", err)
		return 1
	}
	return n.run()
}

// homeVerb is this program as one that makes the user's home.
const homeVerb = "home"

// HomeMain makes the user's home and returns the exit code.
func HomeMain(environ []string, out io.Writer) int {
	n := newInstance("/", environ, out)
	if err := n.prepare(); err != nil {
		n.say("preparing the notebook: %v", err)
		return 1
	}
	return 0
}

// whole writes what it is given without another's between.
type whole struct {
	mu sync.Mutex // held while w is written to
	w  io.Writer
}

func (w *whole) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.w.Write(b)
}

func newInstance(root string, environ []string, out io.Writer) *instance {
	n := &instance{root: root, env: map[string]string{}, out: out}
	for _, e := range environ {
		if k, v, ok := strings.Cut(e, "="); ok {
			n.env[k] = v
		}
	}
	n.home = n.env["HOME"]
	if n.home == "" {
		n.home = "/home/ec2-user"
	}
	n.work = filepath.Join(n.home, "SageMaker")
	n.jupyter = filepath.Join(n.home, ".jupyter")
	n.data = filepath.Join(n.home, ".local/share/jupyter")
	n.envs = filepath.Join(n.home, "anaconda3/envs")
	return n
}

func (n *instance) say(format string, args ...any) {
	_, _ = fmt.Fprintf(n.out, "clary: "+format+"\n", args...) // the log is advice
}

// path is a path inside the task.
func (n *instance) path(p string) string { return filepath.Join(n.root, p) }

// prepare makes the home. What is there already stays, but for the settings.
func (n *instance) prepare() error {
	if err := home.Prepare(n.root, n.home, n.env["AWS_CA_BUNDLE"] != ""); err != nil {
		return err
	}
	for _, d := range []string{n.work, n.jupyter, n.data, n.data + "/runtime"} {
		if err := os.MkdirAll(n.path(d), 0o755); err != nil {
			return err
		}
	}
	if err := activity.Lay(n.path(n.data)); err != nil {
		return fmt.Errorf("the extensions of JupyterLab: %w", err)
	}
	bin := filepath.Join(n.envs, envPy3, "bin")
	if err := venv.Lay(n.root, filepath.Join(build.Env, build.Kernels, envPy3), filepath.Join(n.envs, envPy3)); err != nil {
		return fmt.Errorf("the kernel's environment: %w", err)
	}
	if err := n.ownEnv(); err != nil {
		return fmt.Errorf("JupyterLab's environment: %w", err)
	}
	settings, err := n.file("jupyter_server_config.py", "ROOT_DIR", strconv.Quote(n.work))
	if err != nil {
		return err
	}
	if err := os.WriteFile(n.path(n.jupyter+"/jupyter_server_config.py"), settings, 0o644); err != nil {
		return err
	}
	if err := n.kernelSpec(Kernel, []string{filepath.Join(bin, "python"), "-m", "ipykernel_launcher", "-f", "{connection_file}"}, envPy3); err != nil {
		return err
	}
	for name, to := range map[string]string{
		"overrides.json": n.jupyter + "/labconfig/default_setting_overrides.json",
		"bash_profile":   n.home + "/.bash_profile",
		"bashrc":         n.home + "/.bashrc",
		"gitconfig":      n.home + "/.gitconfig", // who commits where nobody said
		"activate":       n.home + "/anaconda3/bin/activate",
		"deactivate":     n.home + "/anaconda3/bin/deactivate",
	} {
		text, err := n.file(name, "ENV_BIN", bin, "ENVS", n.envs, "JUPYTER_BIN", filepath.Join(n.envs, envJupyter, "bin"))
		if err != nil {
			return err
		}
		if err := home.Write(n.path(to), string(text)); err != nil {
			return err
		}
	}
	if err := n.offers(); err != nil {
		return err
	}
	return n.fonts()
}

// file is one of ours with words replaced.
func (n *instance) file(name string, words ...string) ([]byte, error) {
	data, err := files.ReadFile("files/" + name)
	if err != nil {
		return nil, err
	}
	return []byte(strings.NewReplacer(words...).Replace(string(data))), nil
}

// kernelSpec tells Jupyter of a kernel that runs in an environment.
func (n *instance) kernelSpec(name string, argv []string, env string) error {
	prefix := filepath.Join(n.envs, env)
	spec := map[string]any{
		"argv": argv, "display_name": name, "language": "python", "kernel_protocol_version": "5.5",
		"metadata": map[string]any{"debugger": true, "supported_encryption": []string{"curve"}},
		"env": map[string]string{
			"PATH":              n.search(prefix + "/bin"),
			"CONDA_DEFAULT_ENV": env, "CONDA_PREFIX": prefix, "JUPYTER_PATH": sharedPath,
		},
	}
	text, err := json.MarshalIndent(spec, "", " ")
	if err != nil {
		return err
	}
	text = append(text, '\n')
	if err := home.Write(n.path(filepath.Join(n.data, "kernels", name, "kernel.json")), string(text)); err != nil || env != envPy3 {
		return err
	}
	// What runs notebooks by itself in the environment knows it by these.
	for _, alias := range []string{"python3", "python"} {
		if err := home.Write(n.path(filepath.Join(prefix, "share/jupyter/kernels", alias, "kernel.json")), string(text)); err != nil {
			return err
		}
	}
	return nil
}

// sharedPath is where Jupyter's programs find what the runtime has besides
// Python. JupyterLab itself looks there last, so that what is installed in its
// environment comes first.
const sharedPath = build.Env + "/share/jupyter"

// fonts gives Matplotlib the list that was made with the runtime.
func (n *instance) fonts() error {
	lists, err := filepath.Glob(n.path(filepath.Join(build.Env, build.FontList, "fontlist-*.json")))
	if err != nil {
		return err
	}
	for _, l := range lists {
		text, err := os.ReadFile(l)
		if err != nil {
			return err
		}
		if err := home.Write(n.path(filepath.Join(n.home, ".cache/matplotlib", filepath.Base(l))), string(text)); err != nil {
			return err
		}
	}
	return nil
}

// ownEnv makes JupyterLab's environment, in which the user may install as well.
func (n *instance) ownEnv() error {
	at := filepath.Join(n.envs, envJupyter)
	if err := venv.Lay(n.root, build.Env, at); err != nil {
		return err
	}
	// Jupyter's commands turn on and off only what is named there.
	settings := n.path(build.Env + "/etc/jupyter")
	err := filepath.WalkDir(settings, func(p string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		return home.Write(n.path(filepath.Join(at, "etc/jupyter", strings.TrimPrefix(p, settings))), string(text))
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	// It has no pip of its own, and scripts still know a command that Jupyter
	// has no more.
	pip := "#!/bin/sh\nexec " + filepath.Join(build.Env, build.Kernels, envPy3, "bin/python") + " -m pip --python " + at + "/bin/python \"$@\"\n"
	for name, text := range map[string]string{
		"pip": pip, "pip3": pip,
		"jupyter-serverextension": "#!/bin/sh\nexec " + at + "/bin/jupyter server extension \"$@\"\n",
	} {
		if err := os.WriteFile(n.path(filepath.Join(at, "bin", name)), []byte(text), 0o755); err != nil {
			return err
		}
	}
	return nil
}

// search is a PATH in which programs of a folder are found first, and then
// JupyterLab's.
func (n *instance) search(first string) string {
	return venv.Path(n.env["PATH"], first, filepath.Join(n.envs, envJupyter, "bin"), build.Env+"/bin")
}

// withProfile has a shell read what scripts have added to the environment of
// all, and become the program.
const withProfile = `for f in /etc/profile.d/*.sh; do [ -r "$f" ] && . "$f"; done >&2; exec "$@"`

// command starts JupyterLab, whose files are seen at a folder of the work first
// if it is there. What the instance's safety and the server's way in rest on is
// not left to a file.
func (n *instance) command(folder string) []string {
	code, err := files.ReadFile("files/serve.py")
	if err != nil {
		panic(err) // it is compiled in
	}
	argv := []string{
		filepath.Join(n.envs, envJupyter, "bin/python"), "-c", string(code),
		"--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1", fmt.Sprintf("--ServerApp.port=%d", Port), "--ServerApp.port_retries=0",
		"--ServerApp.base_url=/", "--ServerApp.allow_remote_access=True",
	}
	if st, err := os.Stat(n.path(filepath.Join(n.work, folder))); folder != "" && err == nil && st.IsDir() {
		argv = append(argv, "--FileContentsManager.preferred_dir="+folder)
	}
	if profiles, err := filepath.Glob(n.path("/etc/profile.d/*.sh")); err == nil && len(profiles) > 0 {
		argv = append([]string{"/bin/bash", "-c", withProfile, "bash"}, argv...)
	}
	return argv
}

// environ is Jupyter's environment, and so that of kernels and terminals.
func (n *instance) environ() []string {
	env := maps.Clone(n.env)
	env["HOME"] = n.home
	env["SHELL"] = "/bin/bash"
	env["JUPYTER_CONFIG_DIR"] = n.jupyter
	env["JUPYTER_DATA_DIR"] = n.data
	env["JUPYTER_RUNTIME_DIR"] = n.data + "/runtime"
	env["JUPYTER_PREFER_ENV_PATH"] = "0" // the user's settings go before the runtime's
	env["JUPYTERLAB_DIR"] = build.Env + "/share/jupyter/lab"
	env["PATH"] = n.search(filepath.Join(n.envs, envPy3, "bin"))
	return n.list(env)
}
