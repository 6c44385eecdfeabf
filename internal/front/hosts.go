package front

import (
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strings"
)

// place is what a Host header leads to.
type place struct {
	bucket string // in the host's name, else ""
}

// hostRules say which names are ours. A name that is not leads nowhere: a web
// page whose name was pointed at this machine must not reach it.
type hostRules struct {
	names    []string
	suffixes []string // with a dot before them
}

func newHostRules(names, suffixes []string) *hostRules {
	h := &hostRules{names: []string{"localhost"}}
	for _, n := range names {
		h.names = append(h.names, strings.ToLower(n))
	}
	for _, s := range suffixes {
		h.suffixes = append(h.suffixes, "."+strings.Trim(strings.ToLower(s), "."))
	}
	// the longest first, so that b.s3.localhost is b
	h.suffixes = append(h.suffixes, ".s3.localhost", ".localhost")
	slices.SortFunc(h.suffixes, func(a, b string) int { return len(b) - len(a) })
	return h
}

// reserved names below localhost are never buckets.
func reserved(label string) bool {
	return label == "console" || strings.HasPrefix(label, "nb-") || label == "s3"
}

// place judges host as it came on c.
func (h *hostRules) place(host string, c *conn) (place, bool) {
	name, ok := hostName(host)
	if !ok {
		return place{}, false
	}
	if c.ended != "" {
		// inside a TLS that we ended, the name must be the one that was asked for
		return place{}, name == c.ended
	}
	if ip, err := netip.ParseAddr(name); err == nil {
		return place{}, ip.Unmap().IsLoopback()
	}
	if slices.Contains(h.names, name) || c.from == fromTask && name == "clary" {
		return place{}, true
	}
	for _, s := range h.suffixes {
		if b, ok := strings.CutSuffix(name, s); ok && b != "" {
			if s == ".localhost" && (reserved(b) || strings.HasSuffix(b, ".s3")) {
				return place{}, b == "s3"
			}
			return place{bucket: b}, true
		}
	}
	return place{}, false
}

// hostName is the name in a Host header, lower-case, without port and without
// brackets.
func hostName(host string) (string, bool) {
	if host == "" || len(host) > 300 {
		return "", false
	}
	name := host
	if h, port, err := net.SplitHostPort(host); err == nil {
		for _, c := range []byte(port) {
			if c < '0' || c > '9' {
				return "", false
			}
		}
		name = h
	} else if strings.Contains(host, ":") {
		var open, closed bool
		name, open = strings.CutPrefix(host, "[")
		if name, closed = strings.CutSuffix(name, "]"); !open || !closed {
			return "", false
		}
	}
	name = strings.TrimSuffix(strings.ToLower(name), ".")
	if strings.ContainsAny(name, "/\\@?#% \t") || name == "" {
		return "", false
	}
	return name, true
}

var stsHost = regexp.MustCompile(`^sts\.([a-z]{2}(-[a-z]+)+-[0-9]{1,2}\.)?amazonaws\.com$`) //nolint:gochecknoglobals // a constant pattern

// endsTLS says whether a tunnel to host ends here.
func endsTLS(host string) bool { return stsHost.MatchString(host) }
