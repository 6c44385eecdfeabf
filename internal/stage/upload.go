package stage

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
	"strings"
	"syscall"

	"clary/internal/client"
	"clary/internal/stage/plan"
)

// upload sends what the program left in /opt/ml/model and /opt/ml/output/data.
// After a failure a model is uploaded too if there is one: nothing that was
// paid for is thrown away.
func (t *training) upload(ctx context.Context, res *plan.Result) error {
	if t.p.OutputS3Uri == "" {
		return nil
	}
	if !t.first() {
		return nil // the first host's model is the job's
	}
	if t.h.API == nil {
		return errors.New("this task has no way to S3")
	}
	bucket, prefix, err := client.ParseURI(strings.TrimSuffix(t.p.OutputS3Uri, "/"))
	if err != nil {
		return userError("OutputDataConfig: %v", err)
	}
	if prefix != "" {
		prefix += "/"
	}
	failedRun := res.Failure != ""
	uri, modelErr := t.uploadTree(ctx, "model", bucket, prefix, "model", !failedRun)
	if modelErr == nil {
		res.Artifact = uri
	}
	_, outErr := t.uploadTree(ctx, "output/data", bucket, prefix, "output", false)
	return errors.Join(modelErr, outErr)
}

// uploadTree sends one folder below /opt/ml as <prefix><name>.tar.gz, or as
// plain files below <prefix><name>/ when the job asks for no compression. An
// empty folder is sent only when it must be.
func (t *training) uploadTree(ctx context.Context, dir, bucket, prefix, name string, always bool) (string, error) {
	root, err := t.ml.OpenRoot(dir)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		root, err = nil, nil // the program removed or replaced it
	}
	if err != nil {
		return "", fmt.Errorf("/opt/ml/%s: %w", dir, err)
	}
	if root != nil {
		defer root.Close() //nolint:errcheck // read only
	}
	empty, err := isEmpty(root)
	if err != nil {
		return "", fmt.Errorf("/opt/ml/%s: %w", dir, err)
	}
	if empty && !always {
		return "", nil
	}
	if t.p.Compression == "NONE" {
		key := prefix + name + "/"
		return "s3://" + bucket + "/" + key, t.uploadPlain(ctx, root, dir, bucket, key)
	}
	key := prefix + name + ".tar.gz"
	r, w := io.Pipe()
	go func() {
		w.CloseWithError(t.archive(w, root, dir))
	}()
	_, err = t.h.API.Upload(ctx, bucket, key, r)
	_ = r.CloseWithError(errors.New("upload ended")) // lets the archiver end
	return "s3://" + bucket + "/" + key, t.putError("/opt/ml/"+dir, bucket, key, err)
}

func isEmpty(root *os.Root) (bool, error) {
	if root == nil {
		return true, nil
	}
	d, err := root.Open(".")
	if err != nil {
		return false, err
	}
	defer d.Close() //nolint:errcheck // read only
	_, err = d.Readdirnames(1)
	if err == io.EOF {
		return true, nil
	}
	return false, err
}

// entry is one thing that an archive or an upload may hold.
type entry struct {
	name string
	info fs.FileInfo
	link string // target of a symbolic link
}

// walk visits files, folders and links that stay inside. What has no place in
// an archive is named in the log and left out.
func (t *training) walk(root *os.Root, dir string, visit func(entry) error) error {
	if root == nil {
		return nil
	}
	return fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name == "." {
			return nil
		}
		info, err := root.Lstat(name)
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		switch {
		case info.Mode().IsRegular(), info.IsDir():
			return visit(entry{name: name, info: info})
		case info.Mode()&fs.ModeSymlink != 0:
			target, err := root.Readlink(name)
			if err != nil {
				return err
			}
			if !staysInside(name, target) {
				t.h.say("clary: /opt/ml/%s/%s is a link to %s, outside the folder, and is not uploaded", dir, name, target)
				return nil
			}
			return visit(entry{name: name, info: info, link: target})
		}
		t.h.say("clary: /opt/ml/%s/%s is neither file nor folder and is not uploaded", dir, name)
		return nil
	})
}

// staysInside says whether a link's target, read where the link is, remains
// below the folder. A chain of links cannot be judged so: whoever unpacks must
// judge again, and every link by itself stays inside.
func staysInside(name, target string) bool {
	if target == "" || path.IsAbs(target) {
		return false
	}
	p := path.Join(path.Dir(name), target)
	return p != ".." && !strings.HasPrefix(p, "../")
}

// archive writes a tar.gz of a folder.
func (t *training) archive(w io.Writer, root *os.Root, dir string) error {
	gz, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
	if err != nil {
		return err
	}
	tw := tar.NewWriter(gz)
	err = t.walk(root, dir, func(e entry) error {
		h := &tar.Header{Name: e.name, Mode: int64(e.info.Mode().Perm()), ModTime: e.info.ModTime(), Format: tar.FormatPAX}
		switch {
		case e.info.IsDir():
			h.Typeflag, h.Name = tar.TypeDir, e.name+"/"
			return tw.WriteHeader(h)
		case e.link != "":
			h.Typeflag, h.Linkname, h.Mode = tar.TypeSymlink, e.link, 0o777
			return tw.WriteHeader(h)
		}
		f, info, err := openRegular(root, e.name)
		if err != nil {
			return err
		}
		defer f.Close() //nolint:errcheck // read only
		h.Typeflag, h.Size = tar.TypeReg, info.Size()
		if err := tw.WriteHeader(h); err != nil {
			return err
		}
		if n, err := io.CopyN(tw, f, h.Size); err != nil {
			return fmt.Errorf("/opt/ml/%s/%s became shorter while it was read (%d of %d bytes): %w", dir, e.name, n, h.Size, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return errors.Join(tw.Close(), gz.Close())
}

// uploadPlain sends files one by one; links within the folder become copies.
func (t *training) uploadPlain(ctx context.Context, root *os.Root, dir, bucket, prefix string) error {
	return t.walk(root, dir, func(e entry) error {
		if e.info.IsDir() {
			return nil
		}
		f, _, err := openRegular(root, e.name)
		if e.link != "" && err != nil {
			t.h.say("clary: /opt/ml/%s/%s is not a link to a file and is not uploaded", dir, e.name)
			return nil
		}
		if err != nil {
			return err
		}
		defer f.Close() //nolint:errcheck // read only
		_, err = t.h.API.Upload(ctx, bucket, prefix+e.name, f)
		return t.putError("/opt/ml/"+dir+"/"+e.name, bucket, prefix+e.name, err)
	})
}

// openRegular opens a file without ever waiting on a pipe or a device.
func openRegular(root *os.Root, name string) (*os.File, fs.FileInfo, error) {
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a file", name)
	}
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, info, nil
}

// readRegular reads the start of a file.
func readRegular(root *os.Root, name string, most int64) ([]byte, error) {
	f, _, err := openRegular(root, name)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // read only
	return io.ReadAll(io.LimitReader(f, most))
}
