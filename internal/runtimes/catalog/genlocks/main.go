// Command genlocks makes the lock files of the runtime catalog again, with uv
// and the package index: run it in internal/runtimes/catalog as
//
//	go run ./genlocks -uv PATH [-recipe NAME]
//
// A lock names every package with its version and the hashes of its wheels for
// Linux on x86-64 and arm64; nothing is built from source.
package main

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"clary/internal/runtimes/catalog"
)

func main() {
	uv := flag.String("uv", "uv", "the uv program")
	recipe := flag.String("recipe", "", "make the locks of one recipe alone")
	flag.Parse()
	if err := run(*uv, *recipe); err != nil {
		fmt.Fprintln(os.Stderr, "genlocks:", err)
		os.Exit(1)
	}
}

func run(uv, recipe string) error {
	for _, v := range catalog.Variants() {
		if recipe != "" && v.Recipe != recipe {
			continue
		}
		for _, minor := range v.Pythons {
			name := fmt.Sprintf("locks/%s-%s-py3%d.txt", v.Recipe, v.Version, minor)
			if err := lock(uv, name, fmt.Sprintf("3.%d", minor), v.Pins); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			fmt.Println(name)
		}
	}
	if recipe != "" {
		return nil
	}
	return lock(uv, "locks/uv.txt", "3.11", []string{"uv"})
}

type pinned struct {
	version  string
	machines []string          // that it is for
	hashes   map[string]string // → wheel
}

func lock(uv, name, python string, pins []string) error {
	all := map[string]*pinned{}
	machines := []string{"x86_64", "aarch64"}
	for _, machine := range machines {
		found, err := compile(uv, python, machine+"-manylinux_2_28", pins)
		if err != nil {
			return err
		}
		for n, p := range found {
			p.machines = []string{machine}
			if old := all[n]; old == nil {
				all[n] = p
			} else if old.version != p.version {
				return fmt.Errorf("%s is %s on one machine and %s on another", n, old.version, p.version)
			} else {
				maps.Copy(old.hashes, p.hashes)
				old.machines = append(old.machines, machine)
			}
		}
	}
	var b strings.Builder
	b.WriteString("# Made by genlocks; do not edit.\n")
	for _, n := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(&b, "%s==%s", n, all[n].version)
		if len(all[n].machines) < len(machines) {
			fmt.Fprintf(&b, " ; platform_machine == '%s'", all[n].machines[0])
		}
		wheels := slices.SortedFunc(maps.Keys(all[n].hashes), func(a, c string) int {
			return strings.Compare(all[n].hashes[a], all[n].hashes[c])
		})
		for _, h := range wheels {
			fmt.Fprintf(&b, " \\\n    --hash=sha256:%s", h)
		}
		b.WriteString("\n")
	}
	return os.WriteFile(name, []byte(b.String()), 0o644)
}

var (
	header  = regexp.MustCompile(`(?m)^name = "(.*)"\nversion = "(.*)"$`)
	wheelAt = regexp.MustCompile(`url = "([^"]*\.whl)".*?sha256 = "([0-9a-f]{64})"`)
)

func compile(uv, python, platform string, pins []string) (map[string]*pinned, error) {
	dir, err := os.MkdirTemp("", "genlocks")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary folder
	out := filepath.Join(dir, "pylock.toml")
	cmd := exec.CommandContext(context.Background(), uv, "pip", "compile", "-q", "--python-version", python, "--python-platform", platform,
		"--only-binary", ":all:", "--generate-hashes", "--format", "pylock.toml", "--no-header", "--no-annotate", "-o", out, "-")
	cmd.Stdin = strings.NewReader(strings.Join(pins, "\n") + "\n")
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return nil, err
	}
	data, err := os.ReadFile(out)
	if err != nil {
		return nil, err
	}
	found := map[string]*pinned{}
	for part := range strings.SplitSeq(string(data), "[[packages]]") {
		m := header.FindStringSubmatch(part)
		if m == nil {
			continue
		}
		p := &pinned{version: m[2], hashes: map[string]string{}}
		for _, w := range wheelAt.FindAllStringSubmatch(part, -1) {
			p.hashes[w[2]] = w[1]
		}
		if len(p.hashes) == 0 {
			return nil, fmt.Errorf("%s %s has no wheel for %s", m[1], m[2], platform)
		}
		found[m[1]] = p
	}
	return found, nil
}
