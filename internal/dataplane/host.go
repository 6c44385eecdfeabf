package dataplane

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strings"

	"golang.org/x/net/publicsuffix"

	"clary/internal/aws/apierr"
	"clary/internal/aws/op"
)

// A notebook instance's host name is one label of its own before the domain:
// names below a common one would be one site to a browser, and share cookies.
const labelPrefix = "nb-"

var (
	uidForm    = regexp.MustCompile(`^[a-z2-7]{26}$`)                                                           //nolint:gochecknoglobals // a constant pattern
	domainForm = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?$`) //nolint:gochecknoglobals // a constant pattern
)

// uidOf is the UID in a host name, or "".
func uidOf(host string) string {
	label, _, _ := strings.Cut(host, ".")
	uid, ok := strings.CutPrefix(strings.ToLower(label), labelPrefix)
	if !ok || !uidForm.MatchString(uid) {
		return ""
	}
	return uid
}

// originOf is the origin that a page has which this request would load.
func originOf(r *http.Request) string {
	if r.TLS != nil {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

// base is where the caller's browser finds a notebook instance: on this machine
// by a name below localhost, which browsers lead to loopback and count as
// secure, from elsewhere below the operator's domain.
func (p *Plane) base(c op.Call, uid string) (string, error) {
	u, err := url.Parse(c.Host)
	if err != nil {
		return "", fmt.Errorf("the address %q of a call: %w", c.Host, err)
	}
	host, port := strings.TrimSuffix(strings.ToLower(u.Hostname()), "."), u.Port()
	if c.FromTask {
		port = p.cfg.Port // what a task dials is its relay
	}
	ip, err := netip.ParseAddr(host)
	near := u.Scheme == "http" || host == "localhost" || strings.HasSuffix(host, ".localhost") || err == nil && ip.Unmap().IsLoopback()
	switch {
	case near && (!c.FromTask || p.cfg.Suffix == ""):
		if port == "" && u.Scheme == "https" {
			port = "443"
		}
		return "http://" + withPort(labelPrefix+uid+".localhost", port), nil
	case p.cfg.Suffix == "":
		return "", apierr.Validation("This server has no host names for notebook instances that other machines can reach. Its operator gives them some with --notebook-suffix; or call it through its loopback address, by a tunnel.")
	}
	return "https://" + withPort(labelPrefix+uid+"."+p.cfg.Suffix, port), nil
}

func withPort(host, port string) string {
	if port == "" {
		return host
	}
	return net.JoinHostPort(host, port)
}

// CheckSuffix says whether notebook instances may have their names below an
// operator's domain. A notebook's page can set cookies for the whole of its
// registrable domain, so the console's must not lie there; nor may names of
// buckets, given by their own suffixes, be mistaken for notebooks'.
func CheckSuffix(suffix, console string, buckets ...string) error {
	if !domainForm.MatchString(suffix) || len(suffix) > 200 {
		return fmt.Errorf("%q is not a domain of two labels or more, in small letters", suffix)
	}
	public, official := publicsuffix.PublicSuffix(suffix)
	if public == suffix && official {
		return fmt.Errorf("%s is a public suffix, which nobody owns; give a domain of your own", suffix)
	}
	if below(suffix, "localhost") {
		return fmt.Errorf("%s is below localhost, where this machine's browsers find notebooks anyway", suffix)
	}
	own, err := publicsuffix.EffectiveTLDPlusOne("nb." + suffix)
	theirs, _ := publicsuffix.EffectiveTLDPlusOne(console) // "" for a name that is public itself
	if err != nil || theirs == own {
		return fmt.Errorf("%s has the registrable domain of the console, %s: a notebook's page could set the console's cookies; give a domain apart", suffix, own)
	}
	for _, b := range buckets {
		b = strings.Trim(strings.ToLower(b), ".")
		if below(suffix, b) || below(b, suffix) {
			return fmt.Errorf("%s and the bucket suffix %s lie one below the other", suffix, b)
		}
	}
	return nil
}

func below(name, domain string) bool { return name == domain || strings.HasSuffix(name, "."+domain) }

// Site is the host under which an instance says that it is found.
func (p *Plane) Site(uid string) string {
	if p.cfg.Suffix != "" {
		return labelPrefix + uid + "." + p.cfg.Suffix
	}
	return withPort(labelPrefix+uid+".localhost", p.cfg.Port)
}
