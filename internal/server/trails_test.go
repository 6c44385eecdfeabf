package server

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"clary/internal/aws/op"
	"clary/internal/resource"
	"clary/internal/store"
)

// chains has two of one account.
type chains struct{ store.Events }

func (chains) EventHeads(_ context.Context, account string) ([]resource.EventHead, error) {
	if account != "123456789012" {
		return nil, nil
	}
	return []resource.EventHead{{Region: "eu-west-1", Seq: 7, Hash: "ab"}, {Region: "us-east-1", Seq: 1, Hash: "cd"}}, nil
}

// Who may look events up may know which chains there are, of the own account.
func TestTrails(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		may             may
		method, account string
		code            int
		want            string
	}{
		{may{"cloudtrail:LookupEvents"}, http.MethodGet, "123456789012", 200, `[{"Region":"eu-west-1","Seq":7,"Hash":"ab"},{"Region":"us-east-1","Seq":1,"Hash":"cd"}]`},
		{may{"cloudtrail:LookupEvents"}, http.MethodGet, "210987654321", 200, `"Trails":[]`},
		{may{"sagemaker:ListTrainingJobs"}, http.MethodGet, "123456789012", 400, "not authorized to perform: cloudtrail:LookupEvents"},
		{may{"cloudtrail:LookupEvents"}, http.MethodPost, "123456789012", 405, "Only GET"},
	} {
		w := httptest.NewRecorder()
		trailsPath{chains{}, tt.may}.serve(w, httptest.NewRequest(tt.method, "/_clary/trails", http.NoBody), op.Call{Account: tt.account})
		if w.Code != tt.code || !strings.Contains(w.Body.String(), tt.want) {
			t.Errorf("%+v: %d %s", tt, w.Code, w.Body)
		}
	}
}
