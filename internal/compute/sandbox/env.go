package sandbox

import (
	"crypto/rand"
	"encoding/base32"
	"maps"
	"slices"
	"strings"

	"clary/internal/compute/sandbox/jail"
	"clary/internal/compute/sandbox/task"
)

const standardPath = "/run/clary/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// environment is a program's whole environment, each name once: what the
// sandbox gives, then what the task asks for.
func environment(s *task.Spec) []string {
	t := &s.Task
	env := map[string]string{
		"PATH":     strings.Join(append(slices.Clone(t.Image.Path), standardPath), ":"),
		"HOME":     "/root",
		"TMPDIR":   "/tmp",
		"LANG":     "C.UTF-8",
		"HOSTNAME": t.Network.Host,
	}
	if env["HOSTNAME"] == "" {
		env["HOSTNAME"] = "algo-1"
	}
	if u := t.User; u != nil {
		env["HOME"], env["USER"], env["LOGNAME"], env["SHELL"] = u.Home, u.Name, u.Name, "/bin/bash"
	}
	if r := t.Identity.Region; r != "" {
		env["AWS_REGION"], env["AWS_DEFAULT_REGION"] = r, r
	}
	if s.CABundle != "" {
		env["AWS_CA_BUNDLE"] = "/run/clary/ca.pem"
	}
	if !t.Network.Isolated {
		if s.APISocket != "" {
			env["AWS_ENDPOINT_URL"] = "http://" + jail.TCPAddr
			env["S3_ENDPOINT_URL"] = "http://" + jail.TCPAddr
			env["AWS_DISABLE_HOST_PREFIX_INJECTION"] = "true" // stream-127.0.0.1 is no address
		}
		if t.Identity.AccessKeyID != "" {
			env["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"] = s.CredentialsPath
		}
		if t.Network.Egress {
			direct := append([]string{"localhost", "127.0.0.1", "::1", jail.CredentialHost, env["HOSTNAME"]}, t.Network.Peers...)
			for i := range t.Network.Peers { // not every client knows ranges
				direct = append(direct, jail.PeerAddr(i).String())
			}
			for _, n := range []string{"HTTP_PROXY", "HTTPS_PROXY"} {
				env[n], env[strings.ToLower(n)] = "http://"+jail.ProxyAddr, "http://"+jail.ProxyAddr
			}
			slices.Sort(direct)
			env["NO_PROXY"] = strings.Join(slices.Compact(direct), ",")
			env["no_proxy"] = env["NO_PROXY"]
		}
	}
	maps.Copy(env, t.Env)
	list := make([]string, 0, len(env))
	for _, k := range slices.Sorted(maps.Keys(env)) {
		list = append(list, k+"="+env[k])
	}
	return list
}

// credentialsPath is a path that cannot be guessed.
func credentialsPath() (string, error) {
	b := make([]byte, 20)
	if _, err := rand.Read(b); err != nil {
		return "", err
	}
	return "/v2/credentials/" + strings.ToLower(base32.StdEncoding.EncodeToString(b)), nil
}
