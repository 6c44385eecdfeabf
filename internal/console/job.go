package console

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	sm "clary/internal/api/sagemaker"
	"clary/internal/resource"
)

// job is what its page shows of a job, whatever its kind.
type job struct {
	Kind                 *jobKind
	Name, Path           string
	Status, Step         string // Step: finer than the status
	Running              bool
	Created, Ended       time.Time
	Failure, ExitMessage string
	Hosts                []string // its instances
	writers              []string // of its log, by the names that streams give them; none: its hosts
	found                []string // streams, where prepare has asked for them all
	Config, Params, Env  []fact
	Records              []fact // how its input's records reach its model
	Model                string // that it is of, if it is of one
	input                *sm.TransformInput
	output               *sm.TransformOutput
	transitions          []sm.SecondaryStatusTransition
	billable             *int64 // seconds, where the API says so
	inputs, outputs      []place
	metrics              []sm.MetricDefinition
	final                []fact
	code                 func(region string) ([]snippet, error)
}

// place is where a job's data comes from or goes to.
type place struct{ Title, URI, Way string }

// job asks for the one that the address names.
func (v *view) job(k *jobKind) (*job, error) {
	j, err := k.describe(v, v.r.PathValue("name"))
	if err != nil {
		return nil, err
	}
	j.Kind, j.Path, j.Running = k, k.path(j.Name), running(j.Status)
	return j, nil
}

// prepared adds what its page and its log show besides.
func (v *view) prepared(j *job) error {
	if j.Kind.prepare == nil {
		return nil
	}
	return j.Kind.prepare(v, j)
}

func running(status string) bool { return status == "InProgress" || status == "Stopping" }

// hostNames are what the hosts of a job are called.
func hostNames(count *int64) []string {
	n := int64(1)
	if count != nil {
		n = *count
	}
	var out []string
	for i := range n {
		out = append(out, "algo-"+strconv.FormatInt(i+1, 10))
	}
	return out
}

var hostName = regexp.MustCompile(`\balgo-[0-9]+\b`) //nolint:gochecknoglobals // a constant pattern

// mainHost is the host that a failure names, or the first.
func (j *job) mainHost() string {
	if h := hostName.FindString(j.Failure); slices.Contains(j.Hosts, h) {
		return h
	}
	return j.Hosts[0]
}

// logs are whose lines there may be.
func (j *job) logs() []string {
	if len(j.writers) > 0 {
		return j.writers
	}
	return j.Hosts
}

// step is one entry of a job's history.
type step struct {
	Status, Message string
	Start           time.Time
	Took            time.Duration
	Open            bool
	X, Width        float64 // its place in the bar, of barWidth
}

const barWidth = 1000

// fact is a row of a page; Path leads to what the value names, "" nowhere.
type fact struct{ Name, Value, Path string }

// table is what a page says of something; what is empty is not said.
type table []fact

func (f *table) add(name, value string) {
	if value != "" {
		*f = append(*f, fact{Name: name, Value: value})
	}
}

type jobBody struct {
	Job         *job
	Steps       []step
	Messages    bool // a step has one
	Billable    time.Duration
	Cost        cost
	Billed      bool
	Inputs      []objects
	Outputs     []objects
	More        int     // inputs and outputs that are not shown
	Scored      *scores // in place of these
	Metrics     []*chart
	Final       []fact
	MetricsNote string
	Usage       []*chart // of the host whose log is shown
	Log         *logBody
	Hint        string
}

// jobPage is a job's page.
func (k *jobKind) jobPage(v *view) error {
	j, err := v.job(k)
	if err != nil {
		return err
	}
	if err := v.prepared(j); err != nil {
		return err
	}
	body := jobBody{Job: j, Steps: j.history(v.c.cfg.Now()), Hint: j.hint(), Final: j.final}
	body.Messages = slices.ContainsFunc(body.Steps, func(s step) bool { return s.Message != "" })
	if body.Cost, body.Billed, err = v.costOf(j); err != nil {
		return err
	}
	body.Billable = time.Duration(body.Cost.Seconds) * time.Second
	if j.billable != nil {
		body.Billable = time.Duration(*j.billable) * time.Second
	}
	if body.Log, err = v.jobLog(j); err != nil {
		return err
	}
	if err := v.metrics(j, &body); err != nil {
		return err
	}
	show := v.data
	if k.data != nil {
		show = func(j *job, body *jobBody) error { return k.data(v, j, body) }
	}
	if err := show(j, &body); err != nil {
		return err
	}
	return v.show("job", j.Name, k.Section, body)
}

// costOf is what a job has cost; false: it was not charged for.
func (v *view) costOf(j *job) (cost, bool, error) {
	bills, err := v.costs(resource.UsageQuery{Kind: j.Kind.Kind, Names: []string{j.Name}, From: j.Created})
	c, billed := bills.byName()[j.Name]
	return c, billed, err
}

// history lays a job's transitions along a bar.
func (j *job) history(now time.Time) []step {
	list := j.transitions
	if len(list) == 0 {
		return nil
	}
	end := now
	if !j.Ended.IsZero() {
		end = j.Ended
	}
	start := list[0].StartTime.Time
	total := max(end.Sub(start), time.Millisecond)
	var out []step
	for i, t := range list {
		s := step{Status: t.Status, Message: t.StatusMessage, Start: t.StartTime.Time}
		until := end
		if !t.EndTime.IsZero() {
			until = t.EndTime.Time
		} else {
			s.Open = j.Running && i == len(list)-1
		}
		s.Took = max(0, until.Sub(s.Start))
		s.X = float64(s.Start.Sub(start)) / float64(total) * barWidth
		s.Width = max(2, float64(s.Took)/float64(total)*barWidth)
		out = append(out, s)
	}
	return out
}

func pairs(m map[string]string) []fact {
	var out []fact
	for k, v := range m {
		out = append(out, fact{Name: k, Value: v})
	}
	slices.SortFunc(out, func(a, b fact) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// hint is what to do about failures whose reasons hold part.
type hint struct{ part, text string }

// hint says what to do about a job's failure, where its reason does not.
func (j *job) hint() string {
	for _, h := range slices.Concat(j.Kind.hints, []hint{
		{"out of memory", "Choose an instance type with more memory, or read the data in smaller parts."},
		{"AccessDenied", "Look at the policies of the job's role; the message names the action that it may not take."},
		{"NoSuchBucket", "Check the bucket's name in the job's inputs."},
		{"could not be built", "The log below tells how the runtime was built and where that stopped."},
		{"exit code", "The end of the script's own output, with its traceback, is in the log below."},
	}) {
		if strings.Contains(j.Failure, h.part) {
			return h.text
		}
	}
	return ""
}

type stopBody struct {
	Name, Path, Keeps string
	Cost              cost
}

// stopPage asks once more.
func (k *jobKind) stopPage(v *view) error {
	j, err := v.job(k)
	if err != nil {
		return err
	}
	c, _, err := v.costOf(j)
	if err != nil {
		return err
	}
	return v.show("stop", "Stop "+j.Name, k.Section, stopBody{j.Name, j.Path, k.Keeps, c})
}

func (k *jobKind) stopIt(v *view) error {
	name := v.r.PathValue("name")
	if err := k.stop(v, name); err != nil {
		return err
	}
	v.to(k.path(name))
	return nil
}
