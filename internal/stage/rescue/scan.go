package rescue

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"clary/internal/stage/rescue/bundle"
)

// How much is looked at.
const (
	maxDepth = 64
	maxRepos = 400
)

// repo is a Git repository, or one working tree of it.
type repo struct {
	folder  string // below the root; "" is the root itself
	work    string // the working tree; "" of a bare one
	git     string // its own HEAD and index
	common  string // refs and objects
	linked  bool   // another working tree of a repository
	forced  bool   // keep it, whatever it holds
	trouble error  // why its files are kept instead
}

// top is the folder that holds it.
func (r *repo) top() string {
	if r.work == "" {
		return r.git
	}
	return r.work
}

// scan is what lies on a volume.
type scan struct {
	root  string // without symbolic links
	repos []*repo
	envs  map[string]bool // folders of installed packages
	works map[string]bool // every repository's folder
	note  func(format string, args ...any)
}

// look finds every repository below the root. Symbolic links are not followed.
func look(root string, note func(string, ...any)) (*scan, error) {
	root, err := filepath.EvalSymlinks(root)
	if err != nil {
		return nil, err
	}
	s := &scan{root: root, envs: map[string]bool{}, works: map[string]bool{}, note: note}
	if _, err := os.ReadDir(root); err != nil {
		return nil, err
	}
	s.folder(root, 0)
	s.dropModules()
	for _, r := range s.repos {
		s.works[r.top()] = true
	}
	return s, nil
}

// passed says whether a folder is never worth keeping.
func passed(root, dir string) bool {
	name := filepath.Base(dir)
	switch {
	case name == ".ipynb_checkpoints", name == "__pycache__":
		return true
	case filepath.Dir(dir) == root:
		return name == "lost+found" || strings.HasPrefix(name, ".Trash-")
	}
	return false
}

func (s *scan) below(path string) string {
	rel, err := filepath.Rel(s.root, path)
	if err != nil || rel == "." {
		return ""
	}
	return rel
}

func (s *scan) folder(dir string, depth int) {
	if dir != s.root && passed(s.root, dir) {
		return
	}
	if depth > maxDepth {
		s.note("%s lies too deep: no repository was looked for in it", s.below(dir))
		return
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		s.note("%s cannot be read: %s", s.below(dir), words(err))
	}
	switch {
	case slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == ".git" }):
		s.add(s.open(dir))
	case isGitDir(dir):
		s.add(&repo{folder: s.below(dir), git: dir, common: dir})
		return
	case isEnvironment(dir) && dir != s.root:
		s.envs[dir] = true
		s.note("%s was left out: it is an environment of installed packages", s.below(dir))
		return
	}
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		if path := filepath.Join(dir, e.Name()); e.Name() != ".git" {
			s.folder(path, depth+1)
		} else {
			s.modules(filepath.Join(path, "modules"), depth+2)
		}
	}
}

// modules finds the repositories of submodules, whose working trees may be gone.
func (s *scan) modules(dir string, depth int) {
	entries, err := os.ReadDir(dir)
	if err != nil || depth > maxDepth {
		return // most have none
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if !e.IsDir() {
			continue
		}
		if !isGitDir(path) {
			s.modules(path, depth+1)
			continue
		}
		s.add(&repo{folder: s.below(path), git: path, common: path})
		s.modules(filepath.Join(path, "modules"), depth+2)
	}
}

// dropModules forgets those of modules that have a working tree.
func (s *scan) dropModules() {
	used := map[string]bool{}
	for _, r := range s.repos {
		if r.work != "" {
			used[r.common] = true
		}
	}
	s.repos = slices.DeleteFunc(s.repos, func(r *repo) bool { return r.work == "" && used[r.common] })
}

func (s *scan) add(r *repo) {
	if len(s.repos) == maxRepos {
		r.trouble = fmt.Errorf("there are more than %d repositories", maxRepos)
	}
	s.repos = append(s.repos, r)
}

// open finds what the .git of a working tree leads to.
func (s *scan) open(work string) *repo {
	r := &repo{folder: s.below(work), work: work}
	r.git, r.trouble = s.gitDir(work)
	if r.trouble != nil {
		return r
	}
	r.common = r.git
	text, err := small(filepath.Join(r.git, "commondir"), 4096)
	if err == nil {
		r.linked = true
		r.common, r.trouble = s.within(r.git, strings.TrimRight(text, "\n"))
	} else if !errors.Is(err, fs.ErrNotExist) {
		r.trouble = err
	}
	if r.trouble == nil && !isGitDir(r.common) {
		r.trouble = errors.New("its .git is no repository")
	}
	return r
}

func (s *scan) gitDir(work string) (string, error) {
	path := filepath.Join(work, ".git")
	info, err := os.Lstat(path)
	if err != nil {
		return "", err
	}
	if info.Mode().IsRegular() {
		text, err := small(path, 4096)
		if err != nil {
			return "", err
		}
		to, ok := strings.CutPrefix(strings.TrimRight(text, "\n"), "gitdir: ")
		if !ok {
			return "", errors.New("its .git is no repository")
		}
		return s.within(work, to)
	}
	return s.within(work, ".git")
}

// within resolves a path that must lie on the volume.
func (s *scan) within(dir, path string) (string, error) {
	if !filepath.IsAbs(path) {
		path = filepath.Join(dir, path)
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", fmt.Errorf("%s is not there", bundle.Printable(path))
	}
	if real != s.root && !strings.HasPrefix(real, s.root+"/") {
		return "", fmt.Errorf("%s is not on the volume", bundle.Printable(path))
	}
	return real, nil
}

// isGitDir says whether a folder is a repository's own.
func isGitDir(dir string) bool {
	for _, name := range []string{"objects", "refs"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || !info.IsDir() {
			return false
		}
	}
	_, err := os.Lstat(filepath.Join(dir, "HEAD"))
	return err == nil
}

// isEnvironment knows what venv and conda make.
func isEnvironment(dir string) bool {
	for _, name := range []string{"pyvenv.cfg", "conda-meta"} {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			return true
		}
	}
	return false
}

// inEnvironment says whether a path lies in a folder of installed packages.
func (s *scan) inEnvironment(path string) bool {
	for len(s.envs) > 0 && len(path) > len(s.root) {
		if s.envs[path] {
			return true
		}
		path = filepath.Dir(path)
	}
	return false
}

// small reads a regular file of at most so many bytes.
func small(path string, most int64) (string, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() || info.Size() > most {
		return "", fmt.Errorf("%s is no small file", bundle.Printable(filepath.Base(path)))
	}
	b, err := os.ReadFile(path)
	return string(b), err
}

func orRoot(folder string) string {
	if folder == "" {
		return "SageMaker"
	}
	return folder
}
