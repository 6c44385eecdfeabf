package console

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"

	"clary/internal/runtimes"
	"clary/internal/stage/agent"
)

// agentAt is the port of the instance's first process, by JupyterLab's way to
// any port of its task.
var agentAt = fmt.Sprintf("/proxy/%d", agent.Port)

// tell posts a document to the first process and gives what it answered.
func (b *tab) tell(path string, body any) string {
	b.t.Helper()
	text, err := json.Marshal(body)
	must(b.t, err)
	quoted, err := json.Marshal(string(text))
	must(b.t, err)
	return js[string](b, fmt.Sprintf(`fetch(%q, {method: "POST", body: %s, headers: {"X-XSRFToken": (document.cookie.match(/_xsrf=([^;]+)/) || [])[1] || ""}})
		.then(async r => r.status + " " + await r.text())`, agentAt+path, quoted))
}

func (b *tab) sample() (x agent.Sample) {
	b.t.Helper()
	text := js[string](b, fmt.Sprintf(`fetch(%q).then(r => r.text())`, agentAt+"/activity"))
	if err := json.Unmarshal([]byte(text), &x); err != nil {
		b.t.Fatalf("%v: %s", err, text)
	}
	return x
}

const toast = `[...document.querySelectorAll(".Toastify__toast")].find(e => e.innerText.includes("will be stopped"))`

// inPlace says that the warning, which comes in from the side, has come.
const inPlace = "(e => e.getAnimations().length === 0 && e.getBoundingClientRect().right <= innerWidth)(" + toast + ")"

// TestNotebookNotice shows what somebody at an open tab sees of a stop that is
// near: a warning with a button, that goes when it is withdrawn, and comes in
// tabs that are opened later; and that a tab saves what it holds when it is
// asked to.
func TestNotebookNotice(t *testing.T) {
	t.Parallel()
	d, _ := start(t)
	b := open(t, d)
	b.lab(script(t, d, fmt.Sprintf(makeNotebook, "notice")))
	b.upload("notes.md", "# Notes\n")
	b.run(chromedp.Navigate(b.origin()+"/lab/tree/notes.md"), chromedp.WaitReady(".jp-FileEditor .cm-content", chromedp.ByQuery), chromedp.Focus(".jp-FileEditor .cm-content", chromedp.ByQuery))
	b.until("the tab listens", fmt.Sprintf(`fetch(%q).then(r => r.json()).then(x => x.Tabs === 1)`, agentAt+"/activity"))
	before := b.sample()
	if before.Saved.IsZero() || !before.Kept.IsZero() || before.Jupyter == 0 {
		t.Errorf("%+v", before)
	}
	// what the processes of the instance's user do is to be seen, from process 1
	if i := slices.IndexFunc(before.Processes, func(p agent.Process) bool { return p.PID == before.Jupyter }); i < 0 {
		t.Errorf("JupyterLab is not among the processes: %+v", before.Processes)
	} else if p := before.Processes[i]; !p.Own || p.Read <= 0 || !slices.Contains(p.Listens, runtimes.NotebookPort) {
		t.Errorf("of JupyterLab is seen %+v", p)
	}

	warning := agent.Warning{StopAt: time.Now().Add(5 * time.Minute), Idle: 55 * time.Minute}
	if got := b.tell("/warn", warning); !strings.HasPrefix(got, "200 ") {
		t.Fatal(got)
	}
	b.until("the warning", "!!"+toast)
	at := js[string](b, fmt.Sprintf(`new Date(%d).toLocaleTimeString([], {hour: "2-digit", minute: "2-digit"})`, warning.StopAt.UnixMilli()))
	if said := js[string](b, toast+".innerText"); !strings.Contains(said, "stopped at "+at) || !strings.Contains(said, "55 minutes") || !strings.Contains(said, "Keep it running") {
		t.Errorf("the warning says %q", said)
	}
	b.until("the warning in its place", inPlace)
	b.picture("notebook-warning")

	// withdrawn, by the server
	if got := b.tell("/warn", agent.Warning{}); !strings.HasPrefix(got, "200 ") {
		t.Fatal(got)
	}
	b.until("no warning", "!"+toast)

	// in a tab that is opened later, and away by its button
	if got := b.tell("/warn", warning); !strings.HasPrefix(got, "200 ") {
		t.Fatal(got)
	}
	b.until("the warning again", "!!"+toast)
	b.run(chromedp.Reload(), chromedp.WaitReady("#jp-main-dock-panel", chromedp.ByID))
	b.until("the warning in a new page", "!!"+toast)
	b.until("the warning in its place", inPlace)
	if x := b.sample(); !x.Kept.IsZero() {
		t.Errorf("kept at %s before anybody asked for it", x.Kept)
	}
	b.choose(`[...document.querySelectorAll(".Toastify__toast button")].find(e => e.innerText.trim() === "Keep it running")`)
	b.until("no warning after the button", "!"+toast)
	asked := b.sample()
	if since := asked.At.Sub(asked.Kept); asked.Kept.IsZero() || since < 0 || since > time.Minute {
		t.Errorf("kept at %s, looked at %s", asked.Kept, asked.At)
	}

	// what is written and not saved is, and that is nobody's use
	b.until("the file", `!!document.querySelector(".jp-FileEditor .cm-content")`)
	b.run(chromedp.Focus(".jp-FileEditor .cm-content", chromedp.ByQuery), input.InsertText("not saved yet "))
	b.until("a document that is not saved", `!!document.querySelector(".jp-mod-dirty")`)
	saved := b.sample().Saved
	if got := b.tell("/save", struct{}{}); got != `200 {"silent":0,"tabs":1}`+"\n" {
		t.Errorf("the tabs answered %q", got)
	}
	if text := js[string](b, `fetch("/api/contents/notes.md?content=1").then(r => r.json()).then(x => x.content)`); !strings.Contains(text, "not saved yet") {
		t.Errorf("the file holds %q", text)
	}
	if x := b.sample(); x.Saved.Sub(saved).Abs() > time.Millisecond {
		t.Errorf("a save that was asked for counts as use: %s, then %s", saved, x.Saved)
	}
	script(t, d, `import boto3; boto3.client("sagemaker").stop_notebook_instance(NotebookInstanceName="notice")`)
}
