package control

import (
	"bytes"
	"context"
	"errors"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"clary/internal/stage/cron"
)

func desk(t *testing.T) (d *Desk, socket string, restarts *[]bool) {
	t.Helper()
	restarts = new([]bool)
	d = &Desk{Tables: &cron.Tables{}, Restart: func(_ context.Context, wait bool) error {
		if *restarts = append(*restarts, wait); len(*restarts) > 3 {
			return errors.New("no more")
		}
		return nil
	}}
	socket = filepath.Join(t.TempDir(), "s")
	for range 2 { // an old socket is no hindrance
		c, err := d.Serve(socket)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
	}
	return d, socket, restarts
}

func TestPrograms(t *testing.T) {
	t.Parallel()
	_, socket, restarts := desk(t)
	file := filepath.Join(t.TempDir(), "table")
	if err := os.WriteFile(file, []byte("@daily of-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		line, in string
		code     int
		out      string
		errs     string
	}{
		{"crontab -l", "", 1, "", "no crontab for root\n"},
		{"crontab -", "* * * * * x\n", 0, "", ""},
		{"crontab -l", "", 0, "* * * * * x\n", ""},
		{"crontab -u root -l", "", 0, "* * * * * x\n", ""},
		{"crontab -u ec2-user -l", "", 1, "", "no crontab for ec2-user\n"},
		{"crontab -u nobody -l", "", 1, "", "user `nobody' unknown\n"},
		{"crontab", "* * * * x\n", 1, "", "crontab: line 1: "},
		{"crontab " + file, "", 0, "", ""},
		{"crontab /no/such", "", 1, "", "no such file"},
		{"crontab -l", "", 0, "@daily of-file\n", ""},
		{"crontab -i -r", "", 0, "", ""},
		{"crontab -l", "", 1, "", "no crontab"},
		{"crontab -x", "", 1, "", "usage"},
		{"crontab -l -r", "", 1, "", "usage"},
		{"systemctl restart jupyter-server", "", 0, "", ""},
		{"systemctl --no-block restart jupyter-server.service", "", 0, "", ""},
		{"initctl restart jupyter-server --no-wait", "", 0, "", ""},
		{"systemctl restart jupyter-server", "", 1, "", "Failed to restart jupyter-server.service: no more\n"},
		{"systemctl daemon-reload", "", 0, "", ""},
		{"systemctl enable jupyter-server", "", 0, "", ""},
		{"systemctl stop jupyter-server", "", 1, "", "can only be restarted"},
		{"systemctl start amazon-ssm-agent", "", 5, "", "Unit amazon-ssm-agent.service not found."},
		{"systemctl", "", 1, "", "one service"},
	} {
		var out, errs bytes.Buffer
		p := program{socket: socket, in: strings.NewReader(tt.in), out: &out, errs: &errs}
		words := strings.Fields(tt.line)
		var code int
		if words[0] == Crontab {
			code = p.crontab(t.Context(), words[1:])
		} else {
			code = p.service(t.Context(), words[0], words[1:])
		}
		if code != tt.code || out.String() != tt.out || !strings.Contains(errs.String(), tt.errs) || tt.errs == "" && errs.Len() > 0 {
			t.Errorf("%s: %d, %q, %q", tt.line, code, out.String(), errs.String())
		}
	}
	if len(*restarts) != 4 || !(*restarts)[0] || (*restarts)[1] || (*restarts)[2] || !(*restarts)[3] {
		t.Errorf("%v", *restarts)
	}
	p := program{socket: socket + "none", out: new(bytes.Buffer), errs: new(bytes.Buffer)}
	if code := p.crontab(t.Context(), []string{"-l"}); code != 1 {
		t.Errorf("%d", code)
	}
}

func TestScripts(t *testing.T) {
	t.Parallel()
	for name, text := range Scripts() {
		if strings.Contains(name, "/") || !strings.HasPrefix(text, "#!/bin/sh\nexec /opt/clary/env/") || !strings.HasSuffix(text, " \"$@\"\n") {
			t.Errorf("%s: %q", name, text)
		}
	}
}

// TestPeers: what one may ask for is by who asks, as the kernel tells it.
func TestPeers(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		who, method, path string
		want              int
	}{
		{root, "PUT", "/crontab/-", 200},
		{root, "PUT", "/crontab/ec2-user", 200},
		{root, "GET", "/crontab/nobody", 404},
		{root, "POST", "/restart", 200},
		{ec2User, "PUT", "/crontab/-", 200},
		{ec2User, "GET", "/crontab/ec2-user", 200},
		{ec2User, "DELETE", "/crontab/-", 200},
		{ec2User, "PUT", "/crontab/root", 403},
		{ec2User, "GET", "/crontab/root", 403},
		{ec2User, "DELETE", "/crontab/root", 403},
		{ec2User, "POST", "/restart", 403},
		{"", "GET", "/crontab/root", 403},
		{"", "PUT", "/crontab/-", 404},
		{"", "POST", "/restart", 403},
	} {
		d := &Desk{Tables: &cron.Tables{}, Restart: func(context.Context, bool) error { return nil }}
		for _, user := range []string{root, ec2User} {
			if err := d.Tables.Set(user, "@daily of "+user+"\n"); err != nil {
				t.Fatal(err)
			}
		}
		r := httptest.NewRequest(tt.method, tt.path, strings.NewReader("@daily other\n"))
		rec := httptest.NewRecorder()
		d.handler().ServeHTTP(rec, r.WithContext(context.WithValue(r.Context(), peerKey{}, tt.who)))
		if rec.Code != tt.want {
			t.Errorf("%q %s %s: %d, want %d", tt.who, tt.method, tt.path, rec.Code, tt.want)
		}
		if text, ok := d.Tables.Get(root); tt.who != root && (!ok || text != "@daily of root\n") {
			t.Errorf("%q %s %s: root's crontab is %q", tt.who, tt.method, tt.path, text)
		}
	}
}
