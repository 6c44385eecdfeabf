// Package sdks makes ready what tests under test/sdk drive beside the Python
// clients and Debian's programs: the AWS SDK for JavaScript, and axe for the
// console's pages, from their lock file, in a cache outside the repository. The AWS SDK for Go needs nothing: it is a
// module. Start at Ensure.
package sdks

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"

	"clary/tool/internal/step"
)

// SDKs says where they are.
type SDKs struct{ NodeModules string }

// Env is how tests learn it.
func (s SDKs) Env() []string { return []string{"CLARY_NODE_MODULES=" + s.NodeModules} }

// Ensure installs what is missing.
func Ensure(ctx context.Context, say func(format string, args ...any)) (SDKs, error) {
	root, err := step.Root()
	if err != nil {
		return SDKs{}, err
	}
	cache, err := step.CacheDir()
	if err != nil {
		return SDKs{}, err
	}
	dir, err := node(ctx, filepath.Join(root, "test", "sdk", "js"), cache, say)
	return SDKs{NodeModules: dir}, err
}

// node installs the packages of a lock file, once per lock.
func node(ctx context.Context, from, cache string, say func(format string, args ...any)) (string, error) {
	files := map[string][]byte{}
	sum := sha256.New()
	for _, name := range []string{"package.json", "package-lock.json"} {
		b, err := os.ReadFile(filepath.Join(from, name))
		if err != nil {
			return "", err
		}
		files[name] = b
		sum.Write(b)
	}
	dir := filepath.Join(cache, "js-"+hex.EncodeToString(sum.Sum(nil)[:6]))
	unlock, err := step.Hold(dir + ".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	modules := filepath.Join(dir, "node_modules")
	made := filepath.Join(dir, ".complete")
	if _, err := os.Stat(made); err == nil {
		return modules, nil
	}
	say("installing the AWS SDK for JavaScript into %s", dir)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	for name, b := range files {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			return "", err
		}
	}
	err = step.Run(ctx, step.Cmd{Dir: dir, Args: []string{"npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"}})
	if err != nil {
		return "", fmt.Errorf("the AWS SDK for JavaScript: %w", err)
	}
	return modules, os.WriteFile(made, nil, 0o644)
}
