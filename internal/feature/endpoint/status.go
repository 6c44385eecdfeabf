package endpoint

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"github.com/go-json-experiment/json"

	api "clary/internal/api/sagemaker"
	"clary/internal/budget"
	"clary/internal/compute"
	"clary/internal/resource"
	"clary/internal/serving"
)

// status is what we keep beside the request.
type status struct {
	V int `json:"v"`
	// Serving is what the router goes by: see serving.Of.
	Serving serving.Endpoint `json:"serving"`

	Config string      `json:"config"`         // name of the configuration, as Describe shows it
	Live   *deployment `json:"live,omitzero"`  // takes the traffic
	Next   *deployment `json:"next,omitzero"`  // shall take it
	Fleet  []instance  `json:"fleet,omitzero"` // of all deployments, in the order of their making

	Deployments int `json:"deployments"`    // so far
	Instances   int `json:"instances"`      // so far
	Tasks       int `json:"tasks"`          // so far
	Bills       int `json:"bills,omitzero"` // intervals so far

	Halt    *budget.Halt          `json:"halt,omitzero"` // a budget deletes it
	Failure string                `json:"failure,omitzero"`
	Policy  *api.DeploymentConfig `json:"policy,omitzero"` // of the last deployment
}

// deployment is what an endpoint is, or shall be: a configuration with its
// models as they were when it began.
type deployment struct {
	N        int                    `json:"n"`
	Config   string                 `json:"config"`
	Began    time.Time              `json:"began"`
	Variants []variant              `json:"variants"`
	Capture  *api.DataCaptureConfig `json:"capture,omitzero"`
	Policy   *api.DeploymentConfig  `json:"policy,omitzero"`
}

// variant is a production variant and its model.
type variant struct {
	Name         string                              `json:"name"`
	InstanceType string                              `json:"instanceType"`
	Count        int64                               `json:"count"`
	Weight       float64                             `json:"weight"`
	Was          *scale                              `json:"was,omitzero"` // before a change that is under way
	Model        string                              `json:"model"`
	RoleArn      string                              `json:"roleArn"`
	Isolated     bool                                `json:"isolated,omitzero"`
	Containers   []api.ContainerDefinition           `json:"containers"`
	VolumeGB     int64                               `json:"volumeGB,omitzero"`
	Startup      int64                               `json:"startup"`  // seconds from a program's start to its answer
	Download     int64                               `json:"download"` // seconds for its models
	Routing      *api.ProductionVariantRoutingConfig `json:"routing,omitzero"`
	Crashes      []time.Time                         `json:"crashes,omitzero"` // of its instances, the latest
}

// scale is what can be changed of a variant that serves.
type scale struct {
	Count  int64   `json:"count"`
	Weight float64 `json:"weight"`
}

// weight is the one that counts now.
func (v *variant) weight() float64 {
	if v.Was != nil {
		return v.Was.Weight
	}
	return v.Weight
}

// instance is one machine of a variant: a task for each container.
type instance struct {
	N          int       `json:"n"`
	Deployment int       `json:"deployment"`
	Variant    string    `json:"variant"`
	Type       string    `json:"type"`
	Tasks      []task    `json:"tasks"`
	Asked      time.Time `json:"asked"`          // since when it is wanted
	After      time.Time `json:"after,omitzero"` // nothing is tried with it before

	Crowded time.Time `json:"crowded,omitzero"` // since when it waits for room
	Tries   int       `json:"tries,omitzero"`   // in a row that came to nothing
	Trouble string    `json:"trouble,omitzero"` // of the last of them
	Refused string    `json:"refused,omitzero"` // why it need not be tried again

	Ready   *time.Time `json:"ready,omitzero"`   // all of its containers answered
	Strikes int        `json:"strikes,omitzero"` // times in a row that one of them did not, since
	Away    *time.Time `json:"away,omitzero"`    // when it is to be ended; it has no traffic any more
	Drain   bool       `json:"drain,omitzero"`   // requests in flight are waited for
	Halted  time.Time  `json:"halted,omitzero"`  // when it was asked to stop

	Bill    *bill     `json:"bill,omitzero"`    // the open interval
	Billed  bool      `json:"billed,omitzero"`  // it had one, and has no other
	Expires time.Time `json:"expires,omitzero"` // of the role's session that its tasks have
	Notes   int       `json:"notes,omitzero"`   // lines of ours in its log
	Said    string    `json:"said,omitzero"`    // the newest of them
}

// task is one container of an instance.
type task struct {
	ID        compute.TaskID `json:"id"`
	Container string         `json:"container"`         // primary, or its name in the pipeline
	Launched  bool           `json:"launched,omitzero"` // the driver had it
}

func readStatus(r *resource.Record) (status, error) {
	var st status
	if err := json.Unmarshal(r.Status, &st); err != nil {
		return st, fmt.Errorf("endpoint %s: status: %w", r.Name, err)
	}
	return st, nil
}

func (st *status) write(r *resource.Record) error {
	b, err := json.Marshal(st)
	if err != nil {
		return fmt.Errorf("endpoint %s: status: %w", r.Name, err)
	}
	r.Status = b
	return nil
}

// clone is a status that can be changed without the first one.
func (st status) clone() status {
	st.Fleet = slices.Clone(st.Fleet)
	for i := range st.Fleet {
		st.Fleet[i].Tasks = slices.Clone(st.Fleet[i].Tasks)
	}
	st.Live, st.Next = st.Live.clone(), st.Next.clone()
	return st
}

func (d *deployment) clone() *deployment {
	if d == nil {
		return nil
	}
	c := *d
	c.Variants = slices.Clone(d.Variants)
	for i := range c.Variants {
		c.Variants[i].Crashes = slices.Clone(c.Variants[i].Crashes)
	}
	return &c
}

func (d *deployment) variant(name string) *variant {
	if d == nil {
		return nil
	}
	for i := range d.Variants {
		if d.Variants[i].Name == name {
			return &d.Variants[i]
		}
	}
	return nil
}

// of gives the deployment of an instance; nil when it is not wanted any more.
func (st *status) of(in *instance) *deployment {
	switch {
	case st.Live != nil && st.Live.N == in.Deployment:
		return st.Live
	case st.Next != nil && st.Next.N == in.Deployment:
		return st.Next
	}
	return nil
}

// healthy says that an instance may take requests.
func (in *instance) healthy() bool { return in.Ready != nil && in.Away == nil }

// count is how many instances of a variant there are that stay, and how many
// of these are healthy.
func (st *status) count(d *deployment, variant string) (all, healthy int64) {
	for i := range st.Fleet {
		in := &st.Fleet[i]
		if in.Deployment != d.N || in.Variant != variant || in.Away != nil {
			continue
		}
		all++
		if in.healthy() {
			healthy++
		}
	}
	return all, healthy
}

// again has another try with an instance after a while, which is longer each time.
func (in *instance) again(now time.Time, what string, err error) {
	in.Trouble = err.Error()
	in.tell("The instance could not be " + what + because(in.Trouble) + ". It is tried again.")
	in.After = now.Add(min(time.Second<<min(in.Tries, 6), time.Minute))
	in.Tries++
}

// complete says that a deployment has all that it wants.
func (st *status) complete(d *deployment) bool {
	for i := range d.Variants {
		if _, n := st.count(d, d.Variants[i].Name); n != d.Variants[i].Count {
			return false
		}
	}
	return true
}

// scaled says that a change of counts is over: what was made more is healthy.
// What else may ail a variant is not its business.
func (st *status) scaled(d *deployment) bool {
	for i := range d.Variants {
		v := &d.Variants[i]
		all, healthy := st.count(d, v.Name)
		if all != v.Count || v.Was != nil && v.Count > v.Was.Count && healthy != v.Count {
			return false
		}
	}
	return true
}

// add makes an instance of a variant, which is not started before a time.
func (st *status) add(uid string, d *deployment, v *variant, now, after time.Time) {
	st.Instances++
	in := instance{N: st.Instances, Deployment: d.N, Variant: v.Name, Type: v.InstanceType, Asked: now, After: after}
	for i := range v.Containers {
		st.Tasks++
		in.Tasks = append(in.Tasks, task{ID: compute.TaskID(fmt.Sprintf("%s-%d", uid, st.Tasks)), Container: v.container(i)})
	}
	st.Fleet = append(st.Fleet, in)
}

// container is how texts and logs call one of a variant's containers.
func (v *variant) container(i int) string {
	switch name := v.Containers[i].ContainerHostname; {
	case name != "":
		return name
	case len(v.Containers) == 1:
		return "primary"
	}
	return fmt.Sprintf("container-%d", i+1)
}

// id is how an instance is known: i- and 17 digits.
func (in *instance) id(uid string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s/%d", uid, in.N))
	return "i-" + hex.EncodeToString(sum[:])[:17]
}

// tell has a line written into an instance's log, once.
func (in *instance) tell(line string) {
	if line != "" && line != in.Said {
		in.Said = line
		in.Notes++
	}
}

// leave takes an instance out of the traffic, to be ended at a time.
func (in *instance) leave(at time.Time, drain bool) {
	if in.Away == nil {
		in.Away, in.Drain = &at, drain
		in.After, in.Tries, in.Crowded = time.Time{}, 0, time.Time{}
	}
}

// quit has an instance ended at once.
func (in *instance) quit(now time.Time) {
	in.Away = &now
	in.Drain, in.After, in.Crowded = false, time.Time{}, time.Time{}
}

// traffic is what the router shall go by.
func (st *status) traffic(uid string) serving.Endpoint {
	var out serving.Endpoint
	if st.Live == nil {
		return out
	}
	out.Capture = capture(st.Live)
	for i := range st.Live.Variants {
		v := &st.Live.Variants[i]
		to := serving.Variant{Name: v.Name, Weight: v.weight()}
		for c := range v.Containers {
			to.Containers = append(to.Containers, v.container(c))
		}
		for j := range st.Fleet {
			in := &st.Fleet[j]
			if in.Deployment != st.Live.N || in.Variant != v.Name || !in.healthy() {
				continue
			}
			one := serving.Instance{ID: in.id(uid)}
			for _, t := range in.Tasks {
				one.Tasks = append(one.Tasks, t.ID)
			}
			to.Instances = append(to.Instances, one)
		}
		out.Variants = append(out.Variants, to)
	}
	return out
}

// capture is what a deployment keeps of its traffic, nil: nothing.
func capture(d *deployment) *serving.Capture {
	c := d.Capture
	if c == nil || !enabled(c) {
		return nil
	}
	out := &serving.Capture{Percent: c.InitialSamplingPercentage, S3Uri: c.DestinationS3Uri, RoleArn: d.Variants[0].RoleArn}
	for _, o := range c.CaptureOptions {
		switch o.CaptureMode {
		case "Input":
			out.Input = true
		case "Output":
			out.Output = true
		case "InputAndOutput":
			out.Input, out.Output = true, true
		}
	}
	if h := c.CaptureContentTypeHeader; h != nil {
		out.CSV, out.JSON = h.CsvContentTypes, h.JsonContentTypes
	}
	return out
}

// enabled says whether a configuration captures; it does unless it says no.
func enabled(c *api.DataCaptureConfig) bool { return c.EnableCapture == nil || *c.EnableCapture }

// rests says that nothing is left to do until somebody asks.
func rests(phase string, st *status) bool {
	return phase == serving.PhaseFailed && len(st.Fleet) == 0
}
