package server

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// The build puts clary-task beside this file; `make build` does both.
//
//go:embed all:taskbin
var taskbin embed.FS

// unpackTask writes the embedded clary-task under its content's name, so that
// supervisors of an older server keep the file they run from.
func unpackTask(dir string) (string, error) {
	b, err := taskbin.ReadFile("taskbin/clary-task")
	if err != nil {
		return "", errors.New("this clary was built without clary-task; build it with `make build`")
	}
	sum := sha256.Sum256(b)
	path := filepath.Join(dir, "clary-task-"+hex.EncodeToString(sum[:8]))
	if have, err := os.ReadFile(path); err == nil && sha256.Sum256(have) == sum {
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
	if _, err = tmp.Write(b); err == nil {
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
