package catalog

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"clary/internal/compute"
	"clary/internal/runtimes"
	"clary/internal/stage/build"
	"clary/internal/stage/tail"
)

const (
	taskBinary = build.Task
	taskPrefix = "build-"
	buildLimit = 30 * time.Minute
	// failureStays is how long a failure is told to whoever waited for the
	// build; whoever asks later starts a new one.
	failureStays = 5 * time.Second
	retryStart   = time.Second
)

// IsBuild says whether a task is a catalog's, so that no sweep of orphans
// takes it.
func IsBuild(id compute.TaskID) bool { return strings.HasPrefix(string(id), taskPrefix) }

// record is a build that has been asked for; it is on disk before its task is.
type record struct {
	ID     string // of the runtime
	Task   compute.TaskID
	Recipe string
	Title  string
	Python Python
}

// ongoing is what this process knows of a build.
type ongoing struct {
	progress string
	failed   string
	failedAt time.Time
}

// running is true until the build has ended.
func (b *ongoing) running() bool { return b.failedAt.IsZero() }

// Ensure asks for a runtime and says how that stands.
func (c *Catalog) Ensure(ctx context.Context, rt runtimes.Runtime) (runtimes.State, error) {
	pythons, err := c.interpreters(ctx)
	if err != nil {
		return runtimes.State{}, err
	}
	if rt.ID == "" {
		return runtimes.State{Failed: lacks(pythons, rt.Recipe)}, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked(rt.ID, time.Now()) // before the look: what was just asked for is not swept
	if c.ready(rt.ID) {
		return runtimes.State{Ready: true, Image: rt.Image}, nil
	}
	b := c.builds[rt.ID]
	switch {
	case b != nil && b.running():
		return runtimes.State{Progress: b.progress}, nil
	case b != nil && time.Since(b.failedAt) < failureStays:
		return runtimes.State{Failed: b.failed}, nil
	}
	if c.ctx.Err() != nil {
		return runtimes.State{}, c.ctx.Err()
	}
	python, files, err := c.recipeOf(pythons, rt)
	if err != nil {
		return runtimes.State{}, err
	}
	b = &ongoing{progress: "preparing " + rt.Title}
	c.builds[rt.ID] = b
	c.wg.Go(func() { c.start(rt, python, files) })
	return runtimes.State{Progress: b.progress}, nil
}

// recipeOf finds the files and the interpreter that a runtime's id was made of.
func (c *Catalog) recipeOf(pythons []Python, rt runtimes.Runtime) (Python, map[string][]byte, error) {
	for _, p := range pythons {
		for _, v := range Variants() {
			if v.Recipe != rt.Recipe || !slices.Contains(v.Pythons, p.Minor) {
				continue
			}
			files, err := c.filesOf(v, p.Minor)
			if err != nil {
				return Python{}, nil, err
			}
			if runtimeID(files, p) == rt.ID {
				return p, files, nil
			}
		}
	}
	return Python{}, nil, fmt.Errorf("runtime %s (%s) is none of this catalog's", rt.ID, rt.Title)
}

// start writes the record and begins the task.
func (c *Catalog) start(rt runtimes.Runtime, python Python, files map[string][]byte) {
	suffix := make([]byte, 5)
	_, _ = rand.Read(suffix) // never fails
	r := record{
		ID: rt.ID, Recipe: rt.Recipe, Title: rt.Title, Python: python,
		Task: compute.TaskID(taskPrefix + rt.ID + "-" + strings.ToLower(base32.StdEncoding.EncodeToString(suffix))),
	}
	if err := c.prepare(r, files); err != nil {
		c.fail(r, err.Error())
		return
	}
	for {
		err := c.cfg.Driver.Start(c.ctx, c.task(r))
		if err == nil {
			break
		}
		if !errors.Is(err, compute.ErrCapacity) {
			c.fail(r, err.Error())
			return
		}
		c.setProgress(r.ID, "waiting for room to build "+r.Title)
		select {
		case <-c.ctx.Done():
			return
		case <-time.After(retryStart):
		}
	}
	c.follow(r)
}

func (c *Catalog) work(id string) string { return filepath.Join(c.cfg.Dir, "work", id) }

func (c *Catalog) recordFile(id string) string {
	return filepath.Join(c.cfg.Dir, "builds", id+".json")
}

// prepare makes a build's folders. The task's user may be another than ours,
// hence the modes; the folder above is ours alone.
func (c *Catalog) prepare(r record, files map[string][]byte) error {
	work := c.work(r.ID)
	if err := os.RemoveAll(work); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(work, "build"), 0o755); err != nil {
		return err
	}
	for _, k := range []string{"SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE"} {
		if p := c.cfg.Environ(k); p != "" && files[build.CAFile] == nil {
			if ca, err := os.ReadFile(p); err == nil {
				files[build.CAFile] = ca
			}
		}
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(work, "build", name), data, 0o644); err != nil {
			return err
		}
	}
	env := filepath.Join(work, "env")
	if err := os.Mkdir(env, 0o777); err != nil {
		return err
	}
	if err := os.Chmod(env, 0o777); err != nil {
		return err
	}
	if err := openCache(filepath.Join(c.cfg.Dir, "cache")); err != nil {
		return err
	}
	return writeDurable(c.recordFile(r.ID), r)
}

func (c *Catalog) task(r record) compute.Task {
	t := compute.Task{
		ID: r.Task, Kind: "build", Name: r.Title,
		Args: []string{taskBinary, "build", "-python", r.Python.Path},
		Env:  map[string]string{},
		Mounts: []compute.Mount{
			{Host: filepath.Join(c.work(r.ID), "build"), Path: build.Dir},
			{Host: filepath.Join(c.work(r.ID), "env"), Path: build.Env, Writable: true},
			{Host: filepath.Join(c.cfg.Dir, "cache"), Path: build.Cache, Writable: true},
		},
		Network:    compute.Network{Host: "algo-1", Peers: []string{"algo-1"}, Egress: true},
		MaxRuntime: buildLimit,
		Grace:      5 * time.Second,
	}
	if !r.Python.System() {
		t.Image.Binds = c.image(r.ID, r.Python).Binds
	}
	for _, k := range []string{"PIP_INDEX_URL", "UV_INDEX_URL", "UV_DEFAULT_INDEX"} {
		if v := c.cfg.Environ(k); v != "" {
			t.Env[k] = v
		}
	}
	return t
}

// follow reads a build's output until its task has ended, and ends it.
func (c *Catalog) follow(r record) {
	last := &tail.Buffer{}
	if err := c.read(r, last); err != nil {
		if c.ctx.Err() != nil {
			return // the next server goes on
		}
		c.fail(r, err.Error())
		return
	}
	st, err := c.cfg.Driver.Status(c.ctx, r.Task)
	switch {
	case c.ctx.Err() != nil:
		return
	case err != nil:
		c.fail(r, err.Error())
	case st.Phase == compute.Lost || st.Exit == nil:
		c.fail(r, "the machine or the supervisor ended meanwhile")
	case st.Exit.Reason != compute.ReasonExited:
		c.fail(r, because(st.Exit, last))
	case st.Exit.Result.ExitCode != 0:
		c.fail(r, tail.Cause(last.Bytes()))
	default:
		if err := c.finish(r); err != nil {
			c.fail(r, err.Error())
		}
	}
}

func because(e *compute.Exit, last *tail.Buffer) string {
	switch e.Reason {
	case compute.ReasonMemory:
		return "there was not enough memory"
	case compute.ReasonDisk:
		return "there was not enough disk space"
	case compute.ReasonMaxRuntime:
		return fmt.Sprintf("it took longer than %s; last it said: %s", buildLimit, tail.Cause(last.Bytes()))
	case compute.ReasonExited, compute.ReasonStopped, compute.ReasonFailed:
	}
	if e.Result.Failure != "" {
		return e.Result.Failure
	}
	return strings.ToLower(string(e.Reason)) + ": " + tail.Cause(last.Bytes())
}

// read follows the output's lines, which hold "<unix ms> <text>".
func (c *Catalog) read(r record, last io.Writer) error {
	spool, err := c.cfg.Driver.Spool(c.ctx, r.Task, 0)
	if err != nil {
		return err
	}
	defer spool.Close() //nolint:errcheck // read to its end
	lines := bufio.NewReader(spool)
	for {
		line, err := lines.ReadString('\n')
		if _, text, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " "); ok {
			_, _ = fmt.Fprintln(last, text) // a buffer
			if p := progressOf(text); p != "" {
				c.setProgress(r.ID, p)
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// progressOf puts a line of a build into words, or is "".
func progressOf(text string) string {
	t := strings.TrimSpace(text)
	switch {
	case t == "" || strings.HasPrefix(t, "+ ") || strings.HasPrefix(t, "Using ") || strings.HasPrefix(t, "Resolved "):
		return ""
	case strings.HasPrefix(t, "Creating virtual"):
		return "making the environment"
	case strings.HasPrefix(t, "Downloading "), strings.HasPrefix(t, "Downloaded "), strings.HasPrefix(t, "Prepared "), strings.HasPrefix(t, "Installed "):
		return strings.ToLower(t[:1]) + t[1:]
	}
	return t
}

func (c *Catalog) setProgress(id, text string) {
	c.mu.Lock()
	b := c.builds[id]
	news := b != nil && b.progress != text
	if news {
		b.progress = text
	}
	c.mu.Unlock()
	if news {
		c.changed(id)
	}
}

// finish makes a built environment a runtime: ours, unwritable, on disk, and
// then, by one rename, there.
func (c *Catalog) finish(r record) error {
	work := c.work(r.ID)
	env := filepath.Join(work, "env")
	if _, err := os.Lstat(filepath.Join(env, "pyvenv.cfg")); err != nil {
		return fmt.Errorf("the build made no environment: %w", err)
	}
	if err := seal(env); err != nil {
		return err
	}
	if err := os.RemoveAll(filepath.Join(work, "build")); err != nil {
		return err
	}
	if err := writeDurable(filepath.Join(work, metaFile), meta{r.ID, r.Recipe, r.Title, r.Python, time.Now()}); err != nil {
		return err
	}
	if err := syncFS(work); err != nil {
		return err
	}
	dst := filepath.Join(c.cfg.Dir, r.ID)
	if err := os.RemoveAll(dst); err != nil { // a half-made one of an older format
		return err
	}
	if err := os.Rename(work, dst); err != nil {
		return err
	}
	if err := syncDir(c.cfg.Dir); err != nil {
		return err
	}
	c.forget(r)
	c.mu.Lock()
	delete(c.builds, r.ID)
	c.mu.Unlock()
	c.changed(r.ID)
	return nil
}

func (c *Catalog) fail(r record, why string) {
	if c.ctx.Err() != nil {
		return
	}
	c.forget(r)
	c.mu.Lock()
	c.builds[r.ID] = &ongoing{failed: why, failedAt: time.Now()}
	c.mu.Unlock()
	c.changed(r.ID)
}

// forget removes a build's task and record; an error leaves them for the next
// start.
func (c *Catalog) forget(r record) {
	if err := c.cfg.Driver.Remove(c.ctx, r.Task); err == nil {
		_ = os.Remove(c.recordFile(r.ID)) // resume finds no task and removes it
	}
}

// resume goes on with what an earlier server began.
func (c *Catalog) resume() error {
	names, err := filepath.Glob(filepath.Join(c.cfg.Dir, "builds", "*.json"))
	if err != nil {
		return err
	}
	kept := map[string]bool{}
	for _, name := range names {
		var r record
		data, err := os.ReadFile(name)
		if err == nil {
			err = json.Unmarshal(data, &r)
		}
		if err != nil || c.recordFile(r.ID) != name {
			return fmt.Errorf("%s: %w", name, err)
		}
		if _, err := c.cfg.Driver.Status(c.ctx, r.Task); errors.Is(err, compute.ErrNotFound) || c.ready(r.ID) {
			c.forget(r)
			continue
		}
		kept[r.ID] = true
		c.builds[r.ID] = &ongoing{progress: "building " + r.Title}
		c.wg.Go(func() { c.follow(r) })
	}
	left, err := os.ReadDir(filepath.Join(c.cfg.Dir, "work"))
	if err != nil {
		return err
	}
	for _, e := range left {
		if !kept[e.Name()] {
			if err := os.RemoveAll(c.work(e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// seal gives a tree to the server's user and takes everyone else's right to
// write.
func seal(dir string) error {
	uid, gid := os.Geteuid(), os.Getegid()
	return filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if uid == 0 {
			if err := os.Lchown(p, uid, gid); err != nil {
				return err
			}
		}
		if d.Type()&fs.ModeSymlink != 0 {
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		return os.Chmod(p, info.Mode().Perm()&^0o022)
	})
}

// openCache lets the next build's user, who may be another, use what earlier
// ones kept. Only builds see this folder.
func openCache(dir string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	return filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.Type()&fs.ModeSymlink != 0 {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		want := info.Mode().Perm() | 0o666
		if d.IsDir() || info.Mode()&0o100 != 0 {
			want |= 0o111
		}
		if want == info.Mode().Perm() {
			return nil
		}
		return os.Chmod(p, want)
	})
}

func writeDurable(name string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	tmp := name + ".tmp"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp, name); err != nil {
		return err
	}
	return syncDir(filepath.Dir(name))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
