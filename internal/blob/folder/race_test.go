package folder_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"testing"

	"clary/internal/blob"
	"clary/internal/blob/folder"
	"clary/internal/store/sqlite"
)

// TestSweepRaces sweeps without a pause, and without regard to age, while
// others write, copy, upload, cover and delete. Nothing that was answered may
// miss a byte, and in the end every file has its row.
func TestSweepRaces(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	root := filepath.Join(dir, "blobs")
	db, err := sqlite.Open(filepath.Join(dir, "db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := folder.Open(folder.Config{Root: root, Index: db.Objects(), Small: -1})
	if err != nil {
		t.Fatal(err)
	}
	newBucket(t, s)
	if err := s.SetVersioning(t.Context(), "b", blob.VersioningEnabled); err != nil {
		t.Fatal(err)
	}
	swept := make(chan error)
	stop, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		for stop.Err() == nil {
			if _, err := s.Sweep(stop, 0); err != nil && stop.Err() == nil {
				swept <- err
				return
			}
		}
		swept <- nil
	}()
	var wg sync.WaitGroup
	for w := range 6 {
		wg.Go(func() {
			for i := range 25 {
				if err := churn(t.Context(), s, fmt.Sprintf("w%d/%d", w, i%7), i); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	cancel()
	if err := <-swept; err != nil {
		t.Error(err)
	}
	s.Settle()
	page, err := s.Versions(t.Context(), "b", "", "", "", "", 1000)
	if err != nil || page.NextKey != "" {
		t.Fatal(err, page.NextKey)
	}
	rows := 0
	for _, v := range page.Versions {
		if v.Marker {
			continue
		}
		rows++
		_, r, err := s.Open(t.Context(), blob.Name{Bucket: "b", Key: v.Key, Version: v.VersionID}, nil)
		if err != nil {
			t.Errorf("%s %s: %v", v.Key, v.VersionID, err)
			continue
		}
		if n, err := io.Copy(io.Discard, r); err != nil || n != v.Size {
			t.Errorf("%s %s: %d of %d bytes, %v", v.Key, v.VersionID, n, v.Size, err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	if files := contentFiles(t, root); len(files) != rows {
		t.Errorf("%d files for %d versions", len(files), rows)
	}
	if err := errors.Join(s.Close(), db.Close()); err != nil {
		t.Error(err)
	}
}

// churn changes a key in one of several ways and reads back what it wrote.
func churn(ctx context.Context, s *folder.Store, key string, i int) error {
	data := body(key, i)
	p := blob.Put{Bucket: "b", Key: key, Body: bytes.NewReader(data), Size: int64(len(data))}
	var o blob.Object
	var err error
	switch i % 5 {
	case 0, 1:
		o, err = s.Put(ctx, p)
	case 2:
		if o, err = s.Put(ctx, p); err == nil {
			o, err = s.Copy(ctx, blob.Name{Bucket: "b", Key: key, Version: o.VersionID}, nil, blob.Put{Bucket: "b", Key: key + "/copy"})
		}
	case 3:
		var u blob.Upload
		var part blob.Part
		if u, err = s.StartUpload(ctx, "b", key, blob.Meta{}); err == nil {
			part, err = s.PutPart(ctx, "b", key, u.ID, 1, blob.Put{Body: bytes.NewReader(data), Size: int64(len(data))})
		}
		if err == nil {
			o, err = s.Complete(ctx, "b", key, u.ID, blob.Complete{Parts: []blob.Part{part}, Size: -1})
		}
	case 4:
		if o, err = s.Put(ctx, p); err == nil {
			_, err = s.Delete(ctx, blob.Name{Bucket: "b", Key: key, Version: o.VersionID}, blob.Conditions{})
		}
		return err
	}
	if err != nil {
		return err
	}
	_, r, err := s.Open(ctx, blob.Name{Bucket: "b", Key: o.Key, Version: o.VersionID}, nil)
	if err != nil {
		return fmt.Errorf("%s was just written: %w", key, err)
	}
	got, err := io.ReadAll(r)
	if err == nil && !bytes.Equal(got, data) {
		err = fmt.Errorf("%s reads %d bytes that differ", key, len(got))
	}
	return errors.Join(err, r.Close())
}
