package courier

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"clary/internal/outbox"
)

const (
	// webTime is SNS's: about 15 seconds
	// (https://docs.aws.amazon.com/sns/latest/dg/SendMessageToHttp.prepare.html).
	webTime   = 15 * time.Second
	mostBody  = 64 << 10 // of an answer
	mostHead  = 64 << 10
	idleConns = 30 * time.Second
)

// Guard says which addresses receivers may have.
type Guard struct {
	// Own lists the addresses of this machine; it is asked at each dial.
	Own func() []netip.Addr
	// Ports are those on which this server listens.
	Ports []uint16
	// Tasks is what the account's tasks are held to; it judges strict deliveries
	// as well. nil: nothing strict is sent.
	Tasks func(netip.Addr) error
}

// metadata are addresses beside the link-local ones at which clouds tell
// machines their secrets: Azure, Alibaba, Oracle, and AWS by IPv6.
var metadata = []netip.Addr{ //nolint:gochecknoglobals // a constant table
	netip.MustParseAddr("168.63.129.16"), netip.MustParseAddr("100.100.100.200"), netip.MustParseAddr("192.0.0.192"), netip.MustParseAddr("fd00:ec2::254"),
}

// embedded are IPv6 ranges whose addresses carry an IPv4 address at a byte.
var embedded = map[netip.Prefix]int{ //nolint:gochecknoglobals // a constant table
	netip.MustParsePrefix("64:ff9b::/96"): 12, netip.MustParsePrefix("2002::/16"): 2, netip.MustParsePrefix("::/96"): 12,
}

// check refuses an address that no receiver may have.
func (g *Guard) check(ap netip.AddrPort) error {
	a := ap.Addr().Unmap().WithZone("")
	for p, at := range embedded {
		if b := a.As16(); a.Is6() && p.Contains(a) && !a.IsLoopback() && !a.IsUnspecified() {
			if err := g.check(netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[at:at+4])), ap.Port())); err != nil {
				return err
			}
		}
	}
	if a.IsLinkLocalUnicast() || a.IsMulticast() || slices.Contains(metadata, a) || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		return fmt.Errorf("nothing is sent to %s: it is link-local, a cloud's metadata or not one machine", a)
	}
	own := a.IsLoopback() || a.IsUnspecified() || g.Own != nil && slices.ContainsFunc(g.Own(), func(o netip.Addr) bool { return o.Unmap().WithZone("") == a })
	if own && slices.Contains(g.Ports, ap.Port()) {
		return fmt.Errorf("nothing is sent to %s: it is this server", ap)
	}
	return nil
}

// Literal refuses an address that is written as one that no receiver may have.
// What a name leads to is seen when it is dialled.
func (g *Guard) Literal(address string) error {
	u, err := url.Parse(address)
	if err != nil {
		return errors.New("it is no address")
	}
	ip, err := netip.ParseAddr(u.Hostname())
	if err != nil {
		return nil //nolint:nilerr // a name
	}
	port, err := strconv.ParseUint(cmp.Or(u.Port(), map[string]string{"http": "80"}[u.Scheme], "443"), 10, 16)
	if err != nil {
		return errors.New("its port is none")
	}
	return g.check(netip.AddrPortFrom(ip, uint16(port)))
}

// control is net.Dialer's hook: it sees the very address that is dialled, after
// names were resolved.
func (g *Guard) control(strict bool) func(_, address string, _ syscall.RawConn) error {
	return func(_, address string, _ syscall.RawConn) error {
		ap, err := netip.ParseAddrPort(address)
		if err == nil {
			err = g.check(ap)
		}
		if err == nil && strict {
			err = g.strict(ap.Addr())
		}
		if err != nil {
			return &outbox.Final{Err: err}
		}
		return nil
	}
}

func (g *Guard) strict(a netip.Addr) error {
	if g.Tasks == nil {
		return errors.New("nothing is sent for others than the account itself")
	}
	return g.Tasks(a)
}

// Web delivers by http and https.
type Web struct {
	client, strict *http.Client // apart, so that no connection of the one serves the other
}

// NewWeb makes it. roots are whom receivers' certificates are trusted of; nil:
// whom the system trusts.
func NewWeb(g Guard, roots *x509.CertPool) *Web {
	return &Web{newClient(g.control(false), roots), newClient(g.control(true), roots)}
}

func newClient(control func(_, _ string, _ syscall.RawConn) error, roots *x509.CertPool) *http.Client {
	dialer := &net.Dialer{Timeout: webTime, Control: control}
	return &http.Client{
		Transport: &http.Transport{
			DialContext: dialer.DialContext, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
			MaxIdleConnsPerHost: perReceiver, IdleConnTimeout: idleConns, MaxResponseHeaderBytes: mostHead, DisableCompression: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Send implements Sender. A receiver that answers 5xx or 429, or nothing, is
// asked again; any other answer but 2xx is its last word, as on SNS.
func (w *Web) Send(ctx context.Context, _ string, d *outbox.Delivery) error {
	ctx, cancel := context.WithTimeout(ctx, webTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.To, strings.NewReader(d.Body))
	if err != nil {
		return &outbox.Final{Err: errors.New("the address cannot be read")} // it may hold a password
	}
	for k, v := range d.Headers {
		req.Header.Set(k, v)
	}
	client := w.client
	if d.Strict {
		client = w.strict
	}
	res, err := client.Do(req)
	if err != nil {
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err // what is around it holds the address
		}
		if errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("no answer within %s", webTime)
		}
		return err
	}
	defer res.Body.Close()
	_, _ = io.CopyN(io.Discard, res.Body, mostBody) // so that the connection can be kept; the status is all that counts
	said := fmt.Sprintf("the receiver answered %d %s", res.StatusCode, http.StatusText(res.StatusCode))
	switch c := res.StatusCode; {
	case c >= 200 && c <= 299:
		return nil
	case c == http.StatusTooManyRequests, c >= 500:
		return errors.New(said)
	case c >= 300 && c <= 399:
		return &outbox.Final{Err: errors.New(said + "; redirects are not followed")}
	default:
		return &outbox.Final{Err: errors.New(said)}
	}
}
