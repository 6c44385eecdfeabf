package stage

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

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
	from := tree{t.ml, mlPath, dir}
	empty, err := from.empty()
	if err != nil {
		return "", fmt.Errorf("%s: %w", from.path("."), err)
	}
	if empty && !always {
		return "", nil
	}
	if t.p.Compression == "NONE" {
		key := prefix + name + "/"
		return "s3://" + bucket + "/" + key, (&mirror{j: &t.job, from: from, bucket: bucket, prefix: key}).send(ctx, true)
	}
	key := prefix + name + ".tar.gz"
	r, w := io.Pipe()
	go func() {
		w.CloseWithError(t.archive(w, from, empty))
	}()
	_, err = t.h.API.Upload(ctx, bucket, key, r)
	_ = r.CloseWithError(errors.New("upload ended")) // lets the archiver end
	return "s3://" + bucket + "/" + key, t.putError(ctx, from.path("."), bucket, key, err)
}

// uploadable visits files, folders and links that stay inside. What has no
// place in an archive is left out and named in the log, if it is to be told.
func (j *job) uploadable(from tree, tell bool, visit func(name string, info fs.FileInfo, link string) error) error {
	leave := func(name, why string) {
		if tell {
			j.h.say("clary: %s is %s and is not uploaded", from.path(name), why)
		}
	}
	return from.walk(func(name string, info fs.FileInfo) error {
		switch {
		case info.Mode().IsRegular(), info.IsDir():
			return visit(name, info, "")
		case info.Mode()&fs.ModeSymlink != 0:
			target, err := from.root.Readlink(from.at(name))
			if err != nil {
				return err
			}
			if !staysInside(name, target) {
				leave(name, "a link to "+target+", outside the folder,")
				return nil
			}
			return visit(name, info, target)
		}
		leave(name, "neither file nor folder")
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
func (t *training) archive(w io.Writer, from tree, empty bool) error {
	gz, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
	if err != nil {
		return err
	}
	tw := tar.NewWriter(gz)
	if !empty {
		err = t.uploadable(from, true, func(name string, info fs.FileInfo, link string) error {
			return addEntry(tw, from, name, info, link)
		})
	}
	if err != nil {
		return err
	}
	return errors.Join(tw.Close(), gz.Close())
}

func addEntry(tw *tar.Writer, from tree, name string, info fs.FileInfo, link string) error {
	h := &tar.Header{Name: name, Mode: int64(info.Mode().Perm()), ModTime: info.ModTime(), Format: tar.FormatPAX}
	switch {
	case info.IsDir():
		h.Typeflag, h.Name = tar.TypeDir, name+"/"
		return tw.WriteHeader(h)
	case link != "":
		h.Typeflag, h.Linkname, h.Mode = tar.TypeSymlink, link, 0o777
		return tw.WriteHeader(h)
	}
	f, info, err := from.open(name)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // read only
	h.Typeflag, h.Size = tar.TypeReg, info.Size()
	if err := tw.WriteHeader(h); err != nil {
		return err
	}
	if n, err := io.CopyN(tw, f, h.Size); errors.Is(err, io.EOF) {
		return userError("%s became shorter while it was uploaded (%d of %d bytes)", from.path(name), n, h.Size)
	} else if err != nil {
		return err
	}
	return nil
}
