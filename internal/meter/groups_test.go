package meter

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"clary/internal/resource"
)

// Lines sum up to the bill, to the micro-dollar and the second, by whatever
// they are told apart: what Cost Explorer groups by, the day and the hour.
func TestLinesSumUpByEverything(t *testing.T) {
	t.Parallel()
	p := list(t)
	dims := []string{"SERVICE", "USAGE_TYPE", "RESOURCE_ID", "REGION", "INSTANCE_TYPE", "INSTANCE_TYPE_FAMILY", "OPERATION", "USAGE_TYPE_GROUP", "LINKED_ACCOUNT"}
	by := map[string]func(*Entry) string{
		"day":   func(e *Entry) string { return e.Day.Format("2006-01-02") },
		"month": func(e *Entry) string { return e.Day.Format("2006-01") },
		"hour":  func(e *Entry) string { return e.Day.String() },
		"tag":   func(e *Entry) string { return e.Of.Tags["team"] },
	}
	for _, d := range dims {
		by[d] = func(e *Entry) string { v, _ := Attribute(e.Of, d); return v }
	}
	groups := 0
	books := []Book{MinuteBook(p), AWSBook(p), {Name: "odd", Rounding: Rounding{Granularity: 7 * time.Second, Minimum: time.Minute}, Prices: p}}
	for seed := range uint64(6) {
		ledger, now := history(rand.New(rand.NewPCG(seed, 12)), at("2026-09-20T00:00:00Z"), 8)
		for _, b := range books[seed%3 : seed%3+1] {
			whole := Bill(ledger.rows, b, time.Time{}, time.Time{}, now)
			begin, end := at("2026-09-20T00:00:00Z"), now.Truncate(day).Add(day)
			for name, key := range by {
				for how, entries := range map[string]func(from, to time.Time, only *Filter, f func(*Entry)){
					"days": func(from, to time.Time, only *Filter, f func(*Entry)) {
						err := NewSums(ledger, []Book{b}).Only(only).Each(t.Context(), SpendQuery{Account: "1", From: from, To: to, Now: now}, f)
						if err != nil {
							t.Fatal(err)
						}
					},
					"hours": func(from, to time.Time, only *Filter, f func(*Entry)) {
						var some []resource.Usage
						for _, u := range ledger.rows {
							if only.Match(&u) {
								some = append(some, u)
							}
						}
						Hours(some, b, from, to, now, f)
					},
				} {
					type sum struct{ micro, seconds, units int64 }
					all, parts := sum{}, map[string]sum{}
					entries(begin, end, nil, func(e *Entry) {
						s := parts[key(e)]
						s.micro, s.seconds, s.units = s.micro+e.By[0].MicroUSD, s.seconds+e.By[0].Seconds, s.units+e.Units
						parts[key(e)] = s
					})
					for _, s := range parts {
						all.micro, all.seconds, all.units = all.micro+s.micro, all.seconds+s.seconds, all.units+s.units
					}
					want := sum{micro: whole.MicroUSD}
					for _, l := range whole.Lines {
						want.seconds, want.units = want.seconds+l.Seconds, want.units+l.Units
					}
					groups += len(parts)
					if all != want {
						t.Fatalf("seed %d, book %s, %s by %s: %+v, the bill is %+v", seed, b.Name, how, name, all, want)
					}
					if how == "hours" && seed > 2 {
						continue
					}
					// Each group is what a filter for it finds.
					for v, s := range parts {
						only := &Filter{Dimension: &Term{Key: name, Values: []string{v}}}
						switch name {
						case "tag":
							only = &Filter{Tag: &Term{Key: "team", Values: []string{v}}}
						case "day", "month", "hour":
							continue
						}
						var got sum
						entries(begin, end, only, func(e *Entry) {
							got.micro, got.seconds, got.units = got.micro+e.By[0].MicroUSD, got.seconds+e.By[0].Seconds, got.units+e.Units
						})
						if got != s {
							t.Fatalf("seed %d, book %s, %s by %s: %q is %+v, a filter finds %+v", seed, b.Name, how, name, v, s, got)
						}
					}
				}
			}
		}
	}
	if groups < 5_000 {
		t.Errorf("%d groups test little", groups)
	}
}

// An hour is the hour of the bill of just that hour, whatever part is asked for.
func TestHoursAreTheBills(t *testing.T) {
	t.Parallel()
	b := MinuteBook(list(t))
	for seed := range uint64(6) {
		rng := rand.New(rand.NewPCG(seed, 13))
		ledger, now := history(rng, at("2026-09-20T00:00:00Z"), 8)
		from := at("2026-09-24T00:00:00Z").Add(time.Duration(rng.IntN(240)) * time.Hour)
		to := from.Add(time.Duration(1+rng.IntN(60)) * time.Hour)
		got := map[string]int64{}
		Hours(ledger.rows, b, from, to, now, func(e *Entry) { got[e.Day.String()] += e.By[0].MicroUSD })
		for h := from; h.Before(to); h = h.Add(time.Hour) {
			if want := Bill(ledger.rows, b, h, h.Add(time.Hour), now).MicroUSD; got[h.String()] != want {
				t.Fatalf("seed %d: %s costs %d, the bill of it is %d", seed, h, got[h.String()], want)
			}
			delete(got, h.String())
		}
		for h, n := range got {
			if n != 0 {
				t.Fatalf("seed %d: %s was not asked for", seed, h)
			}
		}
	}
}

func TestAttribute(t *testing.T) {
	t.Parallel()
	u := resource.Usage{Account: "123456789012", Region: "us-east-1", Kind: "NotebookInstance", Name: "My-Notes", Component: "notebook", InstanceType: "ml.t3.medium", Unit: InstanceSecond}
	volume := u
	volume.Component, volume.InstanceType, volume.Unit = "notebook-volume", "", GBSecond
	host := u
	host.Kind, host.Component, host.InstanceType, host.Region = "Endpoint", "hosting", "ml.m5.large", "eu-west-1"
	job := host
	job.Kind, job.Component, job.Region = "TransformJob", "transform", "moon-1"
	for _, c := range []struct {
		u         resource.Usage
		dim, want string
	}{
		{u, "SERVICE", "Amazon SageMaker"},
		{u, "USAGE_TYPE", "USE1-Notebk:ml.t3.medium"},
		{u, "OPERATION", "RunInstance"},
		{u, "RESOURCE_ID", "arn:aws:sagemaker:us-east-1:123456789012:notebook-instance/my-notes"},
		{u, "INSTANCE_TYPE_FAMILY", "t3"},
		{u, "USAGE_TYPE_GROUP", "SageMaker: Notebook Instances"},
		{u, "LINKED_ACCOUNT", "123456789012"},
		{u, "RECORD_TYPE", "Usage"},
		{volume, "USAGE_TYPE", "USE1-Notebk:VolumeUsage.gp2"},
		{volume, "INSTANCE_TYPE", "NoInstanceType"},
		{volume, "OPERATION", "CreateVolume-Gp2"},
		{host, "USAGE_TYPE", "EU-Host:ml.m5.large"},
		{host, "RESOURCE_ID", "arn:aws:sagemaker:eu-west-1:123456789012:endpoint/my-notes"},
		{job, "USAGE_TYPE", "moon-1-Tsform:ml.m5.large"},
		{job, "RESOURCE_ID", "arn:aws:sagemaker:moon-1:123456789012:transform-job/my-notes"},
		{u, "AZ", "NoAZ"},
		{u, "PURCHASE_TYPE", "On Demand Instances"},
	} {
		if got, ok := Attribute(&c.u, c.dim); got != c.want || ok != !strings.HasPrefix(c.want, "No") {
			t.Errorf("%s of %s: %q, %t; want %q", c.dim, c.u.Component, got, ok, c.want)
		}
	}
}

func TestFilter(t *testing.T) {
	t.Parallel()
	u := resource.Usage{Account: "1", Region: "us-east-1", Kind: "TrainingJob", Component: "training", InstanceType: "ml.m5.large", Unit: InstanceSecond, Tags: map[string]string{"Team": "Blue", "none": ""}}
	is := func(key string, values ...string) Filter { return Filter{Dimension: &Term{Key: key, Values: values}} }
	tag := func(key, value string, options ...string) *Filter {
		f := &Filter{Tag: &Term{Key: key, Options: options}}
		if value != "-" {
			f.Tag.Values = []string{value}
		}
		return f
	}
	yes, no := is("REGION", "mars", "us-east-1"), is("REGION", "mars")
	for i, c := range []struct {
		f    *Filter
		want bool
	}{
		{nil, true},
		{&Filter{}, true},
		{&yes, true},
		{&no, false},
		{&Filter{Not: &no}, true},
		{&Filter{Not: &yes}, false},
		{&Filter{And: []Filter{yes, yes}}, true},
		{&Filter{And: []Filter{yes, no}}, false},
		{&Filter{Or: []Filter{no, yes}}, true},
		{&Filter{Or: []Filter{no, no}}, false},
		{&Filter{And: []Filter{yes}, Or: []Filter{no}}, false},
		{tag("Team", "Blue"), true},
		{tag("Team", "blue"), false},
		{tag("team", "Blue"), false},
		{tag("Team", "bLUE", "CASE_INSENSITIVE"), true},
		{tag("Team", "Bl", "STARTS_WITH"), true},
		{tag("Team", "lu"), false},
		{tag("Team", "lu", "CONTAINS"), true},
		{tag("Team", "LUE", "ENDS_WITH", "CASE_INSENSITIVE"), true},
		{tag("Team", "-", "ABSENT"), false},
		{tag("team", "-", "ABSENT"), true},
		{tag("none", "-", "ABSENT"), false},
		{tag("none", ""), true},
		{tag("other", ""), true},
		{tag("Team", ""), false},
		{&Filter{Dimension: &Term{Key: "AZ", Values: []string{"x"}}}, false},
		{&Filter{Dimension: &Term{Key: "AZ", Values: []string{"NoAZ"}}}, true},
		{&Filter{Dimension: &Term{Key: "AZ", Options: []string{"ABSENT"}}}, true},
	} {
		if got := c.f.Match(&u); got != c.want {
			t.Errorf("%d: %t for %s", i, got, fmt.Sprintf("%+v", c.f))
		}
	}
}
