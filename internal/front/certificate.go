package front

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// lookEvery is how often handshakes have the files looked at.
const lookEvery = time.Second

// Certificate is an operator's own, read anew when its files change.
type Certificate struct {
	certFile, keyFile string
	log               *slog.Logger

	mu     sync.Mutex // guards what follows
	pair   *tls.Certificate
	stamp  [2]fileStamp
	looked time.Time
}

// fileStamp changes when a file is written or replaced.
type fileStamp struct {
	info os.FileInfo
}

func (s fileStamp) same(o fileStamp) bool {
	return os.SameFile(s.info, o.info) && s.info.ModTime().Equal(o.info.ModTime()) && s.info.Size() == o.info.Size()
}

// LoadCertificate reads a certificate chain and its key, both PEM.
func LoadCertificate(certFile, keyFile string, log *slog.Logger) (*Certificate, error) {
	c := &Certificate{certFile: certFile, keyFile: keyFile, log: log}
	c.mu.Lock()
	defer c.mu.Unlock()
	stamp, err := c.stat()
	if err != nil {
		return nil, err
	}
	return c, c.read(stamp)
}

func (c *Certificate) stat() (out [2]fileStamp, err error) {
	for i, name := range []string{c.certFile, c.keyFile} {
		if out[i].info, err = os.Stat(name); err != nil {
			return out, fmt.Errorf("certificate: %w", err)
		}
	}
	return out, nil
}

// read takes the files as they are now; what cannot be used leaves the last
// good pair in place.
func (c *Certificate) read(stamp [2]fileStamp) error {
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return fmt.Errorf("certificate %s with key %s: %w", c.certFile, c.keyFile, err)
	}
	c.pair, c.stamp = &pair, stamp
	return nil
}

// Reload reads the files now, changed or not.
func (c *Certificate) Reload() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	stamp, err := c.stat()
	if err != nil {
		return err
	}
	return c.read(stamp)
}

// Names are the certificate's host names and addresses, without wildcards.
func (c *Certificate) Names() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []string
	for _, n := range c.pair.Leaf.DNSNames {
		if len(n) > 0 && n[0] != '*' {
			out = append(out, n)
		}
	}
	for _, ip := range c.pair.Leaf.IPAddresses {
		out = append(out, ip.String())
	}
	return out
}

// Covers says whether the certificate is good for a host name.
func (c *Certificate) Covers(name string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pair.Leaf.VerifyHostname(name) == nil
}

// current is the pair that the files hold. A pair half replaced does not fit
// together: the last good one serves until it does.
func (c *Certificate) current() *tls.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if now.Sub(c.looked) < lookEvery {
		return c.pair
	}
	c.looked = now
	stamp, err := c.stat()
	if err == nil && stamp[0].same(c.stamp[0]) && stamp[1].same(c.stamp[1]) {
		return c.pair
	}
	if err == nil {
		err = c.read(stamp)
	}
	if err != nil {
		c.log.Warn("the certificate could not be read again; the last good one serves", "err", err)
		return c.pair
	}
	c.log.Info("the certificate was read again", "expires", c.pair.Leaf.NotAfter)
	return c.pair
}

// serverConfig serves this certificate for its own names, and as other says for
// the rest. A nil Certificate leaves other as it is.
func (c *Certificate) serverConfig(other *tls.Config) *tls.Config {
	if c == nil {
		return other
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
	cfg.GetCertificate = func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
		pair := c.current()
		if other == nil || h.ServerName != "" && pair.Leaf.VerifyHostname(h.ServerName) == nil {
			return pair, nil
		}
		return other.GetCertificate(h)
	}
	return cfg
}
