//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"clary/tool/internal/debian"
	"clary/tool/internal/step"
)

// packages are what the README asks for, beside Go. apt comes with every
// Debian, and ca-certificates with every one that reaches a registry.
var packages = []string{"ca-certificates", "make", "python3"} //nolint:gochecknoglobals // a constant list

// baseAge is how long an unpacked Debian serves: after it, packages may have
// moved on.
const baseAge = 7 * 24 * time.Hour

// ensureBase unpacks a Debian, or finds the one of an earlier run. No command
// of a machine ever runs in it.
func ensureBase(ctx context.Context, suite string) (string, error) {
	cache, err := step.CacheDir()
	if err != nil {
		return "", err
	}
	if err := debian.Need(ctx, filepath.Join(cache, "apt.lock"), say, debian.Program{Path: "debootstrap", Package: "debootstrap"}); err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "debian-"+suite)
	complete := dir + ".complete"
	if st, err := os.Stat(complete); err == nil && time.Since(st.ModTime()) < baseAge {
		return dir, nil
	}
	if err := errors.Join(os.RemoveAll(complete), os.RemoveAll(dir)); err != nil {
		return "", err
	}
	from := mirror(ctx)
	say("unpacking Debian %s with %s from %s", suite, strings.Join(packages, ", "), from)
	err = step.Run(ctx, step.Cmd{Env: aptProxies(ctx), Args: []string{
		"debootstrap", "--variant=minbase", "--include=" + strings.Join(packages, ","), suite, dir, from,
	}})
	if err != nil {
		return "", err
	}
	return dir, os.WriteFile(complete, nil, 0o644)
}

// mirror is where this machine gets Debian's packages.
func mirror(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, "apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages").Output()
	if err == nil {
		for uri := range strings.FieldsSeq(string(out)) {
			if uri = strings.TrimSuffix(uri, "/"); strings.HasSuffix(uri, "/debian") {
				return uri
			}
		}
	}
	return "http://deb.debian.org/debian"
}

// aptSettings are the lines by which this machine's apt reaches its mirror.
func aptSettings(ctx context.Context) []string {
	out, err := exec.CommandContext(ctx, "apt-config", "dump").Output()
	if err != nil {
		return nil
	}
	var lines []string
	for line := range strings.Lines(string(out)) {
		for _, prefix := range []string{"Acquire::http::", "Acquire::https::"} {
			if strings.HasPrefix(line, prefix) {
				lines = append(lines, strings.TrimSpace(line))
			}
		}
	}
	return lines
}

// aptProxies tells debootstrap, which does not read apt's settings, of a proxy.
func aptProxies(ctx context.Context) []string {
	var env []string
	for _, line := range aptSettings(ctx) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, ";"), " ")
		for _, scheme := range []string{"http", "https"} {
			if name == "Acquire::"+scheme+"::Proxy" {
				env = append(env, scheme+"_proxy="+strings.Trim(value, `"`))
			}
		}
	}
	return env
}

// registrySettings are variables that say how package registries are reached.
// None of them names a folder of this machine.
func registrySettings(ctx context.Context) []string {
	names := []string{
		"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "no_proxy", "all_proxy",
		"PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST", "PIP_PROXY", "PIP_DEFAULT_TIMEOUT",
		"UV_INDEX_URL", "UV_DEFAULT_INDEX", "UV_EXTRA_INDEX_URL", "UV_HTTP_TIMEOUT",
		"NPM_CONFIG_REGISTRY", "npm_config_registry",
	}
	var env []string
	for _, name := range names {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	for _, name := range []string{"GOPROXY", "GONOPROXY", "GOSUMDB", "GONOSUMDB", "GOPRIVATE", "GOINSECURE"} {
		out, err := exec.CommandContext(ctx, "go", "env", name).Output()
		if v := strings.TrimSpace(string(out)); err == nil && v != "" {
			env = append(env, name+"="+v)
		}
	}
	return env
}

// settingFiles are copied where they exist, each to the place where every
// user of the machine reads it.
func settingFiles() map[string]string {
	home, _ := os.UserHomeDir()
	files := map[string]string{}
	for _, f := range []struct{ to, from string }{
		{"/etc/resolv.conf", "/etc/resolv.conf"},
		{"/etc/hosts", "/etc/hosts"},
		{"/etc/pip.conf", "/etc/pip.conf"},
		{"/etc/pip.conf", filepath.Join(home, ".pip", "pip.conf")},
		{"/etc/pip.conf", filepath.Join(home, ".config", "pip", "pip.conf")},
		{"/etc/uv/uv.toml", "/etc/uv/uv.toml"},
		{"/etc/uv/uv.toml", filepath.Join(home, ".config", "uv", "uv.toml")},
		{"/etc/npmrc", "/etc/npmrc"},
	} {
		if st, err := os.Stat(f.from); err == nil && st.Mode().IsRegular() {
			files[f.to] = f.from
		}
	}
	own, _ := filepath.Glob("/usr/local/share/ca-certificates/*.crt")
	for _, ca := range own {
		files[ca] = ca
	}
	return files
}

func say(format string, args ...any) { fmt.Printf("   "+format+"\n", args...) }

// has says whether a list of NAME=value holds a name.
func has(env []string, name string) bool {
	return slices.ContainsFunc(env, func(e string) bool { return strings.HasPrefix(e, name+"=") })
}
