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
		return fmt.Errorf("listen on %s: %w", c.Listen, err)
	}
	if !addr.IP.IsLoopback() {
		return fmt.Errorf("listen on %s: plain HTTP is served on loopback addresses only, such as %s", c.Listen, defaultListen)
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
	ln, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", cfg.Listen, err)
	}
	defer ln.Close()

	r, err := open(ctx, cfg, ln.Addr().String())
	if err != nil {
		return err
	}
	defer r.close()
	return r.serve(ctx, ln, ready)
}

// lock holds the data folder: two servers on one would each believe to be the
// only writer.
func lock(dir string) (unlock func(), err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
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
