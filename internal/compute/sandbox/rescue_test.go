package sandbox_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"clary/internal/cli/rescue"
	"clary/internal/compute"
	"clary/internal/compute/computetest"
	"clary/internal/compute/sandbox"
	"clary/internal/compute/sandbox/jail"
	"clary/internal/stage/agent"
)

// TestRescue keeps what a notebook has left on its volume, in a task of a
// rescue's shape, and brings it back outside.
func TestRescue(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	d := p.open(t)
	const v = "rescued"
	ensure(t, d, v, 256<<20)
	const look = `find . -type f -print0 | sort -z | sudo xargs -0 sha256sum | sha256sum; find . -printf '%p %m %U %T@\n' | grep -v '^./lost' | sort | sha256sum`
	before, st := p.runs(t, d, notebook("rescue-1", v, `set -e; umask 022
export GIT_AUTHOR_NAME=A GIT_AUTHOR_EMAIL=a@x GIT_COMMITTER_NAME=A GIT_COMMITTER_EMAIL=a@x
git init -q repo; cd repo; echo 1 > a; git add a; git commit -qm 1; echo 2 >> a; git stash -q; echo 3 >> a; git add a; echo 4 >> a; echo new > 'n ew'
printf '#!/bin/sh\ntouch /home/ec2-user/SageMaker/ran\n' > .git/trap; chmod +x .git/trap; git config core.fsmonitor .git/trap
echo secret > root-only; sudo chown root root-only; sudo chmod 600 root-only; rm -f ../ran; cd ..
sudo git init -q rooted; sudo sh -c 'echo rooted > rooted/f; chmod -R go-rwx rooted'
mkdir loose; echo l > loose/file; sudo sh -c 'echo r > loose/root; chmod 600 loose/root'; ln -s /etc/passwd loose/link; rm -f ran
`+look))
	if st.Exit.Result.ExitCode != 0 || len(before) != 2 {
		t.Fatalf("%q %+v", before, *st.Exit)
	}
	got := t.TempDir()
	r := rescued(t, d, v, "rescue-2", got)
	if len(r.Files) != 3 || len(r.Notes) > 0 || r.Files[1].What != "no remote, untracked files: 1" || r.Files[0].What != "no remote, staged changes, changed files: 1, untracked files: 2, stashes: 1" {
		t.Fatalf("%+v", r)
	}
	after, _ := p.runs(t, d, notebook("rescue-3", v, look))
	wantOutput(t, after, before)

	to, home := filepath.Join(t.TempDir(), "to"), t.TempDir()
	target, err := rescue.Open(to, home)
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close() //nolint:errcheck // a folder
	if said, err := target.Repository(t.Context(), filepath.Join(got, "repo.bundle"), "repo"); err != nil || len(said) > 0 {
		t.Fatalf("%q, %v", said, err)
	}
	if said, err := target.Repository(t.Context(), filepath.Join(got, "rooted.bundle"), "rooted"); err != nil || len(said) > 0 {
		t.Fatalf("%q, %v", said, err)
	}
	if err := target.Loose(t.Context(), filepath.Join(got, "loose.tar.gz")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-c", `cd repo; git status --porcelain -z | tr '\0' '\n'; git stash list | wc -l; cat a 'n ew' root-only ../loose/file ../loose/root ../rooted/f; readlink ../loose/link`)
	cmd.Dir, cmd.Env = to, []string{"HOME=" + home, "PATH=" + os.Getenv("PATH")}
	out, err := cmd.CombinedOutput()
	if want := "MM a\n?? n ew\n?? root-only\n1\n1\n3\n4\nnew\nsecret\nl\nr\nrooted\n/etc/passwd\n"; err != nil || string(out) != want {
		t.Errorf("%v\n%s\nwant %s", err, out, want)
	}
}

// rescued runs a rescue's task, as the server does, and fetches its files.
func rescued(t *testing.T, d *sandbox.Driver, v compute.VolumeID, id compute.TaskID, to string) agent.Rescue {
	t.Helper()
	order, err := json.Marshal(agent.Order{Name: "nb", Shelter: &agent.Shelter{MaxLoose: 1 << 20}})
	if err != nil {
		t.Fatal(err)
	}
	tk := compute.Task{
		ID: id, Kind: "notebook-rescue", Name: "nb", Args: []string{jail.Binary, "rescue"}, Dir: "/home/ec2-user/SageMaker", Grace: time.Minute,
		User:    &compute.User{Name: "ec2-user", Home: "/home/ec2-user", Sudo: true},
		Mounts:  []compute.Mount{{Volume: v, Path: "/home/ec2-user/SageMaker"}},
		Files:   []compute.File{{Path: agent.OrderFile, Mode: 0o400, Data: order}},
		Network: compute.Network{Isolated: true},
	}
	if err := d.Start(t.Context(), tk); err != nil {
		t.Fatal(err)
	}
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return d.Dial(ctx, id, agent.Port)
	}}}
	get := func(path string, w io.Writer) error {
		resp, err := c.Get("http://task" + path)
		if err != nil {
			return err
		}
		defer resp.Body.Close() //nolint:errcheck // read whole
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("%s: %s", path, resp.Status)
		}
		_, err = io.Copy(w, resp.Body)
		return err
	}
	var r agent.Rescue
	for deadline := time.Now().Add(time.Minute); !r.Ready; time.Sleep(5 * time.Millisecond) {
		var text strings.Builder
		err := get("/rescue", &text)
		if err != nil && !errors.Is(err, compute.ErrRefused) && !errors.Is(err, compute.ErrNotFound) || r.Failure != "" || time.Now().After(deadline) {
			t.Fatalf("%v %+v", err, r)
		}
		if err == nil {
			if err := json.Unmarshal([]byte(text.String()), &r); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, f := range r.Files {
		out, err := os.Create(filepath.Join(to, f.Name))
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(get("/rescue/"+f.Name, out), out.Close()); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	if err := d.Stop(t.Context(), id, time.Minute); err != nil {
		t.Fatal(err)
	}
	if st := computetest.Ended(t, d, id); st.Exit.Result.ExitCode != 0 || time.Since(began) > 30*time.Second {
		t.Errorf("told to end, it took %s: %+v", time.Since(began), *st.Exit)
	}
	return r
}
