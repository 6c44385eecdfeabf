package stage

import "clary/internal/stage/home"

// prepareHome makes the SageMaker SDK inside the task speak to Clary alone.
func (h *Host) prepareHome(isolated bool) error {
	if h.Env["HOME"] == "" {
		h.Env["HOME"] = "/root"
	}
	if isolated {
		return nil
	}
	return home.Prepare(h.Root, h.Env["HOME"], h.Env["AWS_CA_BUNDLE"] != "")
}
