package daemon_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"clary/internal/client"
	"clary/test/daemon"
)

// inside says that this is the test's own mount namespace, and where the built
// runtime is.
const inside = "CLARY_TEST_OWN_MOUNTS"

// TestDiskFull gives a server a small disk of its own, fills it, and sees that
// new work is refused in words, that what runs comes to its end and is billed,
// and that all goes on when there is room again.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	if os.Getenv(inside) == "" {
		if os.Geteuid() != 0 {
			if os.Getenv("CI") != "" {
				t.Fatal("a disk of one's own needs root: run this test as root")
			}
			t.Skip("NOT TESTED: a full disk, because mounting one needs root. Run: sudo -E go test -run TestDiskFull ./test/daemon")
		}
		from, err := built()
		if err != nil {
			t.Fatalf("building the runtime: %v", err)
		}
		// Again in a mount namespace of its own: what it mounts goes with it.
		cmd := exec.CommandContext(t.Context(), "unshare", "--mount", "--propagation", "private", os.Args[0], "-test.run", "^TestDiskFull$", "-test.v")
		cmd.Env = append(os.Environ(), inside+"="+from)
		out, err := cmd.CombinedOutput()
		t.Logf("%s", out)
		if err != nil || !strings.Contains(string(out), "--- PASS: TestDiskFull") {
			t.Fatalf("in a mount namespace of its own: %v", err)
		}
		return
	}
	dir := dataDir(t)
	data := filepath.Join(dir, "data")
	image := filepath.Join(dir, "disk")
	unmount := smallDisk(t, image, data, 8<<30)
	t.Cleanup(unmount) // after the server has stopped
	w := start(t, dir)

	w.create(t, daemon.JobRequest("running", bucket, script("print('ready')\ntime.sleep(300)")))
	running := w.task(t, "running", "training", in("Training"))
	w.said(t, "running", "ready")
	if !running.Has("program") {
		t.Fatal("the program is not found")
	}

	// Nearly full: two GiB must stay free.
	free := func() int64 {
		var st unix.Statfs_t
		w.must(unix.Statfs(data, &st))
		return int64(st.Bavail) * st.Bsize
	}
	filler := filepath.Join(data, "filler")
	fill := func(leave int64) {
		f, err := os.OpenFile(filler, os.O_CREATE|os.O_WRONLY, 0o600)
		w.must(err)
		defer f.Close() //nolint:errcheck // allocated, not written
		info, err := f.Stat()
		w.must(err)
		if more := free() - leave; more > 0 {
			w.must(unix.Fallocate(int(f.Fd()), 0, 0, info.Size()+more))
		}
	}
	fill(1 << 30)
	err := w.SageMaker(t.Context(), "CreateTrainingJob", daemon.JobRequest("late", bucket, daemon.Python("")), nil)
	if client.Code(err) != "ResourceLimitExceeded" || !strings.Contains(err.Error(), "disk is almost full") {
		t.Errorf("a job was answered with %v", err)
	}
	status, answer, err := w.TryPut(t.Context(), bucket, "late", []byte("x"))
	if err != nil || status != 507 || !strings.Contains(answer, "<Code>InsufficientStorage</Code>") {
		t.Errorf("an object was answered with %d %s %v", status, answer, err)
	}

	// Full to the last block, by somebody who asks nobody.
	hog, err := os.OpenFile(filepath.Join(data, "hog"), os.O_CREATE|os.O_WRONLY, 0o600)
	w.must(err)
	fill(0)
	chunk := make([]byte, 64<<10)
	for err = nil; err == nil; {
		_, err = hog.Write(chunk)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	w.must(hog.Close())
	t.Logf("%d bytes are free", free())

	// What runs is stopped, and that is kept, with its bill.
	if err := w.SageMaker(t.Context(), "StopTrainingJob", map[string]string{"TrainingJobName": "running"}, nil); err != nil {
		t.Errorf("stop: %v", err)
	}
	eventually(t, "the program to end", func() bool { return !running.Has("program") })
	j, err := w.Describe(t.Context(), "running")
	if err != nil || j.TrainingJobStatus == "InProgress" {
		t.Errorf("the stop was not kept: %+v %v", j, err)
	}
	// The server dies and comes again on the full disk.
	w.must(w.Kill())
	w.must(w.Start(t.Context()))
	j, err = w.Describe(t.Context(), "running")
	if err != nil || j.TrainingJobStatus == "InProgress" {
		t.Errorf("after a restart: %+v %v", j, err)
	}

	// Room again: the upload that waited goes through, and new work is taken.
	began := time.Now()
	w.must(os.Remove(filler))
	w.must(os.Remove(hog.Name()))
	j = w.await(t, "running")
	t.Logf("%s after there was room: %s, %s: %s", time.Since(began).Round(time.Millisecond), j.TrainingJobStatus, j.SecondaryStatus, j.FailureReason)
	// A task that still had to write could not; it says why.
	full := j.TrainingJobStatus == "Failed" && strings.Contains(j.FailureReason, "the disk of the server is full")
	if j.TrainingJobStatus != "Stopped" && !full {
		t.Errorf("it is %s: %s", j.TrainingJobStatus, j.FailureReason)
	}
	w.billed(t, j)
	w.lines(t, "running", twenty())
	if keys := w.objects(t, "out/running/"); len(keys) != 2 && !full {
		t.Errorf("uploaded were %q", keys)
	}
	w.settled(t, j)
	if j := w.run(t, daemon.JobRequest("after", bucket, script(""))); j.TrainingJobStatus != "Completed" {
		t.Errorf("the next job is %s: %s", j.TrainingJobStatus, j.FailureReason)
	}
	if left := w.Left(running.ID); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}

// smallDisk mounts a file system of its own at path; its bytes are only taken
// where they are written.
func smallDisk(t *testing.T, image, path string, size int64) (unmount func()) {
	t.Helper()
	f, err := os.Create(image)
	if err == nil {
		err = errors.Join(f.Truncate(size), f.Close())
	}
	if err == nil {
		err = os.Mkdir(path, 0o700)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"mkfs.ext4", "-q", "-F", "-m", "0", image}, {"mount", "-o", "loop", image, path}} {
		if out, err := exec.CommandContext(t.Context(), args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v: %s", args, err, out)
		}
	}
	return func() {
		out, err := exec.Command("umount", "--lazy", path).CombinedOutput()
		if err != nil {
			t.Error(fmt.Errorf("umount: %w: %s", err, out))
		}
	}
}
