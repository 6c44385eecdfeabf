// Package archive unpacks a tar.gz that somebody else made: whatever it names,
// nothing lands outside of the folder that it is unpacked to. Start at Unpack.
package archive

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
)

// Options say what an archive may be.
type Options struct {
	What    string // it holds, for texts: "the sources"
	Bytes   int64  // that it may unpack to; 0: as many as there is room for
	Entries int    // that it may hold; 0: any number
	// Skipped is told of what is left out or lands elsewhere than it says.
	Skipped func(format string, args ...any)
}

// Error is a fault of the archive.
type Error struct{ text string }

func (e *Error) Error() string { return e.text }

func bad(format string, args ...any) error {
	return &Error{fmt.Sprintf(format, args...)}
}

// Unpack extracts a tar.gz into a folder. A name that leads out is brought
// inside, as the toolkit does; links that lead out and anything that is neither
// file, folder nor link are left out.
func Unpack(root *os.Root, r io.Reader, o Options) error {
	src := &source{r: r}
	err := unpack(root, src, o)
	if _, ok := errors.AsType[*Error](err); ok && src.err != nil {
		return src.err // it was not the archive that broke
	}
	return err
}

// source remembers why there was no more to read.
type source struct {
	r   io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

func unpack(root *os.Root, r io.Reader, o Options) error {
	gz, err := gzip.NewReader(r)
	if err != nil {
		return bad("%s are not a tar.gz: %v", o.What, err)
	}
	tr := tar.NewReader(o.bound(gz))
	files := o.bound(tr) // a sparse file is larger than what stands in the archive
	for n := 0; ; n++ {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			if _, ok := errors.AsType[*Error](err); ok {
				return err
			}
			return bad("%s are not a valid tar.gz: %v", o.What, err)
		}
		if o.Entries > 0 && n >= o.Entries {
			return bad("%s hold more than %d files", o.What, o.Entries)
		}
		name := inside(h.Name)
		if name == "" {
			continue
		}
		if name != strings.TrimPrefix(path.Clean(h.Name), "./") {
			o.Skipped("%q in %s would land outside and is unpacked as %q", h.Name, o.What, name)
		}
		if err := o.member(root, name, h, files); err != nil {
			return err
		}
	}
}

func (o Options) member(root *os.Root, name string, h *tar.Header, body io.Reader) error {
	skip := func(why string) error {
		o.Skipped("%q in %s is left out: %s", h.Name, o.What, why)
		return nil
	}
	if dir := path.Dir(name); dir != "." {
		if err := root.MkdirAll(dir, 0o777); err != nil {
			return skip(err.Error())
		}
	}
	mode := fs.FileMode(h.Mode) & 0o777
	switch h.Typeflag {
	case tar.TypeDir:
		if err := root.MkdirAll(name, 0o777); err != nil {
			return skip(err.Error())
		}
	case tar.TypeReg:
		_ = root.Remove(name) // a later member replaces an earlier one
		f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode|0o600)
		if err != nil {
			return skip(err.Error())
		}
		if _, err := io.Copy(f, body); err != nil {
			return errors.Join(o.copyError(h.Name, err), f.Close())
		}
		return f.Close()
	case tar.TypeSymlink:
		target := path.Join(path.Dir(name), h.Linkname)
		if path.IsAbs(h.Linkname) || target == ".." || strings.HasPrefix(target, "../") {
			return skip("it is a link to " + h.Linkname + ", outside " + o.What)
		}
		_ = root.Remove(name)
		if err := root.Symlink(h.Linkname, name); err != nil {
			return skip(err.Error())
		}
		// through a folder that is a link itself it may still lead out
		if _, err := root.Stat(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return errors.Join(root.Remove(name), skip("it is a link to "+h.Linkname+", outside "+o.What))
		}
	case tar.TypeLink:
		_ = root.Remove(name)
		if err := root.Link(inside(h.Linkname), name); err != nil {
			return skip(err.Error())
		}
	case tar.TypeXGlobalHeader:
	default:
		return skip("it is neither file, folder nor link")
	}
	return nil
}

// copyError tells the archive's faults from those of the machine.
func (o Options) copyError(name string, err error) error {
	if _, ok := errors.AsType[*Error](err); ok {
		return err
	}
	if _, ok := errors.AsType[*fs.PathError](err); ok {
		return fmt.Errorf("unpacking %q of %s: %w", name, o.What, err)
	}
	return bad("unpacking %q of %s: %v", name, o.What, err)
}

// inside makes a path that stays below its folder; "" if nothing is left.
func inside(name string) string {
	var parts []string
	for p := range strings.SplitSeq(strings.ReplaceAll(name, `\`, "/"), "/") {
		if p != "" && p != "." && p != ".." && !strings.ContainsRune(p, 0) {
			parts = append(parts, p)
		}
	}
	return strings.Join(parts, "/")
}

func (o Options) bound(r io.Reader) io.Reader {
	if o.Bytes == 0 {
		return r
	}
	return &bounded{r: r, left: o.Bytes, o: o}
}

// bounded ends an archive that unpacks to more than it may.
type bounded struct {
	r    io.Reader
	left int64
	o    Options
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, bad("%s unpack to more than %d MiB", b.o.What, b.o.Bytes>>20)
	}
	n, err := b.r.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}
