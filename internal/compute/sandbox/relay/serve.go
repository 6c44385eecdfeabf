package relay

import (
	"log"
	"net"
	"net/http"
	"time"
)

// Serve answers HTTP on l until it is closed.
func Serve(l net.Listener, h http.Handler, errs *log.Logger) {
	s := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          errs,
	}
	_ = s.Serve(l)
}
