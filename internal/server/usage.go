package server

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/go-json-experiment/json"

	"clary/internal/aws/apierr"
	"clary/internal/aws/op"
	"clary/internal/feature/notebook"
	"clary/internal/feature/processing"
	"clary/internal/feature/training"
	"clary/internal/feature/transform"
	"clary/internal/identity"
	"clary/internal/meter"
	"clary/internal/resource"
	"clary/internal/serving"
	"clary/internal/store"
)

// usageReport is what /_clary/usage answers: an account's usage in a region
// and what it costs by each price book. Money is in micro-dollars.
type usageReport struct {
	Account, Region string
	Kinds           []resource.Kind // that the caller may see
	From, To, Now   time.Time
	Usage           []resource.Usage
	Bills           map[string]meter.Statement // by book: minute, aws
	// Idle says since when nobody has used a notebook instance, by name; of
	// one region alone.
	Idle map[string]time.Time `json:",omitzero"`
	// IdleNotes say by what that is known, and what followed of it.
	IdleNotes map[string]idleNote `json:",omitzero"`
}

// idleNote is of a notebook instance that nobody uses, or that was stopped for
// that and is not started again.
type idleNote struct {
	Evidence string
	StopAt   time.Time `json:",omitzero"` // it will be stopped, as whoever has it open was told
	Stopped  time.Time `json:",omitzero"`
}

// kindActions are what a caller must be allowed so as to see what resources of a
// kind cost: to list them.
func kindActions() []kindAction {
	return []kindAction{
		{training.Kind, "sagemaker:ListTrainingJobs"},
		{processing.Kind, "sagemaker:ListProcessingJobs"},
		{transform.Kind, "sagemaker:ListTransformJobs"},
		{notebook.Kind, "sagemaker:ListNotebookInstances"},
		{serving.KindEndpoint, "sagemaker:ListEndpoints"},
	}
}

type kindAction struct {
	kind   resource.Kind
	action string
}

// usagePath answers GET /_clary/usage?from=RFC3339&to=RFC3339&region=...&kind=...
// &name=...; region "*" is all, kind one, and name can be repeated with it. It
// tells of the kinds that the caller may list, and refuses who may list none.
type usagePath struct {
	store store.Store
	auth  identity.Authorizer
	books []meter.Book
	idle  func(ctx context.Context, account, region string, notebooks []string) map[string]notebook.Idle
}

func (u usagePath) serve(w http.ResponseWriter, r *http.Request, c op.Call) {
	rep, err := u.report(r, c)
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		writeError(w, err)
		return
	}
	_ = json.MarshalWrite(w, rep) // the client is gone if it fails
}

func (u usagePath) report(r *http.Request, c op.Call) (*usageReport, error) {
	if r.Method != http.MethodGet {
		return nil, apierr.New(http.StatusMethodNotAllowed, "MethodNotAllowed", "Only GET is allowed here.")
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
	uq := resource.UsageQuery{Account: c.Account, Region: rep.Region, Kind: resource.Kind(q.Get("kind")), Names: q["name"], From: rep.From, To: rep.To}
	if uq.Kind == "" && len(uq.Names) > 0 {
		return nil, apierr.Validation("A name is one of some kind: kind is missing.")
	}
	var err error
	if rep.Kinds, err = u.kinds(r.Context(), c, uq.Kind); err != nil {
		return nil, err
	}
	if rep.Usage, rep.Bills, rep.Now, err = u.bills(r.Context(), uq, rep.Kinds); err != nil {
		return nil, err
	}
	if names := instances(rep.Usage); len(names) > 0 && rep.Region != "" {
		rep.idle(u.idle(r.Context(), c.Account, rep.Region, names))
	}
	return rep, nil
}

func (r *usageReport) idle(all map[string]notebook.Idle) {
	r.Idle, r.IdleNotes = since(all), make(map[string]idleNote, len(all))
	for name, i := range all {
		if i.Evidence != "" {
			r.IdleNotes[name] = idleNote{i.Evidence, i.StopAt, i.Stopped}
		}
	}
}

// since is how long notebook instances that run are idle.
func since(all map[string]notebook.Idle) map[string]time.Time {
	out := make(map[string]time.Time, len(all))
	for name, i := range all {
		if !i.Since.IsZero() {
			out[name] = i.Since
		}
	}
	return out
}

// instances are the notebook instances that ran, each once.
func instances(usage []resource.Usage) (names []string) {
	for _, x := range usage {
		if x.Kind == notebook.Kind && x.Unit == meter.InstanceSecond {
			names = append(names, x.Name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// kinds are those that the caller may see, of one kind or, with "", of all.
// Without any it is the refusal of the first.
func (u usagePath) kinds(ctx context.Context, c op.Call, one resource.Kind) (kinds []resource.Kind, err error) {
	known := false
	for _, l := range kindActions() {
		if one != "" && one != l.kind {
			continue
		}
		known = true
		switch no := u.auth.Allow(ctx, c.Principal, l.action, "*"); {
		case no == nil:
			kinds = append(kinds, l.kind)
		case err == nil:
			err = no
		}
	}
	if !known {
		return nil, apierr.Validation("Invalid kind %q: nothing of that kind is charged for.", string(one))
	}
	if len(kinds) > 0 {
		err = nil
	}
	return kinds, err
}

// bills reads usage of some kinds, and what it costs by each book.
func (u usagePath) bills(ctx context.Context, q resource.UsageQuery, kinds []resource.Kind) ([]resource.Usage, map[string]meter.Statement, time.Time, error) {
	now := time.Now().UTC()
	wide := meter.Query(q.Account, q.Region, q.From, q.To)
	wide.Kind, wide.Names = q.Kind, q.Names
	usage, err := u.store.ListUsage(ctx, wide)
	if err != nil {
		return nil, nil, now, err
	}
	usage = slices.DeleteFunc(usage, func(x resource.Usage) bool { return !slices.Contains(kinds, x.Kind) })
	by := make(map[string]meter.Statement, len(u.books))
	for _, b := range u.books {
		by[b.Name] = meter.Bill(usage, b, q.From, q.To, now)
	}
	return usage, by, now, nil
}
