package rescue

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// maxEntries bounds what an archive of loose files may hold.
const maxEntries = 5_000_000

// maxLinks bounds the symbolic links, which are made when all else is there.
const maxLinks = 500_000

// Loose unpacks an archive of loose files. Nothing that is there is replaced,
// nothing is written through a link, and links are made last.
func (t *Target) Loose(ctx context.Context, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // read only
	z, err := gzip.NewReader(f)
	if err != nil {
		return err
	}
	links := map[string]string{}
	in := tar.NewReader(z)
	for n := 0; ; n++ {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		switch {
		case err != nil:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case n == maxEntries || len(links) > maxLinks:
			return errors.New("the archive holds too many files")
		}
		name := path.Clean(h.Name)
		if !filepath.IsLocal(name) {
			return fmt.Errorf("the archive holds %q, which lies outside of it", h.Name)
		}
		name = t.aside(name)
		switch h.Typeflag {
		case tar.TypeDir:
			err = t.root.MkdirAll(name, 0o755)
		case tar.TypeReg:
			err = t.put(name, h, in)
		case tar.TypeSymlink:
			links[name] = h.Linkname
		default:
			err = fmt.Errorf("the archive holds %q, which is no file", h.Name)
		}
		if err != nil {
			return err
		}
	}
	for name, to := range links {
		if err := t.parents(name); err != nil {
			return err
		}
		if err := t.root.Symlink(to, name); err != nil {
			return err
		}
	}
	return nil
}

func (t *Target) parents(name string) error {
	dir := path.Dir(name)
	if dir == "." {
		return nil
	}
	at := ""
	for part := range strings.SplitSeq(dir, "/") {
		at = path.Join(at, part)
		if info, err := t.root.Lstat(at); err == nil && !info.IsDir() {
			return fmt.Errorf("%s is there already, and no folder", at)
		}
	}
	return t.root.MkdirAll(dir, 0o755)
}

func (t *Target) put(name string, h *tar.Header, in io.Reader) error {
	if err := t.parents(name); err != nil {
		return err
	}
	f, err := t.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, in)
	if err = errors.Join(err, f.Chmod(fs.FileMode(h.Mode)&0o777), f.Close()); err != nil {
		return err
	}
	return t.root.Chtimes(name, h.ModTime, h.ModTime)
}
