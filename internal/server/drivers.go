package server

import (
	"clary/internal/compute"
	"clary/internal/compute/sandbox"
)

// driver is what the server asks of a compute driver beyond the contract.
type driver interface {
	compute.Driver
	Close() error
}

// newDriver is the list of drivers; sandbox is the only one.
func newDriver(cfg Config, dir, bin, sock, bundle, addr string) (driver, error) {
	p := hostProxy(addr)
	return sandbox.New(sandbox.Config{
		Dir: dir, TaskBinary: bin, APISocket: sock, CABundle: bundle,
		EgressAllow: cfg.TaskEgressAllow, HTTPProxy: p.http, HTTPSProxy: p.https, NoProxy: p.no,
	})
}
