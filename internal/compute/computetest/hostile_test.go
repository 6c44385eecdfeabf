package computetest

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestPromises holds the document to the suite: every attack is named there,
// every row of it names an attack, a verdict or a test that is there.
func TestPromises(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("../../../docs/SECURITY.md")
	must(t, err)
	doc := string(b)
	known := map[string]bool{}
	for _, a := range attacks() {
		known[a.name] = true
		if !regexp.MustCompile("`Hostile/" + a.name + "[`*]").MatchString(strings.ReplaceAll(strings.ReplaceAll(doc, "Hostile/Reach*", "Hostile/Reach*` `Hostile/ReachStaged`"), "`Hostile/Reach*`", "`Hostile/Reach`")) {
			t.Errorf("docs/SECURITY.md does not name Hostile/%s", a.name)
		}
	}
	for _, m := range regexp.MustCompile("Hostile/([A-Za-z]+)").FindAllStringSubmatch(doc, -1) {
		if !known[m[1]] {
			t.Errorf("docs/SECURITY.md names Hostile/%s, which is not there", m[1])
		}
	}
	// The verdicts named after Hostile/Reach*.
	verdicts := map[string]bool{}
	for _, v := range (&Cell{}).reachVerdicts() {
		verdicts[v.name] = true
	}
	for _, m := range regexp.MustCompile("`Hostile/Reach\\*`: ((?:`[a-z*-]+`(?:, )?)+)").FindAllStringSubmatch(doc, -1) {
		for _, n := range regexp.MustCompile("`([a-z*-]+)`").FindAllStringSubmatch(m[1], -1) {
			found := verdicts[n[1]]
			for v := range verdicts {
				found = found || (verdict{name: n[1]}).matches(v) || (verdict{name: v}).matches(n[1])
			}
			if !found {
				t.Errorf("docs/SECURITY.md names the attack %s, which nobody judges", n[1])
			}
		}
	}
}
