package sqlite

import "strings"

// place is where a listing of objects or uploads begins: the first row that
// is not before it, by key and then by id, both in the order of their bytes.
type place struct{ key, id string }

// walk is one page of a listing with prefixes rolled up.
type walk struct {
	prefix, delimiter string
	max               int
}

// runOn is how many rows below a prefix are stepped over before the walk
// seeks past them: small folders are cheaper to step through than to seek.
const runOn = 16

// walked is what a page holds. last is the key or prefix that it ends with,
// and lastID the id beside it; more says that there are others behind it.
type walked[T any] struct {
	rows         []T
	prefixes     []string
	last, lastID string
	more         bool
}

// roll walks rows from start. scan yields rows with start <= (key, id) and key
// < end (end "" is none) until yield returns false.
func roll[T any](w walk, start place, at func(T) place, scan func(start place, end string, yield func(T) bool) error) (walked[T], error) {
	var out walked[T]
	if w.max <= 0 {
		return out, nil
	}
	end := prefixEnd(w.prefix)
	if start.key < w.prefix {
		start = place{key: w.prefix}
	}
	for {
		inside := "" // the prefix that was rolled up last
		hidden := 0  // rows stepped over below it
		stopped := false
		err := scan(start, end, func(row T) bool {
			p := at(row)
			if inside != "" && strings.HasPrefix(p.key, inside) {
				hidden++
				stopped = hidden > runOn
				return !stopped
			}
			if len(out.rows)+len(out.prefixes) == w.max {
				out.more = true
				return false
			}
			if common, ok := w.common(p.key); ok {
				inside, hidden = common, 0
				out.prefixes = append(out.prefixes, common)
				out.last, out.lastID = common, ""
				return true
			}
			inside = ""
			out.rows = append(out.rows, row)
			out.last, out.lastID = p.key, p.id
			return true
		})
		if err != nil || !stopped {
			return out, err
		}
		next := prefixEnd(inside)
		if next == "" || (end != "" && next >= end) {
			return out, nil
		}
		start = place{key: next}
	}
}

// common gives what key is rolled up to.
func (w walk) common(key string) (string, bool) {
	if w.delimiter == "" {
		return "", false
	}
	i := strings.Index(key[len(w.prefix):], w.delimiter)
	if i < 0 {
		return "", false
	}
	return key[:len(w.prefix)+i+len(w.delimiter)], true
}

// after is the first place behind a key, or behind all of a prefix that an
// earlier page rolled up.
func (w walk) after(key, id string) place {
	switch {
	case key == "":
		return place{}
	case id != "":
		return place{key: key, id: id + "\x00"}
	case strings.HasPrefix(key, w.prefix):
		if common, ok := w.common(key); ok && common == key {
			if end := prefixEnd(key); end != "" {
				return place{key: end}
			}
		}
	}
	return place{key: key + "\x00"}
}

// prefixEnd is the least string behind all that start with prefix, "" when
// there is none.
func prefixEnd(prefix string) string {
	b := []byte(prefix)
	for i := len(b) - 1; i >= 0; i-- {
		if b[i] != 0xFF {
			b[i]++
			return string(b[:i+1])
		}
	}
	return ""
}
