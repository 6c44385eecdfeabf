package server

import (
	"embed"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// The build puts clary-task beside this file; `make build` does both.
//
//go:embed all:taskbin
var taskbin embed.FS

var errNoTask = errors.New("this clary was built without clary-task; build it with `make build`")

// unpackTask writes the embedded clary-task under its content's name, so that
// supervisors of an older server keep the file they run from.
func unpackTask(dir string) (string, error) {
	in, err := taskbin.Open("taskbin/clary-task")
	sum, serr := taskbin.ReadFile("taskbin/clary-task.sum")
	if err != nil || serr != nil {
		return "", errNoTask
	}
	defer in.Close()
	fi, err := in.Stat()
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "clary-task-"+string(sum))
	// A file under its name is whole: it was renamed there after its fsync.
	if have, err := os.Stat(path); err == nil && have.Size() == fi.Size() {
		return path, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	tmp, err := os.CreateTemp(dir, ".clary-task-*")
	if err != nil {
		return "", err
	}
	defer os.Remove(tmp.Name())
	if _, err = io.Copy(tmp, in); err == nil {
		err = tmp.Chmod(0o755)
	}
	if err == nil {
		err = tmp.Sync()
	}
	if cerr := tmp.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return "", fmt.Errorf("task program: %w", err)
	}
	return path, nil
}
