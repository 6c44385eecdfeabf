// Package control is what programs of a notebook's task ask its first process
// for: their crontab, and JupyterLab's restart. They ask on a socket on which
// the kernel tells who they are, by programs that have the names that scripts
// know (crontab, systemctl, initctl). Start at Serve and Main.
package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"clary/internal/stage/cron"
	"clary/internal/stage/user"
)

// Socket is where the first process is asked.
const Socket = "/etc/clary/socket"

// Users.
const (
	root    = "root"
	ec2User = "ec2-user"
)

// Desk is what the first process has to give.
type Desk struct {
	Tables *cron.Tables
	// Restart starts JupyterLab anew. wait: it returns when the old one is gone.
	Restart func(ctx context.Context, wait bool) error
}

type peerKey struct{}

// Serve answers at a path until the listener is closed.
func (d *Desk) Serve(path string) (io.Closer, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o666); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	s := &http.Server{
		Handler: d.handler(), ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, peerKey{}, peer(c))
		},
	}
	go s.Serve(l) //nolint:errcheck // it ends with the listener
	return s, nil
}

// peer is who is at the other end: root, ec2-user, or nobody. Where the task
// has one id, that is root.
func peer(c net.Conn) string {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return ""
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return ""
	}
	var cred *unix.Ucred
	if err := raw.Control(func(fd uintptr) { cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil || cred == nil {
		return ""
	}
	switch int(cred.Uid) {
	case os.Geteuid():
		return root
	case user.ID:
		return ec2User
	}
	return ""
}

func (d *Desk) handler() http.Handler {
	mux := http.NewServeMux()
	table := func(serve func(w http.ResponseWriter, r *http.Request, whose string)) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			who, whose := r.Context().Value(peerKey{}), r.PathValue("user")
			if whose == "-" {
				whose, _ = who.(string)
			}
			switch {
			case whose != root && whose != ec2User:
				http.Error(w, "user `"+whose+"' unknown", http.StatusNotFound)
			case who != root && who != whose:
				http.Error(w, "must be privileged to use -u", http.StatusForbidden)
			default:
				serve(w, r, whose)
			}
		}
	}
	mux.HandleFunc("GET /crontab/{user}", table(func(w http.ResponseWriter, _ *http.Request, whose string) {
		text, ok := d.Tables.Get(whose)
		if !ok {
			http.Error(w, "no crontab for "+whose, http.StatusNotFound)
			return
		}
		_, _ = io.WriteString(w, text)
	}))
	mux.HandleFunc("PUT /crontab/{user}", table(func(w http.ResponseWriter, r *http.Request, whose string) {
		text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
		if err == nil {
			err = d.Tables.Set(whose, string(text))
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
		}
	}))
	mux.HandleFunc("DELETE /crontab/{user}", table(func(_ http.ResponseWriter, _ *http.Request, whose string) { d.Tables.Remove(whose) }))
	mux.HandleFunc("POST /restart", func(w http.ResponseWriter, r *http.Request) {
		if r.Context().Value(peerKey{}) != root {
			http.Error(w, "interactive authentication is required: become root by sudo", http.StatusForbidden)
			return
		}
		if err := d.Restart(r.Context(), r.FormValue("wait") != ""); err != nil {
			http.Error(w, err.Error(), http.StatusConflict)
		}
	})
	return mux
}

// ask asks the first process and returns what it says; its refusal is the error.
func ask(ctx context.Context, socket, method, path string, body io.Reader) (string, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://first"+path, body)
	if err != nil {
		return "", err
	}
	t := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}
	resp, err := t.RoundTrip(req)
	if err != nil {
		return "", fmt.Errorf("the instance's first process does not answer: %w", err)
	}
	defer resp.Body.Close() //nolint:errcheck // it was read
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", err
	}
	if resp.StatusCode != http.StatusOK {
		return "", errors.New(strings.TrimSpace(string(text)))
	}
	return string(text), nil
}
