package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"

	"clary/internal/front"
)

// listen takes the operator's address. Beside one address of a network it
// takes the same port on loopback, for the commands of this machine; an
// address that stands for all has it already.
func listen(address string) ([]net.Listener, error) {
	main, err := net.Listen("tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("listen on %s: %w: another server has this port; choose another one with --listen, or `clary down` ends a clary in the background", address, err)
	} else if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", address, err)
	}
	a, ok := main.Addr().(*net.TCPAddr)
	if !ok || a.IP.IsLoopback() || a.IP.IsUnspecified() {
		return []net.Listener{main}, nil
	}
	own := net.JoinHostPort("127.0.0.1", strconv.Itoa(a.Port))
	side, err := net.Listen("tcp", own)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listen on %s, for the commands of this machine: %w", own, err), main.Close())
	}
	return []net.Listener{main, side}, nil
}

// listenUnix takes over the socket's name from a server that was killed; the
// lock on the data folder says that none lives.
func listenUnix(network, path string) (*net.UnixListener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	ln, err := net.ListenUnix(network, &net.UnixAddr{Name: path, Net: network})
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	return ln, os.Chmod(path, 0o600)
}

// local is where this machine's own clients reach the listeners.
func local(lns []net.Listener) string {
	last := lns[len(lns)-1].Addr()
	if a, ok := last.(*net.TCPAddr); ok && a.IP.IsUnspecified() {
		return net.JoinHostPort("127.0.0.1", strconv.Itoa(a.Port))
	}
	return last.String()
}

// openNames adds the operator's certificate, and the names by which clients of
// other machines know this one.
func (r *rooms) openNames(cfg *front.Config) (err error) {
	cfg.Hosts, cfg.BucketSuffixes, cfg.NotebookSuffix = r.cfg.Hosts, r.cfg.BucketSuffixes, r.cfg.NotebookSuffix
	if host, _, err := net.SplitHostPort(r.cfg.Listen); err == nil {
		if ip := net.ParseIP(host); ip != nil && !ip.IsUnspecified() {
			cfg.Hosts = append(cfg.Hosts, host)
		}
	}
	if r.cfg.TLSCert == "" {
		return nil
	}
	if r.cert, err = front.LoadCertificate(r.cfg.TLSCert, r.cfg.TLSKey, r.log); err != nil {
		return err
	}
	cfg.Cert = r.cert
	cfg.Hosts = append(cfg.Hosts, r.cert.Names()...)
	if s := r.cfg.NotebookSuffix; s != "" && !r.cert.Covers("nb-x."+s) {
		r.log.Warn("the certificate has no name for notebook instances: browsers will refuse them", "wanted", "*."+s)
	}
	return nil
}

// hangups tells of SIGHUP, which ends no server that has a certificate.
func hangups() (hup chan os.Signal, stop func()) {
	hup = make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	return hup, func() { signal.Stop(hup) }
}

// reload reads the certificate when the operator says so; handshakes notice a
// changed file by themselves.
func (r *rooms) reload(ctx context.Context, hup <-chan os.Signal) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-hup:
			if err := r.cert.Reload(); err != nil {
				r.log.Warn("the certificate could not be read again; the last good one serves", "err", err)
			} else {
				r.log.Info("the certificate was read again")
			}
		}
	}
}
