// Package servetest holds requests to scripts and what the real toolkits of
// SageMaker's images answer to them, for tests of whatever serves in their
// place. record.py in testdata made the record.
package servetest

import (
	"bytes"
	"context"
	"embed"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
)

//go:embed testdata
var files embed.FS

// Case is one request to one script.
type Case struct {
	Name      string
	Framework string // scikit-learn, or "" for sagemaker-inference
	Script    string
	Numpy     bool // that default functions need
	Type      string
	Accept    string
	Body      string // in base64
}

// Answer is what a toolkit answers.
type Answer struct {
	Status int
	Type   string
	Body   string // in base64
}

// Read returns the cases, the scripts by name, and the answers by case.
func Read(t *testing.T) (cases []Case, scripts map[string]string, answers map[string]Answer) {
	t.Helper()
	for name, v := range map[string]any{"cases": &cases, "scripts": &scripts, "answers": &answers} {
		data, err := files.ReadFile("testdata/" + name + ".json")
		if err == nil {
			err = json.Unmarshal(data, v)
		}
		if err != nil {
			t.Fatal(name, err)
		}
	}
	return cases, scripts, answers
}

// Check sends a case's request to a server at address and compares.
func Check(ctx context.Context, t *testing.T, hc *http.Client, address string, c Case, want Answer) {
	t.Helper()
	body, err := base64.StdEncoding.DecodeString(c.Body)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, address+"/invocations", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if c.Type != "" {
		r.Header.Set("Content-Type", c.Type)
	}
	if c.Accept != "" {
		r.Header.Set("Accept", c.Accept)
	}
	resp, err := hc.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // read below
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	status := want.Status
	// The toolkits' own default functions end in 500 where their texts speak of
	// a content type that is not supported.
	if unsupported := status == http.StatusInternalServerError && strings.Contains(string(got), "is not supported here"); unsupported {
		status = http.StatusUnsupportedMediaType
		if strings.Contains(c.Name, "accept") {
			status = http.StatusNotAcceptable
		}
	}
	if resp.StatusCode != status {
		t.Errorf("status %d, want %d: %s", resp.StatusCode, status, got)
	}
	if want.Status >= http.StatusBadRequest {
		return // in our own words
	}
	if ct := resp.Header.Get("Content-Type"); ct != want.Type {
		t.Errorf("content type %q, want %q", ct, want.Type)
	}
	if b := base64.StdEncoding.EncodeToString(got); b != want.Body {
		old, _ := base64.StdEncoding.DecodeString(want.Body) // it is ours
		t.Errorf("body %q, want %q", got, old)
	}
}
