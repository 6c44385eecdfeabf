package server

import (
	"strings"
	"testing"
)

// The domain of notebook instances is refused where it would not keep them
// apart from the console, or could not be served.
func TestNotebookSuffix(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		suffix, cert string
		buckets      []string
		want         string
	}{
		{"notebooks.example.org", "c.pem", nil, ""},
		{"notebooks.example.org", "", nil, "--tls-cert"},
		{"console.localhost", "c.pem", nil, "below localhost"},
		{"co.uk", "c.pem", nil, "public suffix"},
		{"s3.example.org", "c.pem", []string{"s3.example.org"}, "bucket suffix"},
		{"https://x", "c.pem", nil, "not a domain"},
	} {
		c := Config{Data: t.TempDir(), NotebookSuffix: tt.suffix, TLSCert: tt.cert, TLSKey: tt.cert, BucketSuffixes: tt.buckets}
		if err := c.complete(); (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: %v", tt, err)
		}
	}
}
