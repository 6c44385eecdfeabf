package computetest

import (
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"clary/internal/compute"
	"clary/internal/stage/plan"
)

//go:embed attacks/load.py
var loadScript string //nolint:gochecknoglobals // embedded

func checkpointTo(uri string) *plan.Checkpoint { return &plan.Checkpoint{S3Uri: uri} }

func (c *Cell) load(id, what string) compute.Task {
	return c.attack(id, loadScript, attackContext{What: what, Marks: []string{}})
}

// works runs a small task to its end: the driver still can.
func (c *Cell) works(t *testing.T, d compute.Driver, id string) {
	t.Helper()
	lines, st := runs(t, d, c.Python(id, "print(6 * 7)", ""))
	if len(lines) != 1 || lines[0] != "42" || st.Exit.Result.ExitCode != 0 {
		t.Errorf("another task prints %q and ends with %+v", lines, *st.Exit)
	}
}

// forkBomb makes processes without end, none of which wants to go.
func forkBomb(t *testing.T, c *Cell) {
	s := c.scene(t)
	tk := c.load("bomb-1", "fork")
	tk.Resources.PIDs = 200
	must(t, s.d.Start(t.Context(), tk))
	untilLine(t, s.d, tk.ID)
	unharmed(t, s.d, s.tk.ID)
	c.works(t, s.d, "other-1")
	began := time.Now()
	must(t, s.d.Stop(t.Context(), tk.ID, 100*time.Millisecond))
	if st := Ended(t, s.d, tk.ID); st.Exit.Reason != compute.ReasonStopped {
		t.Errorf("exit %+v", *st.Exit)
	}
	if d := time.Since(began); d > patience/2 {
		t.Errorf("the end took %s", d)
	}
	unharmed(t, s.d, s.tk.ID)
	must(t, s.d.Stop(t.Context(), s.tk.ID, time.Second))
}

// memoryFill takes memory of every kind.
func memoryFill(t *testing.T, c *Cell) {
	s := c.scene(t)
	const limit = 192 << 20
	for _, what := range []string{"anonymous", "many", "shm", "etc", "memfd", "pipes"} {
		t.Run(what, func(t *testing.T) {
			counted := what == "anonymous" || what == "many" || what == "etc" || what == "shm" // the last two have a size of their own
			if !c.Groups && !counted {
				t.Skipf("NOT HELD: without control groups nothing counts memory of the kind %q; the kernel's own killer takes the program first", what)
			}
			tk := c.load("memory-"+what, what)
			tk.Resources.MemoryBytes, tk.Resources.PIDs = limit, 500
			lines, st := runs(t, s.d, tk)
			e := st.Exit
			switch what {
			case "anonymous", "many", "memfd":
				if e.Reason != compute.ReasonMemory {
					t.Errorf("exit %+v, want Memory", *e)
				}
			default: // a bound of its own may come first
				if e.Reason != compute.ReasonMemory && (len(lines) != 2 || !strings.HasPrefix(lines[1], "refused E")) {
					t.Errorf("exit %+v, output %q", *e, lines)
				}
			}
			if c.Groups && (e.PeakMemory <= 0 || e.PeakMemory > limit) || !c.Groups && e.Reason == compute.ReasonMemory && e.PeakMemory <= limit {
				t.Errorf("peak %d of %d", e.PeakMemory, limit)
			}
		})
	}
	unharmed(t, s.d, s.tk.ID)
	c.works(t, s.d, "other-1")
	must(t, s.d.Stop(t.Context(), s.tk.ID, time.Second))
}

// diskFill writes more than the volume may hold, in ways that hide it.
func diskFill(t *testing.T, c *Cell) {
	d := c.Open(t)
	for _, what := range []string{"plain", "unlinked", "deep", "closed", "names", "mapped", "passed"} {
		t.Run(what, func(t *testing.T) {
			if (what == "passed" || what == "mapped") && !c.Volumes {
				t.Skip("NOT HELD: a file without a name and a descriptor, which only a message under way or a mapping holds, is seen by no watch; where volumes are file systems it counts")
			}
			tk := c.load("disk-"+what, what)
			tk.Resources.DiskBytes = 64 << 20
			tk.Resources.MemoryBytes = 512 << 20
			lines, st := runs(t, d, tk)
			e := st.Exit
			// What the kernel refused may be gone with the program before anybody
			// could look: then the program was told, and ended of it.
			refused := what != "plain" && e.Result.ExitCode != 0 &&
				(e.Result.Signal == "bus error" || len(lines) > 0 && strings.Contains(lines[len(lines)-1], "No space left"))
			if e.Reason != compute.ReasonDisk && (!c.Volumes || !refused) {
				t.Errorf("exit %+v, want Disk; output %q", *e, lines)
			}
			c.works(t, d, "other-"+what)
		})
	}
}

// descriptorFlood takes descriptors, its own and those of who serves it.
func descriptorFlood(t *testing.T, c *Cell) {
	s := c.scene(t)
	tk := c.load("flood-1", "descriptors")
	must(t, s.d.Start(t.Context(), tk))
	var n int
	var name string
	if _, err := fmt.Sscanf(untilLine(t, s.d, tk.ID), "up %d %s", &n, &name); err != nil || n > 65536 || name != "EMFILE" {
		t.Errorf("%d descriptors, then %s, %v", n, name, err)
	}
	many := c.load("flood-2", "connections")
	many.Network.Egress = true
	must(t, s.d.Start(t.Context(), many))
	untilLine(t, s.d, many.ID)
	unharmed(t, s.d, s.tk.ID)
	c.works(t, s.d, "other-1")
	for _, id := range []compute.TaskID{tk.ID, many.ID, s.tk.ID} {
		must(t, s.d.Stop(t.Context(), id, 100*time.Millisecond))
		if st := Ended(t, s.d, id); st.Exit.Reason != compute.ReasonStopped {
			t.Errorf("%s: exit %+v", id, *st.Exit)
		}
	}
}

// survivors leaves processes behind in every way and looks for them from the
// host, by a mark that is theirs alone.
func survivors(t *testing.T, c *Cell) {
	d := c.Open(t)
	for _, how := range []string{"end", "stop", "remove"} {
		ctx := attackContext{What: "survive", Mark: token(), Marks: []string{}}
		if how != "end" {
			ctx.Marks = []string{"stay"}
		}
		tk := c.attack("survive-"+how, loadScript, ctx)
		must(t, d.Start(t.Context(), tk))
		untilLine(t, d, tk.ID)
		switch how {
		case "end":
			Ended(t, d, tk.ID)
		case "stop":
			if len(marked(ctx.Mark)) == 0 {
				t.Error("nothing to survive")
			}
			must(t, d.Stop(t.Context(), tk.ID, 100*time.Millisecond))
			Ended(t, d, tk.ID)
		case "remove":
			must(t, d.Remove(t.Context(), tk.ID))
		}
		deadline := time.Now().Add(patience)
		for len(marked(ctx.Mark)) > 0 {
			if time.Now().After(deadline) {
				t.Fatalf("%s: still there: %v", how, marked(ctx.Mark))
			}
			time.Sleep(5 * time.Millisecond) // processes of others cannot be waited for
		}
	}
}

// marked lists the host's processes whose command line begins with mark.
func marked(mark string) []string {
	var found []string
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range files {
		if b, _ := os.ReadFile(f); strings.HasPrefix(string(b), mark) {
			found = append(found, f)
		}
	}
	return found
}
