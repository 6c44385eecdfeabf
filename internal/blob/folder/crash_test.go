package folder_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"clary/internal/blob"
	"clary/internal/blob/folder"
	"clary/internal/store"
	"clary/internal/store/sqlite"
)

// crashDir tells a child of the test to write there until it is killed.
const crashDir = "CLARY_BLOB_CRASH_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDir); dir != "" {
		_, _ = fmt.Fprintln(os.Stdout, "broken", writeUntilKilled(dir)) // its parent sees the end
		os.Exit(1)                                                      //nolint:forbidigo // a child of the test, not a server
	}
	os.Exit(m.Run()) //nolint:forbidigo // as every TestMain
}

// body is what a key holds: its bytes follow from the key and the round.
func body(key string, round int) []byte {
	n := (len(key)*7919 + round*104729) % (300 << 10)
	line := fmt.Appendf(nil, "%s/%d;", key, round)
	return bytes.Repeat(line, n/len(line)+1)
}

// writeUntilKilled tells on stdout what is about to change and what was
// answered. Keys with an odd number are deleted now and then, those with "m"
// are uploaded in parts.
func writeUntilKilled(dir string) error {
	db, err := sqlite.Open(filepath.Join(dir, "db"), sqlite.Options{})
	if err != nil {
		return err
	}
	s, err := folder.Open(folder.Config{Root: filepath.Join(dir, "blobs"), Index: db.Objects()})
	if err != nil {
		return err
	}
	ctx := context.Background()
	if err := s.CreateBucket(ctx, blob.Bucket{Name: "b"}); err != nil && !strings.Contains(err.Error(), "exists") {
		return err
	}
	var mu sync.Mutex
	say := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		_, _ = fmt.Fprintf(os.Stdout, format+"\n", args...) // what is not said is not counted
	}
	start := time.Now().UnixNano() % 1000000
	errs := make(chan error)
	for w := range 6 {
		go func() {
			for i := 0; ; i++ {
				var err error
				key, round := fmt.Sprintf("w%d/%d", w, i%9), int(start)+i
				if i%5 == 4 {
					say("drop %s %d", key, round)
				} else {
					say("try %s %d", key, round)
				}
				switch {
				case i%5 == 4:
					err = remove(ctx, s, "b", key, blob.Conditions{})
					say("gone %s %d", key, round)
				case w == 0:
					err = inParts(ctx, s, key, round)
				default:
					data := body(key, round)
					_, err = s.Put(ctx, blob.Put{Bucket: "b", Key: key, Body: bytes.NewReader(data), Size: int64(len(data))})
				}
				if err != nil {
					errs <- err
					return
				}
				if i%5 != 4 {
					say("done %s %d", key, round)
				}
			}
		}()
	}
	return <-errs
}

func inParts(ctx context.Context, s *folder.Store, key string, round int) error {
	u, err := s.StartUpload(ctx, "b", key, blob.Meta{})
	if err != nil {
		return err
	}
	data := body(key, round)
	p, err := s.PutPart(ctx, "b", key, u.ID, 1, blob.Put{Body: bytes.NewReader(data), Size: int64(len(data))})
	if err != nil {
		return err
	}
	_, err = s.Complete(ctx, "b", key, u.ID, blob.Complete{Parts: []blob.Part{p}, Size: -1})
	return err
}

// TestCrash kills a writer again and again. What was answered is whole, what
// was not is all or nothing, and a sweep leaves no file without a row.
func TestCrash(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	type state struct{ tried, done int } // rounds; -1 is "deleted"
	states := map[string]*state{}
	for round := range 6 {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), crashDir+"="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		in := bufio.NewScanner(out)
		for lines := 0; in.Scan(); lines++ {
			if lines == 150+round*37 {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
			var verb, key string
			var n int
			if _, err := fmt.Sscan(in.Text(), &verb, &key, &n); err != nil {
				continue // cut off by the kill
			}
			s := states[key]
			if s == nil {
				s = &state{-1, -1}
				states[key] = s
			}
			switch verb {
			case "try":
				s.tried = n
			case "drop":
				s.tried = -1
			case "done":
				s.done = n
			case "gone":
				s.done = -1
			default:
				t.Fatal(in.Text())
			}
		}
		_ = cmd.Wait() // it was killed
		checkAfterCrash(t, dir, func(key string, data []byte) {
			s := states[key]
			if s == nil {
				t.Errorf("key %s was never written", key)
				return
			}
			switch {
			case data == nil && s.done == -1, data != nil && s.done >= 0 && bytes.Equal(data, body(key, s.done)):
			case data != nil && s.tried >= 0 && bytes.Equal(data, body(key, s.tried)), data == nil && s.tried == -1:
				s.done = s.tried // it was under way
			default:
				t.Errorf("key %s: answered round %d, tried %d, holds %d bytes", key, s.done, s.tried, len(data))
			}
		}, states)
	}
}

func checkAfterCrash[S any](t *testing.T, dir string, check func(key string, data []byte), keys map[string]S) {
	t.Helper()
	db, err := sqlite.Open(filepath.Join(dir, "db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := folder.Open(folder.Config{Root: filepath.Join(dir, "blobs"), Index: db.Objects()})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Sweep(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	want := 0
	for key := range keys {
		o, r, err := s.Open(t.Context(), blob.Name{Bucket: "b", Key: key}, nil)
		if err != nil {
			check(key, nil)
			continue
		}
		data, err := io.ReadAll(r)
		if err != nil || int64(len(data)) != o.Size {
			t.Errorf("key %s: %d of %d bytes, %v", key, len(data), o.Size, err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		check(key, data)
		if o.Size > 0 && !strings.HasPrefix(o.Content, store.SmallMark) {
			want++
		}
	}
	l, err := s.List(t.Context(), "b", "", "", "", 1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range l.Objects {
		if _, ok := keys[o.Key]; !ok {
			t.Errorf("key %q came from nowhere", o.Key)
		}
	}
	ups, err := s.Uploads(t.Context(), "b", "", "", "", "", 1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range ups.Uploads { // an unfinished upload keeps its parts
		if err := s.Abort(t.Context(), "b", u.Key, u.ID); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
	if files := contentFiles(t, filepath.Join(dir, "blobs")); len(files) != want {
		t.Errorf("%d files for %d objects: %v", len(files), want, files)
	}
}

// contentFiles are all files but the folder's own marks.
func contentFiles(t *testing.T, root string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && filepath.Dir(path) != root {
			out = append(out, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
