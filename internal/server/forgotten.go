package server

import (
	"context"
	"net/http"
	"time"

	"github.com/go-json-experiment/json"

	"clary/internal/aws/apierr"
	"clary/internal/aws/op"
	"clary/internal/forgotten"
	"clary/internal/metrics"
)

// forgottenPath answers GET /_clary/forgotten?region=...&after=DURATION; region
// "*" is all. It tells of the kinds that the caller may list, as usagePath does.
type forgottenPath struct {
	usagePath
	metrics metrics.Store
}

func (f forgottenPath) serve(w http.ResponseWriter, r *http.Request, c op.Call) {
	rep, err := f.report(r, c)
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		writeError(w, err)
		return
	}
	_ = json.MarshalWrite(w, rep) // the client is gone if it fails
}

func (f forgottenPath) report(r *http.Request, c op.Call) (*forgotten.Report, error) {
	if r.Method != http.MethodGet {
		return nil, apierr.New(http.StatusMethodNotAllowed, "MethodNotAllowed", "Only GET is allowed here.")
	}
	q := r.URL.Query()
	region := c.Region
	if v := q.Get("region"); v == "*" {
		region = ""
	} else if v != "" {
		region = v
	}
	var after time.Duration
	if v := q.Get("after"); v != "" {
		var err error
		if after, err = time.ParseDuration(v); err != nil || after <= 0 {
			return nil, apierr.Validation("Invalid after %q: a time like 90m or 48h is expected.", v)
		}
	}
	return f.find(r.Context(), c, region, after)
}

func (f forgottenPath) find(ctx context.Context, c op.Call, region string, after time.Duration) (*forgotten.Report, error) {
	kinds, err := f.kinds(ctx, c, "")
	if err != nil {
		return nil, err
	}
	return forgotten.Finder{
		Store: f.store, Metrics: f.metrics, Books: f.books,
		Idle: func(ctx context.Context, account, region string, names []string) map[string]forgotten.Use {
			out := map[string]forgotten.Use{}
			for name, i := range f.idle(ctx, account, region, names) {
				if !i.Since.IsZero() {
					out[name] = forgotten.Use{Since: i.Since, Evidence: i.Evidence}
				}
			}
			return out
		},
	}.Find(ctx, forgotten.Query{Account: c.Account, Region: region, Kinds: kinds, After: after, Now: time.Now().UTC()})
}
