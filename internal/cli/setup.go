package cli

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"clary/internal/identity"
)

// lookup finds a variable; of several the last counts, as in exec.
func lookup(env []string, name string) (string, bool) {
	for _, kv := range slices.Backward(env) {
		if k, v, ok := strings.Cut(kv, "="); ok && k == name {
			return v, true
		}
	}
	return "", false
}

// savedName holds what a shell had before, so that --unset can put it back.
const savedName = "CLARY_ENV_SAVED"

// before is the environment without what we did to it: a second `clary env`
// must build on the user's own values, not on ours.
func before(env []string) ([]string, map[string]*string) {
	old := map[string][]byte{}
	raw, ok := lookup(env, savedName)
	if !ok {
		return env, nil
	}
	b, err := base64.StdEncoding.DecodeString(raw)
	if err != nil || json.Unmarshal(b, &old) != nil {
		return env, nil
	}
	saved := map[string]*string{}
	for k, v := range old {
		saved[k] = nil
		if v != nil {
			text := string(v)
			saved[k] = &text
		}
	}
	out := slices.DeleteFunc(slices.Clone(env), func(kv string) bool {
		k, _, _ := strings.Cut(kv, "=")
		_, ours := saved[k]
		return ours || k == savedName
	})
	for k, v := range saved {
		if v != nil {
			out = append(out, k+"="+*v)
		}
	}
	return out, saved
}

// change is what is done to one variable: nil unsets it.
type change struct {
	name  string
	value *string
}

// target is the server that an environment points to.
type target struct {
	running
	data  string
	key   identity.RootKey
	token string
}

// errNoServer tells what to do first.
func errNoServer(data string, err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("no server has run on %s yet: start one with `clary serve`", data)
	}
	return err
}

func (a *app) target() (target, error) {
	t := target{data: a.data}
	abs, err := filepath.Abs(a.data)
	if err != nil {
		return t, err
	}
	t.data = abs
	b, err := os.ReadFile(runningFile(t.data))
	if err != nil {
		return t, errNoServer(t.data, err)
	}
	if err := json.Unmarshal(b, &t.running); err != nil || t.Addr == "" {
		return t, fmt.Errorf("%s cannot be read: start the server again", runningFile(t.data))
	}
	if t.key, err = identity.ReadRootKey(filepath.Join(t.data, "keys")); err != nil {
		return t, errNoServer(t.data, err)
	}
	token, err := os.ReadFile(filepath.Join(t.data, "keys", "proxy.token"))
	if err != nil {
		return t, errNoServer(t.data, err)
	}
	t.token = strings.TrimSpace(string(token))
	return t, nil
}

// changes gives the environment in which unmodified clients talk to t. user is
// the user's own environment; files are written below the data folder.
func (t target) changes(user []string, o envOptions) ([]change, error) {
	bundle, err := t.bundle(user)
	if err != nil {
		return nil, err
	}
	set := func(name, value string) change { return change{name, &value} }
	out := []change{
		set("AWS_ENDPOINT_URL", "http://"+t.Addr),
		set("AWS_REGION", t.Region),
		set("AWS_DEFAULT_REGION", t.Region),
		set("AWS_CA_BUNDLE", bundle),
		// what the user's config file may say to the contrary
		set("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "false"),
		set("AWS_USE_FIPS_ENDPOINT", "false"),
		set("AWS_USE_DUALSTACK_ENDPOINT", "false"),
		// stream-127.0.0.1, where a live tail would be looked for, is no address
		set("AWS_DISABLE_HOST_PREFIX_INJECTION", "true"),
	}
	if o.profile == "" {
		out = append(out, set("AWS_ACCESS_KEY_ID", t.key.AccessKeyID), set("AWS_SECRET_ACCESS_KEY", t.key.SecretAccessKey))
	} else {
		profile, err := t.profile(o.profile)
		if err != nil {
			return nil, err
		}
		out = append(out, profile...)
	}
	telemetry, err := t.telemetry(user)
	if err != nil {
		return nil, err
	}
	out = append(out, telemetry...)
	no := noProxy(user)
	for _, name := range []string{"NO_PROXY", "no_proxy"} {
		out = append(out, set(name, no))
	}
	if !o.noProxy {
		url := "http://clary:" + t.token + "@" + t.Addr
		// Python prefers the lower-case name, others the upper-case one
		out = append(out, set("HTTPS_PROXY", url), set("https_proxy", url))
	}
	for _, name := range defeating(user) {
		if !slices.ContainsFunc(out, func(c change) bool { return c.name == name }) {
			out = append(out, change{name, nil})
		}
	}
	return out, nil
}

// defeating are the user's variables that would lead clients elsewhere or make
// them sign as somebody else.
func defeating(user []string) []string {
	names := []string{
		"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN", "AWS_CREDENTIAL_EXPIRATION",
		"AWS_ROLE_ARN", "AWS_ROLE_SESSION_NAME", "AWS_WEB_IDENTITY_TOKEN_FILE",
		"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN",
		"AWS_ACCOUNT_ID", "S3_ENDPOINT_URL",
	}
	var out []string
	for _, kv := range user {
		k, _, _ := strings.Cut(kv, "=")
		if (slices.Contains(names, k) || strings.HasPrefix(k, "AWS_ENDPOINT_URL_")) && !slices.Contains(out, k) {
			out = append(out, k)
		}
	}
	slices.Sort(out)
	return out
}

// noProxy keeps the user's entries.
func noProxy(user []string) string {
	v, ok := lookup(user, "no_proxy")
	if !ok || v == "" {
		v, _ = lookup(user, "NO_PROXY")
	}
	var list []string
	for e := range strings.SplitSeq(v, ",") {
		if e = strings.TrimSpace(e); e != "" && !slices.Contains(list, e) {
			list = append(list, e)
		}
	}
	for _, e := range []string{"127.0.0.1", "localhost", ".localhost"} {
		if !slices.Contains(list, e) {
			list = append(list, e)
		}
	}
	return strings.Join(list, ",")
}

// bundle writes one file of all certificates that the user's clients trust now
// and of our CA; a client that is given a bundle looks at nothing else.
func (t target) bundle(user []string) (string, error) {
	ours, err := os.ReadFile(filepath.Join(t.data, "keys", "ca.pem"))
	if err != nil {
		return "", errNoServer(t.data, err)
	}
	var out bytes.Buffer
	seen := map[[32]byte]bool{}
	add := func(b []byte) bool {
		sum := sha256.Sum256(b)
		if seen[sum] || !bytes.Contains(b, []byte("BEGIN CERTIFICATE")) {
			return seen[sum]
		}
		seen[sum] = true
		out.Write(b)
		if !bytes.HasSuffix(b, []byte("\n")) {
			out.WriteByte('\n')
		}
		return true
	}
	for _, name := range []string{"AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"} {
		if path, _ := lookup(user, name); path != "" {
			b, err := os.ReadFile(path)
			if err != nil {
				continue // a folder, or gone: the client could not use it as a file either
			}
			add(b)
		}
	}
	for _, path := range []string{
		"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem",
	} {
		if b, err := os.ReadFile(path); err == nil && add(b) {
			break
		}
	}
	add(ours)
	sum := sha256.Sum256(out.Bytes())
	path := filepath.Join(t.data, "run", "env", "ca-"+hex.EncodeToString(sum[:8])+".pem")
	if have, err := os.ReadFile(path); err == nil && bytes.Equal(have, out.Bytes()) {
		return path, nil
	}
	return path, writeAtomic(path, out.Bytes(), 0o644)
}

const telemetryOff = `SchemaVersion: '1.0'
SageMaker:
  PythonSDK:
    Modules:
      TelemetryOptOut: true
`

// telemetry turns the SDK's telemetry off without hiding the user's own
// settings: the SDK reads one file of the administrator's and one of the
// user's, and ours takes whichever place is free.
func (t target) telemetry(user []string) ([]change, error) {
	path := filepath.Join(t.data, "run", "env", "sagemaker.yaml")
	if err := writeAtomic(path, []byte(telemetryOff), 0o644); err != nil {
		return nil, err
	}
	taken := func(override string, files ...string) bool {
		if v, _ := lookup(user, override); v != "" {
			return true
		}
		for _, f := range files {
			if _, err := os.Stat(f); err == nil {
				return true
			}
		}
		return false
	}
	home, _ := lookup(user, "HOME")
	config, _ := lookup(user, "XDG_CONFIG_HOME")
	if config == "" {
		config = filepath.Join(home, ".config")
	}
	if !taken("SAGEMAKER_USER_CONFIG_OVERRIDE", filepath.Join(config, "sagemaker", "config.yaml")) {
		return []change{{"SAGEMAKER_USER_CONFIG_OVERRIDE", &path}}, nil
	}
	if !taken("SAGEMAKER_ADMIN_CONFIG_OVERRIDE", "/etc/xdg/sagemaker/config.yaml") {
		return []change{{"SAGEMAKER_ADMIN_CONFIG_OVERRIDE", &path}}, nil
	}
	return nil, nil
}

// saved is the value of savedName that undoes list.
func saved(user []string, list []change) (string, error) {
	old := map[string][]byte{} // bytes: a value need not be UTF-8
	for _, c := range list {
		old[c.name] = nil
		if v, ok := lookup(user, c.name); ok {
			old[c.name] = []byte(v)
		}
	}
	b, err := json.Marshal(old)
	return base64.StdEncoding.EncodeToString(b), err
}

// apply gives env with list done to it.
func apply(env []string, list []change) []string {
	out := slices.DeleteFunc(slices.Clone(env), func(kv string) bool {
		k, _, _ := strings.Cut(kv, "=")
		return slices.ContainsFunc(list, func(c change) bool { return c.name == k })
	})
	for _, c := range list {
		if c.value != nil {
			out = append(out, c.name+"="+*c.value)
		}
	}
	return out
}
