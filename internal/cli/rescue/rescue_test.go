package rescue_test

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	cli "clary/internal/cli/rescue"
	"clary/internal/stage/agent"
	"clary/internal/stage/rescue"
)

// volume is an instance's, on a folder.
type volume struct {
	t    *testing.T
	root string
	home string
	far  string // where remotes are
}

func newVolume(t *testing.T) *volume {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Fatal("this test needs git")
	}
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	v := &volume{t: t, root: filepath.Join(dir, "SageMaker"), home: filepath.Join(dir, "home"), far: filepath.Join(dir, "far")}
	for _, d := range []string{v.root, v.home, v.far} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return v
}

// sh runs a script as the instance's user would, and returns what it prints.
func (v *volume) sh(dir, script string) string {
	v.t.Helper()
	cmd := exec.Command("bash", "-euc", script)
	cmd.Dir = dir
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + v.home, "GIT_CONFIG_NOSYSTEM=1", "LC_ALL=C.UTF-8", "FAR=" + v.far, "ROOT=" + v.root,
		"GIT_AUTHOR_NAME=A", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=A", "GIT_COMMITTER_EMAIL=a@example.com",
		"GIT_AUTHOR_DATE=2024-01-01T00:00:00Z", "GIT_COMMITTER_DATE=2024-01-01T00:00:00Z",
		"GIT_CONFIG_COUNT=2", "GIT_CONFIG_KEY_0=init.defaultBranch", "GIT_CONFIG_VALUE_0=main", "GIT_CONFIG_KEY_1=protocol.file.allow", "GIT_CONFIG_VALUE_1=always",
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		v.t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return string(out)
}

// clone makes a repository of a few files with a remote that has them all.
func (v *volume) clone(folder string) string {
	v.t.Helper()
	v.sh(v.far, fmt.Sprintf(`
git init -q --bare %[1]s.git
git init -q seed-%[1]s && cd seed-%[1]s
echo one > a.txt; echo two > b.txt; mkdir d; echo three > d/c.txt; printf '#!/bin/sh\n' > run.sh; chmod +x run.sh; ln -s a.txt link; echo '*.log' > .gitignore
git add -A; git commit -qm first; git tag v1; git push -q ../%[1]s.git main v1
git clone -q ../%[1]s.git "$ROOT/%[1]s"`, folder))
	return filepath.Join(v.root, folder)
}

// make makes the rescue and returns it with its folder.
func (v *volume) make(maxLoose int64) (agent.Rescue, string) {
	v.t.Helper()
	dir := v.t.TempDir()
	before := v.state(v.root)
	r, err := rescue.Make(v.t.Context(), v.root, dir, agent.Shelter{MaxLoose: maxLoose})
	if err != nil {
		v.t.Fatal(err)
	}
	if after := v.state(v.root); after != before {
		v.t.Errorf("the volume was changed: %s", difference(before, after))
	}
	return r, dir
}

// restore brings a rescue back and returns where.
func (v *volume) restore(r agent.Rescue, from string) (dir string, said []string) {
	v.t.Helper()
	dir = filepath.Join(v.t.TempDir(), "back")
	target, err := cli.Open(dir, v.home)
	if err != nil {
		v.t.Fatal(err)
	}
	defer target.Close() //nolint:errcheck // a folder
	for _, f := range r.Files {
		path := filepath.Join(from, f.Name)
		if f.Name == rescue.LooseFile {
			if err := target.Loose(v.t.Context(), path); err != nil {
				v.t.Fatal(err)
			}
			continue
		}
		more, err := target.Repository(v.t.Context(), path, f.From)
		if err != nil {
			v.t.Fatalf("%s: %v", f.Name, err)
		}
		said = append(said, more...)
	}
	return dir, said
}

// state is all that lies below a folder, byte for byte.
func (v *volume) state(dir string) string {
	v.t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		switch {
		case info.Mode()&fs.ModeSymlink != 0:
			to, err := os.Readlink(path)
			fmt.Fprintf(&b, "%q -> %q\n", rel, to)
			return err
		case info.Mode().IsRegular():
			text, err := os.ReadFile(path)
			fmt.Fprintf(&b, "%q %v %q\n", rel, info.Mode(), text)
			return err
		case !e.IsDir():
			fmt.Fprintf(&b, "%q %v\n", rel, info.Mode())
		}
		return nil
	})
	if err != nil {
		v.t.Fatal(err)
	}
	return b.String()
}

// files is the working tree without what git keeps for itself, and without
// folders of other repositories.
func (v *volume) files(dir string) string {
	v.t.Helper()
	var keep []string
	for line := range strings.SplitSeq(v.state(dir), "\n") {
		if !strings.Contains(line, `.git/`) && !strings.HasPrefix(line, `".git"`) {
			keep = append(keep, line)
		}
	}
	return strings.Join(keep, "\n")
}

// seen is a repository as git shows it.
func (v *volume) seen(dir string) string {
	v.t.Helper()
	out := v.sh(dir, `
echo "HEAD $(git symbolic-ref -q HEAD || echo detached) $(git rev-parse -q --verify HEAD || echo unborn)"
git for-each-ref --format='%(refname) %(objectname)' | grep -v refs/remotes/.*/HEAD || true
git stash list 2>/dev/null || true; git stash list --format=%H 2>/dev/null || true
git remote -v
git config --get-regexp '^branch\.' | sort || true
test "$(git rev-parse --is-bare-repository)" = true && exit
git status --porcelain=v2 -z --untracked-files=all --ignore-submodules=all | tr '\0' '\n' | grep -av '^# '|| true
git ls-files -s -z | tr '\0' '\n'
git diff --binary --ignore-submodules=all; git diff --binary --cached
git fsck --connectivity-only 2>&1 | grep -av dangling || true
`)
	return out
}

func difference(a, b string) string {
	as, bs := strings.Split(a, "\n"), strings.Split(b, "\n")
	var out []string
	for _, l := range as {
		if !slices.Contains(bs, l) {
			out = append(out, "- "+l)
		}
	}
	for _, l := range bs {
		if !slices.Contains(as, l) {
			out = append(out, "+ "+l)
		}
	}
	return strings.Join(out, "\n")
}

// same compares a repository with what was brought back of it.
func (v *volume) same(was, is string) {
	v.t.Helper()
	if a, b := v.seen(was), v.seen(is); a != b {
		v.t.Errorf("git shows another repository:\n%s", difference(a, b))
	}
	if a, b := v.files(was), v.files(is); a != b {
		v.t.Errorf("other files:\n%s", difference(a, b))
	}
}

func names(r agent.Rescue) []string {
	var list []string
	for _, f := range r.Files {
		list = append(list, f.Name)
	}
	return list
}

// TestRoundTrip brings repositories back as they were.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]string{
		"staged, unstaged, untracked":         `echo S >> a.txt; git add a.txt; echo U >> a.txt; echo U >> b.txt; mkdir n; echo new > n/new; echo added > added; git add added; rm d/c.txt; echo x > x.log`,
		"staged removal that lies there":      `git rm -q --cached a.txt; git rm -q b.txt`,
		"moved":                               `git mv a.txt moved.txt; echo more >> moved.txt`,
		"stashes":                             `echo 1 >> a.txt; git stash -q; echo 2 >> b.txt; echo u > u; git stash -q -u -m 'second: ünï'; echo 3 >> a.txt`,
		"branches":                            `git checkout -qb one; echo 1 > one; git add -A; git commit -qm one; git checkout -qb two main; echo 2 > two; git add -A; git commit -qm two; git tag -a -m note v2; git branch three v1; git push -qu origin two; echo 3 > three; git add -A; git commit -qm three`,
		"detached":                            `git checkout -q --detach; echo 1 > one; git add -A; git commit -qm one; echo 2 > two`,
		"odd names":                           `printf x > 'a b'; printf x > $'new\nline'; printf x > $'tab\t"quote'; printf x > 'ünïcödé 文'; printf x > $'bytes\xff'; printf x > '*?[x]'; printf x > -n; printf x > 'git~1'; printf x > 'back\slash'; mkdir ' d '; printf x > ' d /:x'; git add ' d ' -- -n; printf y >> -n`,
		"links and modes":                     `ln -sfn /etc/passwd link; ln -s nowhere dangling; ln -s d dir-link; chmod +x a.txt; chmod -x run.sh; printf x > tool; chmod 755 tool; git add tool; ln -s tool staged-link; git add staged-link`,
		"folder for file and file for folder": `rm a.txt; mkdir a.txt; echo in > a.txt/in; rm -r d; echo file > d; rm b.txt; ln -s . b.txt`,
		"link for folder":                     `rm -r d; mkdir e; echo three > e/c.txt; ln -s e d`,
		"carriage returns":                    `printf '*.txt text eol=crlf\n*.bin -text\n*.u text working-tree-encoding=UTF-16LE ident\n' > .gitattributes; git add .gitattributes; git commit -qm attr; git push -q; rm a.txt b.txt d/c.txt; git checkout -q .; printf 'mixed\r\nends\n' > a.txt; printf '\r\n\0' > x.bin; printf 'a\0b\0' > x.u; git add x.u`,
		"filters":                             `printf '*.txt filter=x diff=y merge=z\n' > .gitattributes; git add -A; git commit -qm f; echo changed >> a.txt`,
		"intent to add":                       `echo later > later; git add -N later; git reset -q later`,
		"hidden changes":                      `git update-index --assume-unchanged a.txt; echo hidden >> a.txt; git update-index --no-assume-unchanged a.txt; git update-index --split-index; echo 2 >> b.txt; git add b.txt; git update-index --untracked-cache`,
		"merge with conflicts":                `git checkout -qb x; echo X > a.txt; git rm -q b.txt; git commit -qam x; git checkout -q main; echo M > a.txt; echo M > b.txt; git commit -qam m; ! git merge x >/dev/null; rm -f .git/MERGE_MSG .git/MERGE_MODE .git/AUTO_MERGE`,
		"packed":                              `for i in 1 2 3; do echo $i > f$i; git add -A; git commit -qm $i; git branch b$i; done; git gc -q; git branch -q loose; git commit -q --allow-empty -m last; git branch -f b1; git pack-refs --all; git branch -f b2`,
		"notes and others":                    `git notes add -m hello; git update-ref refs/own/thing HEAD; git replace HEAD $(git commit-tree -m other HEAD^{tree}); git tag blob $(git hash-object -w a.txt); git tag -f v1 $(git rev-parse HEAD^{tree}) >/dev/null`,
		"credentials":                         `git remote add plain git@example.com:a/b.git; echo x > y`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := newVolume(t)
			dir := v.clone("repo")
			v.sh(dir, script)
			v.sh(dir, `rm -f *.log`) // what is ignored is not kept
			r, from := v.make(1 << 20)
			if got := names(r); !slices.Equal(got, []string{"repo.bundle"}) || len(r.Notes) > 0 {
				t.Fatalf("files %q, notes %q", got, r.Notes)
			}
			t.Log(r.Files[0].What)
			back, said := v.restore(r, from)
			if len(said) > 0 {
				t.Errorf("said %q", said)
			}
			v.same(dir, filepath.Join(back, "repo"))
			// Anybody's git reads it.
			v.sh(t.TempDir(), `git clone -q "`+filepath.Join(from, "repo.bundle")+`" c; git -C c fsck`)
		})
	}
}

// TestRoundTripAlone is of repositories that have no remote.
func TestRoundTripAlone(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]string{
		"empty":       `git init -q`,
		"unborn":      `git init -q; echo 1 > a; git add a; echo 2 >> a; echo 3 > b; chmod +x b; git checkout -q --orphan other`,
		"unborn bare": `git init -q; echo 1 > a`,
		"clean":       `git init -q; echo 1 > a; git add a; git commit -qm 1`,
		"sha256":      `git init -q --object-format=sha256; echo 1 > a; git add a; git commit -qm 1; echo 2 >> a; git stash -q; echo 3 > b`,
		"orphan":      `git init -q; echo 1 > a; git add a; git commit -qm 1; git checkout -q --orphan new; echo 2 > b`,
		"bare":        `git init -q seed; cd seed; git commit -q --allow-empty -m 1; git tag v; cd ..; git clone -q --bare seed x.git; rm -rf seed; mv x.git/* .; rmdir x.git`,
		"no index":    `git init -q; echo 1 > a; git add a; git commit -qm 1; rm .git/index`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := newVolume(t)
			dir := filepath.Join(v.root, "deep", "er")
			v.sh(v.root, "mkdir -p deep/er")
			v.sh(dir, script)
			if name == "bare" {
				v.sh(dir, "git remote remove origin")
			}
			r, from := v.make(1 << 20)
			if got := names(r); !slices.Equal(got, []string{"deep-er.bundle"}) || len(r.Notes) > 0 {
				t.Fatalf("files %q, notes %q", got, r.Notes)
			}
			t.Log(r.Files[0].What)
			back, said := v.restore(r, from)
			if len(said) > 0 {
				t.Errorf("said %q", said)
			}
			if name == "bare" {
				if a, b := v.seen(dir), v.seen(filepath.Join(back, "deep/er")); a != b {
					t.Errorf("git shows another repository:\n%s", difference(a, b))
				}
				return
			}
			v.same(dir, filepath.Join(back, "deep", "er"))
		})
	}
}
