package build

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const (
	// Kernels is the folder of an environment that holds those of a notebook's
	// kernels, each by its name.
	Kernels = "kernels"
	// FontList is the folder of an environment with Matplotlib's list of the
	// fonts that there are, which it would else make at somebody's first plot.
	FontList = "share/clary/matplotlib"

	// Offers is the folder of an environment with the locks of kernels that are
	// installed where they are first used, each by its name and ".txt", and uv's.
	Offers = "share/clary/kernels"

	kernelPrefix = "kernel-"
	offerPrefix  = "offer-"
)

// KernelFile is the lock of a kernel's environment.
func KernelFile(name string) string { return kernelPrefix + name + ".txt" }

// OfferFile is the lock of a kernel that is not installed with the others.
func OfferFile(name string) string { return offerPrefix + name + ".txt" }

// kernels makes an environment for each kernel that there is a lock for.
func (b *builder) kernels(ctx context.Context, uv string) error {
	locks, err := filepath.Glob(filepath.Join(b.dir, KernelFile("*")))
	if err != nil || len(locks) == 0 {
		return err
	}
	for _, lock := range locks {
		file := filepath.Base(lock)
		name := strings.TrimSuffix(strings.TrimPrefix(file, kernelPrefix), ".txt")
		env := filepath.Join(b.env, Kernels, name)
		if err := os.MkdirAll(env, 0o755); err != nil {
			return err
		}
		if err := b.install(ctx, uv, env, file, " of the kernel "+name); err != nil {
			return err
		}
		b.fonts(ctx, env)
	}
	if err := b.offers(); err != nil {
		return err
	}
	// The server's own Python is not for notebooks.
	return os.RemoveAll(filepath.Join(b.env, "share/jupyter/kernels"))
}

// offers keeps in the environment what installs further kernels later.
func (b *builder) offers() error {
	locks, err := filepath.Glob(filepath.Join(b.dir, OfferFile("*")))
	if err != nil || len(locks) == 0 {
		return err
	}
	to := filepath.Join(b.env, Offers)
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	for _, from := range append(locks, filepath.Join(b.dir, UVFile)) {
		data, err := os.ReadFile(from)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(to, strings.TrimPrefix(filepath.Base(from), offerPrefix)), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// fonts has Matplotlib look for fonts now. A list that could not be made is
// made by the first plot.
func (b *builder) fonts(ctx context.Context, env string) {
	if found, err := filepath.Glob(filepath.Join(env, "lib/python3.*/site-packages/matplotlib/font_manager.py")); err != nil || len(found) == 0 {
		return
	}
	b.say("making the list of fonts")
	dir := filepath.Join(b.env, FontList)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		b.say("%v", err)
		return
	}
	cmd := exec.CommandContext(ctx, filepath.Join(env, "bin/python"), "-I", "-c", "import matplotlib.font_manager")
	for _, k := range []string{"PATH", "HOME", "TMPDIR", "LANG"} {
		if v, ok := b.vars[k]; ok {
			cmd.Env = append(cmd.Env, k+"="+v)
		}
	}
	cmd.Env = append(cmd.Env, "MPLCONFIGDIR="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		b.say("the list of fonts: %s", strings.TrimSpace(fmt.Sprintf("%s %v", out, err)))
	}
}
