package meter

import (
	"math/big"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"clary/internal/resource"
)

func at(s string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		panic(err)
	}
	return t
}

func list(t testing.TB) *Prices {
	t.Helper()
	p, err := ListPrices()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func training(start, end string) resource.Usage {
	u := resource.Usage{
		ID: ID("uid", "training", 1), Account: "123456789012", Region: "us-east-1", Kind: "TrainingJob", Name: "j", UID: "uid",
		Component: "training", InstanceType: "ml.m5.xlarge", Unit: InstanceSecond, Quantity: 1, Start: at(start),
	}
	if end != "" {
		u.End = at(end)
	}
	return u
}

func TestBill(t *testing.T) {
	t.Parallel()
	p := list(t)
	now := at("2026-10-03T12:00:00Z")
	two := training("2026-10-01T10:00:00Z", "2026-10-01T11:00:00Z")
	two.Quantity = 2
	volume := training("2026-10-01T00:00:00Z", "2026-10-31T00:00:00Z")
	volume.Kind, volume.Component, volume.InstanceType, volume.Unit, volume.Quantity = "NotebookInstance", "notebook-volume", "", GBSecond, 5
	request := training("2026-10-01T10:00:00Z", "")
	request.Component, request.InstanceType, request.Unit, request.Quantity = "invocation", "", Request, 1000
	elsewhere := training("2026-10-01T10:00:00Z", "2026-10-01T11:00:00Z")
	elsewhere.Region = "eu-west-1"
	type want struct {
		micro, seconds int64
		lines          int
		unpriced       bool
	}
	for _, c := range []struct {
		name        string
		u           resource.Usage
		minute, aws want
	}{
		{"an hour", training("2026-10-01T10:00:00Z", "2026-10-01T11:00:00Z"), want{230000, 3600, 1, false}, want{230000, 3600, 1, false}},
		{"two instances", two, want{460000, 3600, 1, false}, want{460000, 3600, 1, false}},
		// 0.23 USD × 60 / 3600 = 3833.3 µ$, and × 1 / 3600 = 63.9 µ$
		{"a second", training("2026-10-01T10:00:00Z", "2026-10-01T10:00:01Z"), want{3833, 60, 1, false}, want{64, 1, 1, false}},
		{"a moment", training("2026-10-01T10:00:00Z", "2026-10-01T10:00:00.001Z"), want{3833, 60, 1, false}, want{64, 1, 1, false}},
		{"a minute", training("2026-10-01T10:00:30Z", "2026-10-01T10:01:30Z"), want{3833, 60, 1, false}, want{3833, 60, 1, false}},
		{"a minute and a bit", training("2026-10-01T10:00:30Z", "2026-10-01T10:01:30.000000001Z"), want{7667, 120, 1, false}, want{3897, 61, 1, false}},
		{"nothing", training("2026-10-01T10:00:00Z", "2026-10-01T10:00:00Z"), want{}, want{}},
		{"over midnight", training("2026-10-01T23:30:00Z", "2026-10-02T00:30:00Z"), want{230000, 3600, 2, false}, want{230000, 3600, 2, false}},
		// A minute that begins before midnight belongs to the day it begins in.
		{"a minute over midnight", training("2026-10-01T23:59:30Z", "2026-10-02T00:00:10Z"), want{3833, 60, 1, false}, want{30*64 - 3 + 10*64 - 1, 40, 2, false}},
		{"open", training("2026-10-03T11:00:00Z", ""), want{230000, 3600, 1, false}, want{230000, 3600, 1, false}},
		{"open, started a moment ago", training("2026-10-03T11:59:59.5Z", ""), want{3833, 60, 1, false}, want{64, 1, 1, false}},
		{"open, begins later", training("2026-10-03T13:00:00Z", ""), want{}, want{}},
		// 5 GB for 30 days at 0.14 USD a GB-month: 23333.3 µ$ a day
		{"volume", volume, want{30 * 23333, 30 * 86400, 30, false}, want{30 * 23333, 30 * 86400, 30, false}},
		{"no price", request, want{0, 0, 1, true}, want{0, 0, 1, true}},
		{"no price there", elsewhere, want{0, 3600, 1, true}, want{0, 3600, 1, true}},
	} {
		for _, b := range []struct {
			Book
			want
		}{{MinuteBook(p), c.minute}, {AWSBook(p), c.aws}} {
			s := Bill([]resource.Usage{c.u}, b.Book, time.Time{}, time.Time{}, now)
			var seconds, sum, units int64
			for _, l := range s.Lines {
				seconds += l.Seconds
				units += l.Units
				sum += l.MicroUSD
				if l.Unpriced && l.MicroUSD != 0 {
					t.Errorf("%s: an unpriced line has an amount", c.name)
				}
			}
			if (want{s.MicroUSD, seconds, len(s.Lines), s.Unpriced}) != b.want || sum != s.MicroUSD {
				t.Errorf("%s, book %s: %d µ$, %d s, %d lines, unpriced %t; want %+v", c.name, b.Name, s.MicroUSD, seconds, len(s.Lines), s.Unpriced, b.want)
			}
			if c.u.Unit != Request && units != seconds*c.u.Quantity {
				t.Errorf("%s: %d units of %d s", c.name, units, seconds)
			}
		}
	}
}

func randomUsages(rng *rand.Rand, begin time.Time) []resource.Usage {
	var us []resource.Usage
	for i := range 1 + rng.IntN(12) {
		u := resource.Usage{
			UID: []string{"a", "b", "c"}[rng.IntN(3)], Account: "1", Region: []string{"us-east-1", "mars"}[min(1, rng.IntN(8))&rng.IntN(2)],
			Component: []string{"training", "notebook"}[rng.IntN(2)], InstanceType: []string{"ml.m5.large", "ml.m5.2xlarge", "ml.none"}[rng.IntN(3)],
			Unit: InstanceSecond, Quantity: int64(1 + rng.IntN(3)), Start: begin.Add(time.Duration(rng.Int64N(int64(72 * time.Hour)))),
		}
		u.ID, u.Name = ID(u.UID, u.Component, i), u.UID
		if rng.IntN(5) > 0 {
			u.End = u.Start.Add(time.Duration(rng.Int64N(int64(50 * time.Hour))))
			if rng.IntN(2) == 0 {
				u.End = u.Start.Add(time.Duration(rng.IntN(200)) * time.Second)
			}
		}
		us = append(us, u)
	}
	return us
}

// However usage is cut, by time, resource or component, the parts add up to
// the whole, to the micro-dollar and the second.
func TestGroupingNeverChangesTheSum(t *testing.T) {
	t.Parallel()
	p := list(t)
	begin := at("2026-10-01T00:00:00Z")
	for seed := range uint64(400) {
		rng := rand.New(rand.NewPCG(seed, 1))
		us := randomUsages(rng, begin)
		now := begin.Add(time.Duration(rng.Int64N(int64(120 * time.Hour))))
		for i := range us { // intervals end before they are seen
			if us[i].End.After(now) {
				us[i].End = time.Time{}
			}
		}
		for _, b := range []Book{MinuteBook(p), AWSBook(p), {Name: "odd", Rounding: Rounding{Granularity: 7 * time.Second, Minimum: time.Minute}, Prices: p}} {
			whole := Bill(us, b, time.Time{}, time.Time{}, now)
			totals := func(parts ...Statement) (micro, secs, units int64) {
				for _, s := range parts {
					for _, l := range s.Lines {
						micro, secs, units = micro+l.MicroUSD, secs+l.Seconds, units+l.Units
					}
				}
				return micro, secs, units
			}
			wm, ws, wu := totals(whole)
			same := func(how string, parts ...Statement) {
				if m, s, u := totals(parts...); m != wm || s != ws || u != wu {
					t.Fatalf("seed %d, book %s, by %s: %d µ$ %d s, whole %d µ$ %d s", seed, b.Name, how, m, s, wm, ws)
				}
			}
			var cuts []time.Time
			for range rng.IntN(6) {
				cuts = append(cuts, begin.Add(time.Duration(rng.Int64N(int64(130*time.Hour)))))
			}
			cuts = append(cuts, begin.Add(24*time.Hour), us[0].Start, us[0].Start.Add(time.Second), now)
			sortTimes(cuts)
			var parts []Statement
			from := time.Time{}
			for _, c := range append(cuts, time.Time{}) {
				parts = append(parts, Bill(us, b, from, c, now))
				from = c
			}
			same("time", parts...)
			parts = nil
			for _, uid := range []string{"a", "b", "c"} {
				for _, comp := range []string{"training", "notebook"} {
					var some []resource.Usage
					for _, u := range us {
						if u.UID == uid && u.Component == comp {
							some = append(some, u)
						}
					}
					parts = append(parts, Bill(some, b, time.Time{}, time.Time{}, now))
				}
			}
			same("resource and component", parts...)
			rng.Shuffle(len(us), func(i, j int) { us[i], us[j] = us[j], us[i] })
			if again := Bill(us, b, time.Time{}, time.Time{}, now); !reflect.DeepEqual(again, whole) {
				t.Fatalf("seed %d: the order of the ledger matters", seed)
			}
			// What is charged covers what ran, and by less than a granule an interval.
			var ran time.Duration
			for _, u := range us {
				end := u.End
				if end.IsZero() {
					end = now
				}
				ran += max(0, end.Sub(u.Start))
			}
			slack := time.Duration(len(us)) * max(b.Rounding.Granularity, b.Rounding.Minimum)
			if got := time.Duration(ws) * time.Second; got < ran || got > ran+slack {
				t.Fatalf("seed %d, book %s: %s charged for %s", seed, b.Name, got, ran)
			}
		}
	}
}

func sortTimes(ts []time.Time) {
	for i := range ts {
		for j := i; j > 0 && ts[j].Before(ts[j-1]); j-- {
			ts[j], ts[j-1] = ts[j-1], ts[j]
		}
	}
}

// A bill never shrinks as time goes by, and a closed interval's stays.
func TestBillGrows(t *testing.T) {
	t.Parallel()
	p := list(t)
	open := []resource.Usage{training("2026-10-01T10:00:00Z", "")}
	closed := []resource.Usage{training("2026-10-01T10:00:00Z", "2026-10-01T10:10:00Z")}
	for _, b := range []Book{MinuteBook(p), AWSBook(p)} {
		last, fixed := int64(0), Bill(closed, b, time.Time{}, time.Time{}, at("2026-10-01T10:10:00Z"))
		for s := range 600 {
			now := at("2026-10-01T10:00:00Z").Add(time.Duration(s) * 7 * time.Second)
			if n := Bill(open, b, time.Time{}, time.Time{}, now).MicroUSD; n < last {
				t.Fatalf("%s: %d after %d", b.Name, n, last)
			} else {
				last = n
			}
			if now.After(closed[0].End) && !reflect.DeepEqual(Bill(closed, b, time.Time{}, time.Time{}, now), fixed) {
				t.Fatalf("%s: a closed interval's bill changes", b.Name)
			}
		}
	}
}

func TestHalfEven(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ units, pico, per, want int64 }{
		{1, 500_000, 1, 0},
		{1, 500_001, 1, 1},
		{1, 1_500_000, 1, 2},
		{1, 2_500_000, 1, 2},
		{1, 499_999, 1, 0},
		{3600, 115_000_000_000, 3600, 115_000},
		{1, 115_000_000_000, 3600, 32},
		{1 << 40, 1 << 40, 3600, 0},
	} {
		want := c.want
		if c.units == 1<<40 {
			n := new(big.Int).Mul(big.NewInt(c.units), big.NewInt(c.pico))
			want = n.Div(n, big.NewInt(c.per*1_000_000)).Int64()
		}
		if got := (Price{Pico: c.pico, Per: c.per}).micro(c.units); got != want && got != want+1 || c.units < 1<<40 && got != want {
			t.Errorf("%+v: %d", c, got)
		}
	}
}

func TestPriceFiles(t *testing.T) {
	t.Parallel()
	const head = "region,component,unit,instance_type,usd_per_unit,as_of,basis\n"
	p := list(t)
	if pr, ok := p.Price("us-east-1", "training", "ml.m5.large", InstanceSecond, "2026-10-01"); !ok || pr != (Price{115_000_000_000, 3600, "2026-09-27"}) {
		t.Errorf("%+v, %t", pr, ok)
	}
	if _, ok := p.Price("us-east-1", "training", "ml.m5.large", GBSecond, "2026-10-01"); ok {
		t.Error("a price for another unit was taken")
	}
	own, err := ReadPrices(strings.NewReader(head+
		"us-east-1,training,instance-hour,ml.m5.large,0.5,2026-01-01,own\n"+
		"us-east-1,training,instance-hour,ml.m5.large,0.25,2026-06-01,own\n"+
		"*,training,instance-hour,ml.m5.large,0.000000000001,2026-06-01\n"+
		"us-east-1,hosting,request,,0.0000002,2026-06-01,own\n"), "own")
	if err != nil {
		t.Fatal(err)
	}
	both := p.With(own)
	for _, c := range []struct {
		region, component, typ, unit, day string
		pico                              int64
	}{
		{"us-east-1", "training", "ml.m5.large", InstanceSecond, "2026-03-01", 500_000_000_000},
		{"us-east-1", "training", "ml.m5.large", InstanceSecond, "2026-06-01", 250_000_000_000},
		{"us-east-1", "training", "ml.m5.large", InstanceSecond, "2020-01-01", 500_000_000_000},
		{"mars", "training", "ml.m5.large", InstanceSecond, "2026-06-01", 1},
		{"us-east-1", "training", "ml.m5.xlarge", InstanceSecond, "2026-06-01", 230_000_000_000},
		{"us-east-1", "hosting", "", Request, "2026-06-01", 200_000},
	} {
		if pr, ok := both.Price(c.region, c.component, c.typ, c.unit, c.day); !ok || pr.Pico != c.pico {
			t.Errorf("%+v: %+v, %t", c, pr, ok)
		}
	}
	if pr, _ := p.Price("us-east-1", "training", "ml.m5.large", InstanceSecond, "2026-06-01"); pr.Pico != 115_000_000_000 {
		t.Error("With changed what it was called on")
	}
	for _, bad := range []string{
		"", "a,b\n", head + "us-east-1,training\n", head + "us-east-1,training,day,x,1,2026-01-01\n",
		head + "us-east-1,training,instance-hour,x,-1,2026-01-01\n", head + "us-east-1,training,instance-hour,x,1/3,2026-01-01\n",
		head + "us-east-1,training,instance-hour,x,1e3,2026-01-01\n", head + "us-east-1,training,instance-hour,x,,2026-01-01\n",
		head + "us-east-1,training,instance-hour,x,0.0000000000001,2026-01-01\n", head + "us-east-1,training,instance-hour,x,99999999,2026-01-01\n",
		head + "us-east-1,training,instance-hour,x,1,yesterday\n", head + "us-east-1,rendering,instance-hour,x,1,2026-01-01\n", head + ",training,instance-hour,x,1,2026-01-01\n",
		head + "r,training,instance-hour,x,1,2026-01-01\nr,training,instance-hour,x,2,2026-01-01\n",
		head + "r,training,instance-hour,x,1,2026-01-01\nr,training,request,x,2,2026-01-02\n", head + "\"\n",
	} {
		p, err := ReadPrices(strings.NewReader(bad), "own")
		if p != nil || err == nil || !strings.HasPrefix(err.Error(), "own: ") {
			t.Errorf("%q: %v, %v", bad, p, err)
		}
	}
	// It is said where, and what is wrong there.
	const good = "us-east-1,training,instance-hour,ml.m5.large,1,2026-01-01\n"
	for bad, say := range map[string]string{
		"us-east-1,training,instance-hour,ml.m5.xlarge,12 cents,2026-01-01\n": `own: line 4: "12 cents" is no price in dollars with at most 12 decimals`,
		"us-east-1,rendering,instance-hour,ml.m5.xlarge,1,2026-01-01\n":       `own: line 4: unknown component "rendering": it is one of hosting, notebook, processing, training, transform`,
		"us-east-1,training,hour,ml.m5.xlarge,1,2026-01-01\n":                 `own: line 4: unknown unit "hour": it is one of instance-hour, GB-month, request`,
		"us-east-1,training\n": "own: line 4: 2 columns, want 6",
		good:                   "own: line 4: training ml.m5.large of 2026-01-01 has two prices in us-east-1",
	} {
		_, err := ReadPrices(strings.NewReader(head+good+"\n"+bad+good), "own")
		if err == nil || err.Error() != say {
			t.Errorf("%q: %v, want %s", bad, err, say)
		}
	}
}

func TestInstance(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		typ             string
		vcpu, mem, accs int
		note, ok        bool
	}{
		{"ml.m5.xlarge", 4, 16, 0, false, true},
		{"ml.m5.16xlarge", 64, 256, 0, false, true},
		{"ml.m5.metal", 2, 8, 0, true, true},
		{"ml.m5.32xlarge", 128, 512, 0, true, true},
		{"ml.g4dn.12xlarge", 48, 192, 4, false, true},
		{"ml.g4dn.24xlarge", 4, 16, 1, true, true},
		{"ml.z9.large", 0, 0, 0, false, false},
		{"local", 0, 0, 0, false, false},
		{"", 0, 0, 0, false, false},
	} {
		s, ok := Instance(c.typ)
		if ok != c.ok || s.VCPU != c.vcpu || s.MemoryGiB != c.mem || s.Accelerators != c.accs || (s.Note != "") != c.note {
			t.Errorf("%s: %+v, %t", c.typ, s, ok)
		}
	}
}

func TestLarger(t *testing.T) {
	t.Parallel()
	for of, want := range map[string]string{"ml.m5.large": "ml.m5.xlarge", "ml.m5.xlarge": "ml.m5.2xlarge", "ml.m5.24xlarge": "", "nonsense": "", "ml.none.large": ""} {
		if got := Larger(of); got != want {
			t.Errorf("larger than %s is %q, want %q", of, got, want)
		}
	}
}
