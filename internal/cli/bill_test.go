package cli

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"

	"clary/internal/meter"
	"clary/internal/resource"
)

// spent is a bill of two days: a job with tags, a notebook instance that runs
// and has a volume, something without a price.
func (b *bench) spent() usage {
	now := time.Date(2026, 3, 5, 6, 0, 0, 0, time.UTC)
	use := func(kind resource.Kind, name, component, instance, unit string, from, to float64, tags map[string]string) resource.Usage {
		u := resource.Usage{
			ID: name + component, UID: "uid-" + name, Account: "123456789012", Region: "us-east-1", Kind: kind, Name: name,
			Component: component, InstanceType: instance, Unit: unit, Quantity: 1, Start: now.Add(-time.Duration(from * float64(time.Hour))), Tags: tags,
		}
		if to >= 0 {
			u.End = now.Add(-time.Duration(to * float64(time.Hour)))
		}
		return u
	}
	list := []resource.Usage{
		use("TrainingJob", "job", "training", "ml.m5.large", meter.InstanceSecond, 7, 5.995, map[string]string{"team": "a,\"b\"", "env": "dev"}), // over midnight
		use("NotebookInstance", "nb", "notebook", "ml.t3.medium", meter.InstanceSecond, 2, -1, map[string]string{"team": "c"}),
		use("NotebookInstance", "nb", "notebook-volume", "", meter.GBSecond, 2, -1, map[string]string{"team": "c"}),
		use("Endpoint", "ep", "hosting", "ml.none.large", meter.InstanceSecond, 1, -1, nil),
	}
	p, err := meter.ListPrices()
	if err != nil {
		b.t.Fatal(err)
	}
	u := usage{Account: "123456789012", Now: now, Usage: list, Bills: map[string]meter.Statement{}}
	for _, book := range []meter.Book{meter.MinuteBook(p), meter.AWSBook(p)} {
		u.Bills[book.Name] = meter.Bill(list, book, time.Time{}, time.Time{}, now)
	}
	b.answer("/_clary/usage", u)
	return u
}

// Whatever a bill is summed up by, the sums are the bill's.
func TestCostBy(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	u := b.spent()
	for by, want := range map[string][]string{
		"resource": {"ep", "job", "nb"}, "kind": {"Endpoint", "NotebookInstance", "TrainingJob"}, "type": {"ml.m5.large", "ml.none.large", "ml.t3.medium", "notebook-volume"},
		"region": {"us-east-1"}, "day": {"2026-03-04", "2026-03-05"}, "tag:team": {"", "a,\"b\"", "c"}, "tag:none": {""},
	} {
		code, out, e := b.run("cost", "--by", by, "--json")
		var rep struct {
			Groups                []group
			MicroUSD, AWSMicroUSD int64
			Unpriced              bool
		}
		if err := json.Unmarshal([]byte(out), &rep); err != nil || code != 0 {
			t.Fatalf("%s: %d %v %s%s", by, code, err, out, e)
		}
		left := map[string]bool{}
		for _, v := range want {
			left[v] = true
		}
		var minute, aws int64
		for _, g := range rep.Groups {
			if !left[g.Value] {
				t.Errorf("%s: a group %q", by, g.Value)
			}
			delete(left, g.Value)
			minute, aws = minute+g.MicroUSD, aws+g.AWSMicroUSD
			if running := map[string]int{"ep": 1, "nb": 1, "job": 0}; by == "resource" && (g.Running != running[g.Value] || g.Resources != 1 || g.Unpriced != (g.Value == "ep")) {
				t.Errorf("%+v", g)
			}
		}
		if len(left) > 0 || minute != u.Bills["minute"].MicroUSD || aws != u.Bills["aws"].MicroUSD || rep.MicroUSD != minute || rep.AWSMicroUSD != aws || !rep.Unpriced {
			t.Errorf("%s: %v left; %d, %d of %d, %d", by, left, minute, aws, u.Bills["minute"].MicroUSD, u.Bills["aws"].MicroUSD)
		}
	}
	code, out, e := b.run("cost", "--by", "tag:team")
	for _, want := range []string{"TAG:TEAM", "(none)", "1 (1 run)", "unpriced", "Total"} {
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s%s", want, out, e)
		}
	}
	for _, c := range []struct{ args, want, not string }{
		{"cost --kind notebook", "nb", "job"},
		{"cost --kind TrainingJob", "job", "nb"},
		{"cost --tag team=c", "nb", "job"},
		{"cost --tag team", "job", "ep"},
		{"cost --tag env=dev --tag team=c", "Nothing was used", "nb"},
		{"cost --tag team=c --by resource --kind training", "Nothing was used", "nb"},
		{"cost ep --by day", "2026-03-05", "2026-03-04"},
	} {
		if code, out, e := b.run(strings.Fields(c.args)...); code != 0 || !strings.Contains(out, c.want) || strings.Contains(out, c.not) {
			t.Errorf("%s: %d %s%s", c.args, code, out, e)
		}
	}
	for _, args := range []string{"cost --by month", "cost --kind model", "cost --live --json"} {
		if code, _, e := b.run(strings.Fields(args)...); code != 1 || !strings.Contains(e, "--") {
			t.Errorf("%s: %d %s", args, code, e)
		}
	}
}

// What is shown live ends when nothing runs, in plain lines where there is no
// terminal.
func TestCostLive(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	u := b.spent()
	ended := u
	ended.Usage = slices.Clone(u.Usage)
	for i := range ended.Usage {
		if ended.Usage[i].End.IsZero() {
			ended.Usage[i].End = u.Now
		}
	}
	b.answer("/_clary/usage", ended)
	_, whole, _ := b.run("cost")
	midnight := time.Date(2026, 3, 5, 0, 0, 0, 0, time.UTC)
	looks := 0
	b.on("/_clary/usage", func(map[string]any) (int, any) {
		if looks++; looks == 1 {
			return 200, u
		}
		// from then on it asks for today alone
		b.mu.Lock()
		defer b.mu.Unlock()
		if last := b.asked[len(b.asked)-1]; !strings.Contains(last, "from=2026-03-05T00%3A00%3A00Z") || strings.Contains(last, "to=") {
			t.Errorf("look %d: %s", looks, last)
		}
		return 200, ended.since(midnight, u.Now)
	})
	code, out, e := b.run("cost", "--live", "--from", "2026-03-01")
	if !strings.Contains(out, whole) {
		t.Errorf("%s at the end, want\n%s", out, whole)
	}
	lines := strings.Split(out, "\n")
	if code != 0 || looks != 2 || !strings.HasPrefix(lines[0], "2026-03-05T06:00:00Z $") || !strings.HasSuffix(lines[0], ", 2 resources run") || !strings.Contains(out, "Total") || !strings.Contains(out, "nothing runs") {
		t.Errorf("%d, %d looks: %s%s", code, looks, out, e)
	}
	p := &place{height: func() int { return 4 }}
	var screen bytes.Buffer
	for _, text := range []string{"head\na\nb\n", "head\na\nb\nc\nsum\n"} {
		if err := p.show(&screen, text); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := screen.String(), "head\na\nb\n\x1b[3A\r\x1b[Jhead\nc\nsum\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// since is what the server answers of from on, at a time.
func (u usage) since(from, now time.Time) usage {
	p, err := meter.ListPrices()
	if err != nil {
		panic(err)
	}
	out := usage{Account: u.Account, Now: now, Bills: map[string]meter.Statement{}}
	for _, x := range u.Usage {
		if x.End.IsZero() || x.End.After(from) {
			out.Usage = append(out.Usage, x)
		}
	}
	for _, book := range []meter.Book{meter.MinuteBook(p), meter.AWSBook(p)} {
		out.Bills[book.Name] = meter.Bill(out.Usage, book, from, time.Time{}, now)
	}
	return out
}

// What is known of the days before stands until one more is over, or something
// turns out to have ended on them; it is the whole bill at any time.
func TestCostOfToday(t *testing.T) {
	t.Parallel()
	u := newBench(t).spent()
	today, later := u.today(), u.Now.Add(3*time.Hour)
	u.Usage[1].Start = today.Add(-time.Hour) // over midnight, and on
	u = u.since(time.Time{}, u.Now)
	got, ok := u.with(u.since(today, later))
	want := u.since(time.Time{}, later)
	for book := range want.Bills {
		if got.total(book) != want.total(book) || len(got.Bills[book].Lines) != len(want.Bills[book].Lines) {
			t.Errorf("%s: %s, want %s", book, got.total(book), want.total(book))
		}
	}
	if !ok || len(got.Usage) != len(want.Usage) || got.running() != want.running() || !got.Now.Equal(later) {
		t.Errorf("%t: %+v", ok, got)
	}
	if _, ok := u.with(u.since(today, today.Add(24*time.Hour))); ok {
		t.Error("another day has begun")
	}
	for _, end := range []time.Time{today.Add(-time.Minute), today.Add(time.Minute)} {
		now := u.since(today, later)
		i := slices.IndexFunc(now.Usage, func(x resource.Usage) bool { return x.ID == u.Usage[1].ID })
		now.Usage[i].End = end
		if _, ok := u.with(now); ok == end.Before(today) {
			t.Errorf("ended at %s: %t", end, ok)
		}
		now.Usage[i].End, now.Usage[i].Tags = time.Time{}, map[string]string{"team": "d"}
		if _, ok := u.with(now); ok {
			t.Error("its tags are others, those of the days before too")
		}
		now.Usage = slices.Delete(now.Usage, i, i+1)
		if _, ok := u.with(now); ok {
			t.Error("it is gone, so it ended before")
		}
	}
}

// Both files hold every line of the bill, exactly.
func TestBillExport(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	u := b.spent()
	rows, err := billRows(u)
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != 5 {
		t.Fatalf("%d rows: %+v", len(rows), rows)
	}
	var text, columns bytes.Buffer
	if err := writeCSV(&text, rows); err != nil {
		t.Fatal(err)
	}
	if err := writeParquet(&columns, rows); err != nil {
		t.Fatal(err)
	}
	lines, err := csv.NewReader(&text).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	f, err := parquet.OpenFile(bytes.NewReader(columns.Bytes()), int64(columns.Len()))
	if err != nil {
		t.Fatal(err)
	}
	var named []string
	for _, c := range f.Schema().Fields() {
		named = append(named, c.Name())
	}
	if strings.Join(named, ",") != strings.Join(lines[0], ",") {
		t.Errorf("columns %v and %v", named, lines[0])
	}
	for name, want := range map[string]string{"day": "DATE", "minute_usd": "DECIMAL(18,6)", "tags": "MAP", "name": "STRING"} {
		for _, c := range f.Schema().Fields() {
			if c.Name() == name && !strings.Contains(c.Type().String(), want) && want != "MAP" {
				t.Errorf("%s is %s, want %s", name, c.Type(), want)
			}
		}
	}
	back, err := parquet.Read[billRow](bytes.NewReader(columns.Bytes()), int64(columns.Len()))
	if err != nil {
		t.Fatal(err)
	}
	var minute, aws int64
	for i, r := range back {
		line := lines[i+1]
		if line[0] != time.Unix(int64(r.Day)*86400, 0).UTC().Format(time.DateOnly) || line[4] != r.Name || line[11] != decimal(r.MinuteUSD) || line[13] != decimal(r.AWSUSD) {
			t.Errorf("%v is not %+v", line, r)
		}
		var tags map[string]string
		if err := json.Unmarshal([]byte(line[15]), &tags); err != nil || len(tags) != len(r.Tags) || tags["team"] != r.Tags["team"] {
			t.Errorf("tags %s and %v", line[15], r.Tags)
		}
		switch {
		case r.Unpriced != (r.Name == "ep") || (r.MinuteUSD == nil) != r.Unpriced || (r.AWSUSD == nil) != r.Unpriced:
			t.Errorf("%+v", r)
		case !r.Unpriced:
			minute, aws = minute+*r.MinuteUSD, aws+*r.AWSUSD
		}
		if r.MinuteUnits < r.AWSUnits || r.AWSUnits <= 0 {
			t.Errorf("units of %+v", r)
		}
	}
	if minute != u.Bills["minute"].MicroUSD || aws != u.Bills["aws"].MicroUSD {
		t.Errorf("%d, %d of %d, %d", minute, aws, u.Bills["minute"].MicroUSD, u.Bills["aws"].MicroUSD)
	}

	for _, format := range []string{"csv", "parquet"} {
		key := "/bucket/a/b/bill-2026-03-04-2026-03-05." + format
		b.answer(key, nil)
		code, out, e := b.run("bill", "export", "s3://bucket/a/b", "--format", format, "--from", "2026-03-04", "--to", "2026-03-06")
		if code != 0 || !strings.HasPrefix(out, "s3:/"+key+": 5 lines, $") || b.asked[len(b.asked)-1] != key+" " {
			t.Errorf("%d %s%s", code, out, e)
		}
	}
	for _, args := range []string{"bill export bucket/a", "bill export s3://b/ --format xml", "bill export s3://b/ --from 2026-03-05 --to 2026-03-05"} {
		if code, _, e := b.run(strings.Fields(args)...); code != 1 || e == "" {
			t.Errorf("%s: %d %s", args, code, e)
		}
	}
}

func TestForgotten(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	item := map[string]any{
		"Kind": "Endpoint", "Region": "eu-west-1", "Name": "ep", "Evidence": "no request in the 30 hours", "Command": "clary endpoint delete ep", "Call": "aws sagemaker delete-endpoint",
		"SoFar": map[string]any{"MicroUSD": 3450000}, "PerMonth": map[string]any{"MicroUSD": 82800000, "Unpriced": true},
	}
	far := map[string]any{"Kind": "Endpoint", "Region": "us-east-1", "Name": "far", "Command": "clary endpoint delete far", "Call": "aws sagemaker delete-endpoint --endpoint-name far --region us-east-1"}
	b.answer("/_clary/forgotten", map[string]any{"Items": []any{item, far}, "Rules": []string{"one", "two"}, "PerMonth": map[string]any{"MicroUSD": 82800000}})
	code, out, e := b.run("forgotten", "--after", "90m")
	for _, want := range []string{"WHY", "no request in the 30 hours", "clary endpoint delete ep\n", "--region us-east-1", "$3.450000", "$82.800000 + unpriced", "Looked for: one; two."} {
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s%s", want, out, e)
		}
	}
	if strings.Contains(out, "clary endpoint delete far") {
		t.Error("a command is named that acts in another region")
	}
	if last := b.asked[len(b.asked)-1]; !strings.Contains(last, "after=1h30m0s") || !strings.Contains(last, "region=%2A") {
		t.Errorf("asked %s", last)
	}
	b.answer("/_clary/forgotten", map[string]any{"Items": []any{}, "Rules": []string{"one"}})
	if code, out, _ := b.run("forgotten"); code != 0 || out != "Nothing is forgotten.\nLooked for: one.\n" {
		t.Errorf("%d %s", code, out)
	}
}
