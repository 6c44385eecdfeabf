// Package venv lays a small writable virtual environment over a runtime's, so
// that pip install works as it does in a container: what is installed lands in
// the layer and shadows the runtime's own, which stays as it is. Start at Lay.
package venv

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Lay makes a layer at a place of the task over the environment env. Both are
// paths as the task sees them, below root. ErrNotExist: env is no Python
// environment.
func Lay(root, env, at string) error {
	cfg, err := os.ReadFile(filepath.Join(root, env, "pyvenv.cfg"))
	if err != nil {
		return err
	}
	libs, err := filepath.Glob(filepath.Join(root, env, "lib/python3.*/site-packages"))
	if err != nil || len(libs) != 1 {
		return fmt.Errorf("the runtime's site-packages: found %d, %w", len(libs), err)
	}
	version := filepath.Base(filepath.Dir(libs[0]))
	site := filepath.Join(root, at, "lib", version, "site-packages")
	bin := filepath.Join(root, at, "bin")
	for _, d := range []string{site, bin} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(root, at, "pyvenv.cfg"), cfg, 0o644); err != nil {
		return err
	}
	// The hook handles .pth files of the runtime too, which a bare path would not.
	pth := fmt.Sprintf("import site; site.addsitedir(%q)\n", filepath.Join(env, "lib", version, "site-packages"))
	if err := os.WriteFile(filepath.Join(site, "clary-runtime.pth"), []byte(pth), 0o644); err != nil {
		return err
	}
	return scripts(filepath.Join(root, env, "bin"), bin, env, at)
}

// scripts gives the layer the runtime's commands: interpreters as links, Python
// scripts as copies that start the layer's interpreter.
func scripts(src, dst, env, at string) error {
	entries, err := os.ReadDir(src)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := e.Name()
		from, to := filepath.Join(src, name), filepath.Join(dst, name)
		if strings.HasPrefix(name, "python") {
			target, err := os.Readlink(from)
			if err != nil {
				target = filepath.Join(env, "bin", name)
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
		moved := bytes.Replace(data, []byte(env+"/bin/python"), []byte(at+"/bin/python"), 1)
		if !bytes.HasPrefix(data, []byte("#!")) || bytes.Equal(moved, data) {
			continue
		}
		if err := os.WriteFile(to, moved, 0o755); err != nil {
			return err
		}
	}
	return nil
}

// Path puts folders before those of a PATH that it does not have yet.
func Path(path string, first ...string) string {
	if path == "" {
		path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	}
	var out []string
	for i, dir := range first {
		if i == 0 || !strings.Contains(":"+path+":", ":"+dir+":") {
			out = append(out, dir)
		}
	}
	return strings.Join(append(out, path), ":")
}
