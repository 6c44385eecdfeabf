// Package rescue is what the first process of a rescue's task does: it finds
// what on a notebook instance's volume is nowhere else, and offers it to the
// server, which asks for it by HTTP.
//
// The volume is only read (git may set the time of objects). Of each Git repository with work that no remote has
// it makes a bundle (package bundle); git runs in a repository of ours that
// borrows the objects, so that nothing that the volume says is run. A repository
// that git cannot read is archived with all other files, as it lies there.
// Start at Main.
package rescue

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"clary/internal/stage/agent"
	"clary/internal/stage/rescue/bundle"
)

// What one rescue may take.
const (
	maxBundle  = 8 << 30  // bytes of one
	maxBundles = 16 << 30 // of all
	maxNotes   = 200
	perRepo    = 10 * time.Minute
	inAll      = 40 * time.Minute // what git has not done then is archived
	perLoose   = 10 * time.Minute
)

// LooseFile holds the files that are in no repository.
const LooseFile = "loose.tar.gz"

// rescuer makes one rescue.
type rescuer struct {
	root, dir string // the volume; a folder of ours
	maxLoose  int64  // bytes of loose files, and of a repository's changed ones
	maxBundle int64
	perRepo   time.Duration
	find      func() (git string, err error)
	bytes     int64 // of the bundles so far
	git       bundle.Git
	scan      *scan
	out       agent.Rescue
	names     map[string]bool
}

// Make looks at root and leaves the files of its rescue in dir, an empty folder
// outside of it.
func Make(ctx context.Context, root, dir string, shelter agent.Shelter) (agent.Rescue, error) {
	k := &rescuer{root: root, dir: dir, maxLoose: shelter.MaxLoose, maxBundle: maxBundle, perRepo: perRepo, find: bundle.Find, names: map[string]bool{}}
	return k.make(ctx)
}

func (k *rescuer) make(ctx context.Context) (agent.Rescue, error) {
	var err error
	if k.scan, err = look(k.root, k.note); err != nil {
		return agent.Rescue{}, fmt.Errorf("the volume cannot be read: %w", err)
	}
	home := filepath.Join(k.dir, "home")
	if err := os.Mkdir(home, 0o700); err != nil {
		return agent.Rescue{}, err
	}
	path, noGit := k.find()
	k.git = bundle.Git{Path: path, Home: home}
	late, cancel := context.WithTimeout(ctx, inAll)
	defer cancel()
	for n, r := range k.scan.repos {
		if r.trouble == nil {
			r.trouble = noGit
		}
		if r.trouble == nil {
			r.trouble = k.repository(late, r, filepath.Join(k.dir, fmt.Sprint("shadow-", n)))
		}
		if ctx.Err() != nil {
			return agent.Rescue{}, ctx.Err()
		}
		if r.trouble != nil {
			k.note("the repository in %s is kept as plain files: %s", orRoot(r.folder), words(r.trouble))
		}
	}
	if err := k.loose(ctx); err != nil {
		return agent.Rescue{}, err
	}
	k.out.Ready = true
	return k.out, nil
}

func (k *rescuer) note(format string, args ...any) {
	switch n := len(k.out.Notes); {
	case n < maxNotes:
		k.out.Notes = append(k.out.Notes, bundle.Printable(strings.ToValidUTF8(fmt.Sprintf(format, args...), "?")))
	case n == maxNotes:
		k.out.Notes = append(k.out.Notes, "and more of the kind")
	}
}

// words is an error without the paths of our own folders.
func words(err error) string {
	if e, ok := errors.AsType[*os.PathError](err); ok {
		err = e.Err
	}
	return err.Error()
}

// repository keeps one, if it has work that no remote has.
func (k *rescuer) repository(ctx context.Context, r *repo, shadow string) (err error) {
	ctx, cancel := context.WithTimeout(ctx, k.perRepo)
	defer cancel()
	defer func() { err = errors.Join(err, os.RemoveAll(shadow)) }()
	m, err := k.scan.mirror(ctx, r, k.git, shadow)
	if err != nil {
		return err
	}
	var w work
	w.empty = m.info.Commit == "" && len(m.refs) == 0
	w.noRemote = len(m.info.Remotes) == 0 && !r.linked
	w.stashes = len(m.info.Stashes)
	if w.commits, err = m.unpushed(ctx); err != nil {
		return err
	}
	take, gone, err := k.state(ctx, m, &w)
	if err != nil {
		return err
	}
	for _, path := range w.moved { // a submodule that is not where its parent has it
		for _, sub := range k.scan.repos {
			sub.forced = sub.forced || sub.work == path
		}
	}
	if m.lost > 0 {
		k.note("%s: refs whose objects are not there: %d", orRoot(r.folder), m.lost)
	}
	if !w.any() && !r.forced {
		return nil
	}
	if r.work != "" {
		if err := m.record(ctx, take, gone); err != nil {
			return err
		}
	}
	if len(w.left) > 0 {
		k.note("%s: changed files beyond %s, or that may not be read, were left out, %s in all: %s", orRoot(r.folder), size(k.maxLoose), size(w.leftSize), few(w.left, int64(len(w.left))))
	}
	return k.pack(ctx, m, w)
}

// state takes index and working tree.
func (k *rescuer) state(ctx context.Context, m *shadow, w *work) (take, gone []string, err error) {
	if m.Work == "" {
		return nil, nil, nil
	}
	conflict, err := m.takeIndex(ctx)
	if err != nil {
		return nil, nil, err
	}
	if w.conflict = len(conflict) > 0; w.conflict {
		if err := m.keepConflict(ctx, conflict); err != nil {
			return nil, nil, err
		}
	}
	tree, err := m.commit(ctx, bundle.Index, "what was staged", m.info.Commit)
	if err != nil {
		return nil, nil, err
	}
	head := []string{"mktree"} // of nothing
	if m.info.Commit != "" {
		head = []string{"rev-parse", "HEAD^{tree}"}
	}
	before, err := m.Run(ctx, strings.NewReader(""), head...)
	if err != nil {
		return nil, nil, err
	}
	w.staged = tree != before || w.conflict
	take, gone, err = k.scan.survey(ctx, m, w, k.maxLoose)
	w.empty = w.empty && !w.staged && w.changed+w.fresh == 0
	return take, gone, err
}

// pack writes the bundle.
func (k *rescuer) pack(ctx context.Context, m *shadow, w work) error {
	text, err := json.MarshalIndent(m.info, "", " ")
	if err != nil {
		return err
	}
	blob, err := m.Run(ctx, strings.NewReader(string(text)+"\n"), "hash-object", "-w", "--no-filters", "--stdin")
	if err != nil {
		return err
	}
	tree, err := m.Run(ctx, strings.NewReader("100644 blob "+blob+"\t"+bundle.InfoFile+"\n"), "mktree")
	if err != nil {
		return err
	}
	if err := m.commitTree(ctx, bundle.InfoRef, tree, "what the refs do not say", ""); err != nil {
		return err
	}
	if err := m.writeRefs(); err != nil {
		return err
	}
	name := k.name(m.repo.folder) + ".bundle"
	what := w.String()
	if what == "" {
		what = "another commit than its parent has"
	}
	f, err := k.bundle(ctx, m, name)
	if err != nil && ctx.Err() == nil && len(m.info.Remotes) > 0 {
		// It may be too large as a whole, or a part of it was never fetched.
		thin, failed := k.bundle(ctx, m, name, "--not", "--remotes")
		if failed != nil {
			return err
		}
		k.note("%s: the bundle holds only what no remote has, and is read in a clone of %s: %s", orRoot(m.repo.folder), m.info.Remotes[0].URL, words(err))
		f, err = thin, nil
	}
	if err != nil {
		return err
	}
	f.From, f.What = cmp.Or(m.repo.folder, "."), what
	k.bytes += f.Bytes
	k.out.Files = append(k.out.Files, f)
	return nil
}

// bundle writes one of all refs, without what the further arguments take away.
func (k *rescuer) bundle(ctx context.Context, m *shadow, name string, without ...string) (agent.File, error) {
	return k.write(name, min(k.maxBundle, maxBundles-k.bytes), func(w io.Writer) error {
		return m.Stream(ctx, nil, w, append([]string{"bundle", "create", "--quiet", "-", "--all"}, without...)...)
	})
}

// write makes a file of the rescue, of at most so many bytes. A file that could
// not be finished is gone.
func (k *rescuer) write(name string, most int64, fill func(io.Writer) error) (agent.File, error) {
	path := filepath.Join(k.dir, name)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return agent.File{}, err
	}
	sum := sha256.New()
	limited := &bundle.Limited{W: io.MultiWriter(f, sum), Left: most}
	err = errors.Join(fill(limited), f.Close())
	if err != nil {
		return agent.File{}, errors.Join(err, os.Remove(path))
	}
	return agent.File{Name: name, Bytes: most - limited.Left, SHA256: hex.EncodeToString(sum.Sum(nil))}, nil
}

// name is a new file's, after a folder.
func (k *rescuer) name(folder string) string {
	base := regexp.MustCompile(`[^A-Za-z0-9._-]+`).ReplaceAllString(orRoot(folder), "-")
	base = strings.Trim(base[:min(len(base), 80)], "-.")
	if base == "" {
		base = "repository"
	}
	name := base
	for n := 2; k.names[name]; n++ {
		name = fmt.Sprint(base, "-", n)
	}
	k.names[name] = true
	return name
}

func size(n int64) string {
	for _, u := range []string{"bytes", "KiB", "MiB"} {
		if n < 1024 {
			return fmt.Sprint(n, " ", u)
		}
		n /= 1024
	}
	return fmt.Sprint(n, " GiB")
}

// shown is how many files a note names.
const shown = 5

// few names the last of so many files, which are the largest.
func few(list []change, all int64) string {
	var names []string
	for _, c := range slices.Backward(list[max(0, len(list)-shown):]) {
		names = append(names, c.path)
	}
	if all > shown {
		names = append(names, fmt.Sprint("and ", all-shown, " more"))
	}
	return strings.Join(names, ", ")
}
