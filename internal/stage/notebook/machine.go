package notebook

import (
	"maps"
	"os"
	"slices"

	"clary/internal/stage/agent"
	"clary/internal/stage/gitcode"
	"clary/internal/stage/lifecycle"
)

// jupyterLog is the file in which scripts look for what JupyterLab says, and
// to which they write; nil: there is no such place.
func (n *instance) jupyterLog() *os.File {
	if os.Geteuid() != 0 {
		return nil
	}
	log, err := os.OpenFile(n.path("/var/log/jupyter.log"), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	if err != nil {
		n.say("%v", err)
		return nil
	}
	return log
}

// zone is that of SageMaker's machines. Scripts compare what Jupyter says of a
// time with what their clock says.
const zone = "UTC"

// rootEnviron is that of lifecycle scripts.
func (n *instance) rootEnviron() []string {
	env := maps.Clone(n.env)
	maps.Copy(env, map[string]string{"PATH": lifecycle.Path, "HOME": "/root", "SHELL": "/bin/bash", "USER": "root", "LOGNAME": "root", "TZ": zone})
	return n.list(env)
}

func (n *instance) list(env map[string]string) []string {
	out := make([]string, 0, len(env))
	for _, k := range slices.Sorted(maps.Keys(env)) {
		out = append(out, k+"="+env[k])
	}
	return out
}

// machine makes those files of the task's /etc that a notebook has besides. Who
// is not root leaves them.
func (n *instance) machine(o agent.Order) error {
	if os.Geteuid() != 0 {
		return nil
	}
	for _, d := range []string{"/etc/profile.d", "/etc/clary"} {
		if err := os.MkdirAll(n.path(d), 0o755); err != nil {
			return err
		}
	}
	profile, err := files.ReadFile("files/profile")
	if err != nil {
		return err
	}
	texts := map[string]string{"/etc/profile": string(profile), "/etc/gitconfig": gitcode.Config(o.Repositories, n.env["AWS_CA_BUNDLE"])}
	if !o.Root {
		texts[NoRoot] = ""
	}
	for name, text := range texts {
		if err := os.WriteFile(n.path(name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}
