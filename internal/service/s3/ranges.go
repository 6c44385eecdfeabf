package s3

import (
	"strconv"
	"strings"
)

// matches looks for an ETag in the list of an If-Match or If-None-Match.
func matches(list, etag string) bool {
	for one := range strings.SplitSeq(list, ",") {
		if one = strings.TrimSpace(one); one == "*" || unquote(one) == etag {
			return true
		}
	}
	return false
}

// parseRange reads a Range header. What is not one range of bytes is as good
// as absent (ok false); one that lies outside is not satisfiable.
func parseRange(header string, size int64) (from, length int64, ok, satisfiable bool) {
	spec, found := strings.CutPrefix(strings.TrimSpace(header), "bytes=")
	if !found {
		return 0, 0, false, true
	}
	first, last, found := strings.Cut(strings.TrimSpace(spec), "-")
	if !found || !digits(first) || !digits(last) || (first == "" && last == "") {
		return 0, 0, false, true
	}
	if first == "" {
		n := number(last)
		if n == 0 || size == 0 {
			return 0, 0, true, false
		}
		n = min(n, size)
		return size - n, n, true, true
	}
	from = number(first)
	end := size - 1
	if last != "" {
		n := number(last)
		if n < from {
			return 0, 0, false, true
		}
		end = min(end, n)
	}
	if from >= size {
		return 0, 0, true, false
	}
	return from, end - from + 1, true, true
}

func digits(s string) bool { return strings.Trim(s, "0123456789") == "" }

// number reads digits; what is too large for it is beyond any object's end.
func number(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 1<<63 - 1
	}
	return n
}
