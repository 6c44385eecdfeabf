package sandbox_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"clary/internal/compute"
	"clary/internal/stage/agent"
)

// hostile is what a user without root tries from JupyterLab; each line says
// what came of it.
const hostile = `
say() { echo "tried $1: $2"; }
say id "$(id -u) $(grep -E '^Cap(Prm|Eff|Inh|Amb)' /proc/self/status | cut -f2 | sort -u | tr '\n' ' ')"
say sudo "$(sudo id -u 2>&1)"
say sudo-login "$(sudo -i 2>&1 </dev/null)"
say setuid "$(python3 -c 'import os; os.setuid(0)' 2>&1 | tail -1)"
say crontab-of-root "$(echo '* * * * * touch /etc/mine' | crontab -u root - 2>&1 | head -1)"
say crontab-shown "$(crontab -u root -l 2>&1)"
say crontab-removed "$(crontab -u root -r 2>&1)"
say crontab-path "$(crontab -u ../restart -l 2>&1)"
say restart "$(systemctl restart jupyter-server 2>&1)"
say forged "$(python3 - <<'PY' 2>&1
import socket
def ask(text):
    s = socket.socket(socket.AF_UNIX); s.connect("/etc/clary/socket"); s.sendall(text); return s.recv(4000).split(b"\r\n")[0].decode()
print(ask(b"POST /restart HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"), ask(b"PUT /crontab/root HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n#"), ask(b"GET //crontab/root HTTP/1.1\r\nHost: x\r\n\r\n"))
PY
)"
for f in /etc/profile.d/x.sh /etc/profile /etc/gitconfig /etc/clary/x /usr/bin/aws /etc/clary/OnStart /var/log/jupyter.log /var/log/x /root/x /opt/ml/x /run/clary/bin/python /etc/passwd; do
  (echo x >> $f) 2>/dev/null && say write "$f"
done
mv /etc/clary/socket /tmp 2>/dev/null && say write socket
rm -f /etc/clary/no-root 2>/dev/null && say write no-root
for f in /etc/clary/OnStart /proc/1/environ /proc/1/mem /opt/ml/metadata/clary-order.json; do
  (: < $f) 2>/dev/null && say read "$f"
done
for f in /proc/1/root/ /proc/1/fd; do
  ls $f >/dev/null 2>&1 && say list "$f"
done
(kill -STOP 1 || kill -TERM 1 || kill -KILL 1) 2>/dev/null && say signal 1
pid=$(pgrep -f 'sleep 4321' | head -1)
kill -TERM $pid 2>/dev/null && say signal "a process of root"
pid=$(pgrep -x -f 'sleep 5432')
say background "$(grep CapPrm /proc/$pid/status | cut -f2) $(stat -c %U /proc/$pid)"
echo '* * * * * grep CapPrm /proc/self/status >> /tmp/job; sudo id -u >> /tmp/job 2>&1' | crontab -
say crontab "$(crontab -l | wc -l)"
printf '\037LifecycleConfigOnStart\037forged\n'
say end ""
until grep -q allowed /tmp/job 2>/dev/null; do sleep 0.1; done
say job "$(cat /tmp/job | tr '\n\t' '  ')"
until [ -e /var/log/seen ]; do sleep 0.1; done
say root-job "$(cat /var/log/seen)"
`

// TestRootAccessDisabled lets nothing of the user's become root, while scripts
// and root's cron are.
func TestRootAccessDisabled(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	d := p.open(t)
	ensure(t, d, "plain", 64<<20)
	i := begin(t, d, first(t, "no-root-1", "plain", lab(t), agent.Order{OnStart: `set -e
id -u; sudo id -u
sudo -u ec2-user sh -c 'id -un; grep CapPrm /proc/self/status | cut -f2; sudo id -u' || echo $?
nohup sleep 4321 > /dev/null 2>&1 &
sudo -u ec2-user nohup sleep 5432 > /dev/null 2>&1 &
echo '* * * * * id -u >> /var/log/seen; echo "$0 $HOME $PATH" >> /var/log/seen' | crontab -
cat > /home/ec2-user/SageMaker/hostile <<'HOSTILE'
` + hostile + `
HOSTILE
` + byRoot("echo 'export JUPYTER_TEST=/home/ec2-user/SageMaker/hostile' > /etc/profile.d/test.sh", "") + `
`}))
	i.phase(agent.Serving)
	if !isRoot() { // both are one user
		lines, _ := i.ends()
		wantOutput(t, stream(lines, agent.StreamOnStart), []string{"0", "0", "ec2-user", "0000000000000000", "0"})
		return
	}
	tried := []string{}
	for _, l := range i.line("tried root-job") {
		if s, ok := strings.CutPrefix(l, "tried "); ok {
			tried = append(tried, s)
		}
	}
	lines, _ := i.ends()
	if want := "/bin/sh /root /run/clary/bin:/sbin:/bin:/usr/sbin:/usr/bin"; !slices.Contains(lines, want) {
		t.Errorf("no job with %q", want)
	}
	wantOutput(t, stream(lines, agent.StreamOnStart), []string{"0", "0", "ec2-user", "0000000000000000", "sudo: ec2-user is not allowed to run sudo here", "1"})
	const refused = "must be privileged to use -u"
	wantOutput(t, tried, []string{
		"id: 1000 0000000000000000 ", "sudo: sudo: ec2-user is not allowed to run sudo here", "sudo-login: sudo: ec2-user is not allowed to run sudo here",
		"setuid: PermissionError: [Errno 1] Operation not permitted",
		"crontab-of-root: crontab: " + refused, "crontab-shown: " + refused, "crontab-removed: crontab: " + refused, "crontab-path: crontab: user `../restart' unknown",
		"restart: systemctl: Failed to restart jupyter-server.service: interactive authentication is required: become root by sudo",
		"forged: HTTP/1.1 403 Forbidden HTTP/1.1 403 Forbidden HTTP/1.1 307 Temporary Redirect",
		"background: 0000000000000000 ec2-user", "crontab: 1", "end: ",
		"job: CapPrm: 0000000000000000 sudo: ec2-user is not allowed to run sudo here ",
		"root-job: 0",
	})
}

// TestCronAndRestart runs a user's jobs and starts JupyterLab anew, with what
// was added to everybody's environment.
func TestCronAndRestart(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	d := p.open(t)
	i := begin(t, d, first(t, "restart-1", "", lab(t), agent.Order{Root: true, OnStart: `set -e
systemctl restart jupyter-server # it is not started yet
cat > /home/ec2-user/test <<'EOF'
if [ -z "$SHARED" ]; then
  echo 'export SHARED=2' | sudo tee /etc/profile.d/shared.sh > /dev/null
  echo "* * * * * echo \$SHARED; sudo -n sh -c 'systemctl restart jupyter-server.service'" | crontab -
fi
EOF
echo 'export JUPYTER_TEST=/home/ec2-user/test' > /etc/profile.d/test.sh
`}))
	i.line("SHARED=2")
	i.phase(agent.Serving)
	lines, exit := i.ends()
	if n := strings.Count(strings.Join(lines, "\n"), "jupyter ends"); n != 2 || exit.Result.ExitCode != 3 {
		t.Errorf("%d ends, %+v\n%s", n, exit, strings.Join(lines, "\n"))
	}
}

// TestNoOrder is a notebook that nobody has given an order: it starts at once,
// and ends with JupyterLab.
func TestNoOrder(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	d := p.open(t)
	for n, sudo := range []bool{true, false} {
		tk := first(t, fmt.Sprintf("none-%d", n), "", lab(t), agent.Order{})
		tk.Files, tk.User.Sudo = tk.Files[:1], sudo
		tk.Env = map[string]string{"JUPYTER_TEST": "/dev/fd/3"}
		tk.Args = []string{"bash", "-c", `echo 'sudo id -u 2>&1 | tail -c 12; exit 5' > /tmp/test; export JUPYTER_TEST=/tmp/test; exec /run/clary/clary-task notebook`}
		lines, st := p.runs(t, d, tk)
		caps, root := "00000000000000cb", "0"
		if !sudo {
			caps, root = "0000000000000000", "n sudo here"
		}
		all := strings.Join(lines, "\n")
		if st.Exit.Result.ExitCode != 5 || st.Exit.Reason != compute.ReasonExited || !strings.Contains(all, "jupyter runs as ec2-user in /home/ec2-user/SageMaker with "+byRoot(caps, "0000000000000000")) || !slices.Contains(lines, byRoot(root, "0")) {
			t.Errorf("sudo %v: %+v\n%s", sudo, *st.Exit, all)
		}
	}
}
