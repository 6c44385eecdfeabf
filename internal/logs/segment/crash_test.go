package segment

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"clary/internal/logs"
	"clary/internal/logs/logstest"
)

// files of one kind in a store's folder.
func segments(t *testing.T, dir, ext string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "??", "*."+ext))
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(found)
	return found
}

func texts(t *testing.T, s logs.Store, k logs.Stream) (out []string) {
	t.Helper()
	for from := int64(0); ; {
		events, err := s.Events(t.Context(), k, logs.Read{From: from})
		if err != nil {
			t.Fatal(err)
		}
		if len(events) == 0 {
			return out
		}
		for _, e := range events {
			out = append(out, e.Message)
		}
		from = events[len(events)-1].Seq + 1
	}
}

// copyDir copies a store's files as a crash would leave them.
func copyDir(t *testing.T, dir string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

// TestTorn cuts the last segment everywhere, and fills the cut with zeros or
// rubbish: what was whole is there, lines and offset agree, and the stream goes
// on.
func TestTorn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, Config{Dir: dir})
	k := logstest.Stream("/g", "s")
	const batches = 6
	for i := range int64(batches) {
		logstest.Must(t, s.Ingest(t.Context(), k, "t", i*100, (i+1)*100, []logs.Event{
			{Timestamp: i + 1, Message: fmt.Sprintf("%da", i)}, {Timestamp: i + 1, Message: fmt.Sprintf("%db", i)},
		}))
	}
	crashed := copyDir(t, dir) // before Close writes down how things stand
	logstest.Must(t, s.Close())
	name := segments(t, crashed, "log")[0]
	whole, err := os.ReadFile(name)
	logstest.Must(t, err)
	catalogue, err := os.ReadFile(filepath.Join(crashed, "catalog"))
	logstest.Must(t, err)
	for cut := range whole {
		for _, tail := range [][]byte{nil, make([]byte, 50), bytes.Repeat([]byte{0xa5}, 50)} {
			emptied(t, crashed)
			logstest.Must(t, os.WriteFile(filepath.Join(crashed, "catalog"), catalogue, 0o600))
			logstest.Must(t, os.WriteFile(name, append(slices.Clone(whole[:cut]), tail...), 0o600))
			tornOnce(t, crashed, k, cut, len(whole))
		}
	}
}

func emptied(t *testing.T, dir string) {
	t.Helper()
	for _, f := range append(segments(t, dir, "log"), segments(t, dir, "zst")...) {
		logstest.Must(t, os.Remove(f))
	}
}

func tornOnce(t *testing.T, dir string, k logs.Stream, cut, size int) {
	t.Helper()
	s, err := Open(Config{Dir: dir})
	logstest.Must(t, err)
	defer s.Close() //nolint:errcheck // test
	// Only a rubbish head leaves nothing to go on from.
	at, err := s.Offset(t.Context(), k, "t")
	if err != nil {
		if errors.Is(err, errDamaged) {
			return
		}
		t.Fatalf("cut %d of %d: %v", cut, size, err)
	}
	got := texts(t, s, k)
	if int64(len(got)) != at/100*2 {
		t.Fatalf("cut %d of %d: %d lines at offset %d", cut, size, len(got), at)
	}
	for i, m := range got {
		if want := fmt.Sprintf("%d%c", i/2, 'a'+i%2); m != want {
			t.Fatalf("cut %d: line %d is %q", cut, i, m)
		}
	}
	logstest.Must(t, s.Ingest(t.Context(), k, "t", at, at+10, []logs.Event{{Timestamp: 9, Message: "on"}}))
	if now := texts(t, s, k); len(now) != len(got)+1 || now[len(got)] != "on" {
		t.Fatalf("cut %d: then %q", cut, now)
	}
}

// TestDamage flips each byte of a segment: lines before it stay, none is
// invented, and the damaged file is kept.
func TestDamage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, Config{Dir: dir})
	k := logstest.Stream("/g", "s")
	var want []string
	for i := range int64(5) {
		m := fmt.Sprintf("line %d", i)
		want = append(want, m)
		logstest.Must(t, s.Ingest(t.Context(), k, "t", i*10, (i+1)*10, []logs.Event{{Timestamp: i + 1, Message: m}}))
	}
	logstest.Must(t, s.Close())
	name := segments(t, dir, "log")[0]
	whole, err := os.ReadFile(name)
	logstest.Must(t, err)
	catalogue, err := os.ReadFile(filepath.Join(dir, "catalog"))
	logstest.Must(t, err)
	for i := range whole {
		bad := slices.Clone(whole)
		bad[i] ^= 0x10
		emptied(t, dir)
		logstest.Must(t, os.WriteFile(name, bad, 0o600))
		logstest.Must(t, os.WriteFile(filepath.Join(dir, "catalog"), catalogue, 0o600))
		s, err := Open(Config{Dir: dir})
		logstest.Must(t, err)
		at, err := s.Offset(t.Context(), k, "t")
		switch {
		case errors.Is(err, errDamaged):
		case err != nil:
			t.Fatalf("byte %d: %v", i, err)
		default:
			got := texts(t, s, k)
			if int64(len(got))*10 != at || !slices.Equal(got, want[:len(got)]) || len(got) == len(want) {
				t.Fatalf("byte %d: %q at offset %d", i, got, at)
			}
		}
		logstest.Must(t, s.Close())
	}
}

// TestTornCatalogue cuts the catalogue everywhere: it opens, and shows a prefix
// of what happened.
func TestTornCatalogue(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, Config{Dir: dir})
	for i := range 4 {
		logstest.Must(t, s.CreateGroup(t.Context(), "a", "r", fmt.Sprintf("/g%d", i)))
		logstest.Must(t, s.CreateStream(t.Context(), logs.Stream{Account: "a", Region: "r", Group: fmt.Sprintf("/g%d", i), Name: "s"}))
	}
	logstest.Must(t, s.DeleteGroup(t.Context(), "a", "r", "/g1"))
	logstest.Must(t, s.Close())
	path := filepath.Join(dir, "catalog")
	whole, err := os.ReadFile(path)
	logstest.Must(t, err)
	last := 0
	for cut := range len(whole) + 1 {
		logstest.Must(t, os.WriteFile(path, append(slices.Clone(whole[:cut]), make([]byte, cut%3*20)...), 0o600))
		s, err := Open(Config{Dir: dir})
		logstest.Must(t, err)
		groups, err := s.Groups(t.Context(), "a", "r", "", "", 10)
		logstest.Must(t, err)
		if len(groups) != last && len(groups) != last+1 && (cut != len(whole) || len(groups) != last-1) {
			t.Fatalf("cut %d: %d groups after %d", cut, len(groups), last)
		}
		last = len(groups)
		logstest.Must(t, s.CreateGroup(t.Context(), "a", "r", "/new"))
		logstest.Must(t, s.Close())
	}
	if last != 3 {
		t.Errorf("%d groups in the whole catalogue", last)
	}
}

const childEnv = "CLARY_SEGMENT_CHILD"

// TestKilled kills a process that appends to many streams: every line that it
// said was in is there, in order, once, and the offset agrees.
//
// It is not parallel: a process that is being started has, until its exec, the
// locks of the others' folders.
func TestKilled(t *testing.T) {
	if dir := os.Getenv(childEnv); dir != "" {
		child(t, dir)
		return
	}
	dir := t.TempDir()
	promised := make(map[string]int64)
	for round := range 6 {
		ctx, cancel := context.WithCancel(t.Context())
		cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestKilled$")
		cmd.Env = append(os.Environ(), childEnv+"="+dir)
		out, err := cmd.StdoutPipe()
		logstest.Must(t, err)
		logstest.Must(t, cmd.Start())
		sc := bufio.NewScanner(out)
		for n := 0; sc.Scan(); n++ {
			if stream, at, ok := strings.Cut(strings.TrimPrefix(sc.Text(), "in "), " "); ok && strings.HasPrefix(sc.Text(), "in ") {
				promised[stream], err = strconv.ParseInt(at, 10, 64)
				logstest.Must(t, err)
			}
			if n == 300+100*round {
				cancel() // SIGKILL
			}
		}
		_ = cmd.Wait()
		cancel()
		killedCheck(t, dir, promised)
	}
	if len(promised) != childStreams {
		t.Errorf("lines in %d streams", len(promised))
	}
}

const childStreams = 5

func childConfig(dir string) Config {
	return Config{Dir: dir, SegmentSize: 8 << 10, OpenFiles: 3, Loaded: 2}
}

func killedCheck(t *testing.T, dir string, promised map[string]int64) {
	t.Helper()
	s, err := Open(childConfig(dir))
	logstest.Must(t, err)
	defer s.Close() //nolint:errcheck // test
	for name, at := range promised {
		k := logstest.Stream("/g", name)
		have, err := s.Offset(t.Context(), k, "t")
		logstest.Must(t, err)
		got := texts(t, s, k)
		if have < at || int64(len(got)) != have {
			t.Fatalf("stream %s: %d lines at offset %d, promised %d", name, len(got), have, at)
		}
		for i, m := range got {
			if !strings.HasPrefix(m, strconv.Itoa(i)+" ") {
				t.Fatalf("stream %s: line %d is %.20q", name, i, m)
			}
		}
		list, err := s.Streams(t.Context(), k.Account, k.Region, "/g", name, "", false, false, 1)
		logstest.Must(t, err)
		if list[0].LastEvent != have {
			t.Fatalf("stream %s: last event %d, want %d", name, list[0].LastEvent, have)
		}
	}
}

// child appends until it is killed.
func child(t *testing.T, dir string) {
	t.Helper()
	s, err := Open(childConfig(dir))
	logstest.Must(t, err)
	var wg sync.WaitGroup
	for i := range childStreams {
		name := fmt.Sprintf("s%d", i)
		wg.Go(func() {
			k := logstest.Stream("/g", name)
			at, err := s.Offset(context.Background(), k, "t")
			for ; err == nil; at++ {
				err = s.Ingest(context.Background(), k, "t", at, at+1, []logs.Event{
					{Timestamp: at + 1, Message: fmt.Sprint(at, " ", strings.Repeat("x", int(at%300)))},
				})
				_, _ = io.WriteString(os.Stdout, fmt.Sprintf("in %s %d\n", name, at+1))
			}
			_, _ = io.WriteString(os.Stdout, fmt.Sprintln(err))
		})
	}
	wg.Wait()
}

// TestSyncer waits for what was appended to be written down, and then for
// quiet: the syncer must have nothing left to do.
func TestSyncer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, Config{Dir: dir})
	for i := range 40 { // more than are forced out one by one
		k := logstest.Stream("/g", fmt.Sprintf("s%d", i))
		logstest.Must(t, s.Ingest(t.Context(), k, "t", 0, 1, []logs.Event{{Timestamp: 1, Message: "m"}}))
	}
	idle := func() bool {
		s.sync.mu.Lock()
		defer s.sync.mu.Unlock()
		return len(s.sync.files)+len(s.sync.dirs)+len(s.sync.marked) == 0
	}
	waitFor(t, idle)
	waitFor(t, func() bool {
		s.cat.mu.Lock()
		size := s.cat.size
		s.cat.mu.Unlock()
		s.cat.syncing.Lock()
		defer s.cat.syncing.Unlock()
		return s.cat.synced == size
	})
	// What is written down now is all that a start has to read.
	again := open(t, Config{Dir: copyDir(t, dir)})
	for _, st := range again.groups[groupKey{logstest.Stream("/g", "").Account, logstest.Stream("/g", "").Region, "/g"}].streams {
		if st.marked.Load() || st.last.Load() != 1 {
			t.Errorf("stream %s: marked %v, last event %d", st.name, st.marked.Load(), st.last.Load())
		}
	}
}

func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(2 * time.Minute); !ok(); {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("did not come to pass")
		}
	}
}

// TestPacked checks that full segments end up compressed and are read back, and
// that their raw files go.
func TestPacked(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, Config{Dir: dir, SegmentSize: 64 << 10})
	k := logstest.Stream("/g", "s")
	var want []string
	for i := range int64(2000) {
		m := fmt.Sprintf("%d the same text again and again, which packs well", i)
		want = append(want, m)
		logstest.Must(t, s.Ingest(t.Context(), k, "t", i, i+1, []logs.Event{{Timestamp: 1000 + i, Message: m}}))
	}
	waitFor(t, func() bool { return len(segments(t, dir, "log")) == 1 && len(segments(t, dir, "zst")) > 1 })
	for range 2 {
		if got := texts(t, s, k); !slices.Equal(got, want) {
			t.Fatalf("%d lines", len(got))
		}
		got, err := s.Events(t.Context(), k, logs.Read{From: -1, FromHead: true, Start: 1500, End: 1502})
		logstest.Must(t, err)
		if len(got) != 2 || got[0].Seq != 500 {
			t.Errorf("by time: %+v", got)
		}
		got, err = s.Events(t.Context(), k, logs.Read{From: 700, Backward: true, Max: 3})
		logstest.Must(t, err)
		if len(got) != 3 || got[0].Seq != 697 {
			t.Errorf("backward: %+v", got)
		}
		logstest.Must(t, s.Close())
		s = open(t, Config{Dir: dir, SegmentSize: 64 << 10})
	}
	logstest.Must(t, s.DeleteStream(t.Context(), k))
	if left := append(segments(t, dir, "log"), segments(t, dir, "zst")...); len(left) > 0 {
		t.Errorf("left after deletion: %v", left)
	}
}

// TestBounds checks that open files and streams in memory stay few.
func TestBounds(t *testing.T) {
	t.Parallel()
	s := open(t, Config{Dir: t.TempDir(), OpenFiles: 4, Loaded: 8})
	for i := range 200 {
		k := logstest.Stream("/g", fmt.Sprintf("s%d", i))
		logstest.Must(t, s.Ingest(t.Context(), k, "t", 0, 1, []logs.Event{{Timestamp: 1, Message: "m"}}))
		s.files.mu.Lock()
		n := len(s.files.open)
		s.files.mu.Unlock()
		if n > 5 {
			t.Fatalf("%d files open", n)
		}
	}
	waitFor(t, func() bool {
		s.sync.mu.Lock()
		defer s.sync.mu.Unlock()
		return len(s.sync.marked) == 0
	})
	for i := range 20 { // none of them is being written to any more
		if got := texts(t, s, logstest.Stream("/g", fmt.Sprintf("s%d", i))); len(got) != 1 {
			t.Fatal(got)
		}
	}
	waitFor(t, func() bool {
		s.loaded.mu.Lock()
		defer s.loaded.mu.Unlock()
		return s.loaded.order.Len() <= 8
	})
}

// TestCompact writes the catalogue anew under appends.
func TestCompact(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, Config{Dir: dir})
	const streams, lines = 10, 100
	var wg sync.WaitGroup
	for i := range streams {
		wg.Go(func() {
			k := logstest.Stream(fmt.Sprintf("/g%d", i%3), fmt.Sprintf("s%d", i))
			for n := range int64(lines) {
				if err := s.Ingest(t.Context(), k, "t", n, n+1, []logs.Event{{Timestamp: n + 1, Message: "m"}}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 20 {
		logstest.Must(t, s.compact())
	}
	wg.Wait()
	crashed := open(t, Config{Dir: copyDir(t, dir)})
	logstest.Must(t, s.compact())
	logstest.Must(t, s.Close())
	for _, s := range []*Store{crashed, open(t, Config{Dir: dir})} {
		for i := range streams {
			k := logstest.Stream(fmt.Sprintf("/g%d", i%3), fmt.Sprintf("s%d", i))
			if got := texts(t, s, k); len(got) != lines {
				t.Errorf("stream %d: %d lines", i, len(got))
			}
		}
	}
}

func TestInUse(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, Config{Dir: dir})
	if _, err := Open(Config{Dir: dir}); !errors.Is(err, logs.ErrInUse) {
		t.Errorf("opened twice: %v", err)
	}
	logstest.Must(t, s.Close())
	logstest.Must(t, s.Close())
	if err := s.Ingest(t.Context(), logstest.Stream("/g", "s"), "t", 0, 1, nil); !errors.Is(err, os.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// FuzzRecord checks that no bytes crash the readers, and that what is written
// is read back.
func FuzzRecord(f *testing.F) {
	b := appendBatch(nil, 7, &batch{seq: 3, ingestion: 5, task: "t", next: 9}, []logs.Event{{Timestamp: 1, Message: "a"}, {Timestamp: -4, Message: ""}})
	f.Add(b, int64(1), "x", "y")
	f.Add(head{account: "a", name: "n", offsets: []offset{{"t", 1}}}.append(nil, 7), int64(0), "", "")
	f.Fuzz(func(t *testing.T, raw []byte, ts int64, m1, m2 string) {
		if payload, _, err := next(raw, 7); err == nil {
			_, _ = readHead(payload)
		}
		if b, rest, ok := readBatch(raw); ok {
			b.each(rest, string(rest), func(logs.Event) bool { return true })
		}
		_, _ = readHead(raw)
		ts %= 1 << 60
		events := []logs.Event{{Timestamp: ts, Message: m1, Seq: 3}, {Timestamp: ts / 2, Message: m2, Seq: 4}}
		payload, _, err := next(appendBatch(nil, 7, &batch{seq: 3, task: m2, next: 9}, events), 7)
		if err != nil {
			t.Fatal(err)
		}
		got, rest, ok := readBatch(payload)
		if !ok || got.task != m2 || got.next != 9 || got.min != min(ts, ts/2) || got.max != max(ts, ts/2) {
			t.Fatalf("%+v, %v", got, ok)
		}
		i := 0
		got.each(rest, string(rest), func(e logs.Event) bool {
			if e != events[i] {
				t.Fatalf("event %+v, want %+v", e, events[i])
			}
			i++
			return true
		})
		if i != 2 {
			t.Fatalf("%d events", i)
		}
	})
}
