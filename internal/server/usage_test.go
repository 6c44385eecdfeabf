package server

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"clary/internal/aws/apierr"
	"clary/internal/aws/op"
	"clary/internal/feature/notebook"
	"clary/internal/meter"
	"clary/internal/resource"
	"clary/internal/store"
	"clary/internal/store/sqlite"
)

// may allows the actions that it lists.
type may []string

func (m may) Allow(_ context.Context, _ resource.Principal, action, _ string) error {
	if slices.Contains(m, action) {
		return nil
	}
	return apierr.AccessDenied("not authorized to perform: %s", action)
}

func (may) PassRole(context.Context, resource.Principal, string, string) error { return nil }

// Who may list a kind of resource sees what that costs, and nothing of others.
func TestUsageByKind(t *testing.T) {
	t.Parallel()
	books, err := priceBooks("")
	if err != nil {
		t.Fatal(err)
	}
	st, err := sqlite.Open(filepath.Join(t.TempDir(), "db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	}()
	now := time.Now()
	err = st.Update(t.Context(), func(tx store.Tx) error {
		for i, u := range []resource.Usage{
			{Kind: "TrainingJob", Name: "j1"}, {Kind: "TrainingJob", Name: "j2"}, {Kind: "ProcessingJob", Name: "p1"}, {Kind: "TransformJob", Name: "t1"}, {Kind: "NotebookInstance", Name: "n1"}, {Kind: "NotebookInstance", Name: "n2"}, {Kind: "Endpoint", Name: "e1"},
		} {
			u.ID, u.UID, u.Account, u.Region, u.Component, u.InstanceType = fmt.Sprint(i), fmt.Sprint(i), "123456789012", "us-east-1", "training", "ml.m5.large"
			u.Unit, u.Quantity, u.Start = meter.InstanceSecond, 1, now.Add(-time.Hour)
			if err := meter.Open(tx, u); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	const jobs, cleaning, scoring, instances, endpoints = "sagemaker:ListTrainingJobs", "sagemaker:ListProcessingJobs", "sagemaker:ListTransformJobs", "sagemaker:ListNotebookInstances", "sagemaker:ListEndpoints"
	call := op.Call{Account: "123456789012", Region: "us-east-1"}
	for _, tt := range []struct {
		may       may
		query     string
		want, err string
	}{
		{may{jobs, cleaning, scoring, instances, endpoints}, "", "e1 j1 j2 n1 n2 p1 t1", ""},
		{may{scoring}, "kind=TransformJob", "t1", ""},
		{may{jobs, cleaning}, "kind=TransformJob", "", "not authorized to perform: " + scoring},
		{may{jobs, cleaning, instances}, "", "j1 j2 n1 n2 p1", ""},
		{may{jobs, instances}, "", "j1 j2 n1 n2", ""},
		{may{cleaning}, "kind=ProcessingJob&name=p1", "p1", ""},
		{may{jobs, instances}, "kind=ProcessingJob", "", "not authorized to perform: " + cleaning},
		{may{jobs}, "", "j1 j2", ""},
		{may{instances}, "", "n1 n2", ""},
		{may{}, "", "", "not authorized to perform: " + jobs},
		{may{instances}, "kind=TrainingJob", "", "not authorized to perform: " + jobs},
		{may{jobs}, "kind=NotebookInstance", "", "not authorized to perform: " + instances},
		{may{instances}, "kind=NotebookInstance&name=n2&name=j1", "n2", ""},
		{may{jobs, instances}, "kind=TrainingJob&region=*", "j1 j2", ""},
		{may{endpoints}, "kind=Endpoint&name=e1", "e1", ""},
		{may{jobs, instances}, "kind=Endpoint", "", "not authorized to perform: " + endpoints},
		{may{jobs, instances}, "kind=Model", "", "Invalid kind"},
		{may{jobs, instances}, "name=j1", "", "kind is missing"},
	} {
		u := usagePath{store: st, auth: tt.may, books: books, idle: func(_ context.Context, _, _ string, names []string) map[string]notebook.Idle {
			if slices.ContainsFunc(names, func(n string) bool { return n[0] != 'n' }) {
				t.Errorf("%v is asked for how long it is idle", names)
			}
			return map[string]notebook.Idle{"n1": {Since: now, Evidence: "nothing runs"}, "n2": {Evidence: "nothing ran", Stopped: now}}
		}}
		w := httptest.NewRecorder()
		u.serve(w, httptest.NewRequest(http.MethodGet, "/_clary/usage?"+tt.query, http.NoBody), call)
		if tt.err != "" {
			if w.Code < 400 || !strings.Contains(w.Body.String(), tt.err) {
				t.Errorf("%v, %s: %d %s", tt.may, tt.query, w.Code, w.Body)
			}
			continue
		}
		var rep usageReport
		if err := json.Unmarshal(w.Body.Bytes(), &rep); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(tt.want, "n1") && (rep.Idle["n1"].IsZero() || rep.IdleNotes["n1"].Evidence != "nothing runs" || len(rep.Idle) != 1 || rep.IdleNotes["n2"].Stopped.IsZero()) {
			t.Errorf("idle %v, %+v", rep.Idle, rep.IdleNotes)
		}
		var names, billed []string
		for _, x := range rep.Usage {
			names = append(names, x.Name)
		}
		for _, l := range rep.Bills["minute"].Lines {
			billed = append(billed, l.Name)
		}
		slices.Sort(names)
		slices.Sort(billed)
		if got := strings.Join(names, " "); got != tt.want || strings.Join(slices.Compact(billed), " ") != tt.want {
			t.Errorf("%v, %s: %s, billed %v, want %s", tt.may, tt.query, got, billed, tt.want)
		}
		// the console's sums are of the same
		q, err := url.ParseQuery(tt.query)
		if err != nil || len(q) > 0 {
			continue
		}
		l := ledger{forgottenPath: forgottenPath{usagePath: u}, sums: meter.NewSums(st, books)}
		today := now.UTC().Truncate(24 * time.Hour)
		spent, err := l.Spend(t.Context(), call, meter.SpendQuery{From: today.AddDate(0, 0, -1), To: today.AddDate(0, 0, 1), Now: now, Top: 9})
		if err != nil || len(spent.Top) != len(names) || (spent.Kinds == nil) != (len(tt.may) == len(kindActions())) {
			t.Errorf("%v: %+v, %v", tt.may, spent, err)
		}
	}
}
