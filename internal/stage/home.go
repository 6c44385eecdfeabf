package stage

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

// endpointsFile is made when a runtime with botocore is built: botocore's own
// list with STS moved to the task's listener. Both SageMaker SDKs look STS up
// in that list, whatever the endpoint variables say.
const endpointsFile = "/opt/clary/env/share/clary/endpoints.json"

// prepareHome makes the SageMaker SDK inside the task speak to Clary alone.
func (h *Host) prepareHome(isolated bool) error {
	home := h.Env["HOME"]
	if home == "" {
		home = "/root"
		h.Env["HOME"] = home
	}
	if isolated {
		return nil
	}
	dir := h.path(home)
	if err := writeNew(filepath.Join(dir, ".config/sagemaker/config.yaml"), func(p string) error {
		return os.WriteFile(p, []byte(sdkConfig), 0o644)
	}); err != nil {
		return err
	}
	if h.Env["AWS_CA_BUNDLE"] == "" {
		return nil // the listener's certificate would not be trusted
	}
	if _, err := os.Stat(h.path(endpointsFile)); err != nil {
		return nil // the runtime has no botocore
	}
	return writeNew(filepath.Join(dir, ".aws/models/endpoints.json"), func(p string) error {
		return os.Symlink(endpointsFile, p)
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
