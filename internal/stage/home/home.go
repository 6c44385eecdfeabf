// Package home makes the SageMaker SDKs inside a task, whose home is ours, speak
// to Clary alone.
package home

import (
	"errors"
	"os"
	"path/filepath"
)

const sdkConfig = `SchemaVersion: '1.0'
SageMaker:
  PythonSDK:
    Modules:
      TelemetryOptOut: true
`

// Endpoints is made when a runtime with botocore is built: botocore's own
// list with STS moved to the task's listener. Both SageMaker SDKs look STS up
// in that list, whatever the endpoint variables say.
const Endpoints = "/opt/clary/env/share/clary/endpoints.json"

// Prepare writes the SDKs' settings below a home folder. trusted says that the
// task trusts the certificate of Clary's listener. What is there already stays.
func Prepare(root, home string, trusted bool) error {
	dir := filepath.Join(root, home)
	if err := Write(filepath.Join(dir, ".config/sagemaker/config.yaml"), sdkConfig); err != nil {
		return err
	}
	if !trusted {
		return nil
	}
	if _, err := os.Stat(filepath.Join(root, Endpoints)); err != nil {
		return nil //nolint:nilerr // the runtime has no botocore
	}
	return writeNew(filepath.Join(dir, ".aws/models/endpoints.json"), func(p string) error {
		return os.Symlink(Endpoints, p)
	})
}

// Write writes a file that is not there yet, and the folders that it is in.
func Write(name, text string) error {
	return writeNew(name, func(p string) error {
		f, err := os.OpenFile(p, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if err != nil {
			return err
		}
		_, err = f.WriteString(text)
		return errors.Join(err, f.Close())
	})
}

// writeNew makes a file that is not there yet.
func writeNew(name string, make func(string) error) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	if err := make(name); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return nil
}
