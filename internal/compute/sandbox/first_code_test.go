package sandbox_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"clary/internal/stage/agent"
)

// TestRepositories clones by a secret, pushes from a terminal, and leaves the
// secret nowhere.
func TestRepositories(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	f := newForge(t, p)
	d := p.open(t)
	ensure(t, d, "code", 64<<20)
	repos := []agent.Repository{
		{URL: f.url + "/closed.git", Folder: "closed", Branch: "dev", Secret: "git-login"},
		{URL: f.url + "/open.git", Folder: "open"},
	}
	i := begin(t, d, connected(first(t, "code-1", "code", lab(t), agent.Order{Root: true, Repositories: repos, Open: "closed", OnStart: `
set -e
ls -A /home/ec2-user/SageMaker | grep -v lost.found
sudo -u ec2-user -i <<'EOF'
set -e
cd ~/SageMaker/closed
stat -c %U . .git/config file; git branch --show-current; cat file
git config --get-regexp '^remote.*url'
echo more >> file; git commit -qam second
GIT_TRACE=1 git push -q origin dev 2>&1
EOF
cat /home/ec2-user/SageMaker/closed/.git/config
grep -r 'tok[e]n-that' /etc/gitconfig /home/ec2-user /root /opt/ml /tmp || true
ls ` + agent.OrderFile + ` 2>&1 || true
`})))
	st := i.phase(agent.Serving)
	if strings.Join(st.Cloned, " ") != "closed open" || !st.Created {
		t.Errorf("%+v", st)
	}
	i.line("--FileContentsManager.preferred_dir=closed")
	lines, exit := i.ends()
	script := strings.Join(stream(lines, agent.StreamOnStart), "\n")
	for _, want := range []string{"closed\nopen\nec2-user\nec2-user\nec2-user\ndev\nof closed.git\n", "remote.origin.url " + f.url + "/closed.git", "git-credential", "No such file or directory"} {
		if !strings.Contains(script, want) {
			t.Errorf("no %q in\n%s", want, script)
		}
	}
	if all := strings.Join(lines, "\n"); strings.Contains(all, token) {
		t.Errorf("the token is seen:\n%s", all)
	}
	if exit.Result.ExitCode != 3 { // of what stands for JupyterLab
		t.Errorf("%+v\n%s", exit, strings.Join(lines, "\n"))
	}
	if got := f.log(t, "closed.git", "dev"); got != "second first" {
		t.Errorf("pushed: %s", got)
	}

	// What is there is not cloned again, nor what an earlier run has cloned.
	repos[1].Cloned, repos[0].URL = true, f.url+"/nothing.git"
	i = begin(t, d, connected(first(t, "code-2", "code", lab(t), agent.Order{Repositories: repos, OnStart: "rm -rf /home/ec2-user/SageMaker/open"})))
	i.phase(agent.Serving)
	i.ends()
	i = begin(t, d, connected(first(t, "code-3", "code", lab(t), agent.Order{Repositories: repos, OnStart: "ls /home/ec2-user/SageMaker | grep -v lost.found"})))
	st = i.phase(agent.Serving)
	lines, _ = i.ends()
	if got := stream(lines, agent.StreamOnStart); strings.Join(got, " ") != "closed" || strings.Join(st.Cloned, " ") != "closed open" {
		t.Errorf("%q, %+v", got, st)
	}
}

// TestRepositoriesThatFail say why in git's words, and leave nothing.
func TestRepositoriesThatFail(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	f := newForge(t, p)
	d := p.open(t)
	img := lab(t)
	for n, tt := range []struct {
		repo agent.Repository
		want []string
	}{
		{agent.Repository{URL: f.url + "/none.git"}, []string{"fatal: repository '" + f.url + "/none.git/' not found"}},
		{agent.Repository{URL: f.url + "/open.git", Branch: "nope"}, []string{"Remote branch nope not found"}},
		{agent.Repository{URL: f.url + "/closed.git"}, []string{"terminal prompts disabled"}},
		{agent.Repository{URL: f.url + "/closed.git", Secret: "other"}, []string{"the secret other for this repository", "ResourceNotFoundException", "can't find the specified secret"}},
		{agent.Repository{URL: "http://" + token + ":" + token + "@127.0.0.3:1/x.git"}, []string{"http://127.0.0.3:1/x.git"}},
		{agent.Repository{URL: "ext::sh -c 'touch /tmp/x'"}, []string{"transport 'ext' not allowed"}},
		{agent.Repository{URL: "--upload-pack=/bin/true"}, []string{"does not exist"}},
		{agent.Repository{URL: f.url + "/open.git", Folder: "."}, []string{`"." is no name for a folder`}},
		{agent.Repository{URL: f.url + "/open.git", Folder: "../it"}, []string{`"../it" is no name for a folder`}},
	} {
		if tt.repo.Folder == "" {
			tt.repo.Folder = "it"
		}
		i := begin(t, d, connected(first(t, fmt.Sprintf("fail-%d", n), "", img, agent.Order{Root: true, Repositories: []agent.Repository{tt.repo}, OnCreate: "echo no"})))
		st := i.phase(agent.Failed)
		for _, w := range tt.want {
			if !strings.Contains(st.Failure, w) {
				t.Errorf("%+v: no %q in %q", tt.repo, w, st.Failure)
			}
		}
		lines, exit := i.ends()
		if all := strings.Join(lines, "\n"); strings.Contains(all+st.Failure, token) || strings.Contains(all, "jupyter runs") || len(stream(lines, agent.StreamOnCreate)) > 0 || exit.Result.ExitCode != 1 || st.Created || len(st.Cloned) > 0 {
			t.Errorf("%+v %+v %+v\n%s", tt.repo, st, exit, all)
		}
	}
}

// TestStoppedBeforeJupyter stops an instance while it clones, and while a
// script runs: it ends at once, and the next start finds nothing half-made.
func TestStoppedBeforeJupyter(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	f := newForge(t, p)
	d := p.open(t)
	ensure(t, d, "stopped", 64<<20)
	img := lab(t)
	o := agent.Order{Root: true, Repositories: []agent.Repository{{URL: f.url + "/stuck.git", Folder: "it"}}, OnStart: "ls -A /home/ec2-user/SageMaker | grep -v lost.found; sleep 1000"}
	i := begin(t, d, connected(first(t, "stopped-1", "stopped", img, o)))
	<-f.stuck
	began := time.Now()
	if lines, exit := i.ends(); exit.Result.ExitCode != 0 || time.Since(began) > 10*time.Second || len(stream(lines, agent.StreamOnStart)) > 0 {
		t.Errorf("%+v after %s: %q", exit, time.Since(began), lines)
	}
	i = begin(t, d, connected(first(t, "stopped-2", "stopped", img, o)))
	i.line(agent.Mark + "it")
	if st := i.phase(agent.Starting); strings.Join(st.Cloned, " ") != "it" {
		t.Errorf("%+v", st)
	}
	began = time.Now()
	lines, exit := i.ends()
	if got := stream(lines, agent.StreamOnStart); strings.Join(got, " ") != "it" || exit.Result.ExitCode != 0 || time.Since(began) > 10*time.Second {
		t.Errorf("%+v after %s: %q", exit, time.Since(began), got)
	}
}
