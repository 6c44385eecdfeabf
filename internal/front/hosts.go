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
	bucket   string // in the host's name, else ""
	console  bool
	notebook bool
}

// ConsoleName is the only name under which a browser finds the console: what
// it may read is never served on an address, whose cookies all ports share.
const ConsoleName = "console.localhost"

// notebookLabel is what a notebook instance's name begins with: one label
// before the domain, so that each is a site of its own.
var notebookLabel = regexp.MustCompile(`^nb-[a-z2-7]{26}$`) //nolint:gochecknoglobals // a constant pattern

// hostRules say which names are ours. A name that is not leads nowhere: a web
// page whose name was pointed at this machine must not reach it.
type hostRules struct {
	names     []string
	suffixes  []string // with a dot before them
	notebooks string   // as well, or ""
}

func newHostRules(names, suffixes []string, notebooks string) *hostRules {
	h := &hostRules{names: []string{"localhost"}}
	if notebooks != "" {
		h.notebooks = "." + strings.Trim(strings.ToLower(notebooks), ".")
	}
	for _, n := range names {
		if ip, err := netip.ParseAddr(n); err == nil {
			n = ip.Unmap().String()
		}
		h.names = append(h.names, strings.TrimSuffix(strings.ToLower(n), "."))
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
	if end := c.name(); end != "" {
		// inside a TLS that we ended, the name must be the one that was asked for
		if name != end {
			return place{}, false
		}
		bucket, _ := s3Host(name)
		return place{bucket: bucket}, true
	}
	if ip, err := netip.ParseAddr(name); err == nil {
		return place{}, ip.Unmap().IsLoopback() || slices.Contains(h.names, ip.Unmap().String())
	}
	if slices.Contains(h.names, name) || c.from == fromTask && name == "clary" {
		return place{}, true
	}
	if name == ConsoleName {
		return place{console: true}, c.from == fromUser // never from a task, nor beyond loopback
	}
	if label, domain, _ := strings.Cut(name, "."); notebookLabel.MatchString(label) {
		switch "." + domain {
		case ".localhost":
			return place{notebook: true}, c.from == fromUser // as the console
		case h.notebooks:
			// what is typed there goes over a network: never plain, nor a task's
			return place{notebook: true}, c.from != fromTask && c.scheme == "https"
		}
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

// s3Pattern are AWS's names of S3: the service's own, or a bucket's below it.
var s3Pattern = regexp.MustCompile(`^(?:([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])\.)?s3(?:[.-](?:dualstack\.)?[a-z]{2}(?:-[a-z]+)+-[0-9]{1,2})?\.amazonaws\.com$`) //nolint:gochecknoglobals // a constant pattern

// s3Host gives the bucket in an AWS name of S3, "" in the service's own.
func s3Host(name string) (bucket string, ok bool) {
	m := s3Pattern.FindStringSubmatch(name)
	if m == nil {
		return "", false
	}
	return m[1], true
}

func s3Name(name string) bool {
	_, ok := s3Host(name)
	return ok
}

// snsHost is where messages say that the certificate of their signature is.
var snsHost = regexp.MustCompile(`^sns\.[a-z]{2}(-[a-z]+)+-[0-9]{1,2}\.amazonaws\.com$`) //nolint:gochecknoglobals // a constant pattern

// endsTLS says whether a tunnel to host ends here.
func endsTLS(host string) bool { return stsHost.MatchString(host) || snsHost.MatchString(host) }
