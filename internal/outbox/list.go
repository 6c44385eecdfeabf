package outbox

import (
	"context"
	"time"

	"clary/internal/resource"
	"clary/internal/store"
)

// Told is how one delivery stands.
type Told struct {
	ID                    string
	Channel, To, About    string
	Subject               string `json:",omitzero"`
	Phase                 string // Pending, Delivered, Failed
	Attempts              int    `json:",omitzero"` // that failed
	Reason                string `json:",omitzero"` // of the last failure, or of waiting
	Created, Changed, Due time.Time
}

// List reads deliveries, the newest first: of a phase, or of all with "", and
// of what they are sent for, or of all with "".
func List(ctx context.Context, s store.Store, account, region, phase, about, token string, limit int) ([]Told, string, error) {
	recs, next, err := s.List(ctx, resource.Query{
		Account: account, Region: region, Kind: KindDelivery, Phase: phase, Parent: about, Descending: true, Token: token, Limit: limit,
	})
	if err != nil {
		return nil, "", err
	}
	out := make([]Told, 0, len(recs))
	for _, r := range recs {
		d, err := resource.As[Delivery](r.Spec)
		if err != nil {
			return nil, "", err
		}
		p, err := resource.As[Progress](r.Status)
		if err != nil {
			return nil, "", err
		}
		t := Told{
			ID: r.Name, Channel: d.Channel, To: Shown(d.To), About: d.About, Subject: d.Subject, Phase: r.Phase, Attempts: p.Attempts, Reason: p.Reason,
			Created: r.Created, Changed: r.Modified,
		}
		if r.Phase == PhasePending {
			t.Due = r.Due
		}
		out = append(out, t)
	}
	return out, next, nil
}
