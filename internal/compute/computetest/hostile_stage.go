package computetest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	_ "embed"
	"errors"
	"io"
	"path"
	"slices"
	"strings"
	"testing"

	"clary/internal/compute"
	"clary/internal/stage/plan"
)

//go:embed attacks/forge.py
var forgeScript string //nolint:gochecknoglobals // embedded

//go:embed attacks/links.py
var linksScript string //nolint:gochecknoglobals // embedded

//go:embed attacks/races.py
var racesScript string //nolint:gochecknoglobals // embedded

// foreign are words that only files outside a task's outputs hold.
var foreign = []string{"GOMAXPROCS", "root:x:0:0", "/usr/lib", "secret-", "AWS_", "\x7fELF"} //nolint:gochecknoglobals // a constant table

// forge lets a program say what others have to say.
func forge(t *testing.T, c *Cell) {
	d := c.Open(t)
	tk := c.Staged(c.attack("forge-1", forgeScript, attackContext{}))
	lines, st := runs(t, d, tk)
	objects := c.Objects(tk.ID)
	if r := st.Exit.Result; st.Exit.Reason != compute.ReasonExited || r.ExitCode != 42 || !strings.Contains(r.Failure, "my own words") {
		t.Errorf("exit %+v", *st.Exit)
	}
	var steps []string
	for _, s := range st.Steps {
		steps = append(steps, s.Name)
	}
	if want := []string{"Downloading", "Training", "Uploading"}; !slices.Equal(steps, want) {
		t.Errorf("steps %q, want %q", steps, want)
	}
	if strings.Contains(st.Exit.Result.Artifact, "forged") || len(objects) != 1 {
		t.Errorf("artifact %q, objects %q", st.Exit.Result.Artifact, sorted(objects))
	}
	if len(lines) == 0 || lines[len(lines)-1] != "forged\tend" || slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, "SAID IT") }) {
		t.Errorf("lines %q", lines)
	}
}

// links leaves outputs that lead elsewhere.
func links(t *testing.T, c *Cell) {
	d := c.Open(t)
	for _, what := range []string{"inside", "model", "parent", "failure", "failure-fifo"} {
		tk := c.Staged(c.attack("links-"+what, linksScript, attackContext{What: what, Files: c.Secrets}))
		_, st := runs(t, d, tk)
		all := contents(t, c.Objects(tk.ID))
		for name, text := range all {
			noForeign(t, what, name, text)
			if strings.HasSuffix(name, "passwd") || path.IsAbs(name) || strings.Contains(name, "..") {
				t.Errorf("%s: %s was uploaded", what, name)
			}
		}
		noForeign(t, what, "the failure", st.Exit.Result.Failure)
		if what == "inside" && (all["model.tar.gz:good"] != "good" || st.Exit.Result.Failure != "") {
			t.Errorf("%s: what belongs there is missing: %q, exit %+v", what, sorted(all), *st.Exit)
		}
		if strings.HasPrefix(what, "failure") && (st.Exit.Result.ExitCode != 3 || !strings.Contains(st.Exit.Result.Failure, "dead")) {
			t.Errorf("%s: exit %+v", what, *st.Exit)
		}
	}
}

// races changes files while stage sends them: checkpoints of a training job, and
// outputs of a processing job.
func races(t *testing.T, c *Cell) {
	d := c.Open(t)
	race := func(name, top string, live func(tk *compute.Task)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tk := c.Staged(c.attack("races-"+name, racesScript, attackContext{What: top, Files: c.Secrets}))
			tk.Grace = patience
			live(&tk)
			must(t, d.Start(t.Context(), tk))
			has := func(name string) bool {
				return slices.ContainsFunc(sorted(c.Objects(tk.ID)), func(k string) bool { return strings.HasSuffix(k, name) })
			}
			// The program deletes it at its end: it was sent while the races went on.
			Wait(t, d, tk.ID, "racing", func(st compute.TaskStatus) bool { return st.Exit != nil || has("/live/late") })
			must(t, d.Stop(t.Context(), tk.ID, patience))
			st := Ended(t, d, tk.ID)
			if st.Exit.Reason != compute.ReasonStopped || st.Exit.Result.ExitCode != 0 || st.Exit.Result.Failure != "" {
				t.Errorf("exit %+v", *st.Exit)
			}
			for name, text := range contents(t, c.Objects(tk.ID)) {
				noForeign(t, "races", name, text)
			}
			if !has("/live/late") || !has("/live/good") {
				t.Errorf("what belongs there is missing: %q", sorted(c.Objects(tk.ID)))
			}
		})
	}
	race("checkpoints", "/opt/ml/checkpoints", func(tk *compute.Task) {
		tk.Plan.Training.Checkpoint = checkpointTo(c.Output(tk.ID) + "/live")
	})
	race("outputs", "/opt/ml/processing/output", func(tk *compute.Task) {
		tk.Plan = plan.Plan{Processing: &plan.Processing{
			JobName: string(tk.ID), Region: "eu-west-1", Hosts: []string{"algo-1"}, CurrentHost: "algo-1",
			Outputs: []plan.Output{{Name: "live", S3Uri: c.Output(tk.ID) + "/live", LocalPath: "/opt/ml/processing/output", Continuous: true}},
		}}
	})
}

func noForeign(t *testing.T, what, name, text string) {
	t.Helper()
	for _, f := range foreign {
		if strings.Contains(text, f) {
			t.Errorf("%s: %s holds %q, which is not the task's: %.200q", what, name, f, text)
		}
	}
}

// contents opens the archives among objects: archive:name → text. Links and
// modes are checked on the way.
func contents(t *testing.T, objects map[string][]byte) map[string]string {
	t.Helper()
	all := map[string]string{}
	for key, b := range objects {
		if !strings.HasSuffix(key, ".tar.gz") {
			all[key] = string(b)
			continue
		}
		z, err := gzip.NewReader(bytes.NewReader(b))
		must(t, err)
		r := tar.NewReader(z)
		for {
			h, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			must(t, err)
			if h.Mode&^0o777 != 0 || h.Uid != 0 || h.Gid != 0 || h.Uname != "" {
				t.Errorf("%s in %s has mode %o and owner %d:%d", h.Name, key, h.Mode, h.Uid, h.Gid)
			}
			switch h.Typeflag {
			case tar.TypeReg:
				text, err := io.ReadAll(r)
				must(t, err)
				all[path.Base(key)+":"+h.Name] = string(text)
			case tar.TypeDir:
			case tar.TypeSymlink:
				if to := path.Join(path.Dir(h.Name), h.Linkname); path.IsAbs(h.Linkname) || strings.HasPrefix(to, "..") {
					t.Errorf("%s in %s is a link to %s", h.Name, key, h.Linkname)
				}
			default:
				t.Errorf("%s in %s is of type %q", h.Name, key, h.Typeflag)
			}
		}
	}
	return all
}
