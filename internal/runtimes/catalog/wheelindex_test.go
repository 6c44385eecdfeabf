package catalog

import (
	"strings"
	"testing"

	"clary/internal/stage/build"
)

// With an index of the operator's, the wheels that come in kinds are taken from
// there, and what only GPUs need is left out of the lock.
func TestWheelIndex(t *testing.T) {
	t.Parallel()
	const index = "https://user:secret@wheels.example.org/cpu"
	with, without := &Catalog{cfg: Config{WheelIndex: index}}, &Catalog{}
	for _, v := range Variants() {
		minor := v.Pythons[0]
		plain, err := without.filesOf(v, minor)
		if err != nil {
			t.Fatal(err)
		}
		files, err := with.filesOf(v, minor)
		if err != nil {
			t.Fatal(err)
		}
		lock, wheels := string(files[build.LockFile]), string(files[build.WheelFile])
		if len(v.Wheels) == 0 {
			if wheels != "" || lock != string(plain[build.LockFile]) || with.wheelNote(v) != "" {
				t.Errorf("%s: %s", v.Recipe, wheels)
			}
			continue
		}
		torch := versionOf(plain[build.LockFile], "torch")
		if !strings.HasPrefix(wheels, index+"\n") || !strings.Contains(wheels, "\ntorch=="+torch+"\n") || !strings.Contains(wheels, "\ntorchvision==") || plain[build.WheelFile] != nil {
			t.Errorf("%s: %s", v.Recipe, wheels)
		}
		for _, gone := range []string{"torch", "torchvision", "triton", "nvidia-cublas", "cuda-toolkit"} {
			if versionOf(files[build.LockFile], gone) != "" || versionOf(plain[build.LockFile], gone) == "" {
				t.Errorf("%s: %s is in the lock: %q, %q without the index", v.Recipe, gone, versionOf(files[build.LockFile], gone), versionOf(plain[build.LockFile], gone))
			}
		}
		if versionOf(files[build.LockFile], "sympy") == "" {
			t.Errorf("%s: sympy is not in the lock", v.Recipe)
		}
		p := Python{Path: "/usr/bin/python3", Version: "3.11.2"}
		if runtimeID(plain, p) == runtimeID(files, p) {
			t.Errorf("%s: one runtime with and without the index", v.Recipe)
		}
		if note := with.wheelNote(v); note != "torch and torchvision from wheels.example.org" || !strings.Contains(without.wheelNote(v), "--wheel-index") {
			t.Errorf("%s: %q", v.Recipe, note)
		}
	}
}
