package gitcode

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"clary/internal/stage/agent"
	"clary/internal/stage/home"
)

// TestConfig asks git itself which helper it would call for which address.
func TestConfig(t *testing.T) {
	t.Parallel()
	if Path() == "" {
		t.Fatal("git is needed")
	}
	file := filepath.Join(t.TempDir(), "gitconfig")
	text := Config([]agent.Repository{
		{URL: "https://git.example/team/one.git", Secret: "arn:aws:secretsmanager:us-east-1:123456789012:secret:AmazonSageMaker-one-aBcDeF"},
		{URL: "https://someone@git.example/team/two", Secret: `it's "two"`},
		{URL: "https://git.example/open"},
		{URL: ":", Secret: "x"},
	}, "/run/clary/ca.pem")
	if err := home.Write(file, text); err != nil {
		t.Fatal(err)
	}
	for url, want := range map[string]string{
		"https://git.example/team/one.git":         helper + "'arn:aws:secretsmanager:us-east-1:123456789012:secret:AmazonSageMaker-one-aBcDeF'",
		"https://git.example/team/two":             helper + `'it'\''s "two"'`,
		"https://git.example/open":                 "",
		"https://git.example/team":                 "",
		"https://git.example/team/one.gitty":       "",
		"https://git.example.evil/team/one.git":    "",
		"http://git.example/team/one.git":          "",
		"https://git.example:444/team/one.git":     "",
		"https://other@evil.example/team/one.git/": "",
	} {
		out, err := exec.CommandContext(t.Context(), Path(), "config", "--file", file, "--get-urlmatch", "credential.helper", url).Output()
		if got := strings.TrimSpace(string(out)); got != want || (err != nil) != (want == "") {
			t.Errorf("%s: %q, %v", url, got, err)
		}
	}
	if out, err := exec.CommandContext(t.Context(), Path(), "config", "--file", file, "http.sslCAInfo").Output(); string(out) != "/run/clary/ca.pem\n" {
		t.Errorf("%q, %v", out, err)
	}
	// Helpers of other files are not asked.
	out, err := exec.CommandContext(t.Context(), Path(), "config", "--file", file, "--get-all", "credential.https://git.example/team/one.git.helper").Output()
	if first, _, _ := strings.Cut(string(out), "\n"); err != nil || first != "" || len(out) < 2 {
		t.Errorf("%q, %v", out, err)
	}
	if text := Config([]agent.Repository{{URL: "https://git.example/open"}}, ""); text != "" {
		t.Errorf("a repository without a secret is named: %s", text)
	}
}

func TestShown(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"https://me:secret@git.example/x": "https://git.example/x", "https://git.example/x": "https://git.example/x", "https://a:%zz@b": "an address that cannot be read",
	} {
		if got := Shown(in); got != want {
			t.Errorf("%s: %s", in, got)
		}
	}
}

// role serves a role's session and Secrets Manager.
func role(t *testing.T, answer func(w http.ResponseWriter, id string)) (host string, environ []string) {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /session", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprint(w, `{"AccessKeyId":"AKID","SecretAccessKey":"hush","Token":"tok","Expiration":"2036-01-01T00:00:00Z"}`)
	})
	mux.HandleFunc("POST /", func(w http.ResponseWriter, r *http.Request) {
		var in struct{ SecretId string } //nolint:revive // AWS's name
		auth := r.Header.Get("Authorization")
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil || !strings.Contains(auth, "Credential=AKID/") || !strings.Contains(auth, "/us-west-2/secretsmanager/") ||
			r.Header.Get("X-Amz-Security-Token") != "tok" || r.Header.Get("X-Amz-Target") != "secretsmanager.GetSecretValue" {
			t.Errorf("%v %v", r.Header, err)
		}
		answer(w, in.SecretId)
	})
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	return srv.URL, []string{"AWS_ENDPOINT_URL=" + srv.URL, "AWS_REGION=us-west-2", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI=/session"}
}

func TestSecret(t *testing.T) {
	t.Parallel()
	values := map[string]string{
		"good":   `{"username":"me","password":"p w","more":1}`,
		"text":   "my-very-secret-token",
		"half":   `{"username":"my-very-secret-token"}`,
		"number": `{"username":"me","password":12345678}`,
		"lines":  `{"username":"me","password":"my-very-secret-token\nhost=evil"}`,
	}
	host, environ := role(t, func(w http.ResponseWriter, id string) {
		if v, ok := values[id]; ok {
			_ = json.NewEncoder(w).Encode(map[string]string{"SecretString": v})
			return
		}
		if id == "binary" {
			_, _ = fmt.Fprint(w, `{"SecretBinary":"eA=="}`)
			return
		}
		w.WriteHeader(http.StatusBadRequest)
		_, _ = fmt.Fprint(w, `{"__type":"AccessDeniedException","Message":"User is not authorized"}`)
	})
	name, password, err := secret(t.Context(), "good", host, environ)
	if name != "me" || password != "p w" || err != nil {
		t.Errorf("%q %q %v", name, password, err)
	}
	for id, want := range map[string]string{
		"text": `it must be JSON: {"username"`, "half": "it must be JSON", "number": "it must be JSON", "lines": "line break", "binary": "no SecretString", "other": "AccessDeniedException: User is not authorized",
	} {
		_, _, err := secret(t.Context(), id, host, environ)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "my-very-secret") || strings.Contains(err.Error(), "12345678") {
			t.Errorf("%s: %v", id, err)
		}
	}
	if _, _, err := secret(t.Context(), "good", host, environ[:1]); err == nil || !strings.Contains(err.Error(), "does not lead to Secrets Manager") {
		t.Error(err)
	}
}

func TestCredentialMain(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		args []string
		code int
		out  string
		errs string
	}{
		{[]string{"x", "store"}, 0, "", ""},
		{[]string{"x", "erase"}, 0, "", ""},
		{[]string{"x"}, 2, "", "usage"},
		{[]string{"x", "get"}, 1, "quit=1\n", "clary: the secret x for this repository: "},
	} {
		var out, errs bytes.Buffer
		if code := CredentialMain(t.Context(), tt.args, nil, strings.NewReader("protocol=https\n"), &out, &errs); code != tt.code || out.String() != tt.out || !strings.Contains(errs.String(), tt.errs) {
			t.Errorf("%q: %d %q %q", tt.args, code, out.String(), errs.String())
		}
	}
}

// TestFolders are those that no clone is made in, git or not.
func TestFolders(t *testing.T) {
	t.Parallel()
	c := Cloner{Work: t.TempDir()}
	if err := home.Write(filepath.Join(c.Work, "there/file"), ""); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"": "no name", ".": "no name", "..": "no name", "a/b": "no name", half: "no name", "new": "no git"} {
		if err := c.Clone(agent.Repository{URL: "https://git.example/x", Folder: name}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if err := c.Clone(agent.Repository{Folder: "there"}); err != nil {
		t.Errorf("what is there: %v", err)
	}
}
