package stage

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"clary/internal/stage/plan"
)

// processing is one processing job on one host.
type processing struct {
	job
	p plan.Processing
}

func newProcessing(p plan.Processing, h Host) *processing {
	r := &processing{newJob(h), p}
	r.region, r.role, r.hosts, r.current = p.Region, p.RoleArn, p.Hosts, p.CurrentHost
	r.isolated, r.input, r.kept = p.NetworkIsolation, "input", "Data"
	return r
}

// prepare makes /opt/ml/config and the folders of inputs and outputs, and
// fetches the inputs.
func (r *processing) prepare(ctx context.Context) error {
	for _, d := range []string{"config", "output"} {
		if err := mkdir(r.ml, d); err != nil {
			return err
		}
	}
	if err := r.writeConfig(); err != nil {
		return err
	}
	if err := r.surround(); err != nil {
		return err
	}
	// All are found before any is made: one may lie in another.
	type folder struct {
		what string
		tree
	}
	var all []folder
	find := func(what, local string) error {
		t, err := r.place(what, local)
		all = append(all, folder{what, t})
		return err
	}
	for _, in := range r.p.Inputs {
		if err := find(r.named(in.Channel), in.LocalPath); err != nil {
			return err
		}
	}
	for _, out := range r.p.Outputs {
		if err := find(fmt.Sprintf("output %q", out.Name), out.LocalPath); err != nil {
			return err
		}
	}
	for _, f := range all {
		if err := f.make(f.what); err != nil {
			return err
		}
	}
	for i, out := range r.p.Outputs {
		f := all[len(r.p.Inputs)+i]
		if _, err := r.mirror(f.what, out.S3Uri, f.tree, out.Continuous); err != nil {
			return err
		}
	}
	for i, in := range r.p.Inputs {
		if err := r.fetch(ctx, in.Channel, all[i].tree, nil); err != nil {
			return err
		}
	}
	return nil
}

func (r *processing) writeConfig() error {
	hosts, current := r.allHosts()
	resource, err := json.Marshal(struct {
		CurrentHost string   `json:"current_host"`
		Hosts       []string `json:"hosts"`
	}{current, hosts})
	if err != nil {
		return err
	}
	if err := write(r.ml, "config/resourceconfig.json", resource); err != nil {
		return err
	}
	return write(r.ml, "config/processingjobconfig.json", r.p.Config)
}

// finish reads what the program says of its end.
func (r *processing) finish(_ context.Context, res *plan.Result) []error {
	const most = 1 << 10
	data, err := tree{r.ml, mlPath, "."}.readStart("output/message", most)
	if err != nil {
		return nil // none is the usual case
	}
	res.ExitMessage = strings.ToValidUTF8(string(data), "")
	return nil
}
