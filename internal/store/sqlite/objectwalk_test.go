package sqlite

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// sorted is a table of keys that counts the rows it was asked for.
type sorted struct {
	keys []string
	read int
}

func (s *sorted) scan(start place, end string, yield func(string) bool) error {
	i, _ := slices.BinarySearch(s.keys, start.key)
	for ; i < len(s.keys) && (end == "" || s.keys[i] < end); i++ {
		s.read++
		if !yield(s.keys[i]) {
			return nil
		}
	}
	return nil
}

// TestRollSkips holds that a page costs what it shows, not what lies below its
// prefixes.
func TestRollSkips(t *testing.T) {
	t.Parallel()
	s := &sorted{}
	for folder := range 50 {
		for i := range 2000 {
			s.keys = append(s.keys, fmt.Sprintf("f%03d/%06d", folder, i))
		}
	}
	w := walk{delimiter: "/", max: 20}
	var prefixes []string
	after := ""
	for {
		page, err := roll(w, w.after(after, ""), func(k string) place { return place{key: k} }, s.scan)
		if err != nil {
			t.Fatal(err)
		}
		prefixes = append(prefixes, page.prefixes...)
		if !page.more {
			break
		}
		after = page.last
	}
	if len(prefixes) != 50 || prefixes[49] != "f049/" {
		t.Errorf("got %d prefixes: %q", len(prefixes), prefixes)
	}
	if most := 55 * (runOn + 2); s.read > most {
		t.Errorf("read %d rows, want at most %d", s.read, most)
	}
	s.read = 0
	w = walk{prefix: "f020/", max: 1000}
	if page, err := roll(w, w.after("f020/000500", ""), func(k string) place { return place{key: k} }, s.scan); err != nil || len(page.rows) != 1000 || page.rows[0] != "f020/000501" {
		t.Errorf("a flat page holds %d rows, %v", len(page.rows), err)
	}
	if s.read > 1001 {
		t.Errorf("a page of 1000 read %d rows", s.read)
	}
}

func TestPrefixEnd(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{"": "", "a": "b", "a/": "a0", "a\xff": "b", "\xff\xff": "", "ü": "\xc3\xbd"} {
		if got := prefixEnd(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
	rnd := rand.New(rand.NewPCG(3, 4))
	for range 2000 {
		p, k := randomBytes(rnd), randomBytes(rnd)
		end := prefixEnd(p)
		if inside := len(k) >= len(p) && k[:len(p)] == p; inside && end != "" && k >= end {
			t.Fatalf("%q starts with %q and is not before %q", k, p, end)
		} else if !inside && k > p && end != "" && k < end {
			t.Fatalf("%q does not start with %q and is before %q", k, p, end)
		}
	}
}

func randomBytes(rnd *rand.Rand) string {
	b := make([]byte, rnd.IntN(4))
	for i := range b {
		b[i] = []byte{0, 'a', 0xfe, 0xff}[rnd.IntN(4)]
	}
	return string(b)
}
