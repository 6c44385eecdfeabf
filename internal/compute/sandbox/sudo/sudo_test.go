package sudo

import (
	"slices"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		args  string
		user  string
		argv  string // of the command, words joined by |
		env   string
		wrong string
	}{
		{args: "yum install -y x", user: "root", argv: "yum|install|-y|x"},
		{args: "-u ec2-user -i", user: "ec2-user", argv: "-bash"},
		{args: "-u ec2-user -E bash -c a", user: "ec2-user", argv: "bash|-c|a"},
		{args: "-EHnuec2-user id", user: "ec2-user", argv: "id"},
		{args: "--user=ec2-user -- -x", user: "ec2-user", argv: "-x"},
		{args: "--user ec2-user --preserve-env=A,B --login echo a;b", user: "ec2-user", argv: `-bash|-c|echo a\;b`},
		{args: "-s", user: "root", argv: "/bin/bash"},
		{args: "-s echo $HOME", user: "root", argv: "/bin/bash|-c|echo $HOME"},
		{args: "A=1 B=x=y env", user: "root", argv: "env", env: "A=1 B=x=y"},
		{args: "-k true", user: "root", argv: "true"},
		{args: "-u", wrong: "lacks its value"},
		{args: "-Z true", wrong: "-Z is not known"},
		{args: "--chroot=/x true", wrong: "--chroot is not known"},
		{args: "-i -s", wrong: "exclude"},
	} {
		o, err := parse(strings.Fields(tt.args))
		if tt.wrong != "" {
			if err == nil || !strings.Contains(err.Error(), tt.wrong) {
				t.Errorf("%q: %v, want %q", tt.args, err, tt.wrong)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", tt.args, err)
			continue
		}
		argv := strings.Join(o.command(account{shell: "/bin/bash"}), "|")
		if o.user != tt.user || argv != tt.argv || strings.Join(o.env, " ") != tt.env || o.only != "" {
			t.Errorf("%q: user %q, %q, %q, %q", tt.args, o.user, argv, o.env, o.only)
		}
	}
	if o, err := parse([]string{"-v"}); err != nil || o.only == "" {
		t.Errorf("-v: %+v, %v", o, err)
	}
}

func TestLookup(t *testing.T) {
	t.Parallel()
	const passwd = "root:x:0:0:root:/root:/bin/bash\nbroken\nec2-user:x:1000:1000::/home/ec2-user:\nnobody:x:65534:65534::/:/usr/sbin/nologin\n"
	for who, want := range map[string]account{
		"root": {"root", 0, "/root", "/bin/bash"}, "#1000": {"ec2-user", 1000, "/home/ec2-user", "/bin/sh"}, "nobody": {"nobody", 65534, "/", "/bin/sh"},
	} {
		if got, ok := lookup(passwd, who); !ok || got != want {
			t.Errorf("%s: %+v, %v", who, got, ok)
		}
	}
	for _, who := range []string{"", "#", "#7", "broken", "roo"} {
		if got, ok := lookup(passwd, who); ok {
			t.Errorf("%q: %+v", who, got)
		}
	}
}

func TestEnvironment(t *testing.T) {
	t.Parallel()
	o := order{env: []string{"A=2"}, args: []string{"x", "y"}}
	env := o.environment([]string{"A=1", "HOME=/home/me", "HOMELY=1", "AWS_ENDPOINT_URL=http://127.0.0.1:2527"}, account{"root", 0, "/root", "/bin/bash"}, account{name: "me"})
	for _, want := range []string{"A=2", "HOME=/root", "HOMELY=1", "USER=root", "LOGNAME=root", "SUDO_USER=me", "SUDO_COMMAND=x y", "AWS_ENDPOINT_URL=http://127.0.0.1:2527"} {
		if !slices.Contains(env, want) {
			t.Errorf("%q is missing in %q", want, env)
		}
	}
	names := map[string]bool{}
	for _, e := range env {
		name, _, _ := strings.Cut(e, "=")
		if names[name] {
			t.Errorf("%s twice", name)
		}
		names[name] = true
	}
}
