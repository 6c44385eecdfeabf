package sandbox_test

import (
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"clary/internal/compute"
	"clary/internal/compute/sandbox"
)

func buildTask(dir string) (string, error) {
	if b := os.Getenv("CLARY_TASK"); b != "" {
		return b, nil
	}
	bin := filepath.Join(dir, "clary-task")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", bin, "clary/cmd/clary-task")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	cmd.Stderr = os.Stderr
	return bin, cmd.Run()
}

func TestHello(t *testing.T) {
	bin, err := buildTask(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	d, err := sandbox.New(sandbox.Config{Dir: filepath.Join(t.TempDir(), "tasks"), TaskBinary: bin})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	ctx := context.Background()
	for i := 0; i < 5; i++ {
		id := compute.TaskID("t-" + string(rune('a'+i)))
		t0 := time.Now()
		if err := d.Start(ctx, compute.Task{ID: id, Args: []string{"sh", "-c", "echo hello; id; env; mount; ls -la / /opt/ml /etc; ps ax; exit 3"}[0:3]}); err != nil {
			t.Fatal(err)
		}
		t1 := time.Now()
		r, err := d.Spool(ctx, id, 0)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		t.Log(time.Since(t0), t1.Sub(t0), err)
		if i == 0 {
			t.Log(string(b))
			log, _ := os.ReadFile(filepath.Join(filepath.Dir(bin)))
			t.Log(string(log))
		}
		st, err := d.Status(ctx, id)
		t.Logf("%+v %v exit %+v", st, err, st.Exit)
	}
}
