// Package client speaks to Clary as an AWS client does: signed JSON calls and
// S3. The command line and stage share it. It holds no AWS SDK and no state
// beyond its connections, and it never follows a redirect. Start at New.
package client

import (
	"context"
	"net"
	"net/http"
	"strings"
	"time"
)

// Credentials sign a request.
type Credentials struct {
	AccessKeyID     string
	SecretAccessKey string
	SessionToken    string
	Expiration      time.Time // zero: never
}

// Config says where and as whom to call.
type Config struct {
	// Endpoint is http(s)://host[:port].
	Endpoint string
	// Dial replaces the dialling of Endpoint's address, for a unix socket.
	Dial func(ctx context.Context) (net.Conn, error)
	// Credentials is asked before every request. nil: requests are unsigned.
	Credentials func(ctx context.Context) (Credentials, error)
	Region      string
	// Transport replaces the connections altogether; Dial is then unused.
	Transport http.RoundTripper
	// UserAgent is sent when set.
	UserAgent string
}

// Client is safe for concurrent use.
type Client struct {
	cfg  Config
	http *http.Client
	pol  policy
}

// New makes a client; it dials nothing yet.
func New(cfg Config) *Client {
	cfg.Endpoint = strings.TrimRight(cfg.Endpoint, "/")
	rt := cfg.Transport
	if rt == nil {
		t := &http.Transport{
			MaxIdleConnsPerHost:   16,
			IdleConnTimeout:       30 * time.Second,
			ResponseHeaderTimeout: 5 * time.Minute,
			DisableCompression:    true,
		}
		if cfg.Dial != nil {
			dial := func(ctx context.Context, _, _ string) (net.Conn, error) { return cfg.Dial(ctx) }
			t.DialContext = dial
		} else {
			t.Proxy = nil
			t.DialContext = (&net.Dialer{Timeout: 10 * time.Second}).DialContext
		}
		rt = t
	}
	return &Client{
		cfg: cfg,
		http: &http.Client{
			Transport:     rt,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		pol: policy{patience: 20 * time.Second, refusals: 10 * time.Minute, base: 50 * time.Millisecond, most: 3 * time.Second},
	}
}

// Patient returns a client on the same connections that keeps trying for d
// when the server is away, and for ten minutes at most when it answers 5xx.
// notice, if not nil, is told the error before each wait.
func (c *Client) Patient(d time.Duration, notice func(error)) *Client {
	n := *c
	n.pol.patience = d
	n.pol.notice = notice
	return &n
}

// Region is the configured region.
func (c *Client) Region() string { return c.cfg.Region }

// Close drops idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }
