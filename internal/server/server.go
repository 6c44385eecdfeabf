package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	"clary/internal/dataplane"
	"clary/internal/front"
)

// Config is what an operator chooses; the zero value of each member is the
// default.
type Config struct {
	Data            string // folder of everything durable
	Listen          string // 127.0.0.1:2527
	Account         string // 123456789012
	Region          string // us-east-1: where `clary env` points clients
	StrictRoles     bool
	HoldDescribe    time.Duration
	LogLevel        slog.Level
	TaskEgress      bool           // jobs reach the outside through a filtered proxy
	TaskEgressAllow []netip.Prefix // private ranges that jobs may reach too
	InstanceScale   float64        // divides the sizes of instance types
	Prices          string         // a price file of the operator's own; its rows replace the built-in ones
	WheelIndex      string         // of packages, for wheels that come in kinds; "": the package index
	TLSCert, TLSKey string         // PEM files; without them nothing is served beyond loopback
	Hosts           []string       // names and addresses that clients reach the server by, beside the certificate's
	BucketSuffixes  []string       // domains below which a host name is a bucket
	NotebookSuffix  string         // the domain below which other machines find notebook instances
	NotebookIdle    time.Duration  // notebook instances that nobody uses for so long are stopped; 0: never

	// Letters go by SMTP, an address like smtp://user@host:port; "": they wait.
	SMTP, SMTPPassword, MailFrom string

	// Of InvokeEndpoint; 0: as the router has them.
	InvokePayload                      int64 // bytes, of a request and of an answer
	InvokeInFlight                     int64 // bytes of all of them at a time
	InvokeTimeout, InvokeStreamTimeout time.Duration

	Replace bool // take the place of the server that runs on Data; Listen "": where that one listens
}

const (
	defaultListen  = "127.0.0.1:2527"
	defaultAccount = "123456789012"
	defaultRegion  = "us-east-1"
	drain          = 5 * time.Second // for requests in flight when the server stops
	maxSocketPath  = 107             // bytes, on Linux
	lockWait       = 2 * time.Second
)

func (c *Config) complete() error {
	if c.Data == "" {
		return errors.New("no data folder given")
	}
	abs, err := filepath.Abs(c.Data)
	if err != nil {
		return err
	}
	c.Data = abs
	if n := len(c.Data) + len("/run/task.sock"); n > maxSocketPath {
		return fmt.Errorf("the path of the data folder %s is %d bytes too long for a socket below it; choose a shorter one", c.Data, n-maxSocketPath)
	}
	if (c.TLSCert == "") != (c.TLSKey == "") {
		return errors.New("--tls-cert and --tls-key are given together or not at all")
	}
	if c.Listen == "" && !c.Replace {
		c.Listen = defaultListen
	}
	if c.Listen != "" {
		if err := c.checkListen(); err != nil {
			return err
		}
	}
	if c.NotebookSuffix != "" {
		if c.TLSCert == "" {
			return errors.New("--notebook-suffix needs --tls-cert and --tls-key: notebook instances are reached from other machines over TLS alone")
		}
		if err := dataplane.CheckSuffix(c.NotebookSuffix, front.ConsoleName, c.BucketSuffixes...); err != nil {
			return fmt.Errorf("--notebook-suffix: %w", err)
		}
	}
	if _, err := c.mailer(); err != nil {
		return fmt.Errorf("--smtp: %w", err)
	}
	if c.SMTP == "" && c.MailFrom != "" {
		return errors.New("--mail-from needs --smtp: there is no mail server to send letters by")
	}
	if c.Account == "" {
		c.Account = defaultAccount
	}
	if c.Region == "" {
		c.Region = defaultRegion
	}
	return nil
}

func (c *Config) checkListen() error {
	addr, err := net.ResolveTCPAddr("tcp", c.Listen)
	if err != nil {
		return fmt.Errorf("listen on %s: %w; an address is HOST:PORT, such as %s", c.Listen, err, defaultListen)
	}
	if !addr.IP.IsLoopback() && c.TLSCert == "" {
		return fmt.Errorf("listen on %s: other machines can reach this address, so a certificate is needed: give --tls-cert and --tls-key, or listen on a loopback address such as %s", c.Listen, defaultListen)
	}
	return nil
}

// Run serves until ctx is done, or until another server has taken its place.
// ready is called with the address once requests are answered. What runs in
// tasks goes on when Run returns, and is found again by the next Run on the
// same data folder.
func Run(ctx context.Context, cfg Config, ready func(addr string)) error {
	if err := cfg.complete(); err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: cfg.LogLevel}))
	p, before, err := enter(ctx, &cfg, log)
	if err != nil {
		return err
	}
	defer p.close()
	defer memory()()
	var said sync.Once
	var gone sync.WaitGroup // servers of this process that another one was to replace, and did not
	defer gone.Wait()
	for failed := (*heir)(nil); ; {
		h, err := serveOnce(ctx, cfg, p, failed, func() {
			before.serves()
			said.Do(func() {
				if ready != nil {
					ready(local(p.users))
				}
			})
		})
		if h == nil {
			before.fails(err)
			return err
		}
		if h.succeeds(ctx) {
			p.close()
			h.linger(ctx)
			return nil
		}
		if err := h.resume(p, cfg.Data); err != nil {
			return err
		}
		gone.Go(func() { h.finish(ctx) })
		failed = h
		cfg.Replace = true // what goes on of the one before is of a server before this one
	}
}

// serveOnce serves until ctx is done, or until another server is to take the
// place: then it returns that one, and the data are free for it.
func serveOnce(ctx context.Context, cfg Config, p *place, before *heir, ready func()) (*heir, error) {
	r, err := open(ctx, cfg, local(p.users))
	if err != nil {
		return nil, err
	}
	h, err := r.serve(ctx, p, before, ready)
	r.close()
	if h != nil {
		p.release()
		h.released()
	}
	return h, err
}
