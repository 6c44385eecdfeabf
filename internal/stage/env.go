package stage

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

const (
	// envPath is where a driver mounts the runtime, read-only.
	envPath = "/opt/clary/env"
	// venvPath is the task's own writable layer over it.
	venvPath = "/opt/ml/.venv"
)

// prepareEnv lays a small writable virtual environment over the runtime, so
// that pip install works as it does in a container: what is installed lands
// here and shadows the runtime's own, which stays as it is.
func (h *Host) prepareEnv() error {
	cfg, err := os.ReadFile(h.path(envPath + "/pyvenv.cfg"))
	if errors.Is(err, os.ErrNotExist) {
		return nil // no Python runtime
	}
	if err != nil {
		return err
	}
	libs, err := filepath.Glob(h.path(envPath + "/lib/python3.*/site-packages"))
	if err != nil || len(libs) != 1 {
		return fmt.Errorf("the runtime's site-packages: found %d, %w", len(libs), err)
	}
	version := filepath.Base(filepath.Dir(libs[0]))
	site := filepath.Join(venvPath, "lib", version, "site-packages")
	bin := filepath.Join(venvPath, "bin")
	for _, d := range []string{site, bin} {
		if err := os.MkdirAll(h.path(d), 0o755); err != nil {
			return err
		}
	}
	if err := os.WriteFile(h.path(venvPath+"/pyvenv.cfg"), cfg, 0o644); err != nil {
		return err
	}
	// The hook handles .pth files of the runtime too, which a bare path would not.
	pth := fmt.Sprintf("import site; site.addsitedir(%q)\n", filepath.Join(envPath, "lib", version, "site-packages"))
	if err := os.WriteFile(h.path(filepath.Join(site, "clary-runtime.pth")), []byte(pth), 0o644); err != nil {
		return err
	}
	if err := h.prepareScripts(bin); err != nil {
		return err
	}
	h.Env["VIRTUAL_ENV"] = venvPath
	h.Env["PATH"] = layerPath(h.Env["PATH"], bin)
	return nil
}

// prepareScripts gives the layer the runtime's commands: interpreters as
// links, Python scripts as copies that start the layer's interpreter.
func (h *Host) prepareScripts(bin string) error {
	entries, err := os.ReadDir(h.path(envPath + "/bin"))
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := e.Name()
		from := h.path(filepath.Join(envPath, "bin", name))
		to := h.path(filepath.Join(bin, name))
		if strings.HasPrefix(name, "python") {
			target, err := os.Readlink(from)
			if err != nil {
				target = filepath.Join(envPath, "bin", name)
			}
			if err := os.Symlink(target, to); err != nil && !errors.Is(err, os.ErrExist) {
				return err
			}
			continue
		}
		if !e.Type().IsRegular() {
			continue
		}
		if info, err := e.Info(); err != nil || info.Size() > 64<<10 {
			continue // a program, found in the runtime's own folder
		}
		data, err := os.ReadFile(from)
		if err != nil {
			return err
		}
		moved := bytes.Replace(data, []byte(envPath+"/bin/python"), []byte(venvPath+"/bin/python"), 1)
		if !bytes.HasPrefix(data, []byte("#!")) || bytes.Equal(moved, data) {
			continue
		}
		if err := os.WriteFile(to, moved, 0o755); err != nil {
			return err
		}
	}
	return nil
}

// layerPath puts the layer before the runtime in PATH.
func layerPath(path, bin string) string {
	if path == "" {
		path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	}
	out := []string{bin}
	if !strings.Contains(":"+path+":", ":"+envPath+"/bin:") {
		out = append(out, envPath+"/bin")
	}
	return strings.Join(append(out, path), ":")
}
