// Package shell runs what `clary env` prints in the shells that people use:
// bash, dash, zsh and fish, from Debian. PowerShell is in no Debian package
// and is never run: internal/cli holds its output against the shell's quoting
// rules, and nothing else does.
package shell

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"clary/test/daemon"
	"clary/test/guard"
)

// awkward is what any value may hold.
const awkward = "it's a \"test\"  $HOME `id` $(id) \\ \\' \\\\ !x ~ * {a,b} %PATH% #; & | <é>\t\nsecond line\n\nend"

// eval is how each shell reads what clary prints; then it shows what it has.
func eval() map[string]string {
	return map[string]string{
		"bash": `eval "$(%s)"; env -0`,
		"dash": `eval "$(%s)"; env -0`,
		"zsh":  `eval "$(%s)"; env -0`,
		"fish": `%s | source; env -0`,
	}
}

type bench struct {
	t     *testing.T
	shell string
	d     *daemon.Daemon
	home  string
}

// run gives the environment of the shell after script, from env.
func (b *bench) run(env map[string]string, script string) map[string]string {
	b.t.Helper()
	path, err := exec.LookPath(b.shell)
	if err != nil {
		b.t.Fatalf("%v: run `make setup`, or install the package %s", err, b.shell)
	}
	cmd := exec.CommandContext(b.t.Context(), path, "-c", script)
	for k, v := range env {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil || stderr.Len() > 0 {
		b.t.Fatalf("%s: %v\n%s", b.shell, err, stderr.String())
	}
	got := map[string]string{}
	for kv := range strings.SplitSeq(string(out), "\x00") {
		k, v, ok := strings.Cut(kv, "=")
		if ok && !slices.Contains([]string{"_", "PWD", "OLDPWD", "SHLVL"}, k) {
			got[k] = v
		}
	}
	return got
}

// clary runs `clary env` in the shell, which it finds out by itself.
func (b *bench) clary(env map[string]string, flags ...string) map[string]string {
	b.t.Helper()
	env = maps.Clone(env)
	env["CLARY_BIN"], env["CLARY_DATA"] = b.d.Bin, b.d.Data
	command := strings.Join(append([]string{`"$CLARY_BIN"`, "env"}, flags...), " ")
	got := b.run(env, fmt.Sprintf(eval()[b.shell], command))
	delete(got, "CLARY_BIN")
	delete(got, "CLARY_DATA")
	return got
}

func TestShells(t *testing.T) {
	t.Parallel()
	bin, err := filepath.Abs("../../../bin/clary")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(bin); err != nil {
		t.Fatalf("%v: run `make build`", err)
	}
	dir, err := os.MkdirTemp("", "clary-sh-")
	if err != nil {
		t.Fatal(err)
	}
	release, err := guard.Guard(dir)
	if err != nil {
		t.Fatal(err)
	}
	d, err := daemon.New(bin, filepath.Join(dir, "d'a\"t $HOME `x`\\\nb")) // its paths are values too
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(d.Data), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := d.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Stop(); err != nil {
			t.Error(err)
		}
		if err := errors.Join(os.RemoveAll(dir), release()); err != nil {
			t.Error(err)
		}
	})
	for name := range eval() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			(&bench{t: t, shell: name, d: d, home: t.TempDir()}).thereAndBack()
		})
	}
}

func (b *bench) thereAndBack() {
	t := b.t
	start := map[string]string{
		"PATH": "/usr/bin:/bin", "HOME": b.home, "LANG": "C.UTF-8", "OTHER": awkward,
		"AWS_PROFILE": awkward, "AWS_SESSION_TOKEN": "", "https_proxy": "http://u:p'w@corp:3128", "NO_PROXY": "corp.test,localhost",
	}
	original := b.run(start, "env -0")

	got := b.clary(original)
	for name, want := range map[string]string{
		"AWS_ENDPOINT_URL": "http://" + b.d.Listen, "AWS_REGION": "us-east-1", "NO_PROXY": "corp.test,localhost,127.0.0.1,.localhost", "OTHER": awkward,
	} {
		if got[name] != want {
			t.Errorf("%s is %q, want %q", name, got[name], want)
		}
	}
	if !strings.HasPrefix(got["AWS_CA_BUNDLE"], b.d.Data) || !strings.HasPrefix(got["SAGEMAKER_USER_CONFIG_OVERRIDE"], b.d.Data) {
		t.Errorf("paths: %q %q", got["AWS_CA_BUNDLE"], got["SAGEMAKER_USER_CONFIG_OVERRIDE"])
	}
	if _, err := os.Stat(got["AWS_CA_BUNDLE"]); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"AWS_PROFILE", "AWS_SESSION_TOKEN"} {
		if v, ok := got[name]; ok {
			t.Errorf("%s is still %q", name, v)
		}
	}
	if !strings.HasPrefix(got["HTTPS_PROXY"], "http://clary:") || got["https_proxy"] != got["HTTPS_PROXY"] {
		t.Errorf("proxies %q %q", got["HTTPS_PROXY"], got["https_proxy"])
	}

	direct := b.clary(got, "--no-proxy")
	if direct["https_proxy"] != start["https_proxy"] || direct["HTTPS_PROXY"] != "" {
		t.Errorf("--no-proxy: %q %q", direct["https_proxy"], direct["HTTPS_PROXY"])
	}

	profile := b.clary(direct, "--profile", "dev")
	if profile["AWS_PROFILE"] != "dev" || profile["AWS_ACCESS_KEY_ID"] != "" {
		t.Errorf("--profile: %q %q", profile["AWS_PROFILE"], profile["AWS_ACCESS_KEY_ID"])
	}
	for _, name := range []string{"AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"} {
		if b, err := os.ReadFile(profile[name]); err != nil || !strings.Contains(string(b), "dev]") {
			t.Errorf("%s: %s, %v", name, b, err)
		}
	}

	back := b.clary(profile, "--unset")
	if !maps.Equal(back, original) {
		t.Errorf("--unset gives\n%q\nwas\n%q", back, original)
	}
	left, err := os.ReadDir(filepath.Join(b.home, ".aws"))
	if err == nil {
		t.Errorf("~/.aws was made: %v", left)
	}
}
