// Package client speaks to Clary as an AWS client does: signed JSON calls and
// S3. The command line and stage share it. It holds no AWS SDK and no state
// beyond its connections. Start at New.
package client

import (
	"context"
	"net"
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
	// Credentials is asked before every request.
	Credentials func(ctx context.Context) (Credentials, error)
	Region      string
}

// Client is safe for concurrent use.
type Client struct {
	cfg Config
}

// New makes a client; it dials nothing yet.
func New(cfg Config) *Client { return &Client{cfg: cfg} }
