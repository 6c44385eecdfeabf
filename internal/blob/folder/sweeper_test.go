package folder_test

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"clary/internal/blob"
	"clary/internal/blob/folder"
	"clary/internal/store/sqlite"
)

// TestOpenStoreSweeps calls no Sweep: a store that is open takes away what no
// row names, at once after a crash and from time to time later, and nothing
// that is stored, uploaded in part, being read or being written, however old
// its files look.
func TestOpenStoreSweeps(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		root := filepath.Join(dir, "blobs")
		db, err := sqlite.Open(filepath.Join(dir, "db"), sqlite.Options{})
		if err != nil {
			t.Fatal(err)
		}
		open := func() *folder.Store {
			t.Helper()
			s, err := folder.Open(folder.Config{Root: root, Index: db.Objects(), Small: -1})
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		s := open()
		newBucket(t, s)
		for _, key := range []string{"kept", "read"} {
			if err := inParts(t.Context(), s, key, 1); err != nil {
				t.Fatal(err)
			}
		}
		put(t, s, "plain", "plain")
		u, err := s.StartUpload(t.Context(), "b", "part", blob.Meta{})
		if err != nil {
			t.Fatal(err)
		}
		part, err := s.PutPart(t.Context(), "b", "part", u.ID, 1, blob.Put{Body: strings.NewReader("part"), Size: 4})
		if err != nil {
			t.Fatal(err)
		}
		shard := filepath.Dir(contentFiles(t, root)[0])
		orphan := filepath.Join(shard, filepath.Base(shard)+"0123456789ABCDEFGHIJKL")
		stale := filepath.Join(root, "tmp", "0123456789ABCDEFGHIJKLMNOP")
		dated := func(at time.Time, files ...string) {
			t.Helper()
			for _, f := range files {
				if err := os.Chtimes(f, at, at); err != nil {
					t.Fatal(err)
				}
			}
		}
		litter := func(at time.Time) {
			t.Helper()
			for _, f := range []string{orphan, stale} {
				if err := os.WriteFile(f, []byte("x"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			dated(at, orphan, stale)
		}
		left := func(what string, want int) {
			t.Helper()
			synctest.Wait()
			n := 0
			for _, f := range contentFiles(t, root) {
				if f == orphan || f == stale {
					n++
				}
			}
			if n != want {
				t.Errorf("%s: %d files that no row names, want %d", what, n, want)
			}
		}

		// What a crash leaves: the mark of an open folder.
		mark := filepath.Join(root, "OPEN")
		if err := os.Link(mark, mark+"ED"); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		litter(time.Now())
		s = open()
		left("a clean start", 2)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(mark+"ED", mark); err != nil {
			t.Fatal(err)
		}
		s = open()
		left("a start after a crash", 0)

		_, reading, err := s.Open(t.Context(), blob.Name{Bucket: "b", Key: "read"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := remove(t.Context(), s, "b", "read", blob.Conditions{}); err != nil {
			t.Fatal(err)
		}
		source, feed := io.Pipe()
		written := make(chan error)
		go func() {
			_, err := s.Put(t.Context(), blob.Put{Bucket: "b", Key: "slow", Body: source, Size: -1})
			written <- err
		}()
		if _, err := feed.Write(make([]byte, 1<<20)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // its file is there
		live := contentFiles(t, root)
		if len(live) != 5 || !slices.ContainsFunc(live, func(f string) bool { return filepath.Base(filepath.Dir(f)) == "tmp" }) {
			t.Fatalf("not all of what lives has a file: %v", live)
		}
		litter(time.Now().Add(-time.Minute))
		dated(time.Now().Add(-48*time.Hour), live...)
		time.Sleep(6*time.Hour - time.Second)
		left("before the tick", 2)
		dated(time.Now(), stale)
		time.Sleep(time.Second)
		left("at the tick", 1) // one is young
		time.Sleep(6 * time.Hour)
		left("at the next tick", 0)
		if got := contentFiles(t, root); !slices.Equal(got, live) {
			t.Errorf("the sweep left %v of %v", got, live)
		}

		if data, err := io.ReadAll(reading); err != nil || string(data) != string(body("read", 1)) {
			t.Errorf("what was being read: %d bytes, %v", len(data), err)
		}
		if err := feed.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-written; err != nil {
			t.Errorf("what was being written: %v", err)
		}
		if _, err := s.Complete(t.Context(), "b", "part", u.ID, blob.Complete{Parts: []blob.Part{part}, Size: 4}); err != nil {
			t.Error(err)
		}
		for key, want := range map[string]string{
			"kept": string(body("kept", 1)), "plain": "plain", "part": "part", "slow": string(make([]byte, 1<<20)),
		} {
			_, r, err := s.Open(t.Context(), blob.Name{Bucket: "b", Key: key}, nil)
			if err != nil {
				t.Errorf("%s: %v", key, err)
				continue
			}
			if data, err := io.ReadAll(r); err != nil || string(data) != want {
				t.Errorf("%s: %d bytes, %v", key, len(data), err)
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		}
		if err := reading.Close(); err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
}
