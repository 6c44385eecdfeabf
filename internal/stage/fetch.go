package stage

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"sync"
	"syscall"

	"clary/internal/stage/plan"
)

// parallel is how many objects are fetched at once.
const parallel = 8

func (t *training) fetchChannels(ctx context.Context) error {
	for _, ch := range t.p.Channels {
		if err := t.fetchChannel(ctx, ch); err != nil {
			return err
		}
	}
	return nil
}

// fetchChannel copies a channel's objects to its folder. Memory is bounded
// whatever the number of objects; the file system tells which names collide.
func (t *training) fetchChannel(ctx context.Context, ch plan.Channel) error {
	if ch.Name == "" || ch.Name == "." || ch.Name == ".." || strings.ContainsAny(ch.Name, "/\x00") {
		return userError("%q is not a channel name", ch.Name)
	}
	if ch.InputMode != "" && ch.InputMode != "File" {
		return userError("channel %q: input mode %s is not supported", ch.Name, ch.InputMode)
	}
	if t.h.API == nil {
		return fmt.Errorf("channel %q: this task has no way to S3", ch.Name)
	}
	dir := "input/data/" + ch.Name
	if err := mkdir(t.ml, dir); err != nil {
		return err
	}
	root, err := t.ml.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close() //nolint:errcheck // files are closed one by one
	list, err := t.newListing(dir + "-manifest")
	if err != nil {
		return err
	}
	defer list.close()

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	work := make(chan item)
	var wg sync.WaitGroup
	for range parallel {
		wg.Go(func() {
			for it := range work {
				if err := t.fetchOne(ctx, ch, root, it); err != nil {
					cancel(err)
				}
			}
		})
	}
	err = func() error {
		for it, err := range t.sharded(ch, t.source(ctx, ch)) {
			if err != nil {
				return err
			}
			if err := list.add(it); err != nil {
				return err
			}
			select {
			case work <- it:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		return nil
	}()
	if err != nil {
		cancel(err)
	}
	close(work)
	wg.Wait()
	if cause := context.Cause(ctx); cause != nil {
		err = cause // the first of several
	}
	if err != nil {
		return err
	}
	return list.done()
}

func (t *training) fetchOne(ctx context.Context, ch plan.Channel, root *os.Root, it item) error {
	name, err := localName(it)
	if err != nil {
		return userError("Data download failed: channel %q: %v", ch.Name, err)
	}
	if strings.HasSuffix(it.name, "/") || it.name == "" {
		if it.size > 0 {
			return userError("Data download failed: channel %q: the key of s3://%s/%s ends with a slash and it holds data, so it can be neither file nor folder", ch.Name, it.bucket, it.key)
		}
		return t.placeError(ch, it, mkdir(root, name))
	}
	if err := mkdir(root, path.Dir(name)); err != nil {
		return t.placeError(ch, it, err)
	}
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return t.placeError(ch, it, err)
	}
	body, o, err := t.h.API.Get(ctx, it.bucket, it.key)
	if err != nil {
		return errors.Join(t.getError(ctx, ch, it, err), f.Close())
	}
	n, err := io.Copy(f, body)
	err = errors.Join(err, body.Close(), f.Chmod(fileMode), f.Close())
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT):
		return userError("Data download failed: No space left on device while s3://%s/%s was written. Please use a larger VolumeSizeInGB", it.bucket, it.key)
	case err != nil:
		return t.placeError(ch, it, err)
	case o.Size >= 0 && n != o.Size:
		return fmt.Errorf("s3://%s/%s: %d of %d bytes came", it.bucket, it.key, n, o.Size)
	}
	return nil
}

// localName checks a key's path below the channel. Keys are not paths: what
// no file system can hold, or what would leave the folder, is refused.
func localName(it item) (string, error) {
	name := strings.Trim(it.name, "/")
	if name == "" {
		return ".", nil
	}
	if strings.ContainsRune(name, 0) {
		return "", fmt.Errorf("the key of s3://%s/%q holds a NUL byte and cannot be a file name", it.bucket, it.key)
	}
	var parts []string
	for p := range strings.SplitSeq(name, "/") {
		switch {
		case p == "." || p == "..":
			return "", fmt.Errorf("the key of s3://%s/%s has a %q segment and would leave the channel's folder", it.bucket, it.key, p)
		case len(p) > 255:
			return "", fmt.Errorf("the key of s3://%s/%s has a segment of more than 255 bytes and cannot be a file name", it.bucket, it.key)
		case p != "":
			parts = append(parts, p)
		}
	}
	return strings.Join(parts, "/"), nil
}

// placeError puts a file system's refusal into words.
func (t *training) placeError(ch plan.Channel, it item, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, os.ErrExist), errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.EISDIR):
		return userError("Data download failed: channel %q: s3://%s/%s and another object of the channel would be the same file, or one a file and the other its folder. Rename one of them", ch.Name, it.bucket, it.key)
	case errors.Is(err, syscall.ENAMETOOLONG):
		return userError("Data download failed: channel %q: the key of s3://%s/%s is too long for a path", ch.Name, it.bucket, it.key)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return userError("Data download failed: No space left on device. Please use a larger VolumeSizeInGB")
	}
	return fmt.Errorf("s3://%s/%s: %w", it.bucket, it.key, err)
}

// listing writes <channel>-manifest: the objects of the channel, in the form
// of a manifest file.
type listing struct {
	root   *os.Root
	name   string
	f      *os.File
	w      *bufio.Writer
	prefix string
}

func (t *training) newListing(name string) (*listing, error) {
	f, err := t.ml.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, fileMode)
	if err != nil {
		return nil, err
	}
	return &listing{root: t.ml, name: name, f: f, w: bufio.NewWriter(f)}, nil
}

func (l *listing) add(it item) error {
	write := func(v any) error {
		data, err := json.Marshal(v)
		if err == nil {
			_, err = l.w.Write(data)
		}
		return err
	}
	if l.prefix == "" {
		l.prefix = "s3://" + it.bucket + "/"
		if err := l.w.WriteByte('['); err != nil {
			return err
		}
		if err := write(map[string]string{"prefix": l.prefix}); err != nil {
			return err
		}
	}
	if strings.HasSuffix(it.key, "/") || l.prefix != "s3://"+it.bucket+"/" {
		return nil // markers are no objects; a manifest has one prefix
	}
	if err := l.w.WriteByte(','); err != nil {
		return err
	}
	return write(it.key)
}

func (l *listing) done() error {
	if l.prefix == "" {
		_ = l.w.WriteByte('[') // Flush tells
	}
	_ = l.w.WriteByte(']')
	return errors.Join(l.w.Flush(), l.f.Chmod(fileMode))
}

func (l *listing) close() { _ = l.f.Close() }
