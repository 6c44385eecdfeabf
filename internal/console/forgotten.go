package console

import "clary/internal/forgotten"

// forgottenRow is one of the report, with where it is ended.
type forgottenRow struct {
	forgotten.Item
	Path, End string // pages; "": none of ours
}

type forgottenBody struct {
	Report *forgotten.Report
	Rows   []forgottenRow
	Empty  *emptyBody
}

// forgotten asks for the report of the session's region; nil: the reader may
// list nothing that it could tell of.
func (v *view) forgotten() (*forgotten.Report, error) {
	rep, err := v.c.cfg.Costs.Forgotten(v.r.Context(), v.call, v.call.Region)
	if denied(err) {
		return nil, nil
	}
	return rep, err
}

// forgottenPage is what costs and nobody uses.
func (c *Console) forgottenPage(v *view) error {
	rep, err := c.cfg.Costs.Forgotten(v.r.Context(), v.call, v.call.Region)
	if err != nil {
		return err
	}
	body := forgottenBody{Report: rep}
	for _, i := range rep.Items {
		r := forgottenRow{Item: i, Path: pathOf(i.Kind, i.Name)}
		switch {
		case i.Why == forgotten.Idle:
			r.End = r.Path + "/stop"
		case i.Kind == endpointKind:
			r.End = r.Path + "/delete"
		}
		body.Rows = append(body.Rows, r)
	}
	if len(body.Rows) == 0 {
		if body.Empty, err = v.empty("forgotten"); err != nil {
			return err
		}
	}
	return v.show("forgotten", "Forgotten resources", "forgotten", body)
}

// Title says in words what is forgotten.
func (r forgottenRow) Title() string {
	switch r.Why {
	case forgotten.Volume:
		return "Volume of a stopped notebook instance"
	case forgotten.Idle:
		return "Idle notebook instance"
	case forgotten.Flat:
		return "Endpoint with flat traffic"
	}
	return "Endpoint without traffic"
}
