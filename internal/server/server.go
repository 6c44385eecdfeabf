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
	"syscall"
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
	TLSCert, TLSKey string         // PEM files; without them nothing is served beyond loopback
	Hosts           []string       // names and addresses that clients reach the server by, beside the certificate's
	BucketSuffixes  []string       // domains below which a host name is a bucket
	NotebookSuffix  string         // the domain below which other machines find notebook instances
	NotebookIdle    time.Duration  // notebook instances that nobody uses for so long are stopped; 0: never

	// Of InvokeEndpoint; 0: as the router has them.
	InvokePayload                      int64 // bytes, of a request and of an answer
	InvokeInFlight                     int64 // bytes of all of them at a time
	InvokeTimeout, InvokeStreamTimeout time.Duration
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
	if c.Listen == "" {
		c.Listen = defaultListen
	}
	addr, err := net.ResolveTCPAddr("tcp", c.Listen)
	if err != nil {
		return fmt.Errorf("listen on %s: %w; an address is HOST:PORT, such as %s", c.Listen, err, defaultListen)
	}
	if (c.TLSCert == "") != (c.TLSKey == "") {
		return errors.New("--tls-cert and --tls-key are given together or not at all")
	}
	if !addr.IP.IsLoopback() && c.TLSCert == "" {
		return fmt.Errorf("listen on %s: other machines can reach this address, so a certificate is needed: give --tls-cert and --tls-key, or listen on a loopback address such as %s", c.Listen, defaultListen)
	}
	if c.NotebookSuffix != "" {
		if c.TLSCert == "" {
			return errors.New("--notebook-suffix needs --tls-cert and --tls-key: notebook instances are reached from other machines over TLS alone")
		}
		if err := dataplane.CheckSuffix(c.NotebookSuffix, front.ConsoleName, c.BucketSuffixes...); err != nil {
			return fmt.Errorf("--notebook-suffix: %w", err)
		}
	}
	if c.Account == "" {
		c.Account = defaultAccount
	}
	if c.Region == "" {
		c.Region = defaultRegion
	}
	return nil
}

// Run serves until ctx is done. ready is called with the address once requests
// are answered. What runs in tasks goes on when Run returns, and is found
// again by the next Run on the same data folder.
func Run(ctx context.Context, cfg Config, ready func(addr string)) error {
	if err := cfg.complete(); err != nil {
		return err
	}
	unlock, err := lock(cfg.Data)
	if err != nil {
		return err
	}
	defer unlock()

	// Listening first: a port in use is the most common mistake, and says so
	// before anything is touched.
	lns, err := listen(cfg.Listen)
	if err != nil {
		return err
	}
	for _, l := range lns {
		defer l.Close()
	}
	r, err := open(ctx, cfg, local(lns))
	if err != nil {
		return err
	}
	defer r.close()
	defer memory()()
	return r.serve(ctx, lns, ready)
}

// lock holds the data folder: two servers on one would each believe to be the
// only writer.
func lock(dir string) (unlock func(), err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("data folder: %w; choose another one with --data", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("data folder: %w; choose another one with --data", err)
	}
	// A server that was killed while it started a program leaves the lock to
	// that program until its exec: a moment is waited for it.
	held := make(chan error, 1)
	fd := int(f.Fd())
	go func() { held <- syscall.Flock(fd, syscall.LOCK_EX) }()
	select {
	case err = <-held:
		if err != nil {
			return nil, errors.Join(fmt.Errorf("lock the data folder %s: %w", dir, err), f.Close())
		}
	case <-time.After(lockWait):
		go func() {
			<-held // cannot be called off; gives it back at once
			f.Close()
		}()
		return nil, fmt.Errorf("the data folder %s is in use by another clary server", dir)
	}
	return func() { f.Close() }, nil
}
