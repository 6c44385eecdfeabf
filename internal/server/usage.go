package server

import (
	"net/http"
	"time"

	"github.com/go-json-experiment/json"

	"clary/internal/aws/apierr"
	"clary/internal/aws/op"
	"clary/internal/identity"
	"clary/internal/meter"
	"clary/internal/resource"
	"clary/internal/store"
)

// usageReport is what /_clary/usage answers: an account's usage in a region
// and what it costs by each price book. Money is in micro-dollars.
type usageReport struct {
	Account, Region string
	From, To, Now   time.Time
	Usage           []resource.Usage
	Bills           map[string]meter.Statement // by book: minute, aws
}

// usagePath answers GET /_clary/usage?from=RFC3339&to=RFC3339&region=...; region
// "*" is all. It asks for the same permission as ListTrainingJobs.
type usagePath struct {
	store store.Store
	auth  identity.Authorizer
	books []meter.Book
}

func (u usagePath) serve(w http.ResponseWriter, r *http.Request, c op.Call) {
	rep, err := u.report(r, c)
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		e := apierr.From(err)
		w.WriteHeader(e.Status)
		_ = json.MarshalWrite(w, map[string]string{"__type": e.Code, "message": e.Message}) // the client is gone if it fails
		return
	}
	_ = json.MarshalWrite(w, rep)
}

func (u usagePath) report(r *http.Request, c op.Call) (*usageReport, error) {
	if r.Method != http.MethodGet {
		return nil, apierr.New(http.StatusMethodNotAllowed, "MethodNotAllowed", "Only GET is allowed here.")
	}
	if err := u.auth.Allow(r.Context(), c.Principal, "sagemaker:ListTrainingJobs", "*"); err != nil {
		return nil, err
	}
	rep := &usageReport{Account: c.Account, Region: c.Region, Now: time.Now().UTC(), Bills: map[string]meter.Statement{}}
	q := r.URL.Query()
	if v := q.Get("region"); v == "*" {
		rep.Region = ""
	} else if v != "" {
		rep.Region = v
	}
	for name, t := range map[string]*time.Time{"from": &rep.From, "to": &rep.To} {
		if v := q.Get(name); v != "" {
			at, err := time.Parse(time.RFC3339, v)
			if err != nil {
				return nil, apierr.Validation("Invalid %s %q: a time like 2026-01-31T00:00:00Z is expected.", name, v)
			}
			*t = at
		}
	}
	var err error
	rep.Usage, err = u.store.ListUsage(r.Context(), meter.Query(c.Account, rep.Region, rep.From, rep.To))
	if err != nil {
		return nil, err
	}
	for _, b := range u.books {
		rep.Bills[b.Name] = meter.Bill(rep.Usage, b, rep.From, rep.To, rep.Now)
	}
	return rep, nil
}
