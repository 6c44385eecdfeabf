package console

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"clary/internal/aws/op"
	"clary/internal/meter"
	"clary/internal/resource"
)

// unused is a world with one instance that nobody uses.
type unused struct {
	*world
	idle Idle
	runs bool
}

func (u *unused) Costs(context.Context, op.Call, resource.UsageQuery) (Bills, error) {
	now := time.Now()
	x := resource.Usage{Name: "n", Kind: notebookKind, Unit: meter.InstanceSecond, Start: now.Add(-3 * time.Hour)}
	if !u.runs {
		x.End = now.Add(-time.Hour)
	}
	return Bills{Now: now, Usage: []resource.Usage{x}, Idle: map[string]Idle{"n": u.idle}}, nil
}

// TestUnused: the pages say that nobody uses an instance, by what that is known,
// and what follows or followed of it.
func TestUnused(t *testing.T) {
	t.Parallel()
	now := time.Now()
	const evidence = "nothing has run since 10:00 UTC: 1 kernel idle & <b>"
	shown := "1 kernel idle &amp; &lt;b&gt;"
	for name, tc := range map[string]struct {
		unused
		page, list []string
		not        string // on either
	}{
		"used":    {unused{runs: true}, []string{"in use"}, []string{"in use"}, "Nobody seems"},
		"idle":    {unused{runs: true, idle: Idle{Since: now.Add(-2 * time.Hour), Evidence: evidence}}, []string{"idle 2 h", shown}, []string{"idle 2 h"}, "stopped at"},
		"briefly": {unused{runs: true, idle: Idle{Since: now.Add(-time.Minute), Evidence: evidence}}, []string{"in use"}, []string{"in use"}, shown},
		"warned":  {unused{runs: true, idle: Idle{Since: now.Add(-2 * time.Hour), Evidence: evidence, StopAt: now}}, []string{"It will be stopped at", shown}, []string{"stops at"}, "It was stopped"},
		"stopped": {unused{idle: Idle{Evidence: evidence, Stopped: now}}, []string{"It was stopped at", shown}, []string{"stopped unused"}, "It will be stopped"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tc.world = newWorld()
			c, cookie := open(t, tc.world)
			c.cfg.Costs = &tc.unused
			for path, want := range map[string][]string{"/notebook-instances/n": tc.page, "/notebook-instances": tc.list} {
				r := httptest.NewRequest(http.MethodGet, "http://console.localhost"+path, nil)
				r.AddCookie(cookie)
				rec := httptest.NewRecorder()
				c.ServeHTTP(rec, r)
				body := rec.Body.String()
				for _, w := range want {
					if !strings.Contains(body, w) {
						t.Errorf("%s: no %q", path, w)
					}
				}
				if strings.Contains(body, tc.not) {
					t.Errorf("%s: %q", path, tc.not)
				}
			}
		})
	}
}
