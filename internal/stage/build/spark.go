package build

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

const (
	// SparkFile names PySpark's archive. The index has it as sources alone, but
	// they are Python files and JVM archives: nothing in them is to be compiled,
	// so they are unpacked as its own setup would lay them, and none of it is run.
	SparkFile = "pyspark.txt"
	// SparkSubmit is the program of a SageMaker Spark image, which is ours.
	SparkSubmit = "smspark-submit"
	// Task is where every task finds clary-task.
	Task = "/run/clary/clary-task"

	maxSpark = 2 << 30 // of what is unpacked
)

// spark adds PySpark to the environment if there is a lock of it.
func (b *builder) spark(ctx context.Context) error {
	lock, err := os.ReadFile(filepath.Join(b.dir, SparkFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	sites, err := filepath.Glob(filepath.Join(b.env, "lib/python3.*/site-packages"))
	if err != nil {
		return err
	}
	if len(sites) != 1 {
		return fmt.Errorf("the environment has %d site-packages", len(sites))
	}
	hc := &http.Client{} // the task's own limit ends a slow one
	defer hc.CloseIdleConnections()
	files, err := b.list(ctx, hc, "pyspark")
	if err != nil {
		return err
	}
	i := slices.IndexFunc(files, func(f file) bool { return slices.Contains(lockedHashes(lock), f.sha256) })
	if i < 0 {
		return fmt.Errorf("%s has no archive of PySpark with the locked hash", hostOf(b.index))
	}
	b.say("fetching %s", files[i].name)
	body, err := open(ctx, hc, files[i].url, "")
	if err != nil {
		return err
	}
	defer body.Close() //nolint:errcheck // read to its end
	sum := sha256.New()
	if err := unpackSpark(io.TeeReader(body, sum), sites[0]); err != nil {
		return fmt.Errorf("%s: %w", files[i].name, err)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != files[i].sha256 {
		return fmt.Errorf("%s has the hash %s, not the locked %s", files[i].name, got, files[i].sha256)
	}
	b.say("compiling its Python files")
	out, err := exec.CommandContext(ctx, filepath.Join(b.env, "bin/python"), "-I", "-m", "compileall", "-q", filepath.Join(sites[0], "pyspark")).CombinedOutput()
	if err != nil {
		return fmt.Errorf("PySpark: %w: %s", err, out)
	}
	return os.Symlink(Task, filepath.Join(b.env, "bin", SparkSubmit))
}

// unpackSpark reads the archive to its end.
func unpackSpark(r io.Reader, site string) error {
	zr, err := gzip.NewReader(r)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(site)
	if err != nil {
		return err
	}
	defer root.Close() //nolint:errcheck // a folder
	tr := tar.NewReader(zr)
	left := int64(maxSpark)
	found := false
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		to, mode := sparkPath(h.Name)
		if h.Typeflag != tar.TypeReg || to == "" {
			continue
		}
		if left -= h.Size; left < 0 {
			return errors.New("it is too large")
		}
		if err := root.MkdirAll(path.Dir(to), 0o755); err != nil {
			return err
		}
		f, err := root.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
		if err != nil {
			return err
		}
		_, err = io.Copy(f, tr)
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
		found = found || strings.HasPrefix(to, "pyspark/jars/")
	}
	if !found {
		return errors.New("there is no Spark in it")
	}
	if _, err := io.Copy(io.Discard, zr); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, r) // its hash is of all of it
	return err
}

// sparkPath is where a file of the archive goes in site-packages; "" for what
// is not needed.
func sparkPath(name string) (string, fs.FileMode) {
	top, rest, _ := strings.Cut(name, "/")
	switch first, below, _ := strings.Cut(rest, "/"); {
	case first == "pyspark" && below != "":
		if strings.HasPrefix(below, "bin/") {
			return rest, 0o755
		}
		return rest, 0o644
	case strings.HasPrefix(rest, "deps/jars/"):
		return path.Join("pyspark", strings.TrimPrefix(rest, "deps/")), 0o644
	case strings.HasPrefix(rest, "deps/bin/"):
		return path.Join("pyspark", strings.TrimPrefix(rest, "deps/")), 0o755
	case rest == "PKG-INFO": // for pip, which else would not know that it is there
		return top + ".dist-info/METADATA", 0o644
	}
	return "", 0
}
