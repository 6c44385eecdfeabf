package gitcode

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"clary/internal/client"
)

// credentialHost is where containers find their role's session.
const credentialHost = "http://169.254.170.2"

// patience bounds how long git is kept waiting.
const patience = 30 * time.Second

// CredentialMain is git's credential helper: on "get" it prints what Secrets
// Manager has for the secret that is its first argument. It stores nothing.
func CredentialMain(ctx context.Context, args, environ []string, in io.Reader, out, errs io.Writer) int {
	if len(args) != 2 {
		_, _ = fmt.Fprintln(errs, "usage: git-credential SECRET get")
		return 2
	}
	_, _ = io.Copy(io.Discard, bufio.NewReader(in)) // what it is for was git's to match
	if args[1] != "get" {
		return 0
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	name, password, err := secret(ctx, args[0], credentialHost, environ)
	if err != nil {
		_, _ = fmt.Fprintf(errs, "clary: the secret %s for this repository: %v\n", args[0], err)
		_, _ = fmt.Fprintln(out, "quit=1") // git need not ask anybody else
		return 1
	}
	_, _ = fmt.Fprintf(out, "username=%s\npassword=%s\n", name, password)
	return 0
}

// secret reads a secret as the task's role, whose session is at a host.
func secret(ctx context.Context, id, host string, environ []string) (name, password string, err error) {
	env := map[string]string{}
	for _, e := range environ {
		if k, v, ok := strings.Cut(e, "="); ok {
			env[k] = v
		}
	}
	if env["AWS_ENDPOINT_URL"] == "" || env["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"] == "" {
		return "", "", errors.New("this environment does not lead to Secrets Manager: AWS_ENDPOINT_URL or AWS_CONTAINER_CREDENTIALS_RELATIVE_URI is not set")
	}
	c := client.New(client.Config{
		Endpoint: env["AWS_ENDPOINT_URL"], Region: env["AWS_REGION"], UserAgent: "clary-git-credential",
		Credentials: func(ctx context.Context) (client.Credentials, error) {
			return session(ctx, host+env["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"])
		},
	})
	defer c.Close()
	var answer struct{ SecretString *string }
	if err := c.JSON(ctx, "secretsmanager", "secretsmanager.GetSecretValue", map[string]string{"SecretId": id}, &answer); err != nil {
		return "", "", err
	}
	if answer.SecretString == nil {
		return "", "", errors.New("it has no SecretString")
	}
	var login struct{ Username, Password *string }
	// The decoder's error would show a part of the secret.
	if json.Unmarshal([]byte(*answer.SecretString), &login) != nil || login.Username == nil || login.Password == nil {
		return "", "", errors.New(`it must be JSON: {"username": "...", "password": "..."}`)
	}
	if strings.ContainsAny(*login.Username+*login.Password, "\n\x00") {
		return "", "", errors.New("its username or password has a line break in it")
	}
	return *login.Username, *login.Password, nil
}

// session is the role's, as the task's credentials endpoint has it now.
func session(ctx context.Context, url string) (client.Credentials, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return client.Credentials{}, err
	}
	t := &http.Transport{DialContext: (&net.Dialer{}).DialContext, DisableKeepAlives: true} // no proxy
	resp, err := t.RoundTrip(req)
	if err != nil {
		return client.Credentials{}, fmt.Errorf("the role's credentials: %w", err)
	}
	defer resp.Body.Close() //nolint:errcheck // it was read
	var s struct {
		AccessKeyId, SecretAccessKey, Token string //nolint:revive // AWS's names
		Expiration                          time.Time
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 64<<10)).Decode(&s); err != nil || resp.StatusCode != http.StatusOK {
		return client.Credentials{}, fmt.Errorf("the role's credentials: HTTP %d", resp.StatusCode)
	}
	return client.Credentials{AccessKeyID: s.AccessKeyId, SecretAccessKey: s.SecretAccessKey, SessionToken: s.Token, Expiration: s.Expiration}, nil
}

// Path finds git.
func Path() string {
	for _, p := range []string{"/usr/bin/git", "/usr/local/bin/git", "/bin/git"} {
		if st, err := os.Stat(p); err == nil && st.Mode().IsRegular() {
			return p
		}
	}
	return ""
}
