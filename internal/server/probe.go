package server

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"clary/internal/compute"
	"clary/internal/runtimes"
	"clary/internal/runtimes/catalog"
)

// Probe says what the compute driver finds on this machine, without a server
// and without touching a data folder.
func Probe(ctx context.Context) (name string, c compute.Capacity, err error) {
	dir, err := os.MkdirTemp("", "clary-probe-")
	if err != nil {
		return "", c, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	bin, err := unpackTask(filepath.Join(dir, "bin"))
	if err != nil {
		return "", c, err
	}
	d, err := newDriver(Config{}, filepath.Join(dir, "tasks"), bin, "", "", "")
	if err != nil {
		return "", c, err
	}
	c, err = d.Probe(ctx)
	return d.Name(), c, errors.Join(err, d.Close())
}

// Runtimes says which runtimes a data folder keeps, without a server.
func Runtimes(data string) (runtimes.Survey, error) {
	return catalog.Survey(filepath.Join(data, "runtimes"))
}
