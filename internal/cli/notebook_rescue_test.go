package cli

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"clary/internal/client/clienttest"
	"clary/internal/stage/agent"
	"clary/internal/stage/rescue"
)

const rescueBucket = "sagemaker-eu-west-1-123456789012"

// rescueBench is a bench whose server has a bucket, and an instance that is
// deleted by being asked to.
func rescueBench(t *testing.T, s3 http.Handler, deleted func()) *bench {
	t.Helper()
	b := newBench(t)
	gone := false
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch _, op, _ := strings.Cut(r.Header.Get("X-Amz-Target"), "."); {
		case op == "":
			s3.ServeHTTP(w, r)
		case op == "DeleteNotebookInstance":
			gone = true
			deleted()
			_, _ = io.WriteString(w, "{}")
		case op == "DescribeNotebookInstance" && gone:
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, `{"__type":"ValidationException","message":"RecordNotFound"}`)
		default:
			_, _ = io.WriteString(w, `{"NotebookInstanceName":"nb","NotebookInstanceStatus":"Stopped"}`)
		}
	}))
	t.Cleanup(srv.Close)
	b.write("keys/root.json", fmt.Sprintf(`{"AccessKeyId":"AKIDROOT","SecretAccessKey":%q}`, clienttest.Secret))
	b.write("run/server.json", fmt.Sprintf(`{"Addr":%q,"Region":"eu-west-1","Account":"123456789012"}`, strings.TrimPrefix(srv.URL, "http://")))
	return b
}

// keep makes a rescue of a volume and puts it into the bucket as the server does.
func keep(t *testing.T, s3 *clienttest.S3, script, folder string, at time.Time) agent.Manifest {
	t.Helper()
	root, dir := t.TempDir(), t.TempDir()
	cmd := exec.CommandContext(t.Context(), "bash", "-euc", script)
	cmd.Dir = root
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + root, "GIT_AUTHOR_NAME=A", "GIT_AUTHOR_EMAIL=a@x", "GIT_COMMITTER_NAME=A", "GIT_COMMITTER_EMAIL=a@x"}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	r, err := rescue.Make(t.Context(), root, dir, agent.Shelter{MaxLoose: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	m := agent.Manifest{Instance: "nb", Arn: "arn:aws:sagemaker:eu-west-1:123456789012:notebook-instance/nb", At: at, Files: r.Files, Notes: r.Notes}
	for _, f := range r.Files {
		text, err := os.ReadFile(filepath.Join(dir, f.Name))
		if err != nil {
			t.Fatal(err)
		}
		s3.Set(rescueBucket, "clary-rescue/nb/"+folder+"/"+f.Name, string(text))
	}
	put(t, s3, folder, m)
	return m
}

func put(t *testing.T, s3 *clienttest.S3, folder string, m agent.Manifest) {
	t.Helper()
	text, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	s3.Set(rescueBucket, "clary-rescue/nb/"+folder+"/manifest.json", string(text))
}

// TestNotebookRescue deletes an instance, is told what was kept, lists that and
// brings it back.
func TestNotebookRescue(t *testing.T) {
	t.Parallel()
	s3 := clienttest.New(rescueBucket, "other")
	then := time.Date(2026, 11, 30, 2, 38, 8, 0, time.UTC)
	b := rescueBench(t, s3, func() {
		keep(t, s3, `git init -q repo; echo 1 > repo/a; git -C repo add a; echo 2 >> repo/a; git init -q repo/in; echo 3 > repo/in/b; echo loose > l; mkfifo p`, "20261130T023808Z-b", then)
	})
	if code, out, errOut := b.run("notebook", "rescue", "ls"); code != 0 || !strings.HasPrefix(out, "Nothing was kept") {
		t.Errorf("%d %s %s", code, out, errOut)
	}
	keep(t, s3, `echo older > older`, "20261129T000000Z-a", then.AddDate(0, 0, -1))
	code, _, errOut := b.run("notebook", "delete", "nb")
	if code != 0 || !strings.Contains(errOut, "s3://"+rescueBucket+"/clary-rescue/nb/20261130T023808Z-b/ (") || strings.Contains(errOut, "20261129") || !strings.Contains(errOut, "pipes and devices were left out: 1") {
		t.Errorf("%d %s", code, errOut)
	}
	code, out, errOut := b.run("notebook", "rescue", "ls", "nb")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if code != 0 || len(lines) != 3 || !strings.Contains(lines[1], "2026-11-30T02:38:08Z  ") || !strings.Contains(lines[2], "2026-11-29T02:38:08Z  ") {
		t.Fatalf("%d %s %s", code, out, errOut)
	}
	var rows []struct {
		Instance, Arn, URI string
		At                 time.Time
		Bytes              int64
		Files              []agent.File
	}
	if code, out, _ := b.run("notebook", "rescue", "ls", "--json"); code != 0 || json.Unmarshal([]byte(out), &rows) != nil || len(rows) != 2 || !rows[0].At.Equal(then) || len(rows[0].Files) != 3 || rows[0].Bytes <= 0 || rows[0].Instance != "nb" {
		t.Errorf("%s", out)
	}
	to := filepath.Join(t.TempDir(), "to")
	code, out, errOut = b.run("notebook", "rescue", "restore", "nb", "--to", to)
	if code != 0 || strings.Count(out, "\n") != 3 || !strings.Contains(out, to+"/repo/in: no remote, untracked files: 1") || !strings.Contains(errOut, "left out: 1") {
		t.Fatalf("%d %s %s", code, out, errOut)
	}
	for path, want := range map[string]string{"repo/a": "1\n2\n", "repo/in/b": "3\n", "l": "loose\n"} {
		if got, err := os.ReadFile(filepath.Join(to, path)); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", path, got, err)
		}
	}
	if code, _, errOut := b.run("notebook", "rescue", "restore", "nb", "--to", to); code == 0 || !strings.Contains(errOut, "is not empty, and nothing is replaced") {
		t.Errorf("%d %s", code, errOut)
	}
	for at, want := range map[string]string{"2026-11-29": "", "20261129T0238": "", "2026": "2 times something was kept", "2025": "nothing was kept of nb at 2025"} {
		dir := filepath.Join(t.TempDir(), "d")
		code, _, errOut := b.run("notebook", "rescue", "restore", "nb", "--at", at, "--to", dir)
		if want == "" {
			if text, err := os.ReadFile(filepath.Join(dir, "older")); code != 0 || err != nil || string(text) != "older\n" {
				t.Errorf("%s: %d %s", at, code, errOut)
			}
		} else if code == 0 || !strings.Contains(errOut, want) {
			t.Errorf("%s: %d %s", at, code, errOut)
		}
	}
	if code, _, errOut := b.run("notebook", "rescue", "restore", "other"); code == 0 || !strings.Contains(errOut, "nothing was kept of other") {
		t.Errorf("%d %s", code, errOut)
	}
}

// TestNotebookRescueUnseen: what lies in the bucket, or that one may not see it,
// keeps nobody from deleting an instance, and nothing from being listed.
func TestNotebookRescueUnseen(t *testing.T) {
	t.Parallel()
	deleted := false
	b := rescueBench(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, `<Error><Code>AccessDenied</Code><Message>not for you</Message></Error>`)
	}), func() { deleted = true })
	if code, _, errOut := b.run("notebook", "delete", "nb"); code != 0 || !deleted || !strings.Contains(errOut, "s3://"+rescueBucket+"/clary-rescue/nb/ cannot be seen: ") || !strings.Contains(errOut, "not for you") {
		t.Errorf("%d, deleted %t: %s", code, deleted, errOut)
	}
	s3 := clienttest.New(rescueBucket)
	keep(t, s3, `echo loose > l`, "20261130T023808Z-b", time.Now())
	s3.Set(rescueBucket, "clary-rescue/nb/20261130T023809Z-c/manifest.json", "junk")
	code, out, errOut := rescueBench(t, s3, func() {}).run("notebook", "rescue", "ls")
	if code != 0 || strings.Count(out, "clary-rescue/nb/") != 1 || !strings.Contains(errOut, "20261130T023809Z-c/manifest.json is no manifest") {
		t.Errorf("%d %s %s", code, out, errOut)
	}
}

// TestNotebookRescueChecks: what is not what was kept is not brought back, and
// keeps nothing else from it.
func TestNotebookRescueChecks(t *testing.T) {
	t.Parallel()
	const folder = "20261130T023808Z-b"
	sum := func(text string) string {
		s := sha256.Sum256([]byte(text))
		return hex.EncodeToString(s[:])
	}
	for name, harm := range map[string]struct {
		do   func(s3 *clienttest.S3, m *agent.Manifest)
		want string
	}{
		"other contents": {func(s3 *clienttest.S3, m *agent.Manifest) {
			s3.Set(rescueBucket, "clary-rescue/nb/"+folder+"/repo.bundle", strings.Repeat("x", int(m.Files[0].Bytes)))
		}, "not what was kept"},
		"shorter": {func(s3 *clienttest.S3, _ *agent.Manifest) {
			s3.Set(rescueBucket, "clary-rescue/nb/"+folder+"/repo.bundle", "x")
		}, "it has 1 bytes in the bucket"},
		"a path for a name": {func(_ *clienttest.S3, m *agent.Manifest) { m.Files[0].Name = "../../x.bundle" }, "no name of a rescue's file"},
		"a folder outside":  {func(_ *clienttest.S3, m *agent.Manifest) { m.Files[0].From = "../out" }, "no folder of a repository"},
		"no bundle": {func(s3 *clienttest.S3, m *agent.Manifest) {
			s3.Set(rescueBucket, "clary-rescue/nb/"+folder+"/repo.bundle", "junk")
			m.Files[0].Bytes, m.Files[0].SHA256 = 4, sum("junk")
		}, "git bundle"},
		"another kind": {func(s3 *clienttest.S3, m *agent.Manifest) {
			s3.Set(rescueBucket, "clary-rescue/nb/"+folder+"/x.sh", "junk")
			m.Files[0].Name, m.Files[0].Bytes, m.Files[0].SHA256 = "x.sh", 4, sum("junk")
		}, "nothing is known of such a file"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s3 := clienttest.New(rescueBucket)
			m := keep(t, s3, `git init -q repo; echo 1 > repo/a; echo loose > l`, folder, time.Now())
			harm.do(s3, &m)
			put(t, s3, folder, m)
			b := rescueBench(t, s3, func() {})
			to := filepath.Join(t.TempDir(), "to")
			code, out, errOut := b.run("notebook", "rescue", "restore", "nb", "--to", to)
			if code == 0 || !strings.Contains(errOut, harm.want) {
				t.Errorf("%d %s %s", code, out, errOut)
			}
			if text, err := os.ReadFile(filepath.Join(to, "l")); err != nil || string(text) != "loose\n" {
				t.Errorf("the rest is not there: %v", err)
			}
		})
	}
}
