package stage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path"
	"strings"
	"syscall"

	"clary/internal/stage/plan"
)

// parallel is how many objects are fetched at once.
const parallel = 8

// fetch copies an input's objects to its folder. Memory is bounded whatever the
// number of objects; the file system tells which names collide. note, if not
// nil, is told of each in order.
func (j *job) fetch(ctx context.Context, ch plan.Channel, to tree, note func(item) error) error {
	if ch.InputMode != "" && ch.InputMode != "File" {
		return userError("%s: input mode %s is not supported", j.named(ch), ch.InputMode)
	}
	if j.h.API == nil {
		return fmt.Errorf("%s: this task has no way to S3", j.named(ch))
	}
	return j.fetchAll(ctx, ch, to, func(ctx context.Context) iter.Seq2[item, error] {
		return func(yield func(item, error) bool) {
			for it, err := range j.sharded(ch, j.source(ctx, ch)) {
				if err == nil && note != nil {
					err = note(it)
				}
				if !yield(it, err) {
					return
				}
			}
		}
	})
}

func (j *job) fetchAll(ctx context.Context, ch plan.Channel, to tree, all func(context.Context) iter.Seq2[item, error]) error {
	root, err := to.root.OpenRoot(to.dir)
	if err != nil {
		return err
	}
	defer root.Close() //nolint:errcheck // files are closed one by one
	return each(ctx, parallel, all, func(ctx context.Context, it item) error { return j.fetchOne(ctx, ch, root, it) })
}

func (j *job) fetchOne(ctx context.Context, ch plan.Channel, root *os.Root, it item) error {
	name, err := localName(it)
	if err != nil {
		return userError("Data download failed: %s: %v", j.named(ch), err)
	}
	if strings.HasSuffix(it.name, "/") || it.name == "" {
		if it.size > 0 {
			return userError("Data download failed: %s: the key of s3://%s/%s ends with a slash and it holds data, so it can be neither file nor folder", j.named(ch), it.bucket, it.key)
		}
		return j.placeError(ch, it, mkdir(root, name))
	}
	if err := mkdir(root, path.Dir(name)); err != nil {
		return j.placeError(ch, it, err)
	}
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return j.placeError(ch, it, err)
	}
	body, o, err := j.h.API.Get(ctx, it.bucket, it.key)
	if err != nil {
		return errors.Join(j.getError(ctx, ch, it, err), f.Close())
	}
	n, err := io.Copy(f, body)
	err = errors.Join(err, body.Close(), f.Chmod(fileMode), f.Close())
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT):
		return userError("Data download failed: No space left on device while s3://%s/%s was written. Please use a larger VolumeSizeInGB", it.bucket, it.key)
	case err != nil:
		return j.placeError(ch, it, err)
	case o.Size >= 0 && n != o.Size:
		return fmt.Errorf("s3://%s/%s: %d of %d bytes came", it.bucket, it.key, n, o.Size)
	}
	return nil
}

// localName checks a key's path below its folder. Keys are not paths: what
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
			return "", fmt.Errorf("the key of s3://%s/%s has a %q segment and would leave its folder", it.bucket, it.key, p)
		case len(p) > 255:
			return "", fmt.Errorf("the key of s3://%s/%s has a segment of more than 255 bytes and cannot be a file name", it.bucket, it.key)
		case p != "":
			parts = append(parts, p)
		}
	}
	return strings.Join(parts, "/"), nil
}

// placeError puts a file system's refusal into words.
func (j *job) placeError(ch plan.Channel, it item, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, os.ErrExist), errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.EISDIR):
		return userError("Data download failed: %s: s3://%s/%s and another object would be the same file, or one a file and the other its folder. Rename one of them", j.named(ch), it.bucket, it.key)
	case errors.Is(err, syscall.ENAMETOOLONG):
		return userError("Data download failed: %s: the key of s3://%s/%s is too long for a path", j.named(ch), it.bucket, it.key)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return userError("Data download failed: No space left on device. Please use a larger VolumeSizeInGB")
	}
	return fmt.Errorf("s3://%s/%s: %w", it.bucket, it.key, err)
}
