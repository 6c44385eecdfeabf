package sandbox_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"clary/internal/compute"
	"clary/internal/compute/sandbox"
	"clary/internal/compute/sandbox/volume"
)

// notebook is a task of a notebook instance's shape.
func notebook(id string, v compute.VolumeID, text string) compute.Task {
	tk := script(id, text)
	tk.Args[0] = "bash"
	tk.Kind = "notebook"
	tk.Dir = "/home/ec2-user"
	tk.User = &compute.User{Name: "ec2-user", Home: "/home/ec2-user", Sudo: true}
	if v != "" {
		tk.Mounts = []compute.Mount{{Volume: v, Path: "/home/ec2-user/SageMaker", Writable: true}}
		tk.Dir = "/home/ec2-user/SageMaker"
	}
	return tk
}

func wantOutput(t *testing.T, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// byRoot picks what is seen where the server may give a task ids of its own.
func byRoot(root, user string) string {
	if isRoot() {
		return root
	}
	return user
}

// TestUser is who a notebook's program is, and what sudo makes of it.
func TestUser(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	d := p.open(t)
	tk := notebook("user-1", "", `
id -un; id -u; id -G; echo ~ $HOME $USER $SHELL $PWD; stat -c %U:%a ~
getent passwd ec2-user | cut -d: -f3,6,7; getent passwd root | cut -d: -f3
cat /opt/ml/metadata/resource-metadata.json; stat -c ' %U:%a' /opt/ml/metadata/resource-metadata.json
stat -c %U:%a ~/.config/deep/er; cat ~/.config/deep/er; echo
sudo id -u; sudo id -un; sudo -u ec2-user id -un; sudo -u ec2-user sudo -n id -u
sudo -i <<'EOF'
echo $HOME $USER $SUDO_USER $PWD
EOF
sudo -u ec2-user -i <<'EOF'
echo $HOME $USER $PWD
EOF
sudo A=1 sh -c 'echo $A $(id -u)'
sudo -u nobody true; echo $?
sudo -u strange true; echo $?
sudo no-such-command; echo $?
sudo sh -c 'exit 7'; echo $?
sudo sh -c 'echo x > /etc/mine && chown ec2-user /etc/mine && stat -c %U /etc/mine'
touch mine; sudo chown root mine; stat -c %U mine; sudo chown ec2-user:ec2-user mine; stat -c %U:%G mine
cp /usr/bin/id own-id; chmod 4755 own-id 2>/dev/null || echo refused
`)
	tk.Files = []compute.File{
		{Path: "/opt/ml/metadata/resource-metadata.json", Mode: 0o644, Data: []byte(`{"ResourceName":"nb"}`)},
		{Path: "/home/ec2-user/.config/deep/er", Mode: 0o600, Data: []byte("own")},
	}
	lines, st := p.runs(t, d, tk)
	if st.Exit.Result.ExitCode != 0 {
		t.Errorf("exit %+v", *st.Exit)
	}
	want := []string{
		"ec2-user", byRoot("1000", "0"), byRoot("1000", "0"), "/home/ec2-user /home/ec2-user ec2-user /bin/bash /home/ec2-user", "ec2-user:700",
		byRoot("1000", "0") + ":/home/ec2-user:/bin/bash", "0",
		`{"ResourceName":"nb"} ec2-user:644`, "ec2-user:600", "own",
		"0", byRoot("root", "ec2-user"), "ec2-user", "0",
		"/root root ec2-user /root",
		"/home/ec2-user ec2-user /home/ec2-user",
		"1 0",
	}
	if isRoot() {
		want = append(want, "sudo: unable to become nobody: groups: invalid argument", "1")
	} else {
		want = append(want, "sudo: ec2-user is not allowed to run sudo here", "1")
	}
	want = append(want, "sudo: unknown user strange", "1", "sudo: no-such-command: command not found", "1", "7",
		"ec2-user", byRoot("root", "ec2-user"), "ec2-user:ec2-user", "refused")
	wantOutput(t, lines, want)
}

// TestUserWithoutSudo has no more rights than any user of a machine.
func TestUserWithoutSudo(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	tk := notebook("plain-1", "", `grep -E '^Cap(Prm|Eff|Bnd|Amb)' /proc/self/status | cut -f2 | sort -u; sudo -u ec2-user id -un
sudo id -u; touch /etc/own /root/own 2>/dev/null && echo written; (echo x > /opt/ml/x) 2>/dev/null && echo written; touch ~/x /tmp/x && echo own; echo end`)
	tk.User.Sudo = false
	lines, _ := p.runs(t, p.open(t), tk)
	want := []string{"0000000000000000", "ec2-user", "sudo: ec2-user is not allowed to run sudo here", "own", "end"}
	if !isRoot() { // it is root of its task
		want = []string{"0000000000000000", "ec2-user", "0", "written", "written", "own", "end"}
	}
	wantOutput(t, lines, want)
}

// TestTerminal opens a terminal as JupyterLab does, with job control.
func TestTerminal(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	tk := notebook("tty-1", "", "")
	tk.Args = []string{"python3", "-c", `
import os, pty, time
pid, fd = pty.fork()
if pid == 0:
    os.execvp("bash", ["bash", "--norc", "-i"])
os.write(fd, b"PS1=; stty -echo; tty; sleep 100 &\njobs | wc -l; kill %1; wait; stty size; sudo tty; git --version | cut -c1-11; exit 5\n")
out = b""
while True:
    try: b = os.read(fd, 1000)
    except OSError: break
    if not b: break
    out += b
code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
lines = [l.strip() for l in out.decode().splitlines()]
print(code, lines.count("/dev/pts/0"), "1" in lines, "0 0" in lines, "git version" in lines)
if code != 5: print(out)
`}
	lines, _ := p.runs(t, p.open(t), tk)
	wantOutput(t, lines, []string{"5 2 True True True"})
}

// TestVolumeOwner gives a volume to tasks whose ids on the host differ: what one
// has made is the next one's, root's is root's.
func TestVolumeOwner(t *testing.T) {
	t.Parallel()
	const v, size = "owner", 64 << 20
	t.Run("as this machine has it", func(t *testing.T) {
		t.Parallel()
		p := newPlace(t)
		d := p.open(t)
		ensure(t, d, v, size)
		owners(t, p, d, v)
	})
	t.Run("folder", func(t *testing.T) { // as without e2fsprogs
		t.Parallel()
		p := newPlace(t)
		d := p.open(t)
		if err := volume.Make(p.volume(v), volume.Info{Bytes: size}); err != nil {
			t.Fatal(err)
		}
		owners(t, p, d, v)
		ensure(t, d, v, 2*size)
		if lines, _ := p.runs(t, d, notebook("own-5", v, "cat z; head -c 100M /dev/zero > big; sleep 2; echo fits")); strings.Join(lines, "|") != "z|fits" {
			t.Errorf("%q", lines)
		}
	})
}

func owners(t *testing.T, p *place, d *sandbox.Driver, v compute.VolumeID) {
	t.Helper()
	first := notebook("own-1", v, `umask 022; mkdir -p a/b; echo x > a/b/f; sudo sh -c 'echo r > root'; chmod 700 a; ln -s /etc/passwd l; stat -c %U . a root; echo ok`)
	lines, _ := p.runs(t, d, first)
	wantOutput(t, lines, []string{"ec2-user", "ec2-user", byRoot("root", "ec2-user"), "ok"})
	second := notebook("own-2", v, `stat -c %U . a a/b/f root; cat a/b/f; echo y >> a/b/f && rm -r a && echo removed; rm -f root && echo removed; cat l | head -c 4; echo`)
	lines, _ = p.runs(t, d, second)
	wantOutput(t, lines, []string{"ec2-user", "ec2-user", "ec2-user", byRoot("root", "ec2-user"), "x", "removed", "removed", byRoot("root", "ec2-")})
	if isRoot() && owner(t, p, "own-1") == owner(t, p, "own-2") {
		t.Error("both tasks have the same ids")
	}
	// Without a user the same files belong to the same two.
	third := script("own-3", "stat -c %u /v; echo z > /v/z && stat -c %u /v/z")
	third.Mounts = []compute.Mount{{Volume: v, Path: "/v"}}
	lines, _ = p.runs(t, d, third)
	wantOutput(t, lines, []string{"0", "0"})
	for _, m := range [][]compute.Mount{
		{{Volume: v, Path: "/v"}, {Volume: v, Path: "/w"}},
	} {
		twice := script("own-4", "true")
		twice.Mounts = m
		if err := d.Start(t.Context(), twice); err == nil {
			t.Error("a volume was mounted twice")
		}
	}
}

// TestFilesRefused keeps files out of places that are not the task's own.
func TestFilesRefused(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	d := p.open(t)
	for i, path := range []string{"relative", "/proc/x", "/usr/bin/x", "/dev/x", "/run/clary/x", "/a/../etc/x", "/etc/", "/etc/../usr/x", "/data/x"} {
		tk := script(fmt.Sprintf("file-%d", i), "true")
		tk.Files = []compute.File{{Path: path, Mode: 0o644, Data: []byte("x")}}
		tk.Mounts = []compute.Mount{{Host: t.TempDir(), Path: "/data", Writable: true}}
		_, st := p.runs(t, d, tk)
		if st.Exit.Reason != compute.ReasonFailed || !strings.Contains(st.Exit.Result.Failure, "file") {
			t.Errorf("%q: %+v", path, *st.Exit)
		}
	}
	tk := script("file-etc", "cat /etc/pip.conf; stat -c %a /etc/pip.conf")
	tk.Files = []compute.File{{Path: "/etc/pip.conf", Mode: 0o6444, Data: []byte("text\n")}}
	lines, _ := p.runs(t, d, tk)
	wantOutput(t, lines, []string{"text", "444"})
	for _, u := range []compute.User{{Name: "a:b", Home: "/h"}, {Name: "", Home: "/h"}, {Name: "u", Home: "h"}, {Name: "u", Home: "/h:x"}, {Name: "u", Home: "/h\nroot2:x:0:0"}} {
		bad := script("user-bad", "true")
		bad.User = &u
		if err := d.Start(t.Context(), bad); err == nil {
			t.Errorf("user %+v was accepted", u)
		}
	}
	for _, home := range []string{"/proc/x", "/usr/home", "/etc/x"} {
		bad := script("home-bad", "true")
		bad.User = &compute.User{Name: "u", Home: home}
		_, st := p.runs(t, d, bad)
		if st.Exit.Reason != compute.ReasonFailed || !strings.Contains(st.Exit.Result.Failure, "home") {
			t.Errorf("home %q: %+v", home, *st.Exit)
		}
		if err := d.Remove(t.Context(), bad.ID); err != nil {
			t.Fatal(err)
		}
	}
}
