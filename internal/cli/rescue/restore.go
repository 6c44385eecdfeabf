// Package rescue brings back what was kept of a deleted notebook instance:
// repositories from bundles, as package bundle has them, and loose files. What
// it reads came from an instance, so it is believed in nothing: it writes below
// one folder alone, replaces nothing there, and runs git as package bundle does.
package rescue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"clary/internal/stage/rescue/bundle"
)

// Target is where a rescue is brought back to.
type Target struct {
	Dir  string // absolute
	root *os.Root
	git  bundle.Git
	tops []string // of the repositories so far
}

// Open makes a folder the target. It must be empty, or not be there. home is an
// empty folder elsewhere. Without git on this machine only loose files can be
// brought back.
func Open(dir, home string) (*Target, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	if len(entries) > 0 {
		return nil, fmt.Errorf("%s is not empty, and nothing is replaced", dir)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	git, _ := bundle.Find() // it is asked for when there is a bundle
	return &Target{Dir: dir, root: root, git: bundle.Git{Path: git, Home: home}}, nil
}

// Close lets the folder go.
func (t *Target) Close() error { return t.root.Close() }

// place makes the folder of a repository: no part of its path may lead
// elsewhere, and nothing may lie in it.
func (t *Target) place(folder string) (string, error) {
	if !filepath.IsLocal(folder) {
		return "", fmt.Errorf("%q is no folder of a repository", folder)
	}
	at := ""
	for part := range strings.SplitSeq(filepath.Clean(folder), string(filepath.Separator)) {
		if at = filepath.Join(at, part); strings.EqualFold(part, ".git") {
			at = besides(filepath.Dir(at))
		}
		info, err := t.root.Lstat(at)
		if errors.Is(err, fs.ErrNotExist) {
			err = t.root.Mkdir(at, 0o755)
		} else if err == nil && !info.IsDir() {
			err = fmt.Errorf("%s is there already, and no folder", at)
		}
		if err != nil {
			return "", err
		}
	}
	t.tops = append(t.tops, filepath.ToSlash(at))
	dir := filepath.Join(t.Dir, at)
	entries, err := os.ReadDir(dir)
	if err == nil && len(entries) > 0 {
		err = fmt.Errorf("%s is not empty, and nothing is replaced", dir)
	}
	return dir, err
}

// besides is where lies what lay in a folder's .git: a repository that is
// brought back has its own hooks and settings, and no others.
func besides(folder string) string {
	if folder == "." {
		return "rescued.git"
	}
	return folder + ".git-rescued"
}

// aside leads a file out of the .git of a repository that was brought back.
func (t *Target) aside(name string) string {
	for _, top := range t.tops {
		rest, in := name, true
		if top != "." {
			rest, in = strings.CutPrefix(name, top+"/")
		}
		if part, more, _ := strings.Cut(rest, "/"); in && strings.EqualFold(part, ".git") {
			return path.Join(besides(top), more)
		}
	}
	return name
}

// restoration is a repository on its way back.
type restoration struct {
	bundle.Git
	top   string            // its folder
	heads map[string]string // the bundle's refs
	info  bundle.Info
	said  []string
}

// Repository brings one back from its bundle into a folder below the target. It
// says what could not be as it was.
func (t *Target) Repository(ctx context.Context, file, folder string) ([]string, error) {
	if t.git.Path == "" {
		return nil, errors.New("git is not on this machine, and brings repositories back: install it")
	}
	r := &restoration{Git: t.git, heads: map[string]string{}}
	var err error
	if r.top, err = t.place(folder); err != nil {
		return nil, err
	}
	r.Dir = r.top
	list, err := r.Run(ctx, nil, "bundle", "list-heads", file)
	if err != nil {
		return nil, err
	}
	format := "sha1"
	for line := range strings.SplitSeq(list, "\n") {
		id, name, _ := strings.Cut(line, " ")
		if !bundle.IsHash(id) || name != "HEAD" && !bundle.IsRef(name) {
			return nil, fmt.Errorf("the bundle has a ref that is none: %q", bundle.Printable(line))
		}
		r.heads[name] = id
		if len(id) == 64 {
			format = "sha256"
		}
	}
	if r.heads[bundle.InfoRef] == "" {
		return nil, errors.New("the bundle is no rescue's")
	}
	bare := r.heads[bundle.Index] == "" && r.heads[bundle.Worktree] == ""
	args := []string{"init", "--quiet", "--template=", "--object-format=" + format}
	if bare {
		r.Dir = r.top
		args = append(args, "--bare")
	} else {
		r.Dir, r.Work = filepath.Join(r.top, ".git"), r.top
	}
	if format == "sha1" {
		args = slices.DeleteFunc(args, func(a string) bool { return strings.HasPrefix(a, "--object-format") }) // older ones do not know it
	}
	if err := r.Stream(ctx, nil, nil, args...); err != nil {
		return nil, err
	}
	if err := r.objects(ctx, file); err != nil {
		begun, _ := filepath.Rel(t.Dir, r.Dir) // both are absolute
		return nil, errors.Join(err, t.root.RemoveAll(begun))
	}
	for _, step := range []func(context.Context) error{r.refs, r.settings, r.files} {
		if err := step(ctx); err != nil {
			return r.said, err
		}
	}
	return r.said, nil
}

func (r *restoration) say(format string, args ...any) {
	r.said = append(r.said, bundle.Printable(fmt.Sprintf(format, args...)))
}

// objects takes all objects in, and reads what the refs do not say.
func (r *restoration) objects(ctx context.Context, file string) error {
	if err := r.Stream(ctx, nil, nil, "bundle", "unbundle", file); err != nil {
		if strings.Contains(err.Error(), "prerequisite") {
			return errors.New("it holds only what no remote has. Clone the repository from there, fetch the bundle's refs/*:refs/rescued/*, and see refs/rescued/clary-rescue/worktree")
		}
		return err
	}
	text, err := r.Run(ctx, nil, "cat-file", "blob", r.heads[bundle.InfoRef]+":"+bundle.InfoFile)
	if err != nil {
		return err
	}
	if err := json.Unmarshal([]byte(text), &r.info); err != nil {
		return err
	}
	if len(r.info.Shallow) == 0 {
		return nil
	}
	for _, id := range r.info.Shallow {
		if !bundle.IsHash(id) {
			return errors.New("the bundle's list of shallow commits is broken")
		}
	}
	r.say("it is a shallow clone, as it was: git fetch --unshallow brings the rest")
	return os.WriteFile(filepath.Join(r.Dir, "shallow"), []byte(strings.Join(r.info.Shallow, "\n")+"\n"), 0o644)
}

// refs sets the repository's refs, HEAD and stashes, and looks whether all that
// they need is there.
func (r *restoration) refs(ctx context.Context) error {
	var set strings.Builder
	for name, id := range r.heads {
		if name != "HEAD" && !strings.HasPrefix(name, bundle.Prefix) {
			set.WriteString("create " + name + "\x00" + id + "\x00")
		}
	}
	if err := r.Stream(ctx, strings.NewReader(set.String()), nil, "update-ref", "-z", "--stdin"); err != nil {
		return err
	}
	switch {
	case r.info.Head != "":
		if !bundle.IsRef(r.info.Head) {
			return errors.New("the bundle's HEAD is broken")
		}
		if err := r.Stream(ctx, nil, nil, "symbolic-ref", "HEAD", r.info.Head); err != nil {
			return err
		}
	case r.heads["HEAD"] != "":
		if err := r.Stream(ctx, nil, nil, "update-ref", "--no-deref", "HEAD", r.heads["HEAD"]); err != nil {
			return err
		}
	}
	for n, message := range slices.Backward(r.info.Stashes) {
		id := r.heads[bundle.Stash+strconv.Itoa(n)]
		if id == "" {
			continue
		}
		if message == "" {
			message = "a rescued stash"
		}
		if err := r.Stream(ctx, nil, nil, "update-ref", "--create-reflog", "-m", message, "refs/stash", id); err != nil {
			return err
		}
	}
	if id := r.heads[bundle.Merge]; id != "" {
		if err := os.WriteFile(filepath.Join(r.Dir, "MERGE_HEAD"), []byte(id+"\n"), 0o644); err != nil {
			return err
		}
	}
	all := []string{"rev-list", "--objects", "--quiet", "--stdin"}
	var ids strings.Builder
	for _, id := range r.heads {
		ids.WriteString(id + "\n")
	}
	if err := r.Stream(ctx, strings.NewReader(ids.String()), nil, all...); err != nil {
		return fmt.Errorf("the bundle is not whole: %w", err)
	}
	return nil
}

// settings sets remotes and upstreams. An address that would do more than fetch
// is left out.
func (r *restoration) settings(ctx context.Context) error {
	set := func(key, value string) error { return r.Stream(ctx, nil, nil, "config", key, value) }
	for key, values := range bundle.Settings() {
		if v := r.info.Settings[key]; slices.Contains(values, v) {
			if err := set(key, v); err != nil {
				return err
			}
		}
	}
	known := map[string]bool{}
	for _, m := range r.info.Remotes {
		if !bundle.IsRemoteName(m.Name) || !bundle.IsURL(m.URL) {
			r.say("the remote %q was left out: %s", m.Name, m.URL)
			continue
		}
		known[m.Name] = true
		if err := errors.Join(set("remote."+m.Name+".url", m.URL), set("remote."+m.Name+".fetch", "+refs/heads/*:refs/remotes/"+m.Name+"/*")); err != nil {
			return err
		}
	}
	for _, u := range r.info.Upstreams {
		if !known[u.Remote] && u.Remote != "." || !bundle.IsRef("refs/heads/"+u.Branch) || !bundle.IsRef(u.Merge) || strings.ContainsAny(u.Branch, "\"\n") {
			continue
		}
		if err := errors.Join(set("branch."+u.Branch+".remote", u.Remote), set("branch."+u.Branch+".merge", u.Merge)); err != nil {
			return err
		}
	}
	return nil
}

// files lays index and working tree as they were.
func (r *restoration) files(ctx context.Context) error {
	index, work := r.heads[bundle.Index], r.heads[bundle.Worktree]
	if index == "" || work == "" {
		return nil
	}
	if err := r.Stream(ctx, nil, nil, "read-tree", index); err != nil {
		return err
	}
	if err := r.Stream(ctx, nil, nil, "checkout-index", "--all", "--quiet"); err != nil {
		return err
	}
	var gone, changed []string
	action := ""
	if err := r.Each(ctx, nil, func(field string) error {
		switch action {
		case "":
			action = field
			return nil
		case "D":
			gone = append(gone, field)
		default:
			changed = append(changed, field)
		}
		action = ""
		return nil
	}, "diff-tree", "-r", "-z", "--no-renames", "--name-status", index, work); err != nil {
		return err
	}
	if err := r.remove(gone); err != nil {
		return err
	}
	if err := r.lay(ctx, work, changed); err != nil {
		return err
	}
	if err := r.conflicts(ctx); err != nil {
		return err
	}
	// It says by its exit code that files differ.
	_ = r.Stream(ctx, nil, nil, "update-index", "-q", "--refresh")
	return nil
}

// remove takes away what index has and the working tree had not.
func (r *restoration) remove(gone []string) error {
	root, err := os.OpenRoot(r.top)
	if err != nil {
		return err
	}
	defer root.Close() //nolint:errcheck // a folder
	for _, path := range gone {
		if err := root.Remove(path); err != nil {
			return err
		}
		dir := filepath.Dir(path)
		for dir != "." && root.Remove(dir) == nil { // an empty one: git keeps none
			dir = filepath.Dir(dir)
		}
	}
	return nil
}

// lay writes files of a tree as they were, byte for byte.
func (r *restoration) lay(ctx context.Context, tree string, paths []string) error {
	if len(paths) == 0 {
		return nil
	}
	g := r.Git
	g.Index = filepath.Join(r.Dir, "rescued-index")
	attributes := filepath.Join(r.Dir, "info", "attributes")
	if err := os.MkdirAll(filepath.Dir(attributes), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(attributes, []byte(bundle.RawAttributes), 0o644); err != nil {
		return err
	}
	err := g.Stream(ctx, nil, nil, "read-tree", tree)
	if err == nil {
		err = g.Stream(ctx, bundle.NULs(paths), nil, "checkout-index", "--force", "--quiet", "-z", "--stdin")
	}
	return errors.Join(err, os.Remove(attributes), os.Remove(g.Index))
}

// conflicts puts the entries of paths in conflict back.
func (r *restoration) conflicts(ctx context.Context) error {
	var lines []string
	done := map[string]bool{}
	for _, stage := range []string{"1", "2", "3"} {
		id := r.heads[bundle.Conflict+stage]
		if id == "" {
			continue
		}
		if err := r.Each(ctx, nil, func(record string) error {
			head, path, _ := strings.Cut(record, "\t")
			f := strings.Fields(head) // mode, type, object
			if len(f) != 3 {
				return errors.New("the bundle's conflicts are broken")
			}
			if !done[path] {
				done[path] = true
				lines = append(lines, "0 "+strings.Repeat("0", len(f[2]))+"\t"+path)
			}
			lines = append(lines, f[0]+" "+f[2]+" "+stage+"\t"+path)
			return nil
		}, "ls-tree", "-r", "-z", id); err != nil {
			return err
		}
	}
	if lines == nil {
		return nil
	}
	return r.Stream(ctx, bundle.NULs(lines), nil, "update-index", "-z", "--index-info")
}
