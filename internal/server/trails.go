package server

import (
	"net/http"

	"github.com/go-json-experiment/json"

	"clary/internal/aws/apierr"
	"clary/internal/aws/op"
	"clary/internal/identity"
	"clary/internal/resource"
	"clary/internal/store"
)

// trailsPath answers GET /_clary/trails: the chains of events that the caller's
// account has, a region each, by their newest events. It asks for the same
// permission as LookupEvents, which reads the events themselves.
type trailsPath struct {
	store store.Events
	auth  identity.Authorizer
}

type trailsReport struct {
	Account string
	Trails  []resource.EventHead
}

func (p trailsPath) serve(w http.ResponseWriter, r *http.Request, c op.Call) {
	w.Header().Set("Content-Type", "application/json")
	rep, err := p.report(r, c)
	if err != nil {
		writeError(w, err)
		return
	}
	_ = json.MarshalWrite(w, rep) // the client is gone if it fails
}

func (p trailsPath) report(r *http.Request, c op.Call) (*trailsReport, error) {
	if r.Method != http.MethodGet {
		return nil, apierr.New(http.StatusMethodNotAllowed, "MethodNotAllowed", "Only GET is allowed here.")
	}
	if err := p.auth.Allow(r.Context(), c.Principal, "cloudtrail:LookupEvents", "*"); err != nil {
		return nil, err
	}
	heads, err := p.store.EventHeads(r.Context(), c.Account)
	return &trailsReport{c.Account, heads}, err
}

// writeError answers on one of our own paths as the JSON protocol does.
func writeError(w http.ResponseWriter, err error) {
	e := apierr.From(err)
	w.WriteHeader(e.Status)
	_ = json.MarshalWrite(w, map[string]string{"__type": e.Code, "message": e.Message}) // the client is gone if it fails
}
