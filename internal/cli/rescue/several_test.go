package rescue_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	cli "clary/internal/cli/rescue"
)

// TestSubmodules: each is brought back into its parent's folder.
func TestSubmodules(t *testing.T) {
	t.Parallel()
	v := newVolume(t)
	v.clone("lib")
	v.clone("pure")
	v.clone("moved")
	v.clone("gone")
	dir := v.clone("app")
	v.sh(dir, `
for m in lib pure moved gone; do git submodule -q add "$FAR/$m.git" mods/$m; done; git commit -qm mods; git push -q
rm -rf "$ROOT/lib" "$ROOT/pure" "$ROOT/moved" "$ROOT/gone"
cd mods/lib; echo own >> a.txt; git add a.txt; echo new > new; git checkout -qb side; git commit -qm side; echo 2 >> b.txt; cd ../..
cd mods/moved; echo m > m; git add m; git commit -qm m; git push -q origin HEAD:main; cd ../..
cd mods/gone; echo lost > lost; git add lost; git commit -qm lost; cd ../..
git submodule -q deinit -f mods/gone
echo app >> a.txt`)
	r, from := v.make(1 << 20)
	want := []string{"app.bundle", "app-.git-modules-mods-gone.bundle", "app-mods-lib.bundle", "app-mods-moved.bundle"}
	if got := names(r); !slices.Equal(got, want) {
		t.Fatalf("files %q, notes %q", got, r.Notes)
	}
	back, _ := v.restore(r, from)
	for _, folder := range []string{"app/mods/lib", "app/mods/moved"} {
		v.same(filepath.Join(v.root, folder), filepath.Join(back, folder))
	}
	if a, b := v.seen(dir), v.seen(filepath.Join(back, "app")); a != b {
		t.Errorf("git shows another parent:\n%s", difference(a, b))
	}
	if got := v.sh(filepath.Join(back, "app"), "git diff --submodule=short --stat | cat; git -C ../app.git-rescued/modules/mods/gone log --format=%s -n1 --all"); !strings.Contains(got, "mods/lib") || !strings.Contains(got, "mods/moved") || !strings.Contains(got, "lost") {
		t.Errorf("%s", got)
	}
}

// TestWorktrees: each working tree of a repository is one of its own.
func TestWorktrees(t *testing.T) {
	t.Parallel()
	v := newVolume(t)
	dir := v.clone("repo")
	v.sh(dir, `
git worktree add -q ../dirty; git worktree add -q --detach ../detached; git worktree add -q ../clean
echo stash >> a.txt; git stash -q
cd ../dirty; echo own >> a.txt; echo new > new; git add new
cd ../detached; git commit -q --allow-empty -m alone`)
	r, from := v.make(1 << 20)
	if got := names(r); !slices.Equal(got, []string{"detached.bundle", "dirty.bundle", "repo.bundle"}) {
		t.Fatalf("files %q, notes %q", got, r.Notes)
	}
	back, _ := v.restore(r, from)
	v.same(dir, filepath.Join(back, "repo"))
	for _, w := range []string{"dirty", "detached"} {
		const look = "git status --porcelain; git log --oneline HEAD; git branch; git symbolic-ref -q HEAD || true; cat a.txt"
		was, is := v.sh(filepath.Join(v.root, w), look), v.sh(filepath.Join(back, w), look)
		if was = strings.ReplaceAll(was, "+ ", "  "); was != is { // + is checked out elsewhere
			t.Errorf("%s: git shows another working tree:\n%s", w, difference(was, is))
		}
	}
}

// TestNested: a repository within another, one in an ignored folder, one that
// borrows objects, one that links lead to, and what is no repository at all.
func TestNested(t *testing.T) {
	t.Parallel()
	v := newVolume(t)
	dir := v.clone("outer")
	v.sh(dir, `
echo 'ignored/' >> .gitignore; git commit -qam i; git push -q
git init -q inner; echo 1 > inner/a; mkdir ignored; git init -q ignored/one; echo 2 > ignored/one/b
git clone -q --shared . ../borrower; cd ../borrower; git remote set-url origin https://me:secret@example.com/x.git?token=secret; echo 3 >> a.txt; git commit -qam three
ln -s "$ROOT/outer" ../again; mkdir "$FAR/outside"; git init -q "$FAR/outside/o"; echo 4 > "$FAR/outside/o/4"; ln -s "$FAR/outside" ../out
mkdir ../led; echo "gitdir: $FAR/outside/o/.git" > ../led/.git; echo 5 > ../led/five
mkdir ../linked; ln -s "$FAR/outside/o/.git" ../linked/.git; echo 6 > ../linked/six`)
	r, from := v.make(1 << 20)
	if got := names(r); !slices.Equal(got, []string{"borrower.bundle", "outer-ignored-one.bundle", "outer-inner.bundle", "loose.tar.gz"}) {
		t.Fatalf("files %q, notes %q", got, r.Notes)
	}
	if notes := strings.Join(r.Notes, "\n"); strings.Count(notes, "is not on the volume") != 2 {
		t.Errorf("notes %s", notes)
	}
	back, _ := v.restore(r, from)
	if got := v.sh(filepath.Join(back, "borrower"), "git log --format=%s; git remote -v; grep -ra secret . || true"); got != "three\ni\nfirst\norigin\thttps://example.com/x.git (fetch)\norigin\thttps://example.com/x.git (push)\n" {
		t.Errorf("%s", got)
	}
	for path, want := range map[string]string{"outer/inner/a": "1\n", "outer/ignored/one/b": "2\n", "led/five": "5\n", "linked/six": "6\n"} {
		if got, err := os.ReadFile(filepath.Join(back, path)); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", path, got, err)
		}
	}
	for _, link := range []string{"again", "out", "linked/.git"} {
		if info, err := os.Lstat(filepath.Join(back, link)); err != nil || info.Mode()&os.ModeSymlink == 0 {
			t.Errorf("%s: %v, %v", link, info, err)
		}
	}
}

// TestWhole: the volume itself is a repository, with another in it.
func TestWhole(t *testing.T) {
	t.Parallel()
	v := newVolume(t)
	v.sh(v.root, `git init -q; echo 1 > a; git add a; git commit -qm 1; echo 2 >> a; mkdir -p lost+found .Trash-1000 d; echo x > .Trash-1000/x; echo x > d/new; git init -q SageMaker; echo 3 > SageMaker/c`)
	r, from := v.make(1 << 20)
	if got := names(r); !slices.Equal(got, []string{"SageMaker.bundle", "SageMaker-2.bundle"}) || r.Files[0].From != "." || r.Files[1].From != "SageMaker" || len(r.Notes) > 0 {
		t.Fatalf("%+v", r)
	}
	back, _ := v.restore(r, from)
	if got := v.sh(back, `git status --porcelain -uall; cat a d/new SageMaker/c; ls -A`); got != " M a\n?? SageMaker/\n?? d/new\n1\n2\nx\n3\n.git\nSageMaker\na\nd\n" {
		t.Errorf("%s", got)
	}
}

// TestNothingToKeep: what a remote has needs no rescue.
func TestNothingToKeep(t *testing.T) {
	t.Parallel()
	v := newVolume(t)
	dir := v.clone("repo")
	v.sh(dir, `
git checkout -q --detach; git branch other; echo x > x.log; mkdir -p .ipynb_checkpoints d/__pycache__; echo x > .ipynb_checkpoints/a; echo x > d/__pycache__/b
touch a.txt; mkdir venv; touch venv/pyvenv.cfg venv/lib
git clone -q --depth 1 "file://$FAR/repo.git" ../shallow; git clone -q --no-checkout "$FAR/repo.git" ../sparse; cd ../sparse; git sparse-checkout set d; git checkout -q
mkdir -p ../.ipynb_checkpoints ../.Trash-1000 ../lost+found ../env/conda-meta; touch ../.Trash-1000/x ../lost+found/y ../env/z
git init -q --bare "$FAR/empty.git"; git clone -q "$FAR/empty.git" ../empty 2>/dev/null`)
	r, _ := v.make(1 << 20)
	if len(r.Files) > 0 || len(r.Notes) != 2 || !strings.Contains(r.Notes[0], "env was left out") || !strings.Contains(r.Notes[1], "repo/venv was left out") {
		t.Errorf("files %+v, notes %q", r.Files, r.Notes)
	}
}

// TestShallow brings a shallow and a sparse clone back as such.
func TestShallow(t *testing.T) {
	t.Parallel()
	v := newVolume(t)
	first := v.clone("repo")
	v.sh(first, `
for i in 1 2 3; do echo $i >> a.txt; git commit -qam $i; done; git push -q
git clone -q --depth 2 "file://$FAR/repo.git" ../shallow; git clone -q "$FAR/repo.git" ../sparse
cd ../shallow; echo own >> a.txt; git commit -qam own; echo more >> a.txt
cd ../sparse; git sparse-checkout set d; echo own >> d/c.txt`)
	r, from := v.make(1 << 20)
	if got := names(r); !slices.Equal(got, []string{"shallow.bundle", "sparse.bundle"}) {
		t.Fatalf("files %q, notes %q", got, r.Notes)
	}
	back, said := v.restore(r, from)
	if len(said) != 1 || !strings.Contains(said[0], "shallow") {
		t.Errorf("said %q", said)
	}
	v.same(filepath.Join(v.root, "shallow"), filepath.Join(back, "shallow"))
	if got := v.sh(filepath.Join(back, "shallow"), "git log --format=%s"); got != "own\n3\n2\n" {
		t.Errorf("%s", got)
	}
	if got := v.sh(filepath.Join(back, "sparse"), "git status --porcelain; tail -1 d/c.txt; cat b.txt"); got != " M d/c.txt\nown\ntwo\n" {
		t.Errorf("%s", got)
	}
}

// TestHiddenChange: a flag of the index hides no change.
func TestHiddenChange(t *testing.T) {
	t.Parallel()
	v := newVolume(t)
	dir := v.clone("repo")
	v.sh(dir, `git update-index --assume-unchanged a.txt; git update-index --skip-worktree b.txt; echo hidden >> a.txt; echo hidden >> b.txt; test -z "$(git status --porcelain)"`)
	r, from := v.make(1 << 20)
	back, _ := v.restore(r, from)
	if got := v.sh(filepath.Join(back, "repo"), "tail -qn1 a.txt b.txt"); got != "hidden\nhidden\n" {
		t.Errorf("%s", got)
	}
}

// TestBroken: a repository that git cannot read is kept as it lies there.
func TestBroken(t *testing.T) {
	t.Parallel()
	for name, harm := range map[string]string{
		"no objects":      `rm -rf .git/objects/*`,
		"a lost object":   `rm .git/objects/$(git rev-parse main | sed 's,^..,&/,')`,
		"a lost blob":     `f=.git/objects/$(git rev-parse HEAD:a.txt | sed 's,^..,&/,'); rm -f $f`,
		"a broken blob":   `f=.git/objects/$(git rev-parse HEAD:a.txt | sed 's,^..,&/,'); chmod u+w $f; echo junk > $f`,
		"no HEAD":         `rm .git/HEAD`,
		"a broken HEAD":   `echo junk > .git/HEAD`,
		"a broken index":  `head -c 300 /dev/zero > .git/index`,
		"a broken config": `echo '[core' > .git/config`,
		"a newer format":  `git config extensions.refStorage reftable`,
		"no repository":   `rm -rf .git; mkdir .git; echo x > .git/x`,
		"a broken .git":   `rm -r .git; echo nonsense > .git`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := newVolume(t)
			v.sh(v.root, `git init -q repo; cd repo; echo 1 > a.txt; git add a.txt; git commit -qm 1; echo 2 >> a.txt; echo loose > ../loose`)
			dir := filepath.Join(v.root, "repo")
			v.sh(dir, harm)
			r, from := v.make(1 << 20)
			if got := names(r); !slices.Equal(got, []string{"loose.tar.gz"}) || len(r.Notes) == 0 || !strings.Contains(r.Notes[0], "the repository in repo is kept as plain files") {
				t.Fatalf("files %q, notes %q", got, r.Notes)
			}
			t.Log(r.Notes)
			back, _ := v.restore(r, from)
			if a, b := v.state(v.root), v.state(back); a != b {
				t.Errorf("other files:\n%s", difference(a, b))
			}
		})
	}
}

// TestBrokenWithin: broken repositories within others that are whole, and a
// submodule whose own repository is.
func TestBrokenWithin(t *testing.T) {
	t.Parallel()
	v := newVolume(t)
	v.clone("lib")
	dir := v.clone("app")
	v.sh(dir, `
rm -rf ../lib; git submodule -q add "$FAR/lib.git" lib; git commit -qm lib; git push -q; echo own > lib/own; rm .git/modules/lib/HEAD
git init -q bad; echo 1 > bad/a; rm -rf bad/.git/objects/*; echo junk > bad/.git/HEAD; git init -q bad/good; echo 2 > bad/good/b; echo app > new`)
	r, from := v.make(1 << 20)
	if got := names(r); !slices.Equal(got, []string{"app.bundle", "app-bad-good.bundle", "loose.tar.gz"}) {
		t.Fatalf("files %q, notes %q", got, r.Notes)
	}
	t.Log(r.Notes)
	back, _ := v.restore(r, from)
	for path, want := range map[string]string{"app/new": "app\n", "app/lib/own": "own\n", "app/bad/a": "1\n", "app/bad/.git/HEAD": "junk\n", "app/bad/good/b": "2\n"} {
		if got, err := os.ReadFile(filepath.Join(back, path)); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", path, got, err)
		}
	}
}

// TestPartialClone: what was never fetched is not, and the rest is kept.
func TestPartialClone(t *testing.T) {
	t.Parallel()
	v := newVolume(t)
	v.sh(v.clone("repo"), `echo 2 > a.txt; git commit -qam 2; git push -q; git -C "$FAR/repo.git" config uploadpack.allowFilter true
git clone -q --filter=blob:none "file://$FAR/repo.git" ../partial; cd ../partial; echo own > own; git add own; git commit -qm own; echo new > new; rm -rf ../repo`)
	r, from := v.make(1 << 20)
	if got := names(r); !slices.Equal(got, []string{"partial.bundle"}) || len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "holds only what no remote has, and is read in a clone of file://") {
		t.Fatalf("files %q, notes %q", got, r.Notes)
	}
	target, err := cli.Open(filepath.Join(t.TempDir(), "to"), v.home)
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close() //nolint:errcheck // a folder
	file := filepath.Join(from, "partial.bundle")
	if _, err := target.Repository(t.Context(), file, "partial"); err == nil || !strings.Contains(err.Error(), "Clone the repository from there, fetch the bundle's refs/*:refs/rescued/*") {
		t.Errorf("%v", err)
	}
	if left, err := os.ReadDir(filepath.Join(target.Dir, "partial")); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
	if got := v.sh(t.TempDir(), `git clone -q "$FAR/repo.git" c; cd c; git fetch -q "`+file+`" 'refs/*:refs/rescued/*'; git checkout -q refs/rescued/clary-rescue/worktree; cat own new a.txt`); got != "own\nnew\n2\n" {
		t.Errorf("%s", got)
	}
}
