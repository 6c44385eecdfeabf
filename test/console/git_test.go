package console

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"clary/test/daemon"
)

// withCode makes a secret, a repository that uses it, a lifecycle configuration
// that says who commits, and an instance of them.
const withCode = `
import base64, boto3, json
sm, account = boto3.client("sagemaker"), "123456789012"
secret = boto3.client("secretsmanager").create_secret(Name="AmazonSageMaker-git", SecretString=json.dumps({"username": %[1]q, "password": %[2]q}))["ARN"]
sm.create_code_repository(CodeRepositoryName="demo", GitConfig={"RepositoryUrl": %[3]q, "Branch": "main", "SecretArn": secret})
start = """#!/bin/bash
set -e
echo "who commits"
sudo -u ec2-user -i <<'EOF'
git config --global user.name "Ada"
git config --global user.email ada@example.com
EOF
"""
sm.create_notebook_instance_lifecycle_config(NotebookInstanceLifecycleConfigName="committer", OnStart=[{"Content": base64.b64encode(start.encode()).decode()}])
`

const codedNotebook = `
import boto3
sm = boto3.client("sagemaker")
sm.create_notebook_instance(NotebookInstanceName=%[1]q, InstanceType="ml.t3.medium", DefaultCodeRepository="demo", LifecycleConfigName="committer",
    RoleArn="arn:aws:iam::123456789012:role/SageMakerRole")
waiter = sm.get_waiter("notebook_instance_in_service")
waiter.config.delay, waiter.config.max_attempts = 1, 900
try:
    waiter.wait(NotebookInstanceName=%[1]q)
except Exception as e:
    raise SystemExit("%%s: %%s" %% (e, sm.describe_notebook_instance(NotebookInstanceName=%[1]q).get("FailureReason")))
print(sm.create_presigned_notebook_instance_url(NotebookInstanceName=%[1]q)["AuthorizedUrl"])
`

const endNotebook = `
import boto3
sm = boto3.client("sagemaker")
sm.stop_notebook_instance(NotebookInstanceName=%[1]q)
for name in ("stopped", "deleted"):
    waiter = sm.get_waiter("notebook_instance_" + name)
    waiter.config.delay = 1
    waiter.wait(NotebookInstanceName=%[1]q)
    if name == "stopped":
        sm.delete_notebook_instance(NotebookInstanceName=%[1]q)
`

// TestGit works on code that lives in Git: cloned with a secret, edited,
// committed and pushed by JupyterLab's panel and from a terminal; the instance
// is deleted and made again, and the change is there. What was not pushed is
// kept when the instance goes.
func TestGit(t *testing.T) {
	t.Parallel()
	g := serveGit(t)
	d, _ := startIn(t, []string{"SSL_CERT_FILE=" + g.ca}, "--task-egress-allow", gitHost+"/32")
	script(t, d, fmt.Sprintf(withCode, gitUser, gitToken, g.url))
	b := open(t, d)
	b.lab(script(t, d, fmt.Sprintf(codedNotebook, "coder")))
	if got := b.kernel("print(open('/home/ec2-user/SageMaker/demo/README.md').read())"); got != "# demo" {
		t.Fatalf("the clone holds %q", got)
	}
	b.panelPush(g)
	b.terminalPush(g)
	secretive(t, d, b)

	script(t, d, fmt.Sprintf(endNotebook, "coder"))
	if out, err := d.Clary(t.Context(), "notebook", "rescue", "ls").CombinedOutput(); err != nil || strings.Contains(string(out), "coder") {
		t.Errorf("all was pushed, and rescues are there: %v\n%s", err, out)
	}
	b.lab(script(t, d, fmt.Sprintf(codedNotebook, "again")))
	if got := b.kernel("print(*(open('/home/ec2-user/SageMaker/demo/' + f).read().strip() for f in ('panel.txt', 'terminal.txt')))"); got != "by the panel by a terminal" {
		t.Errorf("made again, the instance has %q", got)
	}

	b.kernel("open('/home/ec2-user/SageMaker/demo/README.md', 'a').write('not committed\\n')\nopen('/home/ec2-user/SageMaker/loose.csv', 'w').write('a,b\\n')")
	script(t, d, fmt.Sprintf(endNotebook, "again"))
	back := filepath.Join(t.TempDir(), "back")
	out, err := d.Clary(t.Context(), "notebook", "rescue", "restore", "again", "--to", back).CombinedOutput()
	if err != nil {
		t.Fatalf("restore: %v\n%s", err, out)
	}
	for name, want := range map[string]string{"demo/README.md": "# demo\nnot committed\n", "demo/panel.txt": "by the panel\n", "loose.csv": "a,b\n"} {
		if got, err := os.ReadFile(filepath.Join(back, name)); err != nil || string(got) != want {
			t.Errorf("restored %s: %q, %v", name, got, err)
		}
	}
	b.signIn("/notebook-instances")
	b.shoot("notebook-rescues")
	b.visit("/git-repositories")
	b.shoot("git-repositories")
	b.visit("/lifecycle-configurations/committer")
	b.shoot("lifecycle-configuration")

	// git's own words when it cannot clone
	if got := script(t, d, fmt.Sprintf(failedClone, strings.Replace(g.url, "demo.git", "nothing.git", 1))); !strings.Contains(got, "fatal: ") || strings.Contains(got, gitToken) {
		t.Errorf("an instance whose repository cannot be cloned fails with %q", got)
	}
}

const failedClone = `
import boto3, botocore
sm = boto3.client("sagemaker")
sm.create_notebook_instance(NotebookInstanceName="broken", InstanceType="ml.t3.medium", DefaultCodeRepository=%[1]q,
    RoleArn="arn:aws:iam::123456789012:role/SageMakerRole")
waiter = sm.get_waiter("notebook_instance_in_service")
waiter.config.delay, waiter.config.max_attempts = 1, 900
try:
    waiter.wait(NotebookInstanceName="broken")
except botocore.exceptions.WaiterError:
    pass
d = sm.describe_notebook_instance(NotebookInstanceName="broken")
print(d["NotebookInstanceStatus"], d.get("FailureReason"))
`

// pushed waits until the server has a file on main.
func (b *tab) pushed(g *gitServer, name, want string) {
	b.t.Helper()
	for deadline := time.Now().Add(time.Minute); g.file("main", name) != want; {
		if time.Now().After(deadline) {
			var png []byte
			b.run(chromedp.CaptureScreenshot(&png))
			at := filepath.Join(os.TempDir(), "clary-not-pushed.png")
			_ = os.WriteFile(at, png, 0o600)
			b.t.Fatalf("%s was not pushed: the server has %q; the page is in %s", name, g.file("main", name), at)
		}
		b.run(chromedp.Sleep(100 * time.Millisecond))
	}
}

// panelPush commits a file and pushes it with the mouse and the Git panel.
func (b *tab) panelPush(g *gitServer) {
	b.t.Helper()
	b.upload("demo/panel.txt", "by the panel\n")
	b.run(chromedp.Navigate(b.origin()+"/lab/tree/demo"), chromedp.WaitReady("#jp-main-dock-panel", chromedp.ByID))
	const panel = `document.querySelector("#jp-git-sessions")`
	for shown := false; !shown; { // a click that came before JupyterLab was whole does nothing
		b.choose(`document.querySelector('.lm-TabBar-tab[data-id="jp-git-sessions"]')`)
		shown = js[bool](b, `new Promise(r => setTimeout(() => r(!!`+panel+`?.offsetParent), 2000))`)
	}
	b.until("the new file in the panel", `/panel\.txt/.test(`+panel+`?.innerText)`)
	// its button is shown to a mouse that is over it
	js[bool](b, `(`+panel+`.querySelector('[title^="Track all"]').click(), true)`)
	b.until("the file is staged", `/STAGED\s*1\s*panel\.txt/i.test(`+panel+`?.innerText)`)
	b.until("where a commit is described", `!!`+panel+`.querySelector('[placeholder^="Commit message"]')`)
	b.run(chromedp.SendKeys(`#jp-git-sessions [placeholder^="Commit message"]`, "by the panel", chromedp.ByQuery))
	b.picture("notebook-git-panel")
	b.choose(`[...` + panel + `.querySelectorAll("button, input[type=button]")].find(e => (e.innerText || e.value || "").trim() === "Commit" && !e.disabled)`)
	b.until("nothing is left to commit", `!/panel\.txt/.test(`+panel+`?.innerText)`)
	b.choose(panel + `.querySelector('[title^="Push committed changes"]')`)
	b.pushed(g, "panel.txt", "by the panel\n")
}

// terminalPush does it by typing.
func (b *tab) terminalPush(g *gitServer) {
	b.t.Helper()
	typed := "cd ~/SageMaker/demo && git pull -q && echo by a terminal > terminal.txt && git add . && git commit -q -m typed && git push -q; echo over\\r"
	js[bool](b, fmt.Sprintf(`(async () => {
		const xsrf = (document.cookie.match(/_xsrf=([^;]+)/) || [])[1] || "";
		const made = await (await fetch("/api/terminals", {method: "POST", headers: {"X-XSRFToken": xsrf}})).json();
		const ws = new WebSocket("ws://" + location.host + "/terminals/websocket/" + made.name);
		window.said = "";
		await new Promise((done, failed) => {
			ws.onerror = failed;
			ws.onmessage = (e) => {
				const m = JSON.parse(e.data);
				if (m[0] === "setup") done();
				if (m[0] === "stdout") window.said += m[1];
			};
		});
		ws.send(JSON.stringify(["stdin", "%s"]));
		return true;
	})()`, typed))
	b.pushed(g, "terminal.txt", "by a terminal\n")
}

// secretive looks for the token wherever it must not be.
func secretive(t *testing.T, d *daemon.Daemon, b *tab) {
	t.Helper()
	half := len(gitToken) / 2
	got := b.kernel(fmt.Sprintf(`
import os
token = (%q + %q).encode()
found = []
for top in ("/home/ec2-user", "/etc", "/tmp", "/var", "/root", "/opt/ml", "/proc"):
    for folder, below, files in os.walk(top):
        if folder == "/proc":
            below[:] = [p for p in below if p.isdigit() and p != str(os.getpid())]
        elif folder.startswith("/proc/"):
            below[:], files = [], ["cmdline", "environ"]
        if folder.endswith("/anaconda3"):
            below[:] = []
        for f in files:
            try:
                if token in open(os.path.join(folder, f), "rb").read():
                    found.append(os.path.join(folder, f))
            except OSError:
                pass
print("found", found)
`, gitToken[:half], gitToken[half:]))
	if got != "found []" {
		t.Errorf("the token lies in the instance: %s", got)
	}
	err := filepath.WalkDir(d.Data, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return nil //nolint:nilerr // files come and go
		}
		if info, err := e.Info(); err != nil || info.Size() > 256<<20 {
			return nil //nolint:nilerr // volumes were looked at from inside
		}
		if text, err := os.ReadFile(path); err == nil && bytes.Contains(text, []byte(gitToken)) {
			t.Errorf("the token lies in the server's %s", path)
		}
		return nil
	})
	must(t, err)
	if text, err := os.ReadFile(d.Log); err != nil || bytes.Contains(text, []byte(gitToken)) {
		t.Errorf("the token is in the server's log, %v", err)
	}
}
