package console

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

const (
	gitUser  = "builder"
	gitToken = "ghp-7Yw2nQ9sK4" // grepped for everywhere it must not be
	gitHost  = "127.0.0.2"      // a task reaches it because the server is told to let it
)

// gitServer is a real git over HTTPS that asks for a user and a token.
type gitServer struct {
	dir, url, ca string
	refused      atomic.Int64 // requests without the right token
	pushes       atomic.Int64
}

// serveGit starts one with a repository demo.git that has a file on main and a
// branch called work.
func serveGit(t *testing.T) *gitServer {
	t.Helper()
	g := &gitServer{dir: t.TempDir()}
	g.git(t, g.dir, "init", "-q", "--bare", "-b", "main", "demo.git")
	g.git(t, filepath.Join(g.dir, "demo.git"), "config", "http.receivepack", "true")
	seed := filepath.Join(t.TempDir(), "seed")
	g.git(t, g.dir, "clone", "-q", "demo.git", seed)
	must(t, os.WriteFile(filepath.Join(seed, "README.md"), []byte("# demo\n"), 0o644))
	g.git(t, seed, "checkout", "-q", "-b", "main")
	g.git(t, seed, "add", ".")
	g.git(t, seed, "commit", "-q", "-m", "begin")
	g.git(t, seed, "branch", "work")
	g.git(t, seed, "push", "-q", "origin", "main", "work")

	path, err := exec.Command("git", "--exec-path").Output()
	must(t, err)
	backend := &cgi.Handler{
		Path: filepath.Join(strings.TrimSpace(string(path)), "git-http-backend"), Root: "/", Dir: g.dir,
		Env: []string{"GIT_PROJECT_ROOT=" + g.dir, "GIT_HTTP_EXPORT_ALL=1", "REMOTE_USER=" + gitUser, "HOME=" + g.dir},
	}
	l, err := net.Listen("tcp", gitHost+":0")
	must(t, err)
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, token, _ := r.BasicAuth()
		if user != gitUser || token != gitToken {
			g.refused.Add(1)
			w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		if strings.HasSuffix(r.URL.Path, "/git-receive-pack") {
			g.pushes.Add(1)
		}
		backend.ServeHTTP(w, r)
	}))
	srv.Listener.Close() //nolint:errcheck,gosec // another takes its place
	srv.Listener = l
	cert, ca := gitCertificate(t)
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	srv.StartTLS()
	t.Cleanup(srv.Close)
	g.url = srv.URL + "/demo.git"
	// What the machine trusts, and this server: as a company's own authority is.
	g.ca = filepath.Join(t.TempDir(), "trusted.pem")
	system, err := os.ReadFile("/etc/ssl/certs/ca-certificates.crt")
	must(t, err)
	must(t, os.WriteFile(g.ca, append(system, ca...), 0o644))
	return g
}

func gitCertificate(t *testing.T) (tls.Certificate, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "git of a test"}, IPAddresses: []net.IP{net.ParseIP(gitHost)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	must(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// git runs git on this machine, as nobody in particular.
func (g *gitServer) git(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "HOME="+g.dir, "GIT_CONFIG_NOSYSTEM=1", "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@b", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@b")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// file is a file's text at the tip of a branch; "" if it is not there.
func (g *gitServer) file(branch, name string) string {
	out, err := exec.Command("git", "--git-dir", filepath.Join(g.dir, "demo.git"), "show", branch+":"+name).Output()
	if err != nil {
		return ""
	}
	return string(out)
}
