package server

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"clary/internal/aws/op"
	"clary/internal/feature/notebook"
	"clary/internal/forgotten"
	"clary/internal/meter"
	"clary/internal/metrics"
	"clary/internal/resource"
	"clary/internal/store"
	"clary/internal/store/sqlite"
)

// The report tells of what the caller may list, in the region asked for.
func TestForgottenPath(t *testing.T) {
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
	begun := time.Now().Add(-100 * time.Hour)
	err = st.Update(t.Context(), func(tx store.Tx) error {
		for _, k := range []resource.Key{{Kind: "NotebookInstance", Name: "n1", Region: "us-east-1"}, {Kind: "NotebookInstance", Name: "n2", Region: "eu-west-1"}, {Kind: "Endpoint", Name: "e1", Region: "us-east-1"}} {
			k.Account = "123456789012"
			r := &resource.Record{Key: k, UID: resource.NewUID(), Arn: "arn:" + k.Name, Phase: "InService", Created: begun, Modified: begun}
			if err := tx.Put(r); err != nil {
				return err
			}
			u := meter.Of(r, "hosting", meter.InstanceSecond, 1, 1, begun)
			u.InstanceType = "ml.m5.large"
			if err := meter.Open(tx, u); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	const instances, endpoints, jobs = "sagemaker:ListNotebookInstances", "sagemaker:ListEndpoints", "sagemaker:ListTrainingJobs"
	for _, tt := range []struct {
		may       may
		query     string
		want, err string
	}{
		{may{instances, endpoints}, "", "e1 n1", ""},
		{may{instances, endpoints}, "?region=*", "e1 n1 n2", ""},
		{may{instances, endpoints}, "?region=eu-west-1", "n2", ""},
		{may{endpoints}, "", "e1", ""},
		{may{jobs}, "", "", ""},
		{may{}, "", "", "not authorized to perform: " + jobs},
		{may{instances, endpoints}, "?after=101h", "", ""},
		{may{instances}, "?after=99h", "n1", ""},
		{may{instances}, "?after=-1h", "", "Invalid after"},
		{may{instances}, "?after=soon", "", "Invalid after"},
	} {
		f := forgottenPath{usagePath{store: st, auth: tt.may, books: books, idle: func(context.Context, string, string, []string) map[string]notebook.Idle {
			return map[string]notebook.Idle{"n1": {Since: begun}, "n2": {Since: begun}}
		}}, metrics.New(st.Metrics())}
		w := httptest.NewRecorder()
		f.serve(w, httptest.NewRequest(http.MethodGet, "/_clary/forgotten"+tt.query, http.NoBody), op.Call{Account: "123456789012", Region: "us-east-1"})
		if tt.err != "" {
			if w.Code < 400 || !strings.Contains(w.Body.String(), tt.err) {
				t.Errorf("%v%s: %d %s", tt.may, tt.query, w.Code, w.Body)
			}
			continue
		}
		var rep forgotten.Report
		if err := json.Unmarshal(w.Body.Bytes(), &rep); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, i := range rep.Items {
			got = append(got, i.Name)
		}
		if fmt.Sprint(got) != "["+tt.want+"]" {
			t.Errorf("%v%s: %v, want %s", tt.may, tt.query, got, tt.want)
		}
	}
}
