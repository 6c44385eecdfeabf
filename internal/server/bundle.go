package server

import (
	"fmt"
	"os"
	"path/filepath"
)

// bundles are where systems keep the certificates they trust.
func bundles() []string {
	return []string{
		os.Getenv("SSL_CERT_FILE"),
		"/etc/ssl/certs/ca-certificates.crt", // Debian, Alpine, Arch
		"/etc/pki/tls/certs/ca-bundle.crt",   // Fedora
		"/etc/ssl/ca-bundle.pem",             // openSUSE
		"/etc/ssl/cert.pem",                  // macOS, BSD
	}
}

// writeBundle writes what the system trusts and our CA into one file: clients
// that are given a bundle look at nothing else.
func writeBundle(path, caFile string) error {
	out, err := os.ReadFile(caFile)
	if err != nil {
		return fmt.Errorf("certificate bundle: %w", err)
	}
	for _, f := range bundles() {
		if b, err := os.ReadFile(f); f != "" && err == nil {
			out = append(append(b, '\n'), out...)
			break
		}
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".bundle-*")
	if err != nil {
		return fmt.Errorf("certificate bundle: %w", err)
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(out)
	if err == nil {
		err = tmp.Chmod(0o644)
	}
	if cerr := tmp.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("certificate bundle: %w", err)
	}
	return nil
}
