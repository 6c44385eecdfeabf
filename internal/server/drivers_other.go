//go:build !linux

package server

import (
	"errors"
	"runtime"

	"clary/internal/meter"
)

// newDriver has nothing to offer here: what keeps jobs apart, and finds them
// again after a crash, is Linux's.
func newDriver(Config, string, string, string, string, string) (driver, error) {
	return nil, errors.New("clary serve needs Linux: jobs run in its name spaces, and " + runtime.GOOS + " has none. " +
		"Run clary, server and commands, in a virtual machine or a privileged container with Linux")
}

// clock is the wall's, where nothing is billed.
func clock() func() meter.Moment { return nil }
