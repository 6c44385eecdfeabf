package catalog

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"clary/internal/compute"
	"clary/internal/runtimes"
	"clary/internal/stage/build"
)

// Config is what a catalog needs.
type Config struct {
	Dir    string // DATA/runtimes; made if missing
	Driver compute.Driver
	// Environ is the server's environment, of which a build gets the index
	// and the CA bundle. nil: none.
	Environ func(name string) string
	// Envs lists the environments that tasks have, which are not to be removed;
	// nil: none is ever removed.
	Envs func(context.Context) ([]string, error)
	// Pythons lists the machine's interpreters; nil: FindPythons.
	Pythons func(context.Context) []Python
	// WheelIndex is an index of packages for the wheels that come in kinds, one
	// for each sort of GPU; "": those of the package index.
	WheelIndex string
	// Javas lists the machine's Java runtimes; nil: FindJavas.
	Javas func() []Java
}

// Catalog is safe for concurrent use.
type Catalog struct {
	cfg     Config
	changes chan string
	ctx     context.Context // of the builds' followers and the search for interpreters; ended by Close
	cancel  context.CancelFunc
	wg      sync.WaitGroup

	once    sync.Once
	found   chan struct{} // closed when pythons is set
	pythons []Python

	mu     sync.Mutex          // guards builds, and Close against what begins
	builds map[string]*ongoing // by runtime id; running ones and fresh failures
}

var _ runtimes.Catalog = (*Catalog)(nil)

// New opens a catalog and goes on with builds that an earlier server began.
func New(cfg Config) (*Catalog, error) {
	if cfg.Dir == "" || cfg.Driver == nil {
		return nil, errors.New("runtime catalog: Dir and Driver are required")
	}
	if cfg.Environ == nil {
		cfg.Environ = func(string) string { return "" }
	}
	if cfg.Pythons == nil {
		cfg.Pythons = FindPythons
	}
	if cfg.Javas == nil {
		cfg.Javas = FindJavas
	}
	for _, d := range []string{"", "builds", "work", "cache", goneDir} {
		if err := os.MkdirAll(filepath.Join(cfg.Dir, d), 0o700); err != nil {
			return nil, fmt.Errorf("runtime catalog: %w", err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	c := &Catalog{cfg: cfg, changes: make(chan string, 64), ctx: ctx, cancel: cancel, found: make(chan struct{}), builds: map[string]*ongoing{}}
	if err := c.resume(); err != nil {
		cancel()
		return nil, fmt.Errorf("runtime catalog: %w", err)
	}
	if cfg.Envs != nil {
		c.wg.Go(c.sweeps)
	}
	return c, nil
}

// Close stops following builds. They go on by themselves.
func (c *Catalog) Close() {
	c.mu.Lock()
	c.cancel()
	c.mu.Unlock()
	c.wg.Wait()
}

// Changes delivers ids of runtimes whose build went on or ended. Hints only.
func (c *Catalog) Changes() <-chan string { return c.changes }

func (c *Catalog) changed(id string) {
	select {
	case c.changes <- id:
	default:
	}
}

// Prepare has the machine's interpreters looked for, which takes seconds, before
// the first job waits for them.
func (c *Catalog) Prepare() {
	c.once.Do(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.ctx.Err() != nil {
			return
		}
		c.wg.Go(func() {
			defer close(c.found)
			c.pythons = c.cfg.Pythons(c.ctx)
		})
	})
}

// interpreters are looked for once in a catalog's life.
func (c *Catalog) interpreters(ctx context.Context) ([]Python, error) {
	c.Prepare()
	select {
	case <-c.found:
	case <-ctx.Done():
	case <-c.ctx.Done():
	}
	if err := context.Cause(ctx); err != nil {
		return nil, fmt.Errorf("looking for interpreters: %w", err)
	}
	if err := c.ctx.Err(); err != nil { // it may have looked at some only
		return nil, fmt.Errorf("looking for interpreters: %w", err)
	}
	return c.pythons, nil
}

// formatVersion changes when a build of the same lock would differ.
const formatVersion = "1"

// Resolve matches an image URI. A machine without a fitting Python is told of
// by Ensure, since it is a failure of this machine and not of the image.
func (c *Catalog) Resolve(ctx context.Context, imageURI string) (runtimes.Runtime, error) {
	w, err := match(imageURI)
	if err != nil {
		return runtimes.Runtime{}, err
	}
	rt := runtimes.Runtime{Recipe: w.recipe, Env: c.env()}
	if w.recipe != spark {
		rt.Train, rt.ScriptMode = []string{"train"}, true
		rt.Serve = []string{taskBinary, "serve"}
	}
	if f, ok := frameworks[w.recipe]; ok {
		rt.Framework = f.container + ".training:main"
		rt.Env["SAGEMAKER_TRAINING_MODULE"] = rt.Framework
		rt.Env["SAGEMAKER_SERVING_MODULE"] = f.container + ".serving:main"
		rt.Serve = append(rt.Serve, "-framework", w.recipe)
	}
	return rt, c.fit(ctx, w, &rt)
}

// Notebook is the runtime of notebook instances.
func (c *Catalog) Notebook(ctx context.Context) (runtimes.Runtime, error) {
	rt := runtimes.Runtime{Recipe: jupyterLab, Serve: []string{taskBinary, "notebook"}, Env: c.env()}
	return rt, c.fit(ctx, wanted{recipe: jupyterLab}, &rt)
}

// env is what every runtime's programs find in their environment.
func (c *Catalog) env() map[string]string {
	env := map[string]string{
		"PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "UTF-8", "LC_ALL": "C.UTF-8",
		"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_ROOT_USER_ACTION": "ignore", "PIP_NO_CACHE_DIR": "1",
	}
	c.hostNetwork(env)
	return env
}

// fit gives a runtime of a recipe what depends on the machine's interpreters.
func (c *Catalog) fit(ctx context.Context, w wanted, rt *runtimes.Runtime) error {
	pythons, err := c.interpreters(ctx)
	if err != nil {
		return err
	}
	ch, ok := choose(w, pythons)
	if !ok {
		rt.Title = w.recipe
		return nil
	}
	if w.recipe == spark {
		java, ok := chooseJava(ch.variant, c.cfg.Javas())
		if !ok {
			rt.Title = w.recipe
			return nil
		}
		rt.Env["JAVA_HOME"] = java.Home
	}
	files, err := c.filesOf(ch.variant, ch.python.Minor)
	if err != nil {
		return fmt.Errorf("recipe %s: %w", w.recipe, err)
	}
	rt.ID = runtimeID(files, ch.python)
	rt.Note = ch.note
	if more := c.wheelNote(ch.variant); more != "" {
		rt.Note = strings.TrimPrefix(rt.Note+"; "+more, "; ")
	}
	rt.Title = fmt.Sprintf("Python 3.%d", ch.python.Minor)
	if f, ok := frameworks[w.recipe]; ok {
		rt.Title = fmt.Sprintf("%s %s, %s", f.title, ch.variant.Version, rt.Title)
	}
	switch w.recipe {
	case spark:
		rt.Title = fmt.Sprintf("Spark %s, %s", ch.variant.Version, rt.Title)
	case jupyterLab:
		rt.Title = fmt.Sprintf("JupyterLab %s, SageMaker SDK %s, %s", versionOf(files[build.LockFile], jupyterLab), sdkVersion, rt.Title)
	}
	rt.Image = c.image(rt.ID, ch.python)
	return nil
}

// runtimeID names what is built of files on an interpreter.
func runtimeID(files map[string][]byte, p Python) string {
	parts := []string{formatVersion, string(files[build.LockFile]), string(files[build.UVFile]), p.Path, p.Version}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if name != build.LockFile && name != build.UVFile {
			parts = append(parts, name, string(files[name]))
		}
	}
	return contentID(parts...)
}

// hostNetwork lets pip inside a job use the index and the CA bundle that the
// machine uses, where a job can see them. An address with a password is not
// for jobs.
func (c *Catalog) hostNetwork(env map[string]string) {
	for _, k := range []string{"PIP_INDEX_URL", "UV_DEFAULT_INDEX"} {
		if v := c.cfg.Environ(k); v != "" && !strings.Contains(v, "@") {
			env[k] = v
		}
	}
	for _, k := range []string{"SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "PIP_CERT"} {
		if v := c.cfg.Environ(k); under(v, "/etc/ssl/certs") || under(v, "/etc/pki") || under(v, "/usr") {
			env[k] = v
		}
	}
}

// contentID is a short name made of what it names.
func contentID(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		_, _ = fmt.Fprintf(h, "%d:%s", len(p), p)
	}
	return strings.ToLower(base32.StdEncoding.EncodeToString(h.Sum(nil)))[:16]
}

func (c *Catalog) image(id string, p Python) compute.Image {
	img := compute.Image{Env: filepath.Join(c.cfg.Dir, id, "env"), Path: []string{compute.EnvPath + "/bin"}}
	if !p.System() {
		img.Binds = []string{p.Prefix}
		if !under(p.Path, p.Prefix) {
			img.Binds = append(img.Binds, filepath.Dir(p.Path))
		}
	}
	return img
}

// metaFile holds the meta of a runtime. Its time is when a job last asked.
const metaFile = "runtime.json"

// meta describes a built runtime; its presence makes the folder one.
type meta struct {
	ID, Recipe, Title string
	Python            Python
	Built             time.Time
}

func (c *Catalog) ready(id string) bool {
	data, err := os.ReadFile(filepath.Join(c.cfg.Dir, id, metaFile))
	if err != nil {
		return false
	}
	var m meta
	if json.Unmarshal(data, &m) != nil || m.ID != id {
		return false
	}
	_, err = os.Stat(filepath.Join(c.cfg.Dir, id, "env", "pyvenv.cfg")) // someone may have cleaned up
	return err == nil
}
