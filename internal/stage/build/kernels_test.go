package build

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A uv whose venv holds an interpreter that makes Matplotlib's list.
const making = `#!/bin/sh
echo "$@" >> %s
for env; do :; done
case "$*" in *" venv "*)
	mkdir -p "$env/bin" "$env/lib/python3.11/site-packages/matplotlib"
	: > "$env/lib/python3.11/site-packages/matplotlib/font_manager.py"
	printf '#!/bin/sh\necho fonts > "$MPLCONFIGDIR/fontlist-v1.json"\n' > "$env/bin/python"
	chmod 755 "$env/bin/python"
esac
`

func TestKernels(t *testing.T) {
	t.Parallel()
	calls := filepath.Join(t.TempDir(), "calls")
	s := newSite(t, fmt.Sprintf(making, calls))
	s.write(t, KernelFile("python3"), "six==1.17.0 \\\n    --hash=sha256:"+strings.Repeat("0", 64)+"\n")
	s.write(t, OfferFile("old"), "six==1.16.0\n")
	own := filepath.Join(s.env, "share/jupyter/kernels/python3")
	if err := os.MkdirAll(own, 0o755); err != nil {
		t.Fatal(err)
	}
	code, log := s.run(t)
	if code != 0 || !strings.Contains(log, "installing 1 packages of the kernel python3") {
		t.Fatalf("%d: %s", code, log)
	}
	for name, want := range map[string]string{
		FontList + "/fontlist-v1.json": "fonts\n", Offers + "/old.txt": "six==1.16.0\n", Offers + "/" + UVFile: "uv==1.0",
	} {
		if data, err := os.ReadFile(filepath.Join(s.env, name)); err != nil || !strings.HasPrefix(string(data), want) {
			t.Errorf("%s: %q, %v", name, data, err)
		}
	}
	if _, err := os.Stat(own); err == nil {
		t.Error("the server offers its own Python to notebooks")
	}
	data, err := os.ReadFile(calls)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"--python " + s.env + "/kernels/python3 ", s.dir + "/kernel-python3.txt"} {
		if !strings.Contains(string(data), want) {
			t.Errorf("%q is not among %s", want, data)
		}
	}
	if strings.Contains(string(data), "offer") {
		t.Errorf("an offer was installed: %s", data)
	}
}
