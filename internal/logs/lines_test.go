package logs

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"
	"unicode/utf8"
)

func readLines(r io.Reader, from int64) (out []line, err error) {
	l := newLines(r, from)
	for {
		batch, err := l.next()
		out = append(out, batch...)
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return out, err
		}
	}
}

func TestLines(t *testing.T) {
	t.Parallel()
	got, err := readLines(strings.NewReader("5 a\n6 \nno stamp\n7 b\rc\n8 \xff\n9 end"), 100)
	if err != nil {
		t.Fatal(err)
	}
	want := []line{
		{100, 104, 5, "a"}, {104, 107, 6, ""}, {107, 116, 6, "no stamp"}, {116, 122, 7, "b\rc"}, {122, 126, 8, "\uFFFD"}, {126, 131, 9, "end"},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
}

// FuzzLines checks that lines do not depend on how reads cut them, and cover
// every byte once.
func FuzzLines(f *testing.F) {
	f.Add([]byte("1 a\n2 b\n"))
	f.Add([]byte("\n\n x"))
	f.Add([]byte("99999999999999999999 a\n" + strings.Repeat("y", 9000) + "\n3 z"))
	f.Fuzz(func(t *testing.T, b []byte) {
		whole, err := readLines(bytes.NewReader(b), 0)
		if err != nil {
			t.Fatal(err)
		}
		single, err := readLines(iotest.OneByteReader(bytes.NewReader(b)), 0)
		if err != nil {
			t.Fatal(err)
		}
		now := time.Now().Add(-time.Hour).UnixMilli()
		same := func(x, y line) bool {
			if x.ms > now && y.ms > now { // a first line without a stamp
				x.ms, y.ms = 0, 0
			}
			return x == y
		}
		if !slices.EqualFunc(whole, single, same) {
			t.Fatalf("%v, byte by byte %v", whole, single)
		}
		at := int64(0)
		for _, l := range whole {
			if l.start != at || l.end <= l.start || !utf8.ValidString(l.text) {
				t.Fatalf("line %+v at %d", l, at)
			}
			at = l.end
		}
		if at != int64(len(b)) {
			t.Fatalf("covered %d of %d bytes", at, len(b))
		}
	})
}

func TestLongLine(t *testing.T) {
	t.Parallel()
	long := "1 " + strings.Repeat("x", 3<<20) + "\n2 y\n"
	got, err := readLines(strings.NewReader(long), 0)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(got); n < 3 || got[n-1].text != "y" || got[n-1].end != int64(len(long)) {
		t.Errorf("%d lines", len(got))
	}
}
