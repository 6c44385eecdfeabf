package build

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// WheelFile names what comes from an index of the operator's choice, and not by
// the lock: its address in the first line, then packages with their versions.
// What they need besides comes from there too.
const WheelFile = "wheels.txt"

// wheels installs what the lock leaves to the operator's index. There are no
// hashes: the operator trusts that index.
func (b *builder) wheels(ctx context.Context, uv string) error {
	data, err := os.ReadFile(filepath.Join(b.dir, WheelFile))
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	address, rest, _ := strings.Cut(string(data), "\n")
	packages := strings.Fields(rest)
	b.say("installing %s from %s", strings.Join(packages, ", "), hostOf(address))
	args := append([]string{
		"pip", "install", "--python", b.env, "--no-python-downloads", "--only-binary", ":all:", "--link-mode", "copy", "--compile-bytecode",
		"--constraint", filepath.Join(b.dir, LockFile), "--index", address, "--default-index", b.index,
	}, packages...)
	if err := b.uv(ctx, uv, args...); err != nil {
		return fmt.Errorf("cannot install %s from %s: %w", strings.Join(packages, ", "), hostOf(address), err)
	}
	return nil
}
