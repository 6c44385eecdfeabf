// Package build makes a runtime's Python environment inside a task. It fetches
// uv and the packages of a lock from a package index; whatever does not have
// the lock's hash is refused, and nothing that it fetches is run but uv and, for
// a notebook's kernel, Matplotlib. Start at Main.
package build

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// Where the parts of a build are mounted in its task.
const (
	Dir   = "/opt/clary/build" // read-only: LockFile, UVFile, CAFile
	Env   = "/opt/clary/env"   // becomes the environment
	Cache = "/opt/clary/cache" // kept between builds

	LockFile = "lock.txt"
	UVFile   = "uv.txt"
	CAFile   = "ca.pem"
)

// defaultIndex is where packages come from when nothing else is configured.
const defaultIndex = "https://pypi.org/simple"

// builder is one build.
type builder struct {
	python, dir, env, cache string
	index                   string
	vars                    map[string]string
	out                     io.Writer
}

// Main builds and returns the exit code. What it prints last says why it
// failed.
func Main(ctx context.Context, args, environ []string, out io.Writer) int {
	b := &builder{vars: map[string]string{}, out: out}
	fs := flag.NewFlagSet("build", flag.ContinueOnError)
	fs.SetOutput(out)
	fs.StringVar(&b.python, "python", "", "the interpreter to build on")
	fs.StringVar(&b.dir, "dir", Dir, "the folder with the lock")
	fs.StringVar(&b.env, "env", Env, "the empty folder to build in")
	fs.StringVar(&b.cache, "cache", Cache, "the folder that keeps downloads")
	if err := fs.Parse(args); err != nil {
		return 2
	}
	for _, e := range environ {
		if k, v, ok := strings.Cut(e, "="); ok {
			b.vars[k] = v
		}
	}
	// The next build may have another user id; only the server sees this
	// folder from outside.
	syscall.Umask(0)
	if err := b.run(ctx); err != nil {
		b.say("%v", err)
		return 1
	}
	return 0
}

func (b *builder) say(format string, args ...any) {
	_, _ = fmt.Fprintf(b.out, format+"\n", args...) // the log is advice
}

func (b *builder) run(ctx context.Context) error {
	b.index = defaultIndex
	for _, k := range []string{"PIP_INDEX_URL", "UV_INDEX_URL", "UV_DEFAULT_INDEX"} {
		if v := b.vars[k]; v != "" {
			b.index = strings.TrimRight(v, "/")
		}
	}
	if ca := filepath.Join(b.dir, CAFile); exists(ca) {
		// Go reads it at its first handshake, uv when it starts.
		if err := os.Setenv("SSL_CERT_FILE", ca); err != nil {
			return err
		}
		b.vars["SSL_CERT_FILE"] = ca
	}
	uv, err := b.fetchUV(ctx)
	if err != nil {
		return fmt.Errorf("cannot fetch uv: %w", err)
	}
	defer os.RemoveAll(filepath.Dir(uv)) //nolint:errcheck // a temporary folder
	if err := b.install(ctx, uv, b.env, LockFile, ""); err != nil {
		return err
	}
	if err := b.wheels(ctx, uv); err != nil {
		return err
	}
	if err := b.kernels(ctx, uv); err != nil {
		return err
	}
	if err := b.spark(ctx); err != nil {
		return err
	}
	return b.endpoints()
}

// install makes an environment of what a lock names.
func (b *builder) install(ctx context.Context, uv, env, lockFile, where string) error {
	lock := filepath.Join(b.dir, lockFile)
	data, err := os.ReadFile(lock)
	if err != nil {
		return err
	}
	if err := b.uv(ctx, uv, "venv", "--no-project", "--allow-existing", "--python", b.python, "--no-python-downloads", env); err != nil {
		return fmt.Errorf("cannot make an environment for %s: %w", b.python, err)
	}
	b.say("installing %d packages%s", bytes.Count(data, []byte("==")), where)
	if err := b.uv(ctx, uv, "pip", "sync", "--python", env, "--no-python-downloads", "--require-hashes", "--only-binary", ":all:",
		"--link-mode", "copy", "--compile-bytecode", "--default-index", b.index, lock); err != nil {
		return fmt.Errorf("cannot install the packages: %w", err)
	}
	return nil
}

func exists(p string) bool {
	_, err := os.Stat(p)
	return err == nil
}

// uv runs uv with nothing of the host's configuration.
func (b *builder) uv(ctx context.Context, uv string, args ...string) error {
	cmd := exec.CommandContext(ctx, uv, append([]string{"--no-config", "--no-progress", "--color", "never", "--cache-dir", filepath.Join(b.cache, "uv")}, args...)...)
	for _, k := range []string{"PATH", "HOME", "TMPDIR", "LANG", "SSL_CERT_FILE", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"} {
		if v, ok := b.vars[k]; ok {
			cmd.Env = append(cmd.Env, k+"="+v)
		}
	}
	cmd.Env = append(cmd.Env, "UV_HTTP_TIMEOUT=120", "UV_NO_WRAP=1")
	cmd.Stdout, cmd.Stderr = b.out, b.out
	return cmd.Run()
}

// TLSAddr is where a task finds Clary by TLS.
const TLSAddr = "127.0.0.1:2527"

// endpoints keeps a copy of botocore's list of endpoints in which STS is
// Clary. Stage links it into a job's home: the SageMaker SDKs look STS up
// there, whatever the endpoint variables say.
func (b *builder) endpoints() error {
	const list = "lib/python3.*/site-packages/botocore/data/endpoints.json"
	found, err := filepath.Glob(filepath.Join(b.env, list))
	if err == nil && len(found) == 0 {
		found, err = filepath.Glob(filepath.Join(b.env, Kernels, "*", list))
	}
	if err != nil || len(found) == 0 {
		return err
	}
	data, err := os.ReadFile(found[0])
	if err != nil {
		return err
	}
	moved, err := moveSTS(data)
	if err != nil {
		return fmt.Errorf("%s: %w", found[0], err)
	}
	dir := filepath.Join(b.env, "share/clary")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "endpoints.json"), moved, 0o644)
}

func moveSTS(data []byte) ([]byte, error) {
	var doc map[string]any
	if err := json.Unmarshal(data, &doc); err != nil {
		return nil, err
	}
	partitions, _ := doc["partitions"].([]any)
	n := 0
	for _, p := range partitions {
		part, _ := p.(map[string]any)
		services, _ := part["services"].(map[string]any)
		sts, _ := services["sts"].(map[string]any)
		endpoints, _ := sts["endpoints"].(map[string]any)
		for _, e := range endpoints {
			ep, ok := e.(map[string]any)
			if !ok {
				continue
			}
			ep["hostname"] = TLSAddr
			delete(ep, "variants")
			n++
		}
	}
	if n == 0 {
		return nil, errors.New("no endpoints of sts")
	}
	return json.Marshal(doc)
}
