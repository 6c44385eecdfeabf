package job

import (
	"context"
	"errors"
	"time"

	"clary/internal/aws/apierr"
	"clary/internal/aws/op"
	"clary/internal/resource"
	"clary/internal/store"
)

const defaultPage = 10 // MaxResults when the caller names none

// Filter is what the List operations of jobs can be asked. Zero members do not
// filter.
type Filter struct {
	NameContains, Status          string
	CreatedAfter, CreatedBefore   time.Time
	ModifiedAfter, ModifiedBefore time.Time
	SortBy, SortOrder             string // CreationTime, Name or Status; Ascending or Descending
	Token                         string
	Max                           *int64
}

// Summary is a job as lists show it.
type Summary struct {
	Name, Arn, Phase         string
	Secondary                string
	Failure, ExitMessage     string // of families with Reasons
	Created, Modified, Ended time.Time
}

// List pages through the caller's jobs; every filter is a column.
func (e *Engine) List(ctx context.Context, c op.Call, f Filter) (out []Summary, next string, err error) {
	q := resource.Query{
		Account: c.Account, Region: c.Region, Kind: e.Kind(), NameContains: f.NameContains, Phase: f.Status,
		CreatedAfter: f.CreatedAfter, CreatedBefore: f.CreatedBefore, ModifiedAfter: f.ModifiedAfter, ModifiedBefore: f.ModifiedBefore,
		Descending: f.SortOrder == "Descending", Token: f.Token, Limit: defaultPage, Short: !e.Reasons,
	}
	if f.Max != nil {
		q.Limit = int(*f.Max)
	}
	switch f.SortBy {
	case "Name":
		q.Sort = resource.SortName
	case "Status":
		q.Sort = resource.SortPhase
	default:
		q.Sort = resource.SortCreated
	}
	recs, next, err := e.Store.List(ctx, q)
	if errors.Is(err, store.ErrToken) {
		return nil, "", apierr.Validation("Invalid NextToken: it is not from a previous answer to the same request.")
	}
	if err != nil {
		return nil, "", err
	}
	out = make([]Summary, 0, len(recs))
	for _, r := range recs {
		s := Summary{Name: r.Name, Arn: e.Arn(c, r.Name), Phase: r.Phase, Created: r.Created, Modified: r.Modified}
		switch err := e.summarize(ctx, r, &s); {
		case errors.Is(err, store.ErrNotFound):
			continue // meanwhile
		case err != nil:
			return nil, "", err
		}
		out = append(out, s)
	}
	return out, next, nil
}

func (e *Engine) summarize(ctx context.Context, r *resource.Record, s *Summary) (err error) {
	if !e.Reasons {
		var ok bool
		if s.Secondary, s.Ended, ok = readBrief(r.Brief); ok {
			return nil
		}
		if r, err = e.Store.Get(ctx, r.Key); err != nil { // an earlier Clary wrote it
			return err
		}
	}
	st, err := ReadStatus(r)
	if err != nil {
		return err
	}
	s.Secondary, s.Failure, s.ExitMessage = st.Secondary, st.Failure, st.ExitMessage
	if st.Ended != nil {
		s.Ended = *st.Ended
	}
	return nil
}
