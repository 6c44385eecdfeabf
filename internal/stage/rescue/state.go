package rescue

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"clary/internal/stage/rescue/bundle"
)

// maxChanges is how many changed files of a working tree are told apart.
const maxChanges = 200_000

// work is what a repository has that no remote of its has.
type work struct {
	empty    bool // nothing at all
	noRemote bool
	commits  string // how many
	staged   bool
	changed  int // files, deleted ones too
	fresh    int // untracked files
	stashes  int
	conflict bool
	left     []change // changed files that were left out, by their sizes
	leftSize int64
	moved    []string // submodules at other commits, by their paths
}

func (w work) any() bool {
	return w.noRemote || w.commits != "0" || w.staged || w.changed > 0 || w.fresh > 0 || w.stashes > 0 || len(w.left) > 0
}

// String says it in words.
func (w work) String() string {
	var parts []string
	add := func(yes bool, text string) {
		if yes {
			parts = append(parts, text)
		}
	}
	add(w.noRemote && w.empty, "nothing yet, and no remote")
	add(w.noRemote && !w.empty, "no remote")
	add(w.commits != "0" && !w.noRemote, "commits that no remote has: "+w.commits)
	add(w.conflict, "a merge with conflicts")
	add(w.staged, "staged changes")
	add(w.changed > 0, fmt.Sprint("changed files: ", w.changed))
	add(w.fresh > 0, fmt.Sprint("untracked files: ", w.fresh))
	add(w.stashes > 0, fmt.Sprint("stashes: ", w.stashes))
	return strings.Join(parts, ", ")
}

// entry is a line of an index: mode, object, stage, path.
type entry struct{ mode, object, stage, path string }

func (e entry) line() string { return e.mode + " " + e.object + " " + e.stage + "\t" + e.path }

// unpushed counts commits that no remote-tracking ref reaches.
func (m *shadow) unpushed(ctx context.Context) (string, error) {
	which := []string{"--exclude=" + bundle.Prefix + "*", "--all"}
	if m.repo.linked {
		if m.info.Head != "" || m.info.Commit == "" {
			return "0", nil // the repository's branches are kept with its own working tree
		}
		which = []string{"HEAD"}
	}
	return m.Run(ctx, nil, slices.Concat([]string{"rev-list", "--count"}, which, []string{"--not", "--remotes"})...)
}

// readStashes makes each stash a ref. They are the repository's, not a working
// tree's.
func (m *shadow) readStashes() error {
	top := m.refs["refs/stash"]
	if top == "" || m.repo.linked {
		delete(m.refs, "refs/stash")
		return nil
	}
	text, err := small(filepath.Join(m.repo.common, "logs/refs/stash"), maxPacked)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	add := func(object, message string) {
		if bundle.IsHash(object) {
			m.refs[fmt.Sprint(bundle.Stash, len(m.info.Stashes))] = object
			m.info.Stashes = append(m.info.Stashes, strings.ToValidUTF8(message, "?"))
		}
	}
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	for _, line := range slices.Backward(lines) {
		ids, message, _ := strings.Cut(line, "\t")
		if f := strings.Fields(ids); len(f) > 1 {
			add(f[1], message)
		}
	}
	if len(m.info.Stashes) == 0 {
		add(top, "")
	}
	delete(m.refs, "refs/stash")
	return nil
}

// takeIndex makes an index of ours with the entries of the repository's, and
// none of the flags that would hide a change. It returns the entries of paths
// in conflict.
func (m *shadow) takeIndex(ctx context.Context) ([]entry, error) {
	for _, from := range append([]string{"index"}, m.sharedIndexes()...) {
		if err := copyFile(filepath.Join(m.repo.git, from), filepath.Join(m.Dir, from), maxIndex); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	var conflict []entry
	list, err := os.CreateTemp(m.Dir, "entries-")
	if err != nil {
		return nil, err
	}
	defer list.Close() //nolint:errcheck // it is removed with the folder
	out := bufio.NewWriter(list)
	err = m.Each(ctx, nil, func(record string) error {
		head, path, _ := strings.Cut(record, "\t")
		f := strings.Fields(head)
		if len(f) != 3 {
			return errors.New("its index cannot be read")
		}
		if f[2] == "0" {
			_, err := out.WriteString(record + "\x00")
			return err
		}
		conflict = append(conflict, entry{f[0], f[1], f[2], path})
		return tooMany(len(conflict))
	}, "ls-files", "--stage", "-z")
	if err != nil {
		return nil, err
	}
	var sparse []string
	if err := m.Each(ctx, nil, func(record string) error {
		if path, ok := strings.CutPrefix(record, "S "); ok {
			if _, err := os.Lstat(filepath.Join(m.Work, path)); errors.Is(err, fs.ErrNotExist) {
				sparse = append(sparse, path)
			}
		}
		return tooMany(len(sparse) / 8)
	}, "ls-files", "-t", "-z"); err != nil {
		return nil, err
	}
	if err := out.Flush(); err != nil {
		return nil, err
	}
	if _, err := list.Seek(0, 0); err != nil {
		return nil, err
	}
	m.Index = filepath.Join(m.Dir, "index.staged")
	if err := m.Stream(ctx, list, nil, "update-index", "-z", "--index-info"); err != nil {
		return nil, err
	}
	if len(sparse) > 0 {
		if err := m.Stream(ctx, bundle.NULs(sparse), nil, "update-index", "--skip-worktree", "-z", "--stdin"); err != nil {
			return nil, err
		}
	}
	return conflict, nil
}

func tooMany(n int) error {
	if n > maxChanges {
		return fmt.Errorf("it has more than %d changed files", maxChanges)
	}
	return nil
}

// sharedIndexes are what a split index is split into.
func (m *shadow) sharedIndexes() []string {
	paths, _ := filepath.Glob(filepath.Join(escaped(m.repo.git), "sharedindex.*")) // the pattern is sound
	var names []string
	for _, p := range paths {
		names = append(names, filepath.Base(p))
	}
	return names
}

// escaped is a folder's name as a pattern for itself.
func escaped(dir string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(dir)
}

// commit makes a commit of the index as it is.
func (m *shadow) commit(ctx context.Context, ref, message, parent string) (string, error) {
	tree, err := m.Run(ctx, nil, "write-tree")
	if err != nil {
		return "", err
	}
	return tree, m.commitTree(ctx, ref, tree, message, parent)
}

func (m *shadow) commitTree(ctx context.Context, ref, tree, message, parent string) error {
	args := []string{"commit-tree", tree, "-m", message}
	if parent != "" {
		args = append(args, "-p", parent)
	}
	id, err := m.Run(ctx, nil, args...)
	m.refs[ref] = id
	return err
}

// keepConflict makes a commit of each stage, and settles the index with one side
// of each path.
func (m *shadow) keepConflict(ctx context.Context, conflict []entry) error {
	side := map[string]entry{}
	staged := m.Index
	defer func() { m.Index = staged }()
	for _, stage := range []string{"1", "3", "2"} { // ours last: it holds
		var lines []string
		for _, e := range conflict {
			if e.stage == stage {
				e.stage = "0"
				side[e.path] = e
				lines = append(lines, e.line())
			}
		}
		if lines == nil {
			continue
		}
		m.Index = filepath.Join(m.Dir, "index.conflict-"+stage)
		if err := m.Stream(ctx, bundle.NULs(lines), nil, "update-index", "-z", "--index-info"); err != nil {
			return err
		}
		if _, err := m.commit(ctx, bundle.Conflict+stage, "entries of stage "+stage, ""); err != nil {
			return err
		}
	}
	m.Index = staged
	var lines []string
	for _, e := range side {
		lines = append(lines, e.line())
	}
	return m.Stream(ctx, bundle.NULs(lines), nil, "update-index", "-z", "--index-info")
}

// change is a path of the working tree that is not as in the index.
type change struct {
	path string
	size int64
}

// survey compares the working tree with the index, and says what of it to
// record: the smallest first, most bytes at most.
func (s *scan) survey(ctx context.Context, m *shadow, w *work, most int64) (take, gone []string, err error) {
	var list []change
	parents := map[string]bool{m.Work: true}
	seen := map[string]bool{}
	err = m.Each(ctx, nil, func(path string) error {
		if seen[path] {
			return nil
		}
		seen[path] = true
		w.changed++
		full := filepath.Join(m.Work, path)
		info, err := os.Lstat(full)
		if err != nil || !solid(parents, filepath.Dir(full)) {
			gone = append(gone, path)
			return tooMany(len(seen))
		}
		size := info.Size()
		if info.IsDir() {
			w.moved, size = append(w.moved, full), 0
		}
		list = append(list, change{path, size})
		return tooMany(len(seen))
	}, "ls-files", "--modified", "--deleted", "-z")
	if err != nil {
		return nil, nil, err
	}
	err = m.Each(ctx, nil, func(path string) error {
		full := filepath.Join(m.Work, path)
		if strings.HasSuffix(path, "/") || s.elsewhere(m.repo, full) {
			return nil
		}
		info, err := os.Lstat(full)
		if err != nil {
			return nil //nolint:nilerr // its folder may not be searched: git has said so as well
		}
		w.fresh++
		list = append(list, change{path, info.Size()})
		return tooMany(len(list))
	}, "ls-files", "--others", "--exclude-standard", "-z")
	if err != nil {
		return nil, nil, err
	}
	slices.SortStableFunc(list, func(a, b change) int { return cmp.Compare(a.size, b.size) })
	for _, c := range list {
		if c.size > most || !readable(filepath.Join(m.Work, c.path)) {
			w.left, w.leftSize = append(w.left, c), w.leftSize+c.size
			continue
		}
		most -= c.size
		take = append(take, c.path)
	}
	return take, gone, nil
}

// solid says whether a folder is reached through no symbolic link. It keeps what
// it found.
func solid(known map[string]bool, dir string) bool {
	if is, ok := known[dir]; ok {
		return is
	}
	info, err := os.Lstat(dir)
	is := err == nil && info.IsDir() && solid(known, filepath.Dir(dir))
	known[dir] = is
	return is
}

// elsewhere says whether a path of a working tree is another repository's, of
// installed packages, or of a cache.
func (s *scan) elsewhere(r *repo, full string) bool {
	for dir := filepath.Dir(full); len(dir) > len(r.work); dir = filepath.Dir(dir) {
		if passed(s.root, dir) || s.works[dir] {
			return true
		}
	}
	return s.inEnvironment(full)
}

// readable says whether a file can be opened; what is no file needs not be.
func readable(path string) bool {
	info, err := os.Lstat(path)
	if err != nil || !info.Mode().IsRegular() {
		return true
	}
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	return f.Close() == nil
}

// record keeps what lies in the working tree, file by file as it is there.
func (m *shadow) record(ctx context.Context, take, gone []string) error {
	if err := copyFile(m.Index, filepath.Join(m.Dir, "index.worktree"), maxIndex); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	m.Index = filepath.Join(m.Dir, "index.worktree")
	if err := os.WriteFile(filepath.Join(m.Dir, "info/attributes"), []byte(bundle.RawAttributes), 0o600); err != nil {
		return err
	}
	if len(gone) > 0 {
		if err := m.Stream(ctx, bundle.NULs(gone), nil, "update-index", "--force-remove", "-z", "--stdin"); err != nil {
			return err
		}
	}
	if len(take) > 0 {
		if err := m.Stream(ctx, bundle.NULs(take), nil, "update-index", "--add", "--remove", "--replace", "-z", "--stdin"); err != nil {
			return err
		}
	}
	_, err := m.commit(ctx, bundle.Worktree, "what lay in the working tree", m.refs[bundle.Index])
	return err
}
