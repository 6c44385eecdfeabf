//go:build !linux

package server

import (
	"errors"
	"net"
	"runtime"
)

// canReplace says whether one server can take another's place here.
func canReplace() error {
	return errors.New("--replace needs Linux, and this is " + runtime.GOOS + ": stop the server that runs, by `clary down`, then start this one")
}

func peer(*net.UnixConn) (int, error) { return -1, canReplace() }
