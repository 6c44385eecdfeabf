package rescue

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"clary/internal/stage/agent"
	"clary/internal/stage/rescue/bundle"
)

// sh runs a script in a folder.
func sh(t *testing.T, dir, script string, env ...string) (string, error) {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Fatal("this test needs git")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-uc", script)
	cmd.WaitDelay = time.Second
	cmd.Dir = dir
	cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "GIT_CONFIG_NOSYSTEM=1", "LC_ALL=C.UTF-8",
		"GIT_AUTHOR_NAME=A", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=A", "GIT_COMMITTER_EMAIL=a@example.com",
	}, env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func must(t *testing.T, dir, script string, env ...string) string {
	t.Helper()
	out, err := sh(t, dir, script, env...)
	if err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return out
}

// settings are all of git's that name something to run, or lead to more of them.
func settings(trap string) []string {
	run := func(name string) string { return trap + " " + name }
	return []string{
		"core.fsmonitor", run("fsmonitor"), "core.sshCommand", run("ssh"), "core.gitProxy", run("proxy"), "core.pager", run("pager"),
		"core.editor", run("editor"), "sequence.editor", run("sequence"), "core.askPass", run("askpass"), "core.alternateRefsCommand", run("alternates"),
		"pager.status", run("pager.status"), "pager.ls-files", run("pager.ls-files"), "credential.helper", "!" + run("credential"),
		"filter.x.clean", run("clean"), "filter.x.smudge", run("smudge"), "filter.y.process", run("process"), "filter.x.required", "true",
		"diff.external", run("external"), "diff.x.command", run("diff"), "diff.x.textconv", run("textconv"), "merge.x.driver", run("merge"),
		"gpg.program", trap, "gpg.ssh.program", trap, "gpg.ssh.defaultKeyCommand", run("key"), "commit.gpgSign", "true", "tag.gpgSign", "true",
		"uploadpack.packObjectsHook", run("packhook"), "protocol.ext.allow", "always", "protocol.allow", "always",
		"remote.origin.url", "ext::" + run("ext"), "remote.origin.uploadpack", run("uploadpack"), "remote.origin.receivepack", run("receivepack"), "remote.origin.vcs", "trap",
		"remote.origin.promisor", "true", "remote.origin.partialCloneFilter", "blob:none", "url.ext::" + trap + ".insteadOf", "https://",
		"alias.status", "!" + run("alias"), "alias.ls-files", "!" + run("alias"), "alias.bundle", "!" + run("alias"),
		"submodule.recurse", "true", "submodule.mod.update", "!" + run("submodule"), "trailer.x.command", run("trailer"), "trailer.x.cmd", run("trailer"),
		"interactive.diffFilter", run("interactive"), "difftool.x.cmd", run("difftool"), "mergetool.x.cmd", run("mergetool"), "man.x.cmd", run("man"),
		"web.browser", "x", "browser.x.cmd", run("browser"), "instaweb.httpd", run("instaweb"), "tar.x.command", run("tar"), "sendemail.smtpServer", trap,
		"hook.x.command", run("hook"), "hook.x.event", "reference-transaction", "core.untrackedCache", "true", "extensions.worktreeConfig", "true",
		"bundle.heuristic", "creationToken", "gc.auto", "1", "gc.recentObjectsHook", run("recent"), "maintenance.auto", "true",
	}
}

// trapped sets traps in a repository and in a submodule of its: those whose
// setting is named, or all.
func trapped(t *testing.T, only ...string) (root, sprung string) {
	t.Helper()
	wanted := func(name string) bool { return only == nil || slices.Contains(only, name) }
	dir := t.TempDir()
	root, sprung = filepath.Join(dir, "volume"), filepath.Join(dir, "sprung")
	trap := filepath.Join(dir, "trap")
	if err := os.WriteFile(trap, []byte("#!/bin/sh\necho \"$@\" >> '"+sprung+"'\ncase $1 in clean|textconv) cat;; esac\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	must(t, dir, `
set -e
mkdir volume; git init -q mod; cd mod; echo 1 > a.txt; git add a.txt; git commit -qm 1; cd ..
git init -q volume/repo; cd volume/repo; for f in a b c; do echo $f > $f.txt; done
git add .; git commit -qm 1; git -c protocol.file.allow=always submodule -q add ../../mod mod; git commit -qm mod
echo s >> b.txt; git stash -q; echo 1 >> a.txt; echo s >> c.txt; git add c.txt; echo n > new.txt; echo 2 >> mod/a.txt; echo 3 > mod/b.txt`)
	for _, work := range []string{filepath.Join(root, "repo"), filepath.Join(root, "repo/mod")} {
		git := filepath.Join(root, "repo/.git")
		if strings.HasSuffix(work, "mod") {
			git = filepath.Join(git, "modules/mod")
		}
		set := settings(trap)
		for i := 0; i < len(set); i += 2 {
			if !wanted(set[i]) || wanted("submodule") && only != nil && work == filepath.Join(root, "repo") {
				continue
			}
			must(t, dir, `git config -f "$GIT/config" -- "$KEY" "$VALUE"`, "GIT="+git, "KEY="+set[i], "VALUE="+set[i+1])
		}
		must(t, dir, `
git config -f "$GIT/evil" core.fsmonitor "$TRAP included"
if $WORKTREE; then git config -f "$GIT/config" extensions.worktreeConfig true; git config -f "$GIT/config.worktree" core.fsmonitor "$TRAP worktree"; fi
if $INCLUDE; then git config -f "$GIT/config" include.path "$GIT/evil"; git config -f "$GIT/config" 'includeIf.gitdir:/**.path' "$GIT/evil"; fi
$HOOKS && for h in applypatch-msg commit-msg fsmonitor-watchman p4-pre-submit post-applypatch post-checkout post-commit post-index-change post-merge post-receive post-rewrite post-update pre-applypatch pre-auto-gc pre-commit pre-merge-commit pre-push pre-rebase pre-receive prepare-commit-msg proc-receive push-to-checkout reference-transaction sendemail-validate update; do
	mkdir -p "$GIT/hooks"; printf '#!/bin/sh\n%s hook-%s </dev/null\n' "$TRAP" $h > "$GIT/hooks/$h"; chmod +x "$GIT/hooks/$h"
done
printf '*.txt filter=x diff=x merge=x\nb.txt filter=y\n' | tee "$GIT/info/attributes" > "$WORK/.gitattributes"`,
			"GIT="+git, "TRAP="+trap, "WORK="+work,
			fmt.Sprint("WORKTREE=", wanted("worktree")), fmt.Sprint("INCLUDE=", wanted("include")), fmt.Sprint("HOOKS=", wanted("hooks")))
	}
	return root, sprung
}

// TestTraps: the traps are real. The user's own git falls into each.
func TestTraps(t *testing.T) {
	t.Parallel()
	for _, trap := range []struct{ command, word, settings string }{
		{"git status", "fsmonitor", "core.fsmonitor"},
		{"git status", "fsmonitor", "core.fsmonitor submodule"}, // of the submodule alone
		{"git status", "included", "include"},
		{"git status", "worktree", "worktree"},
		{"git add -A", "clean", "filter.x.clean"},
		{"git diff", "external", "diff.external"},
		{"git diff", "diff", "diff.x.command"},
		{"git diff", "textconv", "diff.x.textconv"},
		{"git commit -qm x", "hook-pre-commit", "hooks"},
		{"git commit -qm x", "-bsau", "gpg.program commit.gpgSign"},
		{"git fetch", "ext", "remote.origin.url protocol.ext.allow"},
		{"rm -f .git/objects/$(git rev-parse HEAD:b.txt | sed 's,^..,&/,'); git cat-file -p HEAD:b.txt", "ext", "remote.origin.url protocol.ext.allow remote.origin.promisor remote.origin.partialCloneFilter"},
	} {
		t.Run(trap.command+" "+trap.settings, func(t *testing.T) {
			t.Parallel()
			root, sprung := trapped(t, strings.Fields(trap.settings)...)
			out, _ := sh(t, filepath.Join(root, "repo"), trap.command+" </dev/null")
			if text, err := os.ReadFile(sprung); err != nil || !strings.Contains(string(text), trap.word) {
				t.Errorf("%s, %v\n%s", text, err, out)
			}
		})
	}
}

// TestHostileSettings: a repository whose settings, hooks and attributes name
// programs wherever git would run one. None is, and all of its work is kept.
func TestHostileSettings(t *testing.T) {
	t.Parallel()
	root, sprung := trapped(t)
	r, err := Make(t.Context(), root, t.TempDir(), agent.Shelter{MaxLoose: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Files) != 2 || r.Files[0].From != "repo" || r.Files[1].From != "repo/mod" || len(r.Notes) > 0 {
		t.Fatalf("%+v", r)
	}
	if want := "commits that no remote has: 2, staged changes, changed files: 1, untracked files: 2, stashes: 1"; r.Files[0].What != want {
		t.Errorf("%s, want %s", r.Files[0].What, want)
	}
	if text, err := os.ReadFile(sprung); err == nil {
		t.Errorf("it ran: %s", text)
	}
	// An object that would be fetched by what the settings say is not.
	must(t, filepath.Join(root, "repo"), `rm .git/objects/$(git rev-parse HEAD:b.txt 2>/dev/null | sed 's,^..,&/,')`)
	_ = os.Remove(sprung) // the test's own git
	if r, err = Make(t.Context(), root, t.TempDir(), agent.Shelter{MaxLoose: 1 << 20}); err != nil {
		t.Fatal(err)
	}
	if len(r.Files) != 2 || r.Files[0].From != "repo/mod" || r.Files[1].Name != LooseFile || !strings.Contains(strings.Join(r.Notes, ""), "the repository in repo is kept as plain files") {
		t.Errorf("%+v", r)
	}
	if text, err := os.ReadFile(sprung); err == nil {
		t.Errorf("it ran: %s", text)
	}
}

// TestHostileShapes: what is no repository, whatever it looks like, holds
// nobody up and leads nowhere.
func TestHostileShapes(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]string{
		"objects elsewhere":       `rm -rf .git/objects; ln -s "$OUT/.git/objects" .git/objects`,
		"refs elsewhere":          `rm -rf .git/refs; ln -s "$OUT/.git/refs" .git/refs`,
		".git elsewhere":          `rm -rf .git; ln -s "$OUT/.git" .git`,
		"gitdir elsewhere":        `rm -rf .git; echo "gitdir: ../../out/.git" > .git`,
		"common folder elsewhere": `echo "$OUT/.git" > .git/commondir`,
		"HEAD is a pipe":          `rm .git/HEAD; mkfifo .git/HEAD`,
		"HEAD is a path":          `echo 'ref: refs/../../../x' > .git/HEAD`,
		"index is a pipe":         `rm -f .git/index; mkfifo .git/index`,
		"config is a pipe":        `rm .git/config; mkfifo .git/config`,
		".git is a pipe":          `rm -rf .git; mkfifo .git`,
		"huge packed refs":        `truncate -s 1G .git/packed-refs`,
		"huge config":             `truncate -s 1G .git/config`,
		"a ref is a pipe of git":  `mkfifo .gitattributes; echo x > y`,
		"ignore is a pipe":        `mkfifo .gitignore`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			must(t, dir, `set -e; mkdir volume; git init -q out; cd out; echo SECRET > s; git add s; git commit -qm s; cd ..; git init -q volume/repo; cd volume/repo; echo 1 > a; git add a; git commit -qm 1; echo 2 > b; `+script, "OUT="+filepath.Join(dir, "out"))
			k := &rescuer{root: filepath.Join(dir, "volume"), dir: t.TempDir(), maxLoose: 1 << 20, maxBundle: 1 << 20, perRepo: 5 * time.Second, find: bundle.Find, names: map[string]bool{}}
			r, err := k.make(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			t.Log(r.Notes)
			if len(r.Files) != 1 {
				t.Fatalf("%+v", r)
			}
			if got := must(t, k.dir, `test -f loose.tar.gz && tar xzf loose.tar.gz && mv repo r; for b in *.bundle; do test -f $b && git clone -q $b r; git -C r cat-file -p `+"$(echo SECRET | git hash-object --stdin)"+` 2>/dev/null; git -C r fetch -q origin 'refs/*:refs/x/*'; git -C r ls-tree -r refs/x/clary-rescue/worktree; done; ls r; ! grep -rs SECRET r`); !strings.Contains(got, "b\n") {
				t.Errorf("%s", got)
			}
			if left, err := filepath.Glob(filepath.Join(k.dir, "shadow-*")); err != nil || len(left) > 0 {
				t.Errorf("left %q, %v", left, err)
			}
		})
	}
}

// TestBounds: what is too large, or takes too long, is said, and keeps nobody
// from the rest.
func TestBounds(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	must(t, dir, `
set -e; mkdir volume; cd volume
git init -q small; echo 1 > small/a; head -c 300000 /dev/urandom > small/large; head -c 20000 /dev/urandom > small/middle; echo 2 > small/b
git init -q huge; cd huge; head -c 2000000 /dev/urandom > h; git add h; git commit -qm h; cd ..
git init -q --bare ../far.git; git init -q part; cd part; head -c 2000000 /dev/urandom > h; git add h; git commit -qm h; git remote add origin "${PWD%/volume/part}/far.git"; git push -q origin HEAD:main; git fetch -q; echo own > o; git add o; git commit -qm own; echo new > n; cd ..
mkdir l; for i in 1 2 3 4 5 6 7 8 9; do head -c ${i}0000 /dev/urandom > l/$i; done; mkfifo l/pipe; mkdir -p l/empty/e; ln -s 9 l/link; truncate -s 1T l/sparse`)
	k := &rescuer{root: filepath.Join(dir, "volume"), dir: t.TempDir(), maxLoose: 100_000, maxBundle: 1 << 20, perRepo: time.Minute, find: bundle.Find, names: map[string]bool{}}
	r, err := k.make(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Files) != 3 || r.Files[0].Name != "part.bundle" || r.Files[1].Name != "small.bundle" || r.Files[2].Name != LooseFile {
		t.Fatalf("%+v", r)
	}
	notes := strings.Join(r.Notes, "\n")
	for _, want := range []string{"small: changed files beyond 97 KiB", "292 KiB in all: large", "the repository in huge is kept as plain files: it is too large", "part: the bundle holds only what no remote has, and is read in a clone of " + dir + "/far.git: it is too large", "sockets, pipes and devices were left out: 1", "loose files beyond 97 KiB were left out, 9 of them, 1024 GiB in all: l/sparse, huge/"} {
		if !strings.Contains(notes, want) {
			t.Errorf("no %q in\n%s", want, notes)
		}
	}
	got := must(t, k.dir, `git clone -q small.bundle s 2>/dev/null; cd s; git fetch -q origin refs/clary-rescue/worktree; git ls-tree -r --name-only FETCH_HEAD; tar tzf ../loose.tar.gz | grep ^l/ | sort`)
	if want := "a\nb\nmiddle\nl/1\nl/2\nl/3\nl/empty/e/\nl/link\n"; got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	if got := must(t, k.dir, `git clone -q -b main `+dir+`/far.git p; cd p; git fetch -q ../part.bundle 'refs/*:refs/rescued/*'; git ls-tree --name-only refs/rescued/clary-rescue/worktree; git log --format=%s refs/rescued/heads/master`); got != "h\nn\no\nown\nh\n" {
		t.Errorf("%s", got)
	}
	for _, f := range r.Files {
		if got := must(t, k.dir, `sha256sum `+f.Name+` | cut -d' ' -f1; stat -c %s `+f.Name); got != fmt.Sprintf("%s\n%d\n", f.SHA256, f.Bytes) {
			t.Errorf("%+v: %s", f, got)
		}
	}
}

// TestWithoutGit: a machine without git keeps repositories as they lie there.
func TestWithoutGit(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	must(t, root, `git init -q repo; echo 1 > repo/a; git init -q --bare bare.git`)
	k := &rescuer{root: root, dir: t.TempDir(), maxLoose: 1 << 20, names: map[string]bool{}, find: func() (string, error) { return "", errors.New("git is not on this machine") }}
	r, err := k.make(t.Context())
	if err != nil || len(r.Files) != 1 || len(r.Notes) != 2 || r.Notes[1] != "the repository in repo is kept as plain files: git is not on this machine" {
		t.Fatalf("%+v, %v", r, err)
	}
	if got := must(t, k.dir, `tar xzf loose.tar.gz; cat repo/a; git -C repo status --porcelain; git -C bare.git rev-parse --is-bare-repository`); got != "1\n?? a\ntrue\n" {
		t.Errorf("%s", got)
	}
}
