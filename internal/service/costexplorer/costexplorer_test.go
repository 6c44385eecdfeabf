package costexplorer

import (
	"errors"
	"fmt"
	"math/big"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"clary/internal/api"
	apice "clary/internal/api/ce"
	"clary/internal/aws/apierr"
	"clary/internal/aws/op"
	"clary/internal/meter"
	"clary/internal/resource"
	"clary/internal/store"
	"clary/internal/store/sqlite"
)

func at(s string) time.Time {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		panic(err)
	}
	return t
}

func caller() op.Call { return op.Call{Account: "123456789012", Region: "us-west-2"} }

// bench is Cost Explorer at noon of 2026-10-10 over a ledger of a few days.
func bench(t *testing.T) (*Service, store.Store) {
	t.Helper()
	db, err := sqlite.Open(filepath.Join(t.TempDir(), "db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	prices, err := meter.ListPrices()
	if err != nil {
		t.Fatal(err)
	}
	red, blue := map[string]string{"team": "red"}, map[string]string{"team": "blue", "stage": "test"}
	rows := []resource.Usage{
		use("TrainingJob", "train-a", "training", "ml.m5.large", "2026-09-30T23:30:00Z", "2026-10-01T00:30:00Z", red),
		use("TrainingJob", "train-b", "training", "ml.m5.xlarge", "2026-10-08T10:00:00Z", "2026-10-08T12:00:00Z", blue),
		use("TrainingJob", "train-c", "training", "ml.t3.medium", "2026-10-08T10:15:00Z", "2026-10-08T10:25:00Z", nil), // no price
		use("NotebookInstance", "notes", "notebook", "ml.t3.medium", "2026-10-09T20:00:00Z", "", blue),
		use("NotebookInstance", "notes", "notebook-volume", "", "2026-10-09T19:00:00Z", "", blue),
		use("Endpoint", "ask", "hosting", "ml.m5.large", "2026-10-10T11:59:30Z", "", red),
	}
	other := use("TrainingJob", "theirs", "training", "ml.m5.large", "2026-10-08T10:00:00Z", "2026-10-08T12:00:00Z", nil)
	other.Account = "999999999999"
	err = db.Update(t.Context(), func(tx store.Tx) error {
		for _, u := range append(rows, other) {
			if err := tx.OpenUsage(u); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	books := []meter.Book{meter.MinuteBook(prices), meter.AWSBook(prices)}
	s := New(db, meter.NewSums(db, books), books)
	s.now = func() time.Time { return at("2026-10-10T12:00:00Z") }
	return s, db
}

func use(kind, name, component, typ, start, end string, tags map[string]string) resource.Usage {
	u := resource.Usage{
		ID: meter.ID(name, component, 1), Account: "123456789012", Region: "us-east-1", Kind: resource.Kind(kind), Name: name, UID: name,
		Component: component, InstanceType: typ, Unit: meter.InstanceSecond, Quantity: 1, Start: at(start), Tags: tags,
	}
	if typ == "" {
		u.Unit, u.Quantity = meter.GBSecond, 5
	}
	if end != "" {
		u.End = at(end)
	}
	return u
}

func period(from, to string) *apice.DateInterval { return &apice.DateInterval{Start: from, End: to} }

func ask(from, to, cut string, groups ...apice.GroupDefinition) *apice.GetCostAndUsageRequest {
	return &apice.GetCostAndUsageRequest{TimePeriod: period(from, to), Granularity: cut, Metrics: []string{"UnblendedCost", "UsageQuantity"}, GroupBy: groups}
}

func dim(key string) apice.GroupDefinition { return apice.GroupDefinition{Type: "DIMENSION", Key: key} }

// table writes an answer as one line of each amount.
func table(in []apice.ResultByTime) (out []string) {
	for _, r := range in {
		line := r.TimePeriod.Start + ".." + r.TimePeriod.End
		if api.Value(r.Estimated) {
			line += " estimated"
		}
		if len(r.Total) > 0 {
			out = append(out, fmt.Sprintf("%s: %s %s, %s %s", line, r.Total["UnblendedCost"].Amount, r.Total["UnblendedCost"].Unit, r.Total["UsageQuantity"].Amount, r.Total["UsageQuantity"].Unit))
		}
		for _, g := range r.Groups {
			out = append(out, fmt.Sprintf("%s %s: %s %s, %s %s", line, strings.Join(g.Keys, " "), g.Metrics["UnblendedCost"].Amount, g.Metrics["UnblendedCost"].Unit, g.Metrics["UsageQuantity"].Amount, g.Metrics["UsageQuantity"].Unit))
		}
	}
	return out
}

func TestGetCostAndUsage(t *testing.T) {
	t.Parallel()
	s, _ := bench(t)
	blue := ask("2026-10-08", "2026-10-11", daily)
	blue.Filter = &apice.Expression{And: []apice.Expression{
		{Tags: &apice.TagValues{Key: "team", Values: []string{"blue"}}},
		{Not: &apice.Expression{Dimensions: &apice.DimensionValues{Key: "USAGE_TYPE", Values: []string{"USE1-Notebk:VolumeUsage.gp2"}}}},
	}}
	none := ask("2026-10-08", "2026-10-09", daily)
	none.Filter = &apice.Expression{CostCategories: &apice.CostCategoryValues{Key: "c", Values: []string{"v"}}}
	all := ask("2026-10-08", "2026-10-09", daily)
	all.Filter = &apice.Expression{CostCategories: &apice.CostCategoryValues{Key: "c", MatchOptions: []string{"ABSENT"}}}
	for what, c := range map[string]struct {
		in   *apice.GetCostAndUsageRequest
		want []string
	}{
		// 0.115 USD an hour, half an hour on each side of the month's end
		"month": {ask("2026-09-01", "2026-10-01", monthly), []string{"2026-09-01..2026-10-01: 0.0575 USD, 0.5 Hrs"}},
		"days": {ask("2026-09-30", "2026-10-02", daily), []string{
			"2026-09-30..2026-10-01: 0.0575 USD, 0.5 Hrs", "2026-10-01..2026-10-02 estimated: 0.0575 USD, 0.5 Hrs",
		}},
		"empty": {ask("2026-09-20", "2026-09-21", daily), []string{"2026-09-20..2026-09-21: 0 USD, 0 N/A"}},
		// 2 hours at 0.23 USD, and ten minutes without a price
		"unpriced": {ask("2026-10-08", "2026-10-09", daily, dim("USAGE_TYPE")), []string{
			"2026-10-08..2026-10-09 estimated USE1-Train:ml.m5.xlarge: 0.46 USD, 2 Hrs",
			"2026-10-08..2026-10-09 estimated USE1-Train:ml.t3.medium: 0 USD (incomplete), 0.1666666667 Hrs",
		}},
		"unpriced sum": {ask("2026-10-08", "2026-10-09", daily), []string{"2026-10-08..2026-10-09 estimated: 0.46 USD (incomplete), 2.1666666667 Hrs"}},
		"hours": {ask("2026-10-08T10:00:00Z", "2026-10-08T13:00:00Z", hourly, dim("INSTANCE_TYPE")), []string{
			"2026-10-08T10:00:00Z..2026-10-08T11:00:00Z estimated ml.m5.xlarge: 0.23 USD, 1 Hrs",
			"2026-10-08T10:00:00Z..2026-10-08T11:00:00Z estimated ml.t3.medium: 0 USD (incomplete), 0.1666666667 Hrs",
			"2026-10-08T11:00:00Z..2026-10-08T12:00:00Z estimated ml.m5.xlarge: 0.23 USD, 1 Hrs",
		}},
		"tags": {ask("2026-10-08", "2026-10-11", monthly, apice.GroupDefinition{Type: "TAG", Key: "team"}, dim("SERVICE")), []string{
			"2026-10-08..2026-10-11 estimated team$ Amazon SageMaker: 0 USD (incomplete), 0.1666666667 Hrs",
			// 2 h at 0.23, 16 h at 0.05, 5 GB for 17 h at 0.14 a month of 720 h (in two days)
			"2026-10-08..2026-10-11 estimated team$blue Amazon SageMaker: 1.276528 USD, 18.1180555556 N/A",
			"2026-10-08..2026-10-11 estimated team$red Amazon SageMaker: 0.001917 USD, 0.0166666667 Hrs",
		}},
		"filter": {blue, []string{
			"2026-10-08..2026-10-09 estimated: 0.46 USD, 2 Hrs", "2026-10-09..2026-10-10 estimated: 0.2 USD, 4 Hrs", "2026-10-10..2026-10-11 estimated: 0.6 USD, 12 Hrs",
		}},
		"category":    {none, []string{"2026-10-08..2026-10-09 estimated: 0 USD, 0 N/A"}},
		"no category": {all, []string{"2026-10-08..2026-10-09 estimated: 0.46 USD (incomplete), 2.1666666667 Hrs"}},
		"nothing there": {ask("2026-10-10", "2026-10-11", daily, dim("AZ"), apice.GroupDefinition{Type: "COST_CATEGORY", Key: "c"}), []string{
			"2026-10-10..2026-10-11 estimated NoAZ c$: 0.613584 USD, 12.1 N/A",
		}},
	} {
		out, err := s.GetCostAndUsage(t.Context(), caller(), c.in)
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		if got := table(out.ResultsByTime); !slices.Equal(got, c.want) {
			t.Errorf("%s:\n%s\nwant\n%s", what, strings.Join(got, "\n"), strings.Join(c.want, "\n"))
		}
		named := len(out.DimensionValueAttributes) == 1 && out.DimensionValueAttributes[0].Value == "USE1-Train:ml.t3.medium"
		if want := strings.Contains(strings.Join(c.want, ""), "incomplete"); named != want {
			t.Errorf("%s: beside it %+v", what, out.DimensionValueAttributes)
		}
	}
}

// Whatever is asked for, the parts sum up to the bill.
func TestSumsUpToTheBill(t *testing.T) {
	t.Parallel()
	s, db := bench(t)
	us, err := db.ListUsage(t.Context(), resource.UsageQuery{Account: "123456789012"})
	if err != nil {
		t.Fatal(err)
	}
	whole := meter.Bill(us, s.books[0], at("2026-09-26T00:00:00Z"), time.Time{}, s.now()).MicroUSD
	if whole == 0 {
		t.Fatal("nothing to sum up")
	}
	for _, cut := range []string{hourly, daily, monthly} {
		from, to := "2026-09-26", "2026-10-11"
		if cut == hourly {
			from, to = from+"T00:00:00Z", to+"T00:00:00Z"
		}
		for _, g := range [][]apice.GroupDefinition{
			nil, {dim("SERVICE")}, {dim("USAGE_TYPE"), dim("REGION")}, {dim(resourceID)}, {{Type: "TAG", Key: "team"}, {Type: "TAG", Key: "stage"}}, {dim("INSTANCE_TYPE"), dim("AZ")},
		} {
			in := ask(from, to, cut, g...)
			resources := len(g) > 0 && g[0].Key == resourceID
			out, err := s.usage(t.Context(), caller(), in, resources)
			if err != nil {
				t.Fatal(err)
			}
			sum := new(big.Rat)
			add := func(m map[string]apice.MetricValue) {
				n, ok := new(big.Rat).SetString(m["UnblendedCost"].Amount)
				if !ok {
					t.Fatalf("%+v", m)
				}
				sum.Add(sum, n)
			}
			for _, r := range out.ResultsByTime {
				if len(g) == 0 {
					add(r.Total)
				}
				for _, x := range r.Groups {
					add(x.Metrics)
				}
			}
			if sum.Cmp(big.NewRat(whole, 1_000_000)) != 0 {
				t.Errorf("%s by %v: %s, the bill is %d micro-dollars", cut, g, sum.FloatString(6), whole)
			}
		}
	}
	got, err := s.Witness().Month(t.Context(), "123456789012", at("2026-10-01T00:00:00Z"), at("2026-11-01T00:00:00Z"), s.now())
	if want := meter.Bill(us, s.books[0], at("2026-10-01T00:00:00Z"), time.Time{}, s.now()).MicroUSD; err != nil || got != want {
		t.Errorf("the witness says %d, the bill %d; %v", got, want, err)
	}
}

// Pages together are the whole, each group once, whatever the size.
func TestPages(t *testing.T) {
	t.Parallel()
	s, _ := bench(t)
	in := ask("2026-09-30", "2026-10-11", daily, dim("USAGE_TYPE"), apice.GroupDefinition{Type: "TAG", Key: "team"})
	whole, err := s.GetCostAndUsage(t.Context(), caller(), in)
	if err != nil || whole.NextPageToken != "" {
		t.Fatal(whole, err)
	}
	for size := 1; size < 9; size++ {
		s.page = size
		var got []string
		next := *in
		for pages := 0; ; pages++ {
			out, err := s.GetCostAndUsage(t.Context(), caller(), &next)
			if err != nil || pages > 20 {
				t.Fatal(pages, err)
			}
			got = append(got, table(out.ResultsByTime)...)
			if next.NextPageToken = out.NextPageToken; next.NextPageToken == "" {
				break
			}
		}
		if want := table(whole.ResultsByTime); !slices.Equal(got, want) {
			t.Errorf("pages of %d:\n%s\nwant\n%s", size, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	s.page = 1
	out, err := s.GetCostAndUsage(t.Context(), caller(), in)
	if err != nil {
		t.Fatal(err)
	}
	other := ask("2026-09-30", "2026-10-10", daily, in.GroupBy...)
	other.NextPageToken = out.NextPageToken
	_, err = s.GetCostAndUsage(t.Context(), caller(), other)
	wantError(t, "another request's token", err, "RequestChangedException", "changed between pages")
	other.NextPageToken = "x"
	_, err = s.GetCostAndUsage(t.Context(), caller(), other)
	wantError(t, "no token", err, "InvalidNextTokenException", "token is invalid")
}

func wantError(t *testing.T, what string, err error, code, say string) {
	t.Helper()
	e, ok := errors.AsType[*apierr.Error](err)
	if !ok || e.Code != code || !strings.Contains(e.Message, say) {
		t.Errorf("%s: %v, want %s: %s", what, err, code, say)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	s, _ := bench(t)
	const v = "ValidationException"
	with := func(change func(*apice.GetCostAndUsageRequest)) *apice.GetCostAndUsageRequest {
		in := ask("2026-10-01", "2026-10-02", daily)
		change(in)
		return in
	}
	filter := func(e apice.Expression) *apice.GetCostAndUsageRequest {
		return with(func(in *apice.GetCostAndUsageRequest) { in.Filter = &e })
	}
	tags := &apice.TagValues{Key: "k", Values: []string{"v"}}
	for say, in := range map[string]*apice.GetCostAndUsageRequest{
		"Start date (and hour) should be before end date (and hour)": ask("2026-10-02", "2026-10-02", daily),
		"end date past the beginning of next month":                  ask("2026-10-02", "2026-11-02", daily),
		"Start time 2026-02-30 is invalid":                           ask("2026-02-30", "2026-10-02", daily),
		"End time 2026-13-01 is invalid":                             ask("2026-02-01", "2026-13-01", daily),
		"Hourly timePeriod is not supported":                         ask("2026-10-01T00:00:00Z", "2026-10-02T00:00:00Z", daily),
		"Valid format is: yyyy-MM-ddTHH:00:00Z":                      ask("2026-10-01", "2026-10-02", hourly),
		"End time 2026-10-01T01:30:00Z":                              ask("2026-10-01T00:00:00Z", "2026-10-01T01:30:00Z", hourly),
		"max supported days for hourly granularity is 14 days":       ask("2026-09-25T00:00:00Z", "2026-09-25T01:00:00Z", hourly),
		"beyond the past 14 months, your start date":                 ask("2025-08-02", "2025-09-01", monthly),
		"historical data beyond 14 months":                           ask("2025-08-01", "2025-09-01", daily),
		"historical data beyond 38 months":                           ask("2023-07-01", "2025-09-01", monthly),
		"Metrics should not be empty":                                with(func(in *apice.GetCostAndUsageRequest) { in.Metrics = nil }),
		`Metric "Cost" is invalid`:                                   with(func(in *apice.GetCostAndUsageRequest) { in.Metrics = []string{"Cost"} }),
		"should not exceed 2, these are 3":                           ask("2026-10-01", "2026-10-02", daily, dim("AZ"), dim("REGION"), dim("SERVICE")),
		"should not repeat":                                          ask("2026-10-01", "2026-10-02", daily, dim("AZ"), dim("AZ")),
		`dimension "RESOURCE_ID" is invalid`:                         ask("2026-10-01", "2026-10-02", daily, dim(resourceID)),
		`dimension "Colour" is invalid`:                              ask("2026-10-01", "2026-10-02", daily, dim("Colour")),
		"type TAG lacks a Key":                                       ask("2026-10-01", "2026-10-02", daily, apice.GroupDefinition{Type: "TAG"}),
		"PRODUCT_ATTRIBUTE is not supported":                         ask("2026-10-01", "2026-10-02", daily, apice.GroupDefinition{Type: "PRODUCT_ATTRIBUTE", Key: "x"}),
		"Expression has zero or more than one roots":                 filter(apice.Expression{Tags: tags, Not: &apice.Expression{Tags: tags}}),
		"zero or more than one roots. Only one":                      filter(apice.Expression{Not: &apice.Expression{}}),
		"Or expression must have at least 2 operands":                filter(apice.Expression{Or: []apice.Expression{}}),
		"And expression must have at least 2 operands":               filter(apice.Expression{And: []apice.Expression{{Tags: tags}}}),
		"Tags lacks a Key":                                           filter(apice.Expression{Tags: &apice.TagValues{Values: []string{"v"}}}),
		"Tags k has no Values":                                       filter(apice.Expression{Tags: &apice.TagValues{Key: "k"}}),
		"beside the match option ABSENT":                             filter(apice.Expression{Tags: &apice.TagValues{Key: "k", Values: []string{"v"}, MatchOptions: []string{"ABSENT"}}}),
		"is for anomalies":                                           filter(apice.Expression{Tags: &apice.TagValues{Key: "k", Values: []string{"v"}, MatchOptions: []string{"GREATER_THAN_OR_EQUAL"}}}),
		"ProductAttributes are not supported":                        filter(apice.Expression{ProductAttributes: &apice.ProductAttributeValues{}}),
	} {
		_, err := s.GetCostAndUsage(t.Context(), caller(), in)
		wantError(t, say, err, v, say)
	}
	elsewhere := with(func(in *apice.GetCostAndUsageRequest) {
		in.BillingViewArn = "arn:aws:billing::999999999999:billingview/primary"
	})
	_, err := s.GetCostAndUsage(t.Context(), caller(), elsewhere)
	wantError(t, "a view", err, "ResourceNotFoundException", "there is arn:aws:billing::123456789012:billingview/primary")
	elsewhere.BillingViewArn = "arn:aws:billing::123456789012:billingview/primary"
	if _, err := s.GetCostAndUsage(t.Context(), caller(), elsewhere); err != nil {
		t.Error(err)
	}
}

func TestWithResources(t *testing.T) {
	t.Parallel()
	s, _ := bench(t)
	in := apice.GetCostAndUsageWithResourcesRequest(*ask("2026-10-08", "2026-10-11", monthly, dim(resourceID)))
	in.Filter = &apice.Expression{Dimensions: &apice.DimensionValues{Key: "SERVICE", Values: []string{meter.ServiceName}}}
	out, err := s.GetCostAndUsageWithResources(t.Context(), caller(), &in)
	if err != nil {
		t.Fatal(err)
	}
	const arn, span = "arn:aws:sagemaker:us-east-1:123456789012:", "2026-10-08..2026-10-11 estimated "
	want := []string{
		span + arn + "endpoint/ask: 0.001917 USD, 0.0166666667 Hrs",
		span + arn + "notebook-instance/notes: 0.816528 USD, 16.1180555556 N/A",
		span + arn + "training-job/train-b: 0.46 USD, 2 Hrs",
		span + arn + "training-job/train-c: 0 USD (incomplete), 0.1666666667 Hrs",
	}
	if got := table(out.ResultsByTime); !slices.Equal(got, want) {
		t.Errorf("%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	in.Metrics = nil
	if out, err := s.GetCostAndUsageWithResources(t.Context(), caller(), &in); err != nil || len(out.ResultsByTime[0].Groups[0].Metrics) != 7 {
		t.Errorf("without metrics: %+v, %v", out, err)
	}
	in.GroupBy = nil
	_, err = s.GetCostAndUsageWithResources(t.Context(), caller(), &in)
	wantError(t, "no resource", err, "ValidationException", "requires a group or a filter by RESOURCE_ID")
	in.TimePeriod = period("2026-09-25", "2026-10-01")
	_, err = s.GetCostAndUsageWithResources(t.Context(), caller(), &in)
	wantError(t, "too old", err, "ValidationException", "is 14 days")
}

func TestValues(t *testing.T) {
	t.Parallel()
	s, _ := bench(t)
	for what, c := range map[string]struct {
		in   apice.GetDimensionValuesRequest
		want []string
	}{
		"usage types": {apice.GetDimensionValuesRequest{Dimension: "USAGE_TYPE", SearchString: "train"}, []string{"USE1-Train:ml.m5.large", "USE1-Train:ml.m5.xlarge", "USE1-Train:ml.t3.medium"}},
		"dearest": {apice.GetDimensionValuesRequest{Dimension: "INSTANCE_TYPE", SortBy: []apice.SortDefinition{{Key: "UnblendedCost", SortOrder: "DESCENDING"}}}, []string{
			"ml.t3.medium", "ml.m5.xlarge", "ml.m5.large", "NoInstanceType",
		}},
		"least used": {apice.GetDimensionValuesRequest{Dimension: "INSTANCE_TYPE", SortBy: []apice.SortDefinition{{Key: "UsageQuantity"}}}, []string{
			"NoInstanceType", "ml.m5.large", "ml.m5.xlarge", "ml.t3.medium",
		}},
		"account":    {apice.GetDimensionValuesRequest{Dimension: "LINKED_ACCOUNT"}, []string{"123456789012"}},
		"zone":       {apice.GetDimensionValuesRequest{Dimension: "AZ"}, []string{"NoAZ"}},
		"reserved":   {apice.GetDimensionValuesRequest{Dimension: "SERVICE", Context: "RESERVATIONS"}, nil},
		"of a team":  {apice.GetDimensionValuesRequest{Dimension: "OPERATION", Filter: &apice.Expression{Tags: &apice.TagValues{Key: "team", Values: []string{"blue"}}}}, []string{"CreateVolume-Gp2", "RunInstance"}},
		"first page": {apice.GetDimensionValuesRequest{Dimension: "OPERATION", MaxResults: api.Ptr(int64(1))}, []string{"CreateVolume-Gp2"}},
	} {
		c.in.TimePeriod = period("2026-10-01", "2026-10-11")
		out, err := s.GetDimensionValues(t.Context(), caller(), &c.in)
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		var got []string
		for _, v := range out.DimensionValues {
			got = append(got, v.Value)
		}
		if !slices.Equal(got, c.want) || int(out.ReturnSize) != len(got) || (out.NextPageToken != "") != (what == "first page") {
			t.Errorf("%s: %+v, want %v", what, out, c.want)
		}
	}
	for what, c := range map[string]struct {
		in   apice.GetTagsRequest
		want []string
	}{
		"keys":   {apice.GetTagsRequest{}, []string{"stage", "team"}},
		"values": {apice.GetTagsRequest{TagKey: "team"}, []string{"", "blue", "red"}},
		"search": {apice.GetTagsRequest{TagKey: "team", SearchString: "E"}, []string{"blue", "red"}},
		"nobody": {apice.GetTagsRequest{TagKey: "Team"}, []string{""}},
	} {
		c.in.TimePeriod = period("2026-10-01", "2026-10-11")
		out, err := s.GetTags(t.Context(), caller(), &c.in)
		if err != nil || !slices.Equal(out.Tags, c.want) || int(out.TotalSize) != len(c.want) {
			t.Errorf("%s: %+v, %v; want %q", what, out, err, c.want)
		}
	}
	_, err := s.GetTags(t.Context(), caller(), &apice.GetTagsRequest{TimePeriod: period("0001-01-01", "2026-10-11")})
	wantError(t, "all time", err, "ValidationException", "beyond 38 months")
	_, err = s.GetTags(t.Context(), caller(), &apice.GetTagsRequest{TimePeriod: period("2026-10-01", "2026-10-11"), SortBy: []apice.SortDefinition{{Key: "Size"}}})
	wantError(t, "sort", err, "ValidationException", `Metric "Size" is invalid`)
}

func TestForecast(t *testing.T) {
	t.Parallel()
	s, _ := bench(t)
	in := &apice.GetCostForecastRequest{TimePeriod: period("2026-10-10", "2026-10-12"), Granularity: daily, Metric: "UNBLENDED_COST"}
	out, err := s.GetCostForecast(t.Context(), caller(), in)
	if err != nil {
		t.Fatal(err)
	}
	// What stands, a day: 24 h of notebook at 0.05 and of endpoint at 0.115, and
	// 5 GB at 0.14 a month; jobs at the mean of ten days, 0.575 USD in all.
	const standing, jobs = 24*(0.05+0.115) + 5*0.14/30, 0.0575
	for i, want := range []float64{0.613583 + (standing+jobs)/2, standing + jobs} {
		x := out.ForecastResultsByTime[i]
		mean, low, high := number(t, x.MeanValue), number(t, x.PredictionIntervalLowerBound), number(t, x.PredictionIntervalUpperBound)
		if d := mean - want; d > 2e-6 || d < -2e-6 || low >= mean || high <= mean {
			t.Errorf("day %d: %s < %s < %s, want %f", i, x.PredictionIntervalLowerBound, x.MeanValue, x.PredictionIntervalUpperBound, want)
		}
	}
	if out.Total.Unit != incomplete { // a job without a price
		t.Errorf("%+v", out.Total)
	}
	in.TimePeriod, in.Granularity = period("2026-10-10", "2026-12-01"), monthly
	if out, err = s.GetCostForecast(t.Context(), caller(), in); err != nil || len(out.ForecastResultsByTime) != 2 || out.ForecastResultsByTime[1].TimePeriod.Start != "2026-11-01" {
		t.Fatalf("%+v, %v", out, err)
	}
	sum := number(t, out.ForecastResultsByTime[0].MeanValue) + number(t, out.ForecastResultsByTime[1].MeanValue)
	if d := sum - number(t, out.Total.Amount); d > 3e-6 || d < -3e-6 {
		t.Errorf("the months sum up to %f, the total is %s", sum, out.Total.Amount)
	}
	const v = "ValidationException"
	for say, c := range map[string]apice.GetCostForecastRequest{
		"Requested Start: 2026-10-12 must be before requested End: 2026-10-11": {TimePeriod: period("2026-10-12", "2026-10-11")},
		"no later than the current date, 2026-10-10":                           {TimePeriod: period("2026-10-11", "2026-10-12")},
		"End date must be later than the current date":                         {TimePeriod: period("2026-10-08", "2026-10-10")},
		"up to 3 months":                         {TimePeriod: period("2026-10-10", "2027-01-12")},
		"up to 18 months":                        {TimePeriod: period("2026-10-10", "2028-10-12"), Granularity: monthly},
		"either 'MONTHLY' or 'DAILY'":            {TimePeriod: period("2026-10-10", "2026-10-12"), Granularity: hourly},
		"Use GetUsageForecast":                   {TimePeriod: period("2026-10-10", "2026-10-12"), Metric: "USAGE_QUANTITY"},
		"You haven't enabled historical data be": {TimePeriod: period("2024-10-10", "2026-10-12")},
	} {
		if c.Granularity == "" {
			c.Granularity = daily
		}
		_, err := s.GetCostForecast(t.Context(), caller(), &c)
		wantError(t, say, err, v, say)
	}
	in.Filter = &apice.Expression{Dimensions: &apice.DimensionValues{Key: "REGION", Values: []string{"mars"}}}
	_, err = s.GetCostForecast(t.Context(), caller(), in)
	wantError(t, "nothing", err, "DataUnavailableException", "Insufficient amount of historical data.")
}

func TestUsageForecast(t *testing.T) {
	t.Parallel()
	s, _ := bench(t)
	of := func(dimension, v string) *apice.GetUsageForecastRequest {
		return &apice.GetUsageForecastRequest{
			TimePeriod: period("2026-10-10", "2026-10-12"), Granularity: daily, Metric: "USAGE_QUANTITY",
			Filter: &apice.Expression{Dimensions: &apice.DimensionValues{Key: dimension, Values: []string{v}}},
		}
	}
	out, err := s.GetUsageForecast(t.Context(), caller(), of("USAGE_TYPE", "USE1-Notebk:ml.t3.medium"))
	if err != nil || out.Total.Amount != "48" || out.Total.Unit != "Hrs" || len(out.ForecastResultsByTime) != 2 || out.ForecastResultsByTime[0].MeanValue != "24" {
		t.Errorf("%+v, %v", out, err)
	}
	_, err = s.GetUsageForecast(t.Context(), caller(), of("SERVICE", meter.ServiceName))
	wantError(t, "no usage type", err, "ValidationException", "requires a filter by USAGE_TYPE")
	_, err = s.GetUsageForecast(t.Context(), caller(), of("USAGE_TYPE_GROUP", "SageMaker: Notebook Instances"))
	wantError(t, "two units", err, "ValidationException", "has several units")
	_, err = s.GetUsageForecast(t.Context(), caller(), of("USAGE_TYPE", "none"))
	wantError(t, "nothing", err, "DataUnavailableException", "Insufficient")
}

func number(t *testing.T, s string) float64 {
	t.Helper()
	r, ok := new(big.Rat).SetString(s)
	if !ok {
		t.Fatalf("%q is no number", s)
	}
	f, _ := r.Float64()
	return f
}
