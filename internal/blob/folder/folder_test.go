package folder_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"clary/internal/blob"
	"clary/internal/blob/blobtest"
	"clary/internal/blob/folder"
	"clary/internal/store"
	"clary/internal/store/sqlite"
)

func open(t *testing.T, dir string, small int) *folder.Store {
	t.Helper()
	db, err := sqlite.Open(filepath.Join(dir, "db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := folder.Open(folder.Config{Root: filepath.Join(dir, "blobs"), Index: db.Objects(), Small: small})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestConformance(t *testing.T) {
	t.Parallel()
	for name, small := range map[string]int{"default": 0, "files": -1, "rows": 256 << 10} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			blobtest.Run(t, func(t *testing.T) blob.Store { return open(t, t.TempDir(), small) })
		})
	}
}

func put(t *testing.T, s *folder.Store, key, data string) {
	t.Helper()
	if _, err := s.Put(t.Context(), blob.Put{Bucket: "b", Key: key, Body: strings.NewReader(data), Size: int64(len(data))}); err != nil {
		t.Fatal(err)
	}
}

func remove(ctx context.Context, s *folder.Store, bucket, key string, c blob.Conditions) error {
	_, err := s.Delete(ctx, blob.Name{Bucket: bucket, Key: key}, c)
	return err
}

func newBucket(t *testing.T, s *folder.Store) {
	t.Helper()
	if err := s.CreateBucket(t.Context(), blob.Bucket{Name: "b"}); err != nil {
		t.Fatal(err)
	}
}

// TestFilesFollowRows counts files: what no row names goes, what one names stays.
func TestFilesFollowRows(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	root := filepath.Join(dir, "blobs")
	s := open(t, dir, -1)
	newBucket(t, s)
	count := func(what string, want int) {
		t.Helper()
		s.Settle()
		if files := contentFiles(t, root); len(files) != want {
			t.Errorf("%s: %d files, want %d: %v", what, len(files), want, files)
		}
	}
	put(t, s, "empty", "")
	count("an empty object", 0)
	put(t, s, "k", "one")
	put(t, s, "k", "two")
	count("a replaced object", 1)
	if _, err := s.Put(t.Context(), blob.Put{Bucket: "b", Key: "k", Body: strings.NewReader("three"), Size: 9}); !errors.Is(err, blob.ErrShort) {
		t.Error(err)
	}
	if _, err := s.Put(t.Context(), blob.Put{Bucket: "b", Key: "k", Body: strings.NewReader("three"), Size: 5, If: blob.Conditions{IfMatch: "x"}}); !errors.Is(err, blob.ErrPrecondition) {
		t.Error(err)
	}
	count("failed writes", 1)
	if _, err := s.Copy(t.Context(), blob.Name{Bucket: "b", Key: "k"}, nil, blob.Put{Bucket: "b", Key: "copy"}); err != nil {
		t.Fatal(err)
	}
	count("a copy", 2)
	_, r, err := s.Open(t.Context(), blob.Name{Bucket: "b", Key: "k"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := remove(t.Context(), s, "b", "k", blob.Conditions{}); err != nil {
		t.Fatal(err)
	}
	if data, err := io.ReadAll(r); err != nil || string(data) != "two" {
		t.Errorf("a deleted object reads %q, %v", data, err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	count("a deleted object", 1)

	u, err := s.StartUpload(t.Context(), "b", "parts", blob.Meta{})
	if err != nil {
		t.Fatal(err)
	}
	var parts []blob.Part
	for i, data := range []string{"a", "b", "b2"} {
		n := min(i+1, 2)
		p, err := s.PutPart(t.Context(), "b", "parts", u.ID, n, blob.Put{Body: strings.NewReader(data), Size: int64(len(data))})
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, p)
	}
	count("a replaced part", 3)
	if _, err := s.Complete(t.Context(), "b", "parts", u.ID, blob.Complete{Parts: parts[2:], Size: -1}); err != nil {
		t.Fatal(err)
	}
	count("an unused part", 2)
	_, r, err = s.Open(t.Context(), blob.Name{Bucket: "b", Key: "parts"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	put(t, s, "parts", "")
	count("a replaced upload that is being read", 2)
	if data, err := io.ReadAll(r); err != nil || string(data) != "b2" {
		t.Errorf("a replaced upload reads %q, %v", data, err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	count("a replaced upload", 1)
	if n, err := s.Sweep(t.Context(), 0); n != 0 || err != nil {
		t.Errorf("swept %d, %v", n, err)
	}
}

// TestSweep leaves what is named, young or being written.
func TestSweep(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	root := filepath.Join(dir, "blobs")
	s := open(t, dir, -1)
	newBucket(t, s)
	put(t, s, "kept", "kept")
	named := contentFiles(t, root)
	if len(named) != 1 {
		t.Fatal(named)
	}
	shard := filepath.Dir(named[0])
	orphan := filepath.Join(shard, filepath.Base(shard)+"0123456789ABCDEFGHIJKL")
	stale := filepath.Join(root, "tmp", "0123456789ABCDEFGHIJKLMNOP")
	foreign := filepath.Join(shard, "README")
	for _, f := range []string{orphan, stale, foreign} {
		if err := os.WriteFile(f, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	writing, feed := io.Pipe()
	result := make(chan error, 1)
	go func() {
		_, err := s.Put(context.Background(), blob.Put{Bucket: "b", Key: "slow", Body: writing, Size: -1})
		result <- err
	}()
	// The first megabyte is taken, so its file is there.
	if _, err := feed.Write(make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Sweep(t.Context(), time.Hour); n != 0 || err != nil {
		t.Errorf("swept %d young files, %v", n, err)
	}
	if n, err := s.Sweep(t.Context(), 0); n != 2 || err != nil {
		t.Errorf("swept %d files, want 2, %v", n, err)
	}
	if err := feed.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-result; err != nil {
		t.Errorf("the sweep broke a write: %v", err)
	}
	for _, f := range []string{named[0], foreign} {
		if _, err := os.Stat(f); err != nil {
			t.Error(err)
		}
	}
	if o, err := s.Head(t.Context(), blob.Name{Bucket: "b", Key: "slow"}); err != nil || o.Size != 1<<20 {
		t.Errorf("%+v %v", o, err)
	}
}

func TestRoom(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	db, err := sqlite.Open(filepath.Join(dir, "db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	full := false
	s, err := folder.Open(folder.Config{Root: filepath.Join(dir, "blobs"), Index: db.Objects(), Room: func() error {
		if full {
			return store.ErrFull
		}
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	newBucket(t, s)
	put(t, s, "k", "x")
	full = true
	_, err = s.Put(t.Context(), blob.Put{Bucket: "b", Key: "k2", Body: strings.NewReader("x"), Size: 1})
	if !errors.Is(err, blob.ErrFull) {
		t.Errorf("put: %v", err)
	}
	if _, err = s.StartUpload(t.Context(), "b", "k2", blob.Meta{}); !errors.Is(err, blob.ErrFull) {
		t.Errorf("upload: %v", err)
	}
	if err := remove(t.Context(), s, "b", "k", blob.Conditions{}); err != nil {
		t.Errorf("delete makes room: %v", err)
	}
	if _, err := folder.Open(folder.Config{Root: filepath.Join(dir, "blobs"), Index: db.Objects()}); err == nil {
		t.Error("two stores hold one folder")
	}
	if err := errors.Join(s.Close(), db.Close()); err != nil {
		t.Error(err)
	}
}
