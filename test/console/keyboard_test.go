package console

import (
	"slices"
	"testing"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"clary/test/daemon"
)

func (b *tab) press(keys string) {
	b.t.Helper()
	b.run(chromedp.KeyEvent(keys))
}

// shown says what is wrong with how the focus can be seen, "" if nothing is.
const shown = `(() => {
	const e = document.activeElement;
	if (!e || e === document.body || e === document.documentElement) return "";
	const ring = e.matches(".tabs > input") ? e.nextElementSibling : e; // the label stands for its button
	const s = getComputedStyle(ring), r = ring.getBoundingClientRect();
	if (s.outlineStyle === "none" || parseFloat(s.outlineWidth) === 0) return "no ring around " + e.outerHTML;
	if (r.width === 0 || r.height === 0 || r.right <= 0 || r.bottom <= 0 || r.left >= innerWidth || r.top >= innerHeight) return "out of sight: " + e.outerHTML;
	return "";
})()`

// tabTo goes on with Tab until what matches sel has the focus; wherever it
// stops on the way can be seen.
func (b *tab) tabTo(sel string) {
	b.t.Helper()
	for range 120 {
		b.press(kb.Tab)
		if wrong := js[string](b, shown); wrong != "" {
			b.t.Errorf("on the way to %s: %s", sel, wrong)
		}
		if js[bool](b, "document.activeElement.matches("+quote(sel)+")") {
			return
		}
	}
	b.t.Fatalf("Tab never comes to %s", sel)
}

func quote(s string) string { return "`" + s + "`" }

func (b *tab) names() []string {
	b.t.Helper()
	return js[[]string](b, `[...document.querySelectorAll("#jobs tbody td.name")].map(t => t.innerText)`)
}

// TestKeyboard does with Tab, Enter and Escape alone what people do with the
// list of training jobs and with a job.
func TestKeyboard(t *testing.T) {
	t.Parallel()
	d, api := start(t)
	ctx := t.Context()
	must(t, api.CreateBucket(ctx, bucket))
	for _, n := range []string{"beta", "alpha"} {
		must(t, api.SageMaker(ctx, "CreateTrainingJob", daemon.JobRequest(n, bucket, daemon.Python("print('hello')")), nil))
		_, err := api.AwaitJob(ctx, n)
		must(t, err)
	}
	must(t, api.SageMaker(ctx, "CreateTrainingJob", daemon.JobRequest("walk", bucket, daemon.Python(walker)), nil))
	b := open(t, d)
	b.signIn("/training-jobs")

	// the way past the menu
	b.press(kb.Tab)
	if got := js[string](b, "document.activeElement.innerText"); got != "Skip to the page" {
		t.Errorf("Tab begins at %q", got)
	}
	if wrong := js[string](b, shown); wrong != "" {
		t.Error(wrong)
	}
	b.press(kb.Enter)
	if got := js[string](b, "document.activeElement.id"); got != "main" {
		t.Errorf("the skip link leads to %q", got)
	}
	b.press(kb.Tab)
	if !js[bool](b, `document.activeElement.closest("main") !== null`) {
		t.Error("after the skip link Tab is not in the page")
	}

	// the order of the list
	if got := b.names(); !slices.Equal(got, []string{"walk", "alpha", "beta"}) {
		t.Errorf("the list begins as %v", got)
	}
	for _, c := range []struct {
		sorted string
		want   []string
	}{{"ascending", []string{"alpha", "beta", "walk"}}, {"descending", []string{"walk", "beta", "alpha"}}} {
		b.tabTo(`th a[href*="sort=name"]`)
		b.press(kb.Enter)
		b.until("the list by name, "+c.sorted, `document.querySelector("th[aria-sort]")?.getAttribute("aria-sort") === "`+c.sorted+`" && /^Name/.test(document.querySelector("th[aria-sort]").innerText)`)
		if got := b.names(); !slices.Equal(got, c.want) {
			t.Errorf("by name, %s: %v", c.sorted, got)
		}
	}

	// a filter, which keeps the order, and a row
	b.tabTo(`input[name="name"]`)
	b.press("al")
	b.press(kb.Enter)
	b.until("the rows that fit", `document.querySelectorAll("#jobs tbody tr").length === 2 && location.search.includes("sort=name-down")`)
	b.tabTo(`td.name a[href$="/walk"]`)
	b.press(kb.Enter)
	b.until("the job's page", `document.querySelector("h1").innerText === "walk" && document.querySelectorAll("pre.log .l").length > 12`)

	// the question before a stop
	ask := func() {
		t.Helper()
		b.tabTo("a[data-ask]")
		b.press(kb.Enter)
		b.until("the question", `document.querySelector("dialog")?.open === true`)
		if got := js[string](b, "document.activeElement.innerText"); got != "Let it run" {
			t.Errorf("the focus begins on %q, not on what harms least", got)
		}
	}
	ask()
	if got := js[string](b, `document.getElementById(document.querySelector("dialog").getAttribute("aria-labelledby")).innerText`); got != "Stop walk?" {
		t.Errorf("the dialog is called %q", got)
	}
	b.shoot("stop-dialog")
	for range 7 {
		b.press(kb.Tab)
		if wrong := js[string](b, shown); wrong != "" {
			t.Error(wrong)
		}
		if js[bool](b, `document.activeElement !== document.body && document.activeElement.closest("dialog") === null`) {
			t.Fatalf("Tab leaves the dialog for %s", js[string](b, "document.activeElement.outerHTML"))
		}
	}
	back := func(how string) {
		t.Helper()
		b.until("the page without the question, by "+how, `document.querySelector("dialog") === null`)
		if !js[bool](b, `document.activeElement.matches("a[data-ask]")`) {
			t.Errorf("after %s the focus is on %s", how, js[string](b, "document.activeElement.outerHTML"))
		}
	}
	b.press(kb.Escape)
	back("Escape")
	b.press(kb.Enter)
	b.until("the question again", `document.querySelector("dialog")?.open === true`)
	b.press(kb.Enter) // on "Let it run"
	back("a no")
	if s := b.text("#summary"); !slices.Contains([]string{"InProgress"}, js[string](b, `document.querySelector("#summary .status").innerText`)) {
		t.Errorf("nobody said yes, and the job is %s", s)
	}

	// a line of the log
	b.tabTo(`input[name="q"]`)
	b.press("step=11 of")
	b.press(kb.Enter)
	b.until("the lines found", `location.pathname.endsWith("/log") && document.querySelectorAll(".log .l").length === 1`)
	b.tabTo("h1 a")
	b.press(kb.Enter)
	b.until("the job's page again", `document.querySelector("a[data-ask]") !== null`)

	// yes
	ask()
	b.run(chromedp.KeyEvent(kb.Tab, chromedp.KeyModifiers(input.ModifierShift)))
	if got := js[string](b, "document.activeElement.innerText"); got != "Stop the job" {
		t.Fatalf("before “Let it run” is %q", got)
	}
	b.press(kb.Enter)
	b.until("the job's end", `document.querySelector("dialog") === null && /Stopped/.test(document.querySelector("#summary")?.innerText)`)

	// the menu of a narrow window
	b.look(phone, false)
	b.visit("/training-jobs")
	b.tabTo("nav.side summary")
	if js[bool](b, `document.querySelector("nav.side details").open`) {
		t.Error("the menu is open at first")
	}
	b.press(kb.Enter)
	b.until("the menu", `document.querySelector("nav.side details").open`)
	b.tabTo(`nav.side a[href="/billing"]`)
	b.press(kb.Enter)
	b.until("the bill", `document.querySelector("h1")?.innerText === "Billing"`)
	b.quiet()
}
