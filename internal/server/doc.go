// Package server puts the rooms together: configuration to rooms to HTTP. It
// is the only package that sees them all, and nothing imports it but cmd and
// tests. services.go, features.go and drivers.go are the lists to read first.
package server
