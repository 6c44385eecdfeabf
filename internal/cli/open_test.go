package cli

import (
	"html"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"clary/internal/console"
)

// The link that `clary open` signs is the one that the console takes.
func TestLinkIsTheConsoles(t *testing.T) {
	t.Parallel()
	if linkService != console.LinkService || linkPath != console.LinkPath || linkLife != console.LinkLife {
		t.Error("the command and the console disagree about the sign-in link")
	}
}

// What signs in stands in no argument of a program: all users of the machine
// can read those.
func TestOpenTellsNobody(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	bin := t.TempDir()
	said := filepath.Join(bin, "said")
	b.write("run/open-old.html", "<p>an old one")
	if err := os.Chtimes(filepath.Join(b.data, "run/open-old.html"), time.Time{}, time.Now().Add(-linkLife-time.Second)); err != nil {
		t.Fatal(err)
	}
	b.write("run/open-new.html", "<p>the browser is about to read it")
	if err := syscall.Mkfifo(said, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(bin, "xdg-open"), []byte("#!/bin/sh\nprintf '%s\\n' \"$@\" >"+said+"\n"), 0o700); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	b.env = []string{"HOME=" + t.TempDir(), "PATH=" + bin + ":/usr/bin:/bin", "DISPLAY=:9"}
	code, out, errOut := b.run("open", "/billing")
	if code != 0 || strings.Contains(out, "X-Amz") {
		t.Fatalf("%d %s %s", code, out, errOut)
	}
	args, err := os.ReadFile(said) // waits for the browser
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(strings.TrimSpace(string(args)))
	if err != nil || u.Scheme != "file" || strings.Contains(string(args), "X-Amz") {
		t.Fatalf("the browser is started with %s", args)
	}
	info, err := os.Stat(u.Path)
	if err != nil || info.Mode() != 0o600 || !strings.HasPrefix(u.Path, b.data) {
		t.Fatalf("%s: %v, %v", u.Path, info, err)
	}
	page, err := os.ReadFile(u.Path)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), `content="0; url=`)
	link, _, _ := strings.Cut(rest, `"`)
	to, err := url.Parse(html.UnescapeString(link))
	if err != nil || to.Path != linkPath || to.Query().Get("next") != "/billing" || to.Query().Get("X-Amz-Signature") == "" {
		t.Errorf("the page leads to %s", link)
	}
	if _, err := os.Stat(filepath.Join(b.data, "run/open-old.html")); !os.IsNotExist(err) {
		t.Errorf("the page of a link that has expired stays: %v", err)
	}
	if all, err := fs.Glob(os.DirFS(b.data), "run/open-*.html"); err != nil || len(all) != 2 {
		t.Errorf("%v, %v", all, err)
	}
}
