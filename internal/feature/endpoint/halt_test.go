package endpoint

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"clary/internal/compute"
	"clary/internal/compute/fake"
)

// A budget's stop deletes an endpoint, and the ledger closes within its bound
// even if its task cannot be stopped for an hour.
func TestHalt(t *testing.T) {
	t.Parallel()
	for name, stuck := range map[string]bool{"at once": false, "stuck": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, func(compute.Task) fake.Script { return server(time.Second) })
				b.model("m", plainModel())
				b.config("c", "m")
				b.must(b.create("site", "c"))
				b.until("site", "InService")
				time.Sleep(time.Hour)
				if stuck {
					b.stuck = b.tasks[0].ID
				}
				k, x := key(account, region, "site"), b.Stopper()
				b.must(x.Stop(t.Context(), k, "small"))
				b.must(x.Stop(t.Context(), k, "small"))
				asked := time.Now()
				for range 3 {
					b.look("site")
				}
				if stuck {
					time.Sleep(time.Hour)
					b.look("site")
					if u := b.usage(); len(u) != 1 || !u[0].End.Equal(asked.Add(x.Bound())) {
						t.Errorf("billed %+v, stopped at %s", u, asked)
					}
					b.stuck = ""
				}
				b.vanish("site")
				if u := b.usage(); len(u) != 1 || u[0].End.Before(asked) || u[0].End.Sub(asked) > x.Bound() {
					t.Errorf("billed %+v, stopped at %s", u, asked)
				}
				said := ""
				for _, s := range b.log.said {
					said += s
				}
				if !stuck && (!strings.Contains(said, `the budget "small"`) || !strings.Contains(said, "configuration c stays")) {
					t.Errorf("its log: %s", said)
				}
				b.must(x.Stop(t.Context(), k, "small"))
				b.must(b.create("site", "c"))
			})
		})
	}
}
