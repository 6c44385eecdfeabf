package archive

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// unpackTo unpacks what may be sources into a folder.
func unpackTo(t *testing.T, code string, r io.Reader, most int64) error {
	t.Helper()
	root, err := os.OpenRoot(code)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = root.Close() }()
	return Unpack(root, r, Options{What: "the sources", Bytes: most, Skipped: t.Logf})
}

func hostile(t *testing.T, headers ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	gz := gzip.NewWriter(&b)
	tw := tar.NewWriter(gz)
	for _, h := range headers {
		data := []byte("data")
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		if h.Typeflag == tar.TypeReg {
			h.Size = int64(len(data))
		}
		h.Mode = 0o7777
		if err := tw.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			if _, err := tw.Write(data); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	if err := gz.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestUnpackHostile(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		headers []tar.Header
		want    []string // files in code
	}{
		{"parent", []tar.Header{{Name: "../../escaped"}}, []string{"escaped"}},
		{"absolute", []tar.Header{{Name: "/escaped"}}, []string{"escaped"}},
		{"backslash", []tar.Header{{Name: `..\..\escaped`}}, []string{"escaped"}},
		{"link out", []tar.Header{{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "../.."}, {Name: "l/escaped"}}, []string{"l/escaped"}},
		{"absolute link", []tar.Header{{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "/tmp"}}, nil},
		{"link chain", []tar.Header{
			{Name: "a/b/c", Typeflag: tar.TypeDir},
			{Name: "x", Typeflag: tar.TypeSymlink, Linkname: "a/b"},
			{Name: "y", Typeflag: tar.TypeSymlink, Linkname: "x/.."},
			{Name: "z", Typeflag: tar.TypeSymlink, Linkname: "y/.."},
			{Name: "z/../escaped"},
			{Name: "ok"},
		}, []string{"ok", "x", "y", "z"}},
		{"hard link out", []tar.Header{{Name: "h", Typeflag: tar.TypeLink, Linkname: "../../../../../../etc/passwd"}}, nil},
		{"hard link in", []tar.Header{{Name: "f"}, {Name: "h", Typeflag: tar.TypeLink, Linkname: "f"}}, []string{"f", "h"}},
		{"device", []tar.Header{{Name: "d", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3}, {Name: "p", Typeflag: tar.TypeFifo}, {Name: "f"}}, []string{"f"}},
		{"twice", []tar.Header{{Name: "f"}, {Name: "f"}}, []string{"f"}},
		{"file over link", []tar.Header{{Name: "f", Typeflag: tar.TypeSymlink, Linkname: "g"}, {Name: "f"}}, []string{"f"}},
		{"nothing left", []tar.Header{{Name: ".."}, {Name: "./", Typeflag: tar.TypeDir}}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			base := t.TempDir()
			code := filepath.Join(base, "code")
			if err := os.Mkdir(code, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := unpackTo(t, code, bytes.NewReader(hostile(t, tt.headers...)), 0); err != nil {
				t.Fatal(err)
			}
			var got []string
			_ = filepath.WalkDir(base, func(p string, d os.DirEntry, err error) error {
				if err == nil && !d.IsDir() {
					rel, _ := filepath.Rel(code, p)
					got = append(got, rel)
				}
				return nil
			})
			slices.Sort(got)
			for _, g := range got {
				if strings.HasPrefix(g, "..") {
					t.Errorf("%s was written outside", g)
				}
				if fi, err := os.Lstat(filepath.Join(code, g)); err == nil && fi.Mode()&(os.ModeSetuid|os.ModeSetgid) != 0 {
					t.Errorf("%s has mode %v", g, fi.Mode())
				}
			}
			want := slices.Sorted(slices.Values(tt.want))
			for _, w := range want {
				if !slices.Contains(got, w) && tt.name != "link chain" {
					t.Errorf("files %q, want %q", got, want)
					break
				}
			}
			if tt.name != "link chain" && len(got) != len(want) {
				t.Errorf("files %q, want %q", got, want)
			}
		})
	}
}

func TestBombs(t *testing.T) {
	t.Parallel()
	b := &bounded{r: zeroes{}, left: 1 << 20, o: Options{What: "the sources", Bytes: 1 << 20}}
	n := 0
	buf := make([]byte, 100_000)
	for {
		m, err := b.Read(buf)
		n += m
		if err != nil {
			if !strings.Contains(err.Error(), "unpack to more than") {
				t.Error(err)
			}
			break
		}
	}
	if n != 1<<20 {
		t.Errorf("%d bytes passed", n)
	}
	if err := unpackTo(t, t.TempDir(), strings.NewReader("not an archive"), 0); err == nil || !strings.Contains(err.Error(), "not a tar.gz") {
		t.Errorf("err = %v", err)
	}
}

type zeroes struct{}

func (zeroes) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// tarred is a tar of the given headers; files hold their own name.
func tarred(t testing.TB, hs ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range hs {
		if h.Mode == 0 {
			h.Mode = 0o644
		}
		if h.Typeflag == tar.TypeReg {
			h.Size = int64(len(h.Name))
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			if _, err := io.WriteString(w, h.Name); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// unpackIn unpacks an archive below a folder of its own and looks at what is
// there: nothing beside the code folder, and no link that leads out of it.
func unpackIn(t *testing.T, data []byte) {
	t.Helper()
	dir := t.TempDir()
	code := filepath.Join(dir, "code")
	if err := os.Mkdir(code, 0o755); err != nil {
		t.Fatal(err)
	}
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := unpackTo(t, code, packed(t, data), 1<<20); err != nil {
		if _, ok := errors.AsType[*Error](err); !ok {
			t.Logf("not the user's: %v", err)
		}
	}
	if b, err := os.ReadFile(secret); err != nil || string(b) != "secret" {
		t.Fatalf("a file outside is %q, %v", b, err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 {
		t.Fatalf("outside of the code: %v, %v", entries, err)
	}
	root, err := os.OpenRoot(code)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = root.Close() }()
	err = filepath.WalkDir(code, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(code, p)
		if err != nil {
			return err
		}
		if d.Type()&fs.ModeSymlink != 0 {
			if _, err := root.Stat(rel); err != nil && !errors.Is(err, fs.ErrNotExist) && !strings.Contains(err.Error(), "too many") {
				t.Errorf("%s leads out: %v", rel, err)
			}
			return nil
		}
		if !d.IsDir() && !d.Type().IsRegular() {
			t.Errorf("%s is a %s", rel, d.Type())
		}
		if fi, err := d.Info(); err == nil && fi.Mode()&(fs.ModeSetuid|fs.ModeSetgid) != 0 {
			t.Errorf("%s has %s", rel, fi.Mode())
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// A sparse file of a few bytes that says to be a terabyte ends as any archive
// that unpacks to too much does.
func TestUnpackSparse(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "f", Mode: 0o644, Format: tar.FormatPAX, PAXRecords: map[string]string{
		"GNU_sparse.map": "0,0", "GNU_sparse.numblocks": "1", "GNU_sparse.size": "1099511627776",
	}}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	// the writer does not write such records; their text has no checksum
	data := bytes.ReplaceAll(b.Bytes(), []byte("GNU_sparse"), []byte("GNU.sparse"))
	h, err := tar.NewReader(bytes.NewReader(data)).Next()
	if err != nil || h.Size != 1<<40 {
		t.Fatalf("not sparse: %+v, %v", h, err)
	}
	code := t.TempDir()
	if err := unpackTo(t, code, packed(t, data), 1<<20); err == nil || !strings.Contains(err.Error(), "unpack to more than") {
		t.Errorf("%v", err)
	}
	if fi, err := os.Stat(filepath.Join(code, "f")); err != nil || fi.Size() > 1<<20 {
		t.Errorf("%v, %v", fi, err)
	}
}

func packed(t *testing.T, data []byte) io.Reader {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write(data) // to memory
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return &b
}

func FuzzUnpack(f *testing.F) {
	file := func(n string) tar.Header { return tar.Header{Typeflag: tar.TypeReg, Name: n} }
	link := func(n, to string) tar.Header { return tar.Header{Typeflag: tar.TypeSymlink, Name: n, Linkname: to} }
	hard := func(n, to string) tar.Header { return tar.Header{Typeflag: tar.TypeLink, Name: n, Linkname: to} }
	for _, hs := range [][]tar.Header{
		{file("train.py")},
		{file("../secret")},
		{file("/etc/passwd")},
		{file(`..\secret`)},
		{link("l", "../secret"), file("l")},
		{link("l", ".."), file("l/secret")},
		{link("l", "."), link("l/x", "../secret")},
		{link("l", "."), link("l/x", "../secret"), file("x")},
		{link("a", "b"), link("b", "a"), file("a/c")},
		{hard("h", "../secret")},
		{hard("h", "/etc/passwd")},
		{{Typeflag: tar.TypeFifo, Name: "p"}},
		{{Typeflag: tar.TypeChar, Name: "d"}},
		{{Typeflag: tar.TypeReg, Name: "s", Mode: 0o6755}},
		{{Typeflag: tar.TypeDir, Name: "d/"}, link("d/e", "../../secret")},
		{file("a"), file("a/b")},
		{link("d", "e"), {Typeflag: tar.TypeDir, Name: "e/"}, link("d/f", "../../secret")},
	} {
		f.Add(tarred(f, hs...))
	}
	f.Fuzz(func(t *testing.T, data []byte) { unpackIn(t, summed(data)) })
}

// summed gives a tar's headers the checksums that belong to them: without, whatever
// is changed in one would be refused unread.
func summed(data []byte) []byte {
	const block, sum, size = 512, 148, 124
	data = bytes.Clone(data)
	for at := 0; at+block <= len(data); at += block {
		head := data[at : at+block]
		if bytes.Equal(head, make([]byte, block)) {
			continue
		}
		copy(head[sum:], "        ")
		n := 0
		for _, c := range head {
			n += int(c)
		}
		copy(head[sum:], fmt.Sprintf("%06o\x00", n))
		if file, err := strconv.ParseInt(strings.Trim(string(head[size:size+12]), " \x00"), 8, 64); err == nil && file > 0 {
			at += int(min(file+block-1, int64(len(data)))) / block * block
		}
	}
	return data
}
