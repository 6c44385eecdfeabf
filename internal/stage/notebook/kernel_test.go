package notebook

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"clary/internal/stage/build"
	"clary/internal/stage/home"
)

// uvIndex is a package index with a uv that runs a script.
func uvIndex(t *testing.T, script string) (index, lock string) {
	t.Helper()
	machine := map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[runtime.GOARCH]
	var wheel bytes.Buffer
	zw := zip.NewWriter(&wheel)
	for name, data := range map[string]string{"uv-1.0.data/scripts/uv": script, "uv-1.0.dist-info/WHEEL": machine} {
		w, err := zw.Create(name)
		if err == nil {
			_, err = w.Write([]byte(data))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := zw.Close(); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(wheel.Bytes())
	hash := hex.EncodeToString(sum[:])
	mux := http.NewServeMux()
	mux.HandleFunc("/simple/uv/", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintf(w, `<a href="../../uv-1.0-py3-none-manylinux_2_17_%s.whl#sha256=%s">uv</a>`, machine, hash)
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(wheel.Bytes()) })
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	return srv.URL + "/simple", "uv==1.0 \\\n    --hash=sha256:" + hash + "\n"
}

func offering(t *testing.T, script string) *instance {
	t.Helper()
	index, uv := uvIndex(t, script)
	n := testInstance(t, "PIP_INDEX_URL="+index)
	for name, data := range map[string]string{"old.txt": "six==1.16.0\n", build.UVFile: uv} {
		if err := home.Write(n.path(filepath.Join(build.Env, build.Offers, name)), data); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(n.path(build.Env+"/bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/usr/bin/python3.11", n.path(build.Env+"/bin/python")); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestOfferedKernelIsInstalledOnce(t *testing.T) { //nolint:paralleltest // it writes a program and starts it
	calls := filepath.Join(t.TempDir(), "calls")
	n := offering(t, "#!/bin/sh\necho \"$@\" >> "+calls+"\n")
	if err := n.prepare(); err != nil {
		t.Fatal(err)
	}
	if spec := n.read(t, n.data+"/kernels/conda_old/kernel.json"); !strings.Contains(spec, `"kernel"`) || !strings.Contains(spec, "anaconda3/envs/old/bin") {
		t.Errorf("%s", spec)
	}
	if _, err := os.Stat(n.path(n.data + "/kernels/conda_uv")); err == nil {
		t.Error("uv is no kernel")
	}
	env := filepath.Join(n.envs, "old")
	var all sync.WaitGroup
	for range 3 { // notebooks at once
		all.Go(func() {
			if err := n.install(t.Context(), "old", env); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	data, err := os.ReadFile(calls)
	if err != nil || strings.Count(string(data), " sync ") != 1 || !strings.Contains(string(data), "--python /usr/bin/python3.11") {
		t.Errorf("%s, %v", data, err)
	}
}

func TestOfferedKernelThatFailedIsTriedAgain(t *testing.T) { //nolint:paralleltest // it writes a program and starts it
	flag := filepath.Join(t.TempDir(), "flag")
	n := offering(t, "#!/bin/sh\n[ -e "+flag+" ]\n")
	env := filepath.Join(n.envs, "old")
	if err := n.install(t.Context(), "old", env); err == nil {
		t.Error("a failed installation was taken for one")
	}
	if err := home.Write(flag, ""); err != nil {
		t.Fatal(err)
	}
	if err := n.install(t.Context(), "old", env); err != nil {
		t.Error(err)
	}
	if err := n.install(t.Context(), "../../x", env); err == nil {
		t.Error("what is not offered was installed")
	}
}
