package rescue

import (
	"archive/tar"
	"cmp"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/bits"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// loose archives what is in no repository that git has kept or that needs no
// keeping: the smallest files first, until MaxLoose bytes.
func (k *rescuer) loose(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, perLoose)
	defer cancel()
	var sizes histogram
	var files, bytes int64
	err := k.walk(ctx, func(_ string, info fs.FileInfo) error {
		if info.Mode().IsRegular() {
			sizes.add(info.Size())
			bytes += info.Size()
		}
		files++
		return nil
	}, k.note)
	if err != nil || files == 0 {
		return k.looseEnd(err)
	}
	fits := sizes.cut(k.maxLoose)
	var out, outBytes int64
	var largest []change // the last of them
	f, err := k.write(LooseFile, 2*k.maxLoose+4<<30, func(w io.Writer) error {
		z, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
		if err != nil {
			return err
		}
		t := tar.NewWriter(z)
		err = k.walk(ctx, func(path string, info fs.FileInfo) error {
			if n := info.Size(); info.Mode().IsRegular() && !fits(n) {
				out, outBytes = out+1, outBytes+n
				at, _ := slices.BinarySearchFunc(largest, n, func(c change, n int64) int { return cmp.Compare(c.size, n) })
				largest = slices.Insert(largest, at, change{k.scan.below(path), n})
				largest = largest[max(0, len(largest)-shown):]
				return nil
			}
			return k.pour(t, path, info)
		}, func(string, ...any) {})
		return errors.Join(err, t.Close(), z.Close())
	})
	if err != nil {
		return k.looseEnd(err)
	}
	if out > 0 {
		k.note("loose files beyond %s were left out, %d of them, %s in all: %s", size(k.maxLoose), out, size(outBytes), few(largest, out))
	}
	f.From, f.What = ".", fmt.Sprintf("files in no repository: %d, %s", files-out, size(bytes-outBytes))
	k.out.Files = append(k.out.Files, f)
	return nil
}

// looseEnd is the end of a rescue without loose files. What was found before is
// worth more than a failure.
func (k *rescuer) looseEnd(err error) error {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		k.note("loose files were left out: there are too many for the time of a rescue")
	case errors.Is(err, context.Canceled):
		return err
	case err != nil:
		k.note("loose files were left out: %s", words(err))
	}
	return nil
}

// starts are the folders to walk for what is loose, the outer before the inner:
// the volume, and what in it git could not keep, down to where its objects lie.
func (k *rescuer) starts() (list []string, kept map[string]bool) {
	kept = map[string]bool{}
	lent := map[string]bool{} // what a repository that was kept has its objects from
	for _, r := range k.scan.repos {
		kept[r.top()] = r.trouble == nil
		lent[r.common] = lent[r.common] || r.trouble == nil
	}
	list = []string{k.scan.root}
	for _, r := range k.scan.repos {
		if r.trouble == nil {
			continue
		}
		for _, dir := range []string{r.top(), r.common, r.git} {
			if dir != "" && !lent[dir] {
				list = append(list, dir)
			}
		}
	}
	return list, kept
}

// walk visits what is loose: files, links, and folders with nothing in them.
func (k *rescuer) walk(ctx context.Context, visit func(path string, info fs.FileInfo) error, note func(string, ...any)) error {
	starts, kept := k.starts()
	walked := map[string]bool{}
	covered := func(dir string) bool { // by a walk before
		for ; len(dir) >= len(k.scan.root); dir = filepath.Dir(dir) {
			if kept[dir] || walked[dir] {
				return walked[dir]
			}
		}
		return false
	}
	special := 0
	for _, start := range starts {
		if kept[start] || covered(start) {
			continue
		}
		walked[start] = true
		err := filepath.WalkDir(start, func(path string, e fs.DirEntry, err error) error {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				note("%s cannot be read: %s", orRoot(k.scan.below(path)), words(err))
				if e != nil && e.IsDir() {
					return fs.SkipDir
				}
				return nil
			}
			if e.IsDir() && path != start && (kept[path] || k.scan.envs[path] || passed(k.scan.root, path)) {
				return fs.SkipDir
			}
			info, err := e.Info()
			if err != nil {
				note("%s cannot be read: %s", k.scan.below(path), words(err))
				return nil
			}
			switch {
			case info.Mode().IsRegular(), info.Mode()&fs.ModeSymlink != 0:
			case info.IsDir():
				if path == start || !hollow(path) {
					return nil
				}
			default:
				special++
				return nil
			}
			return visit(path, info)
		})
		if err != nil {
			return err
		}
	}
	if special > 0 {
		note("sockets, pipes and devices were left out: %d", special)
	}
	return nil
}

// hollow says whether a folder has nothing in it.
func hollow(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close() //nolint:errcheck // read only
	_, err = f.Readdirnames(1)
	return errors.Is(err, io.EOF)
}

// pour writes one file. One that may not be read is noted; one that changes
// meanwhile has the length that it had.
func (k *rescuer) pour(t *tar.Writer, path string, info fs.FileInfo) error {
	link := ""
	var f *os.File
	var err error
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		link, err = os.Readlink(path)
	case info.Mode().IsRegular():
		f, err = os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	}
	if err != nil {
		k.note("%s cannot be read: %s", k.scan.below(path), words(err))
		return nil
	}
	if f != nil {
		defer f.Close() //nolint:errcheck // read only
	}
	h, err := tar.FileInfoHeader(info, link)
	if err != nil {
		return err
	}
	h.Name = k.scan.below(path)
	if info.IsDir() {
		h.Name += "/"
	}
	h.Uid, h.Gid, h.Uname, h.Gname = 0, 0, "", ""
	h.Mode &= 0o777
	h.ModTime, h.AccessTime, h.ChangeTime = h.ModTime.Truncate(time.Second), time.Time{}, time.Time{}
	if err := t.WriteHeader(h); err != nil || f == nil {
		return err
	}
	n, err := io.CopyN(t, f, h.Size)
	if err == nil {
		return nil
	}
	k.note("%s could not be read to its end: %s", k.scan.below(path), words(err))
	_, err = io.CopyN(t, zeros{}, h.Size-n)
	return err
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// histogram counts bytes by the size of their file, to within a sixteenth.
type histogram struct{ sum [64 * 16]int64 }

func slot(n int64) int {
	if n < 16 {
		return int(max(n, 0))
	}
	e := bits.Len64(uint64(n)) // 5 and more
	return (e-4)*16 + int(n>>(e-5))&15
}

func (h *histogram) add(n int64) { h.sum[slot(n)] += n }

// cut says of one file after the other whether it is among the smallest, which
// come to at most so many bytes.
func (h *histogram) cut(most int64) func(n int64) bool {
	edge := len(h.sum) // the slot of which some fit
	for s, n := range h.sum {
		if n > most {
			edge = s
			break
		}
		most -= n
	}
	return func(n int64) bool {
		s := slot(n)
		if s == edge && n <= most {
			most -= n
			return true
		}
		return s < edge
	}
}

// copyFile copies a regular file of at most so many bytes.
func copyFile(from, to string, most int64) error {
	info, err := os.Lstat(from)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() || info.Size() > most {
		return fmt.Errorf("%s is no file, or too large", filepath.Base(from))
	}
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close() //nolint:errcheck // read only
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
