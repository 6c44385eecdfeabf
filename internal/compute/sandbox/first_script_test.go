package sandbox_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"clary/internal/compute"
	"clary/internal/stage/agent"
)

// created tells the first process that the server knows.
func (i *instance) created() {
	i.t.Helper()
	i.until("created", func(s agent.State) bool { return s.Phase == agent.Creating && s.Created })
	if _, err := i.ask("POST", "/created"); err != nil {
		i.t.Fatal(err)
	}
}

// TestScripts runs both scripts with what scripts for SageMaker use.
func TestScripts(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	d := p.open(t)
	ensure(t, d, "scripts", 64<<20)
	img := lab(t)
	i := begin(t, d, first(t, "scripts-1", "scripts", img, agent.Order{Root: true, OnCreate: `#!/bin/bash -e
echo $(id -u) $HOME $PWD $USER; echo PATH=$PATH; tty || true; read x || echo no input
sudo -u ec2-user -i <<'EOF'
echo $(id -un) $HOME $PWD; sudo -n id -u
echo kept > ~/SageMaker/kept
git config --global user.name someone
source /home/ec2-user/anaconda3/bin/activate python3; command -v python; echo $CONDA_DEFAULT_ENV
source /home/ec2-user/anaconda3/bin/deactivate
source /home/ec2-user/anaconda3/bin/activate JupyterSystemEnv; command -v python
source /home/ec2-user/anaconda3/bin/deactivate
source /home/ec2-user/anaconda3/bin/activate no-such-env || echo none
EOF
echo 'print(6 * 7)' > downloaded.py; python $PWD/downloaded.py; date +%Z
printf 'no end of line'
`, OnStart: `set -e
jq -r .ResourceName /opt/ml/metadata/resource-metadata.json
wget --version | head -1 | cut -c1-8
aws s3 ls
/usr/bin/python -c 'print(6 * 7)'; /usr/bin/python3.8 -c 'print(6 * 7)'; /usr/bin/sudo id -u
(echo x > /usr/bin/mine) 2>/dev/null || (rm /usr/bin/python) 2>/dev/null || ls /usr/bin/crontab
echo "export SHARED=everywhere" > /etc/profile.d/own.sh
sudo -u ec2-user -i <<'EOF'
echo $SHARED
EOF
grep -c amazon-linux-ami /etc/os-release || true
systemctl --no-block restart jupyter-server.service; initctl restart jupyter-server --no-wait; sudo systemctl daemon-reload
systemctl restart sshd || echo $?
crontab -l | wc -l
(crontab -l 2>/dev/null; echo '# mine') | crontab -
crontab -l; sudo -u ec2-user crontab -l || true
echo '61 * * * * x' | crontab - || crontab -l
touch /var/log/jupyter.log && stat -c %a /var/log/jupyter.log
nohup bash -c 'until [ -e /tmp/go ]; do sleep 0.05; done; echo from the background' &
echo err >&2; echo out > /dev/stdout
`}))
	i.created()
	i.phase(agent.Serving)
	i.line("jupyter runs as ec2-user in /home/ec2-user/SageMaker with " + byRoot("00000000000000cb 00000000000000cb", "0000000000000000 0000000000000000") + " SHARED=everywhere")
	lines, _ := i.ends()
	wantOutput(t, stream(lines, agent.StreamOnCreate), []string{
		"0 /root /opt/ml root", "PATH=/run/clary/bin:/sbin:/bin:/usr/sbin:/usr/bin", "not a tty", "no input",
		"ec2-user /home/ec2-user /home/ec2-user", "0",
		"/home/ec2-user/anaconda3/envs/python3/bin/python", "python3", "/home/ec2-user/anaconda3/envs/JupyterSystemEnv/bin/python",
		"there is no environment /home/ec2-user/anaconda3/envs/no-such-env", "none", "42", "UTC", "no end of line",
	})
	wantOutput(t, stream(lines, agent.StreamOnStart), []string{
		"nb", "GNU Wget", "aws s3 ls", "42", "42", "0", "/usr/bin/crontab", "everywhere", "0", "systemctl: Unit sshd.service not found.", "5", "0", "# mine",
		byRoot("no crontab for ec2-user", "# mine"), "crontab: line 1: minute: \"61\" is not from 0 to 59", "crontab: errors in crontab file, can't install", "# mine",
		"644", "err", "out",
	})

	// OnCreate is not of the next run, and what it left on the volume stays.
	i = begin(t, d, first(t, "scripts-2", "scripts", img, agent.Order{Root: true, OnStart: "cat /home/ec2-user/SageMaker/kept"}))
	i.phase(agent.Serving)
	lines, _ = i.ends()
	wantOutput(t, stream(lines, agent.StreamOnStart), []string{"kept"})
}

// TestScriptsThatFail end the instance with AWS's words, and all that they
// started.
func TestScriptsThatFail(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	d := p.open(t)
	img := lab(t)
	// Each leaves processes in three ways; the number tells whose they are.
	left := func(mark string) string {
		return strings.ReplaceAll(`(trap '' TERM HUP; touch /tmp/a; exec sleep MARK) & sudo -u ec2-user setsid sh -c 'touch /tmp/b; sleep MARK; true' &
(setsid sh -c 'touch /tmp/c; sleep MARK; true' &)
until [ -e /tmp/a -a -e /tmp/b -a -e /tmp/c ]; do sleep 0.02; done; `, "MARK", mark)
	}
	for name, tt := range map[string]struct {
		o       agent.Order
		want    string
		created bool
		mark    string
	}{
		"slow": {
			agent.Order{OnCreate: left("98761234") + "echo waits; sleep 1000", Limit: 2 * time.Second},
			"Notebook Instance Lifecycle Config 'arn:lc' for Notebook Instance 'arn:nb' took longer than 5 minutes. Please check your CloudWatch logs for more details if your Notebook Instance has Internet access.", false, "98761234",
		},
		"code": {
			agent.Order{OnStart: left("98761235") + "echo the reason; echo; exit 7"},
			"Notebook Instance Lifecycle Config 'arn:lc' for Notebook Instance 'arn:nb' failed. Please check your CloudWatch logs for more details if your Notebook Instance has Internet access. (the OnStart script ended with exit code 7: the reason)", true, "98761235",
		},
		"interpreter": {agent.Order{OnStart: "#!/no/such/program"}, "no such file or directory", true, "none"},
		"killed":      {agent.Order{OnCreate: "kill -9 $$"}, "exit code 137", false, "none"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := begin(t, d, first(t, "failing-"+name, "", img, tt.o))
			st := i.phase(agent.Failed)
			if !strings.Contains(st.Failure, tt.want) || st.Created != tt.created {
				t.Errorf("%+v", st)
			}
			for end := time.Now().Add(20 * time.Second); sleepers(tt.mark) > 0; {
				if time.Now().After(end) {
					t.Error("what it started is still there")
					break
				}
			}
			lines, exit := i.ends()
			if exit.Result.ExitCode != 1 || exit.Reason != compute.ReasonStopped || slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, "jupyter") }) {
				t.Errorf("%+v: %q", exit, lines)
			}
		})
	}
}

// sleepers are the host's processes that sleep so long.
func sleepers(seconds string) (n int) {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range files {
		if b, _ := os.ReadFile(f); string(b) == "sleep\x00"+seconds+"\x00" {
			n++
		}
	}
	return n
}
