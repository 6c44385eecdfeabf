package sqlite

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"clary/internal/resource"
	"clary/internal/store/storetest"
)

func TestEvents(t *testing.T) {
	t.Parallel()
	s, err := Open(filepath.Join(t.TempDir(), "db"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close() //nolint:errcheck // the test's own
	storetest.Events(t, s)
}

// However a log is asked, what does not fit is not visited: one index leads to
// the first event of a page, and from there in the page's order.
func TestEventsAreSearched(t *testing.T) {
	t.Parallel()
	s := open(t)
	at := time.Unix(1e9, 0)
	for index, q := range map[string]resource.EventQuery{
		"event_name": {Name: "v"}, "event_source": {Source: "v"}, "event_user": {User: "v"}, "event_key": {AccessKeyID: "v"},
		"event_type": {ResourceType: "v"}, "event_resource": {ResourceName: "v"}, "event_at": {From: at}, "sqlite_autoindex_event_1": {}, "event_id": {ID: "v"},
	} {
		times := []resource.EventQuery{{}, {From: at}, {To: at}, {From: at, To: at}}
		if index == "event_at" || index == "sqlite_autoindex_event_1" {
			times = []resource.EventQuery{{From: q.From}}
		}
		for _, r := range times {
			for _, token := range []string{"", "5.7"} {
				q.From, q.To, q.Token = r.From, r.To, token
				if index == "sqlite_autoindex_event_1" && token != "" {
					q.Token = "7"
				}
				q.Account, q.Region = "1", "r"
				x, err := newEventSearch(q, 50)
				if err != nil {
					t.Fatal(err)
				}
				var plan []string
				err = s.read(t.Context(), func(q *tx) error {
					rows, err := q.QueryContext(t.Context(), `EXPLAIN QUERY PLAN `+x.sql, x.args...)
					if err != nil {
						return err
					}
					defer rows.Close() //nolint:errcheck // rows.Err tells
					for rows.Next() {
						var id, parent, unused int
						var detail string
						if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
							return err
						}
						plan = append(plan, detail)
					}
					return rows.Err()
				})
				if err != nil {
					t.Fatal(err)
				}
				if index == "event_id" { // one event at most
					if !strings.Contains(plan[0], "SEARCH event USING INDEX event_id (id=?)") {
						t.Errorf("%+v: %q", q, plan)
					}
					continue
				}
				if len(plan) != 1 || !strings.HasPrefix(plan[0], "SEARCH event USING INDEX "+index+" (account=? AND region=? AND ") ||
					!strings.Contains(plan[0], "seq") || !r.From.IsZero() && !strings.Contains(plan[0], "at>") {
					t.Errorf("%+v: %q", q, plan)
				}
			}
		}
	}
}
