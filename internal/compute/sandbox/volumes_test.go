package sandbox_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"clary/internal/compute"
	"clary/internal/compute/computetest"
	"clary/internal/compute/sandbox"
	"clary/internal/compute/sandbox/loop"
	"clary/internal/compute/sandbox/volume"
)

func (p *place) volume(id compute.VolumeID) string {
	return filepath.Join(filepath.Dir(p.cfg.Dir), "volumes", string(id))
}

func ensure(t *testing.T, d *sandbox.Driver, id compute.VolumeID, bytes int64) {
	t.Helper()
	if err := d.EnsureVolume(t.Context(), id, bytes); err != nil {
		t.Fatal(err)
	}
}

// images says whether volumes are file systems here, or stops the test after
// checking that nothing else was promised.
func images(t *testing.T, d *sandbox.Driver) bool {
	t.Helper()
	c, err := d.Probe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return c.Volumes
}

// TestVolumeFull: where a file system bounds the volume, a full one is the
// program's own error and it goes on; else it is told, and ended when it goes on.
func TestVolumeFull(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	d := p.open(t)
	const v, size = "full", 64 << 20
	ensure(t, d, v, size)
	if !images(t, d) {
		over := notebook("full-1", v, "echo up; head -c 80M /dev/zero > f; sleep 2; echo still; rm f; head -c 400M /dev/zero > g; sleep 1000")
		lines, st := p.runs(t, d, over)
		if st.Exit.Reason != compute.ReasonDisk || len(lines) < 3 || !strings.HasPrefix(lines[1], "clary: the volume holds 80 MiB, its size is 64 MiB") || lines[2] != "still" {
			t.Errorf("exit %+v, %q", *st.Exit, lines)
		}
		// It can still be tidied up.
		tidy := notebook("full-2", v, "sleep 3; rm g; echo tidy; sleep 2; ls | wc -l")
		lines, st = p.runs(t, d, tidy)
		if st.Exit.Reason != compute.ReasonExited || len(lines) != 3 || lines[1] != "tidy" {
			t.Errorf("exit %+v, %q", *st.Exit, lines)
		}
		return
	}
	lines, st := p.runs(t, d, notebook("full-1", v, `head -c 80M /dev/zero > f; echo $?; sleep 2; echo x > small 2>/dev/null || echo no room
rm f; head -c 40M /dev/zero > f && sync f && echo room again; stat -c %s f; exit 0`))
	if want := []string{"head: error writing 'standard output': No space left on device", "1", "no room", "room again", strconv.Itoa(40 << 20)}; strings.Join(lines, "|") != strings.Join(want, "|") {
		t.Errorf("%q", lines)
	}
	if st.Exit.Reason != compute.ReasonExited || st.Exit.Result.ExitCode != 0 {
		t.Errorf("exit %+v", *st.Exit)
	}
	// It grows, and there is room for what did not fit.
	ensure(t, d, v, 4*size)
	lines, st = p.runs(t, d, notebook("full-2", v, `head -c 150M /dev/zero > g && du -m f g | cut -f1 | paste -sd+ | bc 2>/dev/null || echo $?; stat -c %s f g`))
	if st.Exit.Reason != compute.ReasonExited || len(lines) < 2 || lines[len(lines)-1] != strconv.Itoa(150<<20) {
		t.Errorf("exit %+v, %q", *st.Exit, lines)
	}
	// What is deleted inside is the host's again.
	before := blocks(t, volume.Image(p.volume(v)))
	p.runs(t, d, notebook("full-3", v, "rm f g; sync .; sleep 1"))
	idle(t, volume.Image(p.volume(v)))
	if after := blocks(t, volume.Image(p.volume(v))); after > before/4 {
		t.Errorf("the image has %d KiB, had %d", after/2, before/2)
	}
}

func blocks(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Sys().(*syscall.Stat_t).Blocks
}

func idle(t *testing.T, image string) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(5 * time.Millisecond) {
		used, err := loop.InUse(image)
		if err != nil {
			t.Fatal(err)
		}
		if !used {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the image is attached still")
		}
	}
}

// TestVolumeSurvives kills whoever there is while a program writes, and starts
// the next task at once. What was synced is there, and the volume is sound.
func TestVolumeSurvives(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"stop", "remove", "kill supervisor", "kill program"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t)
			d := p.open(t)
			const v = "work"
			ensure(t, d, v, 256<<20)
			for n := range 4 {
				id := fmt.Sprintf("work-%d", n)
				tk := notebook(id, v, `
n=$(ls | grep -c '^kept'); echo found $n; cat kept* 2>/dev/null | sort -u | wc -l
echo "text $n" > kept-$n; sync kept-$n; sync .
(while :; do head -c 1M /dev/urandom > junk-$RANDOM; mkdir -p d/$RANDOM; rm -f junk-1*; done) 2>/dev/null &
sleep 0.2; echo up; trap 'exit 0' TERM; sleep 1000 & wait %2`)
				if err := d.Start(t.Context(), tk); err != nil {
					t.Fatal(err)
				}
				lines := until(t, d, tk.ID, "up")
				if want := fmt.Sprintf("found %d|%d|up", n, n); strings.Join(lines, "|") != want {
					t.Fatalf("%s: %q, want %q", id, lines, want)
				}
				switch how {
				case "stop":
					if err := d.Stop(t.Context(), tk.ID, time.Second); err != nil {
						t.Fatal(err)
					}
					computetest.Ended(t, d, tk.ID)
				case "remove":
					if err := d.Remove(t.Context(), tk.ID); err != nil {
						t.Fatal(err)
					}
				case "kill supervisor":
					killSupervisor(t, p, tk.ID)
					computetest.Wait(t, d, tk.ID, "lost", func(s compute.TaskStatus) bool { return s.Phase == compute.Lost })
				case "kill program":
					if err := syscall.Kill(processes(t, p, tk.ID)["program"], syscall.SIGKILL); err != nil {
						t.Fatal(err)
					}
					computetest.Ended(t, d, tk.ID)
				}
			}
			if images(t, d) {
				idle(t, volume.Image(p.volume(v)))
				sound(t, volume.Image(p.volume(v)))
			}
		})
	}
}

// until waits for a line and returns all so far.
func until(t *testing.T, d compute.Driver, id compute.TaskID, line string) []string {
	t.Helper()
	r, err := d.Spool(t.Context(), id, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close() //nolint:errcheck // a reader
	var got []byte
	for b := make([]byte, 4096); !bytes.HasSuffix(got, []byte(" "+line+"\n")); {
		n, err := r.Read(b)
		got = append(got, b[:n]...)
		if err != nil {
			t.Fatalf("%q, %v", got, err)
		}
	}
	return computetest.Lines(t, got)
}

// sound asks e2fsck, which changes nothing. A journal that waits is no damage:
// the copy is mounted once, as the next task would.
func sound(t *testing.T, image string) {
	t.Helper()
	out, err := exec.Command("/sbin/e2fsck", "-f", "-n", image).CombinedOutput()
	if err != nil {
		t.Errorf("e2fsck: %v\n%s", err, out)
	}
}

// TestVolumePowerLoss takes the image as it lies on disk while a program writes,
// which is what a loss of power leaves, and goes on with that.
func TestVolumePowerLoss(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	d := p.open(t)
	if !images(t, d) {
		return // a folder is the host's file system, whose crashes are its own
	}
	const v = "power"
	ensure(t, d, v, 128<<20)
	tk := notebook("power-1", v, `echo kept > kept; sync kept; sync .
(while :; do head -c 3M /dev/urandom > junk-$RANDOM; mkdir -p d/$RANDOM; rm -rf junk-1* d/2*; done) &
sleep 0.3; echo up; sleep 1000`)
	if err := d.Start(t.Context(), tk); err != nil {
		t.Fatal(err)
	}
	until(t, d, tk.ID, "up")
	var copies []string
	for n := range 5 {
		c := filepath.Join(t.TempDir(), fmt.Sprint("copy-", n))
		if out, err := exec.Command("cp", "--sparse=always", volume.Image(p.volume(v)), c).CombinedOutput(); err != nil {
			t.Fatalf("%v %s", err, out)
		}
		copies = append(copies, c)
	}
	if err := d.Remove(t.Context(), tk.ID); err != nil {
		t.Fatal(err)
	}
	idle(t, volume.Image(p.volume(v)))
	for n, c := range copies {
		if err := os.Rename(c, volume.Image(p.volume(v))); err != nil {
			t.Fatal(err)
		}
		lines, st := p.runs(t, d, notebook(fmt.Sprintf("power-%d", 2+n), v, "cat kept; rm -rf junk* d && echo works"))
		if strings.Join(lines, "|") != "kept|works" {
			t.Errorf("copy %d: %q, %+v", n, lines, *st.Exit)
		}
		idle(t, volume.Image(p.volume(v)))
		sound(t, volume.Image(p.volume(v)))
	}
}

// TestVolumeDamaged mends an image whose metadata is broken.
func TestVolumeDamaged(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	d := p.open(t)
	if !images(t, d) {
		return // there is no image to damage
	}
	const v = "damaged"
	ensure(t, d, v, 512<<20) // there is a copy of the superblock
	p.runs(t, d, notebook("dmg-1", v, "echo kept > kept"))
	image := volume.Image(p.volume(v))
	for n, harm := range []struct {
		at    int64
		bytes []byte
	}{
		{1024 + 0x3a, []byte{2, 0}},             // it says itself that it has errors
		{4096, bytes.Repeat([]byte{0xff}, 512)}, // its group descriptors
		{1024, make([]byte, 64)},                // half its superblock
		{1024 + 0x3a, []byte{0, 0}},             // it was not put away
	} {
		idle(t, image)
		f, err := os.OpenFile(image, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt(harm.bytes, harm.at); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		lines, st := p.runs(t, d, notebook(fmt.Sprintf("dmg-%d", n+2), v, "cat kept; echo more > more"))
		if strings.Join(lines, "|") != "kept" || st.Exit.Result.ExitCode != 0 {
			t.Errorf("harm at %d: %q, %+v", harm.at, lines, *st.Exit)
		}
	}
	idle(t, image)
	sound(t, image)
}

// TestVolumeHalfMade leaves what a crash of the server leaves.
func TestVolumeHalfMade(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	d := p.open(t)
	const v = "half"
	for _, dir := range []string{"." + v, ".gone-other"} {
		if err := os.MkdirAll(filepath.Join(p.volume(""), dir, "data", "locked"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Join(p.volume(""), dir, "data", "locked"), 0); err != nil {
			t.Fatal(err)
		}
	}
	ids, err := d.ListVolumes(t.Context())
	if err != nil || len(ids) != 0 {
		t.Errorf("%v, %v", ids, err)
	}
	ensure(t, d, v, 64<<20)
	p.runs(t, d, notebook("half-1", v, "echo kept > kept"))
	if !images(t, d) {
		p.open(t)
		if left, err := filepath.Glob(p.volume(".*")); err != nil || len(left) > 0 {
			t.Errorf("left: %q, %v", left, err)
		}
		return
	}
	// Growing was cut off: after the file, within the file system.
	idle(t, volume.Image(p.volume(v)))
	if err := os.Truncate(volume.Image(p.volume(v)), 128<<20); err != nil {
		t.Fatal(err)
	}
	lines, _ := p.runs(t, p.open(t), notebook("half-2", v, "cat kept; df -m . | tail -1 | awk '{print ($2 < 64)}'"))
	wantOutput(t, lines, []string{"kept", "1"})
	ensure(t, d, v, 128<<20)
	lines, _ = p.runs(t, d, notebook("half-3", v, "cat kept; df -m . | tail -1 | awk '{print ($2 > 100)}'"))
	wantOutput(t, lines, []string{"kept", "1"})
	for n := range 6 { // resize2fs is killed, sooner and later
		idle(t, volume.Image(p.volume(v)))
		size := int64(n+2) * 1 << 30
		if err := os.Truncate(volume.Image(p.volume(v)), size); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("/sbin/resize2fs", "-f", volume.Image(p.volume(v)))
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(n) * 4 * time.Millisecond) // any moment within it
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		ensure(t, d, v, size)
		lines, st := p.runs(t, d, notebook(fmt.Sprintf("half-%d", 4+n), v, "cat kept; df -m . | tail -1 | awk '{print ($2 > "+fmt.Sprint((n+2)*1000)+")}'"))
		if strings.Join(lines, "|") != "kept|1" {
			t.Errorf("killed resize %d: %q, %+v", n, lines, *st.Exit)
		}
	}
	idle(t, volume.Image(p.volume(v)))
	sound(t, volume.Image(p.volume(v)))
}

// TestVolumeBroken: a volume that cannot be had fails its task in words, and
// keeps nobody else from anything.
func TestVolumeBroken(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	d := p.open(t)
	ensure(t, d, "broken", 64<<20)
	ensure(t, d, "whole", 64<<20)
	info, err := volume.Read(p.volume("broken"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(volume.Data(p.volume("broken"))); err != nil {
		t.Fatal(err)
	}
	if info.Image {
		if err := os.WriteFile(volume.Image(p.volume("broken")), make([]byte, 1<<20), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, st := p.runs(t, d, notebook("bad-1", "broken", "true"))
	if st.Exit.Reason != compute.ReasonFailed || !strings.Contains(st.Exit.Result.Failure, "volume") && !strings.Contains(st.Exit.Result.Failure, "mount") {
		t.Errorf("exit %+v", *st.Exit)
	}
	if lines, _ := p.runs(t, d, notebook("good-1", "whole", "echo fine")); strings.Join(lines, "") != "fine" {
		t.Errorf("%q", lines)
	}
	if err := os.WriteFile(filepath.Join(p.volume("broken"), "volume.json"), []byte("{half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := d.Start(t.Context(), notebook("bad-2", "broken", "true")); err == nil || errors.Is(err, compute.ErrNoVolume) {
		t.Errorf("Start with a torn volume.json: %v", err)
	}
	if err := d.RemoveVolume(t.Context(), "broken"); err != nil {
		t.Error(err)
	}
}
