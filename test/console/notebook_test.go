package console

import (
	"encoding/json"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"

	"clary/internal/resource"
	"clary/test/daemon"
)

// sdk is the environment of the clients that scripts run in.
func sdk(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("CLARY_VENV_V2")
	if dir == "" {
		t.Fatal("CLARY_VENV_V2 is not set: run `make test`, which installs the clients")
	}
	return dir
}

// script runs Python as a user of the SDK does and gives what it printed.
func script(t testing.TB, d *daemon.Daemon, text string) string {
	t.Helper()
	out, err := d.Command(t.Context(), sdk(t), "python", "-W", "ignore", "-c", text).CombinedOutput()
	if err != nil {
		t.Fatalf("%v:\n%s\n%s", err, text, out)
	}
	return strings.TrimSpace(string(out))
}

const makeNotebook = `
import boto3
sm = boto3.client("sagemaker")
sm.create_notebook_instance(NotebookInstanceName=%[1]q, InstanceType="ml.t3.medium", VolumeSizeInGB=5,
    RoleArn="arn:aws:iam::123456789012:role/SageMakerRole")
waiter = sm.get_waiter("notebook_instance_in_service")
waiter.config.delay, waiter.config.max_attempts = 1, 900  # sooner, within the waiter's own half hour
waiter.wait(NotebookInstanceName=%[1]q)
print(sm.create_presigned_notebook_instance_url(NotebookInstanceName=%[1]q)["AuthorizedUrl"])
`

// lab opens JupyterLab by a presigned URL.
func (b *tab) lab(url string) {
	b.t.Helper()
	b.run(chromedp.Navigate(url), chromedp.WaitReady("#jp-main-dock-panel", chromedp.ByID))
	if strings.Contains(js[string](b, "location.href"), "authToken") {
		b.t.Error("the token stays in the address")
	}
}

// inKernel runs code in a kernel of its own and gives what it printed.
const inKernel = `async (code) => {
	const xsrf = (document.cookie.match(/_xsrf=([^;]+)/) || [])[1] || "";
	const made = await fetch("/api/kernels", {method: "POST", headers: {"Content-Type": "application/json", "X-XSRFToken": xsrf}, body: JSON.stringify({name: "conda_python3"})});
	if (!made.ok) return "kernel: " + made.status + " " + await made.text();
	const id = (await made.json()).id;
	const ws = new WebSocket("ws://" + location.host + "/api/kernels/" + id + "/channels");
	let said = "";
	const out = await new Promise((done) => {
		ws.onerror = () => done("the socket failed");
		ws.onopen = () => ws.send(JSON.stringify({channel: "shell", parent_header: {}, metadata: {}, buffers: [],
			header: {msg_id: "run", msg_type: "execute_request", username: "", session: "s", version: "5.3", date: new Date().toISOString()},
			content: {code, silent: false, store_history: false, user_expressions: {}, allow_stdin: false, stop_on_error: true}}));
		ws.onmessage = (e) => {
			const m = JSON.parse(e.data);
			if (m.parent_header?.msg_id !== "run") return;
			if (m.msg_type === "stream") said += m.content.text;
			if (m.msg_type === "error") said += m.content.ename + ": " + m.content.evalue;
			if (m.msg_type === "status" && m.content.execution_state === "idle") done(said);
		};
	});
	ws.close();
	await fetch("/api/kernels/" + id, {method: "DELETE", headers: {"X-XSRFToken": xsrf}});
	return out;
}`

func (b *tab) kernel(code string) string {
	b.t.Helper()
	quoted, err := json.Marshal(code)
	must(b.t, err)
	return strings.TrimSpace(js[string](b, "("+inKernel+")("+string(quoted)+")"))
}

// upload puts a file where the file browser shows it.
func (b *tab) upload(name, text string) {
	b.t.Helper()
	body, err := json.Marshal(map[string]any{"type": "file", "format": "text", "content": text})
	must(b.t, err)
	quoted, err := json.Marshal(string(body))
	must(b.t, err)
	status := js[int](b, fmt.Sprintf(`fetch("/api/contents/%s", {method: "PUT", body: %s,
		headers: {"Content-Type": "application/json", "X-XSRFToken": (document.cookie.match(/_xsrf=([^;]+)/) || [])[1] || ""}}).then(r => r.status)`, name, quoted))
	if status/100 != 2 {
		b.t.Fatalf("upload of %s: %d", name, status)
	}
}

// cell is what a saved notebook holds of one.
type cell struct {
	ID      string `json:"id"`
	Type    string `json:"cell_type"`
	Count   *int   `json:"execution_count"`
	Outputs []struct {
		Type  string                     `json:"output_type"`
		Name  string                     `json:"ename"`
		Value string                     `json:"evalue"`
		Text  json.RawMessage            `json:"text"`
		Data  map[string]json.RawMessage `json:"data"`
	} `json:"outputs"`
}

// saved is a notebook as it lies on the volume; nil while it is being written.
func (b *tab) saved(name string) []cell {
	b.t.Helper()
	var v struct{ Content struct{ Cells []cell } }
	text := js[string](b, fmt.Sprintf(`fetch("/api/contents/%s?content=1").then(r => r.ok ? r.text() : "{}")`, name))
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		b.t.Fatalf("%v: %.300s", err, text)
	}
	return v.Content.Cells
}

// runAll runs a notebook's cells by the menu and waits until the last has run.
func (b *tab) runAll(name string) []cell {
	b.t.Helper()
	b.run(chromedp.Navigate(b.origin()+"/lab/tree/"+name), chromedp.WaitReady(".jp-Notebook .jp-Cell", chromedp.ByQuery))
	b.until("a kernel that is connected", `fetch("/api/sessions").then(r => r.json()).then(l => l.some(s => s.kernel.execution_state === "idle" && s.kernel.connections > 0))`)
	if js[bool](b, `!!document.querySelector(".jp-Dialog")`) {
		b.t.Errorf("JupyterLab asks something: %s", b.text(".jp-Dialog"))
	}
	b.choose(`[...document.querySelectorAll(".lm-MenuBar-item")].find(e => e.innerText.trim() === "Run")`)
	b.choose(`document.querySelector(".lm-Menu-item[data-command='runmenu:run-all']")`)
	var cells []cell
	for deadline := time.Now().Add(5 * time.Minute); ; {
		// Ctrl+S keeps what the cells show
		b.run(chromedp.KeyEvent("s", chromedp.KeyModifiers(input.ModifierCtrl)))
		cells = b.saved(name)
		for _, c := range cells {
			for _, o := range c.Outputs {
				if o.Type == "error" {
					b.t.Fatalf("cell %s: %s: %s", c.ID, o.Name, o.Value)
				}
			}
		}
		// none is there while it is being written
		if n := len(cells); n > 0 && cells[n-1].Count != nil && len(cells[n-1].Outputs) > 0 {
			return cells
		}
		if time.Now().After(deadline) {
			b.t.Fatalf("not all cells ran: %+v", cells)
		}
		b.run(chromedp.Sleep(time.Second)) // between two saves
	}
}

// choose moves the mouse to what an expression finds and clicks: a menu of
// JupyterLab's knows only what the mouse went over.
func (b *tab) choose(element string) {
	b.t.Helper()
	b.until(element, "!!"+element)
	at := js[[]float64](b, "(e => { const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2] })("+element+")")
	b.run(chromedp.MouseEvent(input.MouseMoved, at[0]-1, at[1]), chromedp.MouseEvent(input.MouseMoved, at[0], at[1]), chromedp.MouseClickXY(at[0], at[1]))
}

func (b *tab) origin() string { b.t.Helper(); return js[string](b, "location.origin") }

// TestNotebook has one server, whose runtime of notebooks is built once.
func TestNotebook(t *testing.T) {
	t.Parallel()
	d, api := start(t)
	t.Run("Way", func(t *testing.T) { wholeWay(t, d, api) })
	t.Run("Apart", func(t *testing.T) { apart(t, d, api) })
}

// wholeWay is that of a notebook instance: made with boto3, opened in a
// browser, its notebook run to the end, stopped, started, deleted, billed.
func wholeWay(t *testing.T, d *daemon.Daemon, api *daemon.API) {
	ctx := t.Context()
	b := open(t, d)

	asked := time.Now()
	url := script(t, d, fmt.Sprintf(makeNotebook, "first"))
	up := time.Now()
	b.lab(url)

	text, err := os.ReadFile(filepath.Join("..", "..", "examples", "first-steps.ipynb"))
	must(t, err)
	b.upload("first-steps.ipynb", string(text))
	cells := b.runAll("first-steps.ipynb")
	byID := map[string]cell{}
	for _, c := range cells {
		byID[c.ID] = c
	}
	curve := byID["curve"]
	plotted := false
	for _, o := range curve.Outputs {
		plotted = plotted || len(o.Data["image/png"]) > 10_000
	}
	if !plotted {
		t.Errorf("no picture of the learning curve: %+v", curve.Outputs)
	}
	b.run(chromedp.ScrollIntoView(`.jp-OutputArea img`, chromedp.ByQuery))
	b.picture("notebook-first-steps")

	// what the notebook may see and what it may not
	if got := b.kernel("import os, getpass\nprint(getpass.getuser(), os.getcwd())\n!git --version"); !strings.Contains(got, "/home/ec2-user/SageMaker") || !strings.Contains(got, "git version") {
		t.Errorf("a cell says %q", got)
	}
	b.kernel("open('/home/ec2-user/SageMaker/kept.txt', 'w').write('still here')")

	// the console, signed in beside it
	b.signIn("/notebook-instances")
	b.shoot("notebook-instances")
	b.visit("/notebook-instances/first")
	for _, want := range []string{"InService", "ml.t3.medium", "Cost so far", "Open JupyterLab"} {
		if !strings.Contains(b.text("main"), want) {
			t.Errorf("the page of the instance lacks %q", want)
		}
	}
	b.shoot("notebook-instance")
	b.visit("/")
	if !strings.Contains(b.text("main"), "first") {
		t.Error("home does not show the instance that costs")
	}

	// stop, by its page, and start
	b.visit("/notebook-instances/first/stop")
	b.shoot("notebook-stop")
	stopAsked := time.Now()
	b.run(chromedp.Click("form[action$='/stop'] button", chromedp.ByQuery), chromedp.WaitReady("nav.side"))
	stopAnswered := time.Now()
	b.until("Stopped, without a reload", `/Stopped/.test(document.querySelector("#summary")?.innerText)`)
	b.visit("/notebook-instances/first/start")
	b.shoot("notebook-start")
	again := time.Now()
	b.run(chromedp.Click("form[action$='/start'] button", chromedp.ByQuery), chromedp.WaitReady("nav.side"))
	b.until("InService again", `/InService/.test(document.querySelector("#summary")?.innerText)`)
	upAgain := time.Now()
	b.lab(script(t, d, `import boto3; print(boto3.client("sagemaker").create_presigned_notebook_instance_url(NotebookInstanceName="first")["AuthorizedUrl"])`))
	if got := b.kernel("print(open('/home/ec2-user/SageMaker/kept.txt').read())"); got != "still here" {
		t.Errorf("after stop and start the file says %q", got)
	}

	secondStop := time.Now()
	script(t, d, `
import boto3
sm = boto3.client("sagemaker")
sm.stop_notebook_instance(NotebookInstanceName="first")
for name in ("stopped", "deleted"):
    waiter = sm.get_waiter("notebook_instance_" + name)
    waiter.config.delay = 1
    waiter.wait(NotebookInstanceName="first")
    if name == "stopped":
        sm.delete_notebook_instance(NotebookInstanceName="first")
`)
	gone := time.Now()
	if left, err := filepath.Glob(filepath.Join(d.Data, "volumes", "*")); err != nil || len(left) > 0 {
		t.Errorf("the volume is still there: %v, %v", left, err)
	}

	// the bill, by hand
	var u struct {
		Usage []resource.Usage
		Bills map[string]struct {
			Lines []struct {
				Name, Component string
				MicroUSD        int64
			}
		}
	}
	must(t, api.Document(ctx, "sagemaker", "/_clary/usage", nil, &u))
	within := func(what string, at, from, to time.Time) {
		if at.Before(from.Add(-time.Second)) || at.After(to.Add(time.Second)) {
			t.Errorf("%s at %s, not between %s and %s", what, at, from, to)
		}
	}
	// dollars an hour of ml.t3.medium, and of 5 GB at 0.14 a GB and month of 30 days
	hourly := map[string]*big.Rat{"notebook": big.NewRat(5, 100), "notebook-volume": big.NewRat(5*14, 100*30*24)}
	want := map[string]*big.Rat{}
	sessions, volumes := 0, 0
	for _, x := range u.Usage {
		if x.Kind != "NotebookInstance" || x.Name != "first" {
			continue
		}
		for book, granule := range map[string]time.Duration{"minute": time.Minute, "aws": time.Second} {
			began := int64((x.End.Sub(x.Start) + granule - 1) / granule)
			micros := new(big.Rat).Mul(hourly[x.Component], big.NewRat(began*int64(granule/time.Second)*1_000_000, 3600))
			if sum := want[book+" "+x.Component]; sum != nil {
				micros.Add(micros, sum)
			}
			want[book+" "+x.Component] = micros
		}
		switch x.Component {
		case "notebook":
			if sessions++; sessions == 1 {
				within("in service", x.Start, asked, up)
				within("stopped", x.End, stopAsked, stopAnswered)
			} else {
				within("in service again", x.Start, again, upAgain)
				within("stopped again", x.End, secondStop, gone)
			}
		case "notebook-volume":
			volumes++
			within("the volume's begin", x.Start, asked, up)
			if x.Quantity != 5 || x.End.IsZero() {
				t.Errorf("volume %+v", x)
			}
			within("the volume's end", x.End, secondStop, gone)
		}
	}
	if sessions != 2 || volumes != 1 {
		t.Errorf("%d intervals of compute, want 2, and %d of the volume, want 1: %+v", sessions, volumes, u.Usage)
	}
	for what, micros := range want {
		book, component, _ := strings.Cut(what, " ")
		billed, lines := int64(0), int64(0)
		for _, l := range u.Bills[book].Lines {
			if l.Name == "first" && l.Component == component {
				billed += l.MicroUSD
				lines++ // one a day, rounded by itself
			}
		}
		if off := new(big.Rat).Sub(micros, big.NewRat(billed, 1)); lines == 0 || off.Abs(off).Cmp(big.NewRat(lines, 2)) > 0 {
			t.Errorf("book and component %s: billed %d micro-dollars, by hand %s", what, billed, micros.FloatString(2))
		}
	}
}

// picture keeps what the window shows where CLARY_SHOTS names a folder.
func (b *tab) picture(name string) {
	b.t.Helper()
	dir := os.Getenv("CLARY_SHOTS")
	if dir == "" {
		return
	}
	var png []byte
	b.run(chromedp.CaptureScreenshot(&png))
	must(b.t, os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644))
}

// apart shows that a notebook only orchestrates: the job that it starts has
// another machine, which goes on when the notebook is gone.
func apart(t *testing.T, d *daemon.Daemon, api *daemon.API) {
	ctx := t.Context()
	b := open(t, d)
	must(t, api.CreateBucket(ctx, bucket))
	b.lab(script(t, d, fmt.Sprintf(makeNotebook, "apart")))

	job := daemon.JobRequest("heavy", bucket, daemon.Python(hoarder))
	job["ResourceConfig"].(map[string]any)["InstanceType"] = "ml.m5.xlarge"
	request, err := json.Marshal(job)
	must(t, err)
	quoted, err := json.Marshal(string(request))
	must(t, err)
	// started by the notebook's own code, as its role
	if got := b.kernel("import boto3, json\nprint(boto3.client('sagemaker').create_training_job(**json.loads(" + string(quoted) + "))['TrainingJobArn'])"); !strings.HasSuffix(got, ":training-job/heavy") {
		t.Fatalf("the notebook says %q", got)
	}
	for {
		lines, err := api.LogLines(ctx, "heavy")
		must(t, err)
		if len(lines) > 0 && strings.Contains(strings.Join(lines, "\n"), "holding") {
			break
		}
		b.run(chromedp.Sleep(100 * time.Millisecond))
	}
	// 1.5 GB and a processor at work: none of it is the notebook's
	burnt := jobCPU(t, d)
	own := b.kernel(`
import os, time
def cpu():
    out = 0
    for p in os.listdir("/proc"):
        if p.isdigit():
            out += sum(map(int, open(f"/proc/{p}/stat").read().rsplit(")")[-1].split()[11:13]))
    return out / os.sysconf("SC_CLK_TCK")
before = cpu()
time.sleep(2)
print(cpu() - before)
print(sum(int(open(f"/proc/{p}/statm").read().split()[1]) * 4096 for p in os.listdir("/proc") if p.isdigit()) >> 20)
print(sorted(open(f"/proc/{p}/cmdline").read().replace("\0", " ")[:60] for p in os.listdir("/proc") if p.isdigit()))
print([os.path.join(a, f) for a, _, fs in os.walk("/opt/ml") for f in fs])
`)
	burnt = jobCPU(t, d) - burnt
	var busy float64
	var used int
	if _, err := fmt.Sscan(own, &busy, &used); err != nil || used > 1200 {
		t.Errorf("the notebook's processes hold %d MiB: %v", used, err)
	}
	if burnt < 200*time.Millisecond || busy > 1 { // others are at work on this machine, too
		t.Errorf("the job took %s of a processor, the notebook %.1f s in two", burnt, busy)
	}
	if strings.Contains(own, "holding") || strings.Contains(own, "marker") || strings.Contains(own, "hyperparameters.json") {
		t.Errorf("the notebook sees the job: %s", own)
	}

	// the notebook's task dies as if its machine did; the job does not notice
	killLab(t, d)
	end, err := api.AwaitJob(ctx, "heavy")
	must(t, err)
	if end.TrainingJobStatus != "Completed" {
		t.Errorf("the job is %s: %s", end.TrainingJobStatus, end.FailureReason)
	}
	// and JupyterLab is started again, on the same volume
	waitUp(t, d, "apart")
}

// killLab kills JupyterLab's own processes.
func killLab(t testing.TB, d *daemon.Daemon) {
	t.Helper()
	ps, err := daemon.Processes()
	must(t, err)
	killed := 0
	for _, p := range daemon.Below(ps, d.Data) {
		if strings.Contains(strings.Join(p.Args, " "), "jupyter") {
			_ = syscall.Kill(p.PID, syscall.SIGKILL) // one may end with another
			killed++
		}
	}
	if killed == 0 {
		t.Fatal("no process of JupyterLab was found")
	}
}

// jobCPU is how long the job's program was on a processor.
func jobCPU(t testing.TB, d *daemon.Daemon) (used time.Duration) {
	t.Helper()
	ps, err := daemon.Processes()
	must(t, err)
	for _, p := range daemon.Below(ps, d.Data) {
		if !strings.Contains(strings.Join(p.Args, " "), "hyperparameters.json") {
			continue
		}
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.PID))
		must(t, err)
		var user, system int64
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		_, err = fmt.Sscan(fields[11]+" "+fields[12], &user, &system) // proc_pid_stat(5), in hundredths of a second
		must(t, err)
		used += time.Duration(user+system) * 10 * time.Millisecond
	}
	return used
}

const hoarder = `
import signal, sys, time
open("/opt/ml/model/marker", "w").write("x")
hold = bytearray(1536 << 20)
for i in range(0, len(hold), 4096):
    hold[i] = 1
print("holding", len(hold), flush=True)
until = time.time() + 20
while time.time() < until:
    sum(range(10000))
`

func waitUp(t testing.TB, d *daemon.Daemon, name string) {
	t.Helper()
	script(t, d, fmt.Sprintf(`
import boto3, time
sm = boto3.client("sagemaker")
url = sm.create_presigned_notebook_instance_url(NotebookInstanceName=%[1]q)["AuthorizedUrl"]
assert sm.describe_notebook_instance(NotebookInstanceName=%[1]q)["NotebookInstanceStatus"] == "InService"
`, name))
}
