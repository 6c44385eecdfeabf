package rescue_test

import (
	"archive/tar"
	"compress/gzip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	cli "clary/internal/cli/rescue"
)

// archive writes an archive of these entries.
func archive(t *testing.T, entries ...tar.Header) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "loose.tar.gz")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	z := gzip.NewWriter(f)
	w := tar.NewWriter(z)
	for _, h := range entries {
		if h.Typeflag == tar.TypeReg {
			h.Size = 4
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			if _, err := w.Write([]byte("evil")); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, c := range []func() error{w.Close, z.Close, f.Close} {
		if err := c(); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// TestHostileArchive: an archive writes below its folder alone, replaces
// nothing, and writes through no link.
func TestHostileArchive(t *testing.T) {
	t.Parallel()
	file := func(name string) tar.Header { return tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o6755} }
	link := func(name, to string) tar.Header {
		return tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: to, Mode: 0o777}
	}
	for name, test := range map[string]struct {
		entries []tar.Header
		want    string
	}{
		"a path upwards":      {[]tar.Header{file("../evil")}, "lies outside"},
		"a path up and down":  {[]tar.Header{file("a/../../evil")}, "lies outside"},
		"a path from the top": {[]tar.Header{file("/evil")}, "lies outside"},
		"through a link":      {[]tar.Header{link("out", ".."), file("out/evil")}, "exists"},
		"twice":               {[]tar.Header{file("a"), file("a")}, "exists"},
		"a link over a file":  {[]tar.Header{file("a"), link("a", "..")}, "exists"},
		"a file in a file":    {[]tar.Header{file("a"), file("a/b")}, "no folder"},
		"a link in a link":    {[]tar.Header{link("a", "/tmp"), link("a/b", "x")}, ""},
		"a hard link":         {[]tar.Header{{Name: "a", Typeflag: tar.TypeLink, Linkname: "/etc/passwd"}}, "no file"},
		"a device":            {[]tar.Header{{Name: "a", Typeflag: tar.TypeChar}}, "no file"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			above := t.TempDir()
			target, err := cli.Open(filepath.Join(above, "to"), t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			defer target.Close() //nolint:errcheck // a folder
			err = target.Loose(t.Context(), archive(t, test.entries...))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %q", err, test.want)
			}
			if list, err := os.ReadDir(above); err != nil || len(list) != 1 {
				t.Errorf("%v, %v", list, err)
			}
			if info, err := os.Stat(filepath.Join(above, "to", "a")); err == nil && info.Mode()&(os.ModeSetuid|os.ModeSetgid) != 0 {
				t.Errorf("mode %v", info.Mode())
			}
		})
	}
}

// TestHostileRescue: what a rescue holds leads no repository elsewhere, and
// gives none hooks or settings.
func TestHostileRescue(t *testing.T) {
	t.Parallel()
	v := newVolume(t)
	v.sh(v.root, `
git init -q a; ln -s "$FAR" a/out; mkdir a/in; echo x > a/in/x; git -C a remote add origin "ext::touch $FAR/ran"; git -C a remote add --  other "file://host/x"; git -C a remote add ok https://example.com/x
git -C a config branch.main.remote "ext::touch $FAR/ran"; git -C a config branch.main.merge refs/heads/main
git init -q b; echo 1 > b/b`)
	r, from := v.make(1 << 20)
	dir := filepath.Join(t.TempDir(), "to")
	target, err := cli.Open(dir, v.home)
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close() //nolint:errcheck // a folder
	said, err := target.Repository(t.Context(), filepath.Join(from, "a.bundle"), "a")
	if err != nil || !strings.Contains(strings.Join(said, "\n"), `the remote "origin" was left out`) {
		t.Errorf("%q, %v", said, err)
	}
	if got := v.sh(filepath.Join(dir, "a"), `git config --get-regexp '^(remote|branch)[.]'`); got != "remote.ok.url https://example.com/x\nremote.ok.fetch +refs/heads/*:refs/remotes/ok/*\n" {
		t.Errorf("%s", got)
	}
	for _, folder := range []string{"a/out/b", "a/out", "../b", "/tmp/b", "a", "a/in", "a/in/x", "."} {
		if said, err := target.Repository(t.Context(), filepath.Join(from, "b.bundle"), folder); err == nil {
			t.Errorf("%s: %q", folder, said)
		}
	}
	if _, err := target.Repository(t.Context(), filepath.Join(from, "b.bundle"), "a/.git/modules/b"); err != nil {
		t.Error(err)
	}
	if err := target.Loose(t.Context(), archive(t, tar.Header{Name: "a/.git/hooks/post-checkout", Typeflag: tar.TypeReg, Mode: 0o755}, tar.Header{Name: "a/.GIT/config2", Typeflag: tar.TypeReg, Mode: 0o755})); err != nil {
		t.Error(err)
	}
	if got := v.sh(dir, `ls -A a a.git-rescued; ls a/.git`); strings.Contains(got, "hooks\ninfo") || strings.Contains(got, "modules\nobj") || !strings.Contains(got, "config2\nhooks\nmodules") {
		t.Errorf("%s", got)
	}
	if list, err := os.ReadDir(v.far); err != nil || len(list) > 0 {
		t.Errorf("%v, %v", list, err)
	}
	if len(r.Files) != 2 {
		t.Errorf("%+v", r)
	}
}

// TestHostileBundle: a bundle that is none, or not a rescue's.
func TestHostileBundle(t *testing.T) {
	t.Parallel()
	v := newVolume(t)
	v.sh(v.far, `git init -q x; cd x; echo 1 > a; git add a; git commit -qm 1; git bundle create -q ../plain.bundle --all; head -c 40 ../plain.bundle > ../short.bundle; echo junk > ../junk.bundle`)
	for name, want := range map[string]string{"plain": "the bundle is no rescue's", "short": "bundle", "junk": "git bundle", "none": "git bundle"} {
		target, err := cli.Open(filepath.Join(t.TempDir(), "to"), v.home)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := target.Repository(t.Context(), filepath.Join(v.far, name+".bundle"), "x"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
		if err := target.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
