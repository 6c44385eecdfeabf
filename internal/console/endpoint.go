package console

import (
	"cmp"
	"net/url"
	"slices"
	"strconv"
	"time"

	"clary/internal/api/cloudwatch"
	sm "clary/internal/api/sagemaker"
)

// served is a variant of an endpoint, as it is or as it will be.
type served struct {
	Name, Type      string
	Model           named
	Now, Wanted     int64 // instances
	Weight, Share   string
	WeightWanted    string // if it is another
	Images          []string
	Status, Message string
	since           time.Time
	weight          float64
}

type servedList []served

// States says whether something is under way.
func (l servedList) States() bool {
	return slices.ContainsFunc(l, func(s served) bool { return s.Status != "" })
}

type endpointBody struct {
	Endpoint *sm.DescribeEndpointOutput
	Path     string
	Config   named
	Now      int64 // instances of all variants
	Wanted   int64
	Steps    []happened
	Messages bool // one of them has one
	Variants servedList
	Pending  *pendingBody
	Facts    []fact
	Of       []link // variants whose traffic can be shown
	Ranges   []link // of time
	Traffic  []*chart
	Machines []*chart
	Quiet    string // why there are no charts
	Log      *logBody
	Snippets []snippet
	Activity string // address
	hosting
}

// Going says whether it is deleted already.
func (b *endpointBody) Going() bool { return b.Endpoint.EndpointStatus == "Deleting" }

// Failed says that it answers nothing and never will.
func (b *endpointBody) Failed() bool { return b.Endpoint.EndpointStatus == "Failed" }

// pendingBody is a deployment that is under way.
type pendingBody struct {
	Config   named
	Start    time.Time
	Variants servedList
}

// happened is one thing that Describe tells of an endpoint's history.
type happened struct {
	At            time.Time
	What, Message string
}

func (v *view) describeEndpoint(name string) (*sm.DescribeEndpointOutput, error) {
	return ask[sm.DescribeEndpointOutput](v, "sagemaker", "DescribeEndpoint", &sm.DescribeEndpointInput{EndpointName: name})
}

// endpoint is an endpoint's page.
func (c *Console) endpoint(v *view) error {
	d, body, err := v.oneEndpoint()
	if err != nil {
		return err
	}
	types, models, err := v.typesAndModels(d.EndpointConfigName)
	if err != nil {
		return err
	}
	for _, p := range d.ProductionVariants {
		body.Variants = append(body.Variants, servedOf(p.VariantName, types[p.VariantName], models[p.VariantName], p.DeployedImages, p.CurrentWeight, p.DesiredWeight, p.CurrentInstanceCount, p.DesiredInstanceCount, p.VariantStatus))
	}
	shares(body.Variants)
	for _, s := range body.Variants {
		body.Now, body.Wanted = body.Now+s.Now, body.Wanted+s.Wanted
	}
	if p := d.PendingDeploymentSummary; p != nil {
		body.Pending = &pendingBody{Config: named{p.EndpointConfigName, configPath(p.EndpointConfigName)}, Start: p.StartTime.Time}
		for _, x := range p.ProductionVariants {
			body.Pending.Variants = append(body.Pending.Variants, servedOf(x.VariantName, x.InstanceType, "", x.DeployedImages, x.CurrentWeight, x.DesiredWeight, x.CurrentInstanceCount, x.DesiredInstanceCount, x.VariantStatus))
		}
		shares(body.Pending.Variants)
	}
	body.Steps = endpointSteps(d, body)
	body.Messages = slices.ContainsFunc(body.Steps, func(h happened) bool { return h.Message != "" })
	body.Facts = endpointFacts(d)
	if err := v.traffic(body); err != nil {
		return err
	}
	if body.Log, err = v.logOfEndpoint(d, false, "", url.Values{}); err != nil {
		return err
	}
	if err := v.tailOf(body.Log, !body.Failed()); err != nil {
		return err
	}
	a := v.about()
	a.Endpoint = d.EndpointName
	code := "invoke"
	if body.Failed() {
		code = "delete"
	}
	if body.Snippets, err = snippetsOf(code, a); err != nil {
		return err
	}
	body.Activity = "/activity?" + url.Values{"by": {"ResourceName"}, "find": {d.EndpointName}}.Encode()
	return v.show("endpoint", d.EndpointName, "endpoints", body)
}

// oneEndpoint reads the one that the address names, with what it costs.
func (v *view) oneEndpoint() (*sm.DescribeEndpointOutput, *endpointBody, error) {
	d, err := v.describeEndpoint(v.r.PathValue("name"))
	if err != nil {
		return nil, nil, err
	}
	costs, err := v.hostings(life{d.EndpointName, d.CreationTime.Time})
	if err != nil {
		return nil, nil, err
	}
	body := &endpointBody{Endpoint: d, Path: endpointPath(d.EndpointName), hosting: costs[d.EndpointName]}
	if d.EndpointConfigName != "" {
		body.Config = named{d.EndpointConfigName, configPath(d.EndpointConfigName)}
	}
	return d, body, nil
}

// typesAndModels are what the configuration alone says of each variant; it may
// be gone.
func (v *view) typesAndModels(config string) (types, models map[string]string, err error) {
	types, models = map[string]string{}, map[string]string{}
	if config == "" {
		return types, models, nil
	}
	d, err := v.describeConfig(config)
	if _, ok := refused(err); ok {
		return types, models, nil
	}
	if err != nil {
		return nil, nil, err
	}
	for _, p := range d.ProductionVariants {
		types[p.VariantName], models[p.VariantName] = p.InstanceType, p.ModelName
	}
	return types, models, nil
}

func servedOf(name, instanceType, model string, images []sm.DeployedImage, w, wWanted *float64, now, wanted *int64, status []sm.ProductionVariantStatus) served {
	s := served{Name: name, Type: instanceType, Now: value(now), Wanted: value(wanted)}
	if model != "" {
		s.Model = named{model, modelPath(model)}
	}
	if w == nil {
		w = wWanted
	}
	if w != nil {
		s.weight, s.Weight = *w, number(*w)
		if wWanted != nil && *wWanted != *w {
			s.WeightWanted = number(*wWanted)
		}
	}
	for _, i := range images {
		image := container{Image: cmp.Or(i.SpecifiedImage, i.ResolvedImage)}
		s.Images = append(s.Images, image.Short())
	}
	if n := len(status); n > 0 {
		s.Status, s.Message, s.since = status[n-1].Status, status[n-1].StatusMessage, status[n-1].StartTime.Time
	}
	return s
}

func value(n *int64) int64 {
	if n == nil {
		return 0
	}
	return *n
}

func shares(list []served) {
	var sum float64
	for _, s := range list {
		sum += s.weight
	}
	for i := range list {
		if list[i].Weight != "" {
			list[i].Share = share(list[i].weight, sum)
		}
	}
}

// endpointSteps are what Describe tells of the history.
func endpointSteps(d *sm.DescribeEndpointOutput, body *endpointBody) []happened {
	out := []happened{{At: d.CreationTime.Time, What: "Created"}}
	list := body.Variants
	if p := body.Pending; p != nil {
		if !p.Start.IsZero() {
			out = append(out, happened{At: p.Start, What: "Deployment of " + p.Config.Name + " began"})
		}
		list = slices.Concat(list, p.Variants)
	}
	for _, s := range list {
		if s.Status != "" && !s.since.IsZero() {
			out = append(out, happened{s.since, s.Name + ": " + s.Status, s.Message})
		}
	}
	if t := d.LastModifiedTime.Time; t.After(d.CreationTime.Time) {
		out = append(out, happened{At: t, What: d.EndpointStatus})
	}
	slices.SortStableFunc(out, func(a, b happened) int { return a.At.Compare(b.At) })
	return out
}

func endpointFacts(d *sm.DescribeEndpointOutput) []fact {
	var out table
	out.add("ARN", d.EndpointArn)
	if d.EndpointConfigName != "" {
		out = append(out, fact{"Configuration", d.EndpointConfigName, configPath(d.EndpointConfigName)})
	}
	if k := d.DataCaptureConfig; k != nil {
		out.add("Data capture", k.CaptureStatus+", "+count(k.CurrentSamplingPercentage)+" % of the requests, in "+k.DestinationS3Uri)
	}
	if u := d.LastDeploymentConfig; u != nil && u.BlueGreenUpdatePolicy != nil {
		if t := u.BlueGreenUpdatePolicy.TrafficRoutingConfiguration; t != nil {
			out.add("Updates", "blue/green, "+t.Type)
		}
	}
	return out
}

// The hours of traffic that a page shows.
var trafficHours = []struct { //nolint:gochecknoglobals // a table
	hours int
	title string
}{{1, "1 hour"}, {3, "3 hours"}, {24, "1 day"}, {168, "1 week"}}

const usualHours = 3

// traffic draws what a variant was asked, how long it took, and how much of
// their instances its containers used.
func (v *view) traffic(body *endpointBody) error {
	d, q := body.Endpoint, v.r.URL.Query()
	hours, err := strconv.Atoi(cmp.Or(q.Get("hours"), strconv.Itoa(usualHours)))
	if err != nil || hours < 1 || hours > 168 {
		return errNoPage
	}
	at := func(name, value string) string {
		next := url.Values{}
		for _, k := range []string{"hours", "variant", "host"} {
			if s := q.Get(k); s != "" {
				next.Set(k, s)
			}
		}
		next.Set(name, value)
		return body.Path + "?" + next.Encode()
	}
	for _, h := range trafficHours {
		body.Ranges = append(body.Ranges, link{h.title, at("hours", strconv.Itoa(h.hours)), h.hours == hours})
	}
	chosen := q.Get("variant")
	for i, s := range body.Variants {
		if chosen == "" && i == 0 {
			chosen = s.Name
		}
		if len(body.Variants) > 1 {
			body.Of = append(body.Of, link{s.Name, at("variant", s.Name), s.Name == chosen})
		}
	}
	if !slices.ContainsFunc(body.Variants, func(s served) bool { return s.Name == chosen }) {
		if q.Get("variant") != "" {
			return errNoPage
		}
		return nil // there is none yet
	}
	to := v.c.cfg.Now()
	from := to.Add(-time.Duration(hours) * time.Hour)
	if d.CreationTime.After(from) {
		from = d.CreationTime.Time
	}
	return v.drawTraffic(body, chosen, from, to)
}

func (v *view) drawTraffic(body *endpointBody, variant string, from, to time.Time) error {
	of := []cloudwatch.Dimension{{Name: "EndpointName", Value: body.Endpoint.EndpointName}, {Name: "VariantName", Value: variant}}
	const invoked, used = "AWS/SageMaker", "/aws/sagemaker/Endpoints"
	asked := []series{
		{title: "Invocations", unit: "a minute", space: invoked, name: "Invocations", of: of, rate: true},
		{title: "Errors of the caller (4xx)", unit: "a minute", space: invoked, name: "Invocation4XXErrors", of: of, rate: true},
		{title: "Errors of the model (5xx)", unit: "a minute", space: invoked, name: "Invocation5XXErrors", of: of, rate: true},
		{title: "Model latency", unit: "milliseconds", space: invoked, name: "ModelLatency", of: of, scale: 1e-3},
		{title: "Overhead latency", unit: "milliseconds", space: invoked, name: "OverheadLatency", of: of, scale: 1e-3},
		{title: "CPU utilization", unit: "percent of one vCPU", space: used, name: "CPUUtilization", of: of},
		{title: "Memory utilization", unit: "percent", space: used, name: "MemoryUtilization", of: of},
	}
	form := "15:04"
	if to.Sub(from) > 24*time.Hour {
		form = "2 Jan 15:04"
	}
	lines, err := v.rollups(asked, from, to, "time, UTC", func(t time.Time) string { return t.UTC().Format(form) })
	if denied(err) {
		body.Quiet = "You may not read its metrics."
		return nil
	}
	if err != nil {
		return err
	}
	const calls, errors, rest = 1, 3, 5 // where what is counted, the errors of it and the latencies end
	shown := slices.Clone(lines[:calls])
	for _, l := range lines[calls:errors] {
		if slices.ContainsFunc(l.Values, func(f float64) bool { return f > 0 }) {
			shown = append(shown, l)
		}
	}
	shown = append(shown, lines[errors:rest]...)
	if body.Traffic, err = draw(shown); err != nil {
		return err
	}
	if len(body.Traffic) == 0 {
		body.Quiet = "Nobody invoked it in this time. It costs all the same."
	}
	body.Machines, err = draw(lines[rest:])
	return err
}

// endpointAsk asks once more.
func (c *Console) endpointAsk(v *view) error {
	d, body, err := v.oneEndpoint()
	if err != nil {
		return err
	}
	return v.show("endpoint-delete", "Delete "+d.EndpointName, "endpoints", body)
}

func (c *Console) endpointDelete(v *view) error {
	name := v.r.PathValue("name")
	if _, err := v.act("DeleteEndpoint", &sm.DeleteEndpointInput{EndpointName: name}); err != nil {
		return err
	}
	v.to("/endpoints")
	return nil
}
