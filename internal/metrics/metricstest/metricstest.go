// Package metricstest is what every metrics.Store must pass.
package metricstest

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"clary/internal/metrics"
)

const (
	account   = "123456789012"
	region    = "us-west-2"
	namespace = "/aws/sagemaker/TrainingJobs"
)

var start = time.Date(2026, 1, 2, 3, 4, 0, 0, time.UTC) //nolint:gochecknoglobals // a constant that Go cannot spell

// Run tests a store; reopen closes it and gives one over the same data.
func Run(t *testing.T, open func(t *testing.T) (s metrics.Store, reopen func() metrics.Store)) {
	t.Helper()
	for name, fn := range map[string]func(*testing.T, metrics.Store, func() metrics.Store){
		"Points": testPoints, "Units": testUnits, "PutFrom": testPutFrom, "Last": testLast, "List": testList, "Random": testRandom,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, reopen := open(t)
			fn(t, s, reopen)
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func datum(name string, at time.Duration, v float64) metrics.Datum {
	return metrics.Datum{
		Account: account, Region: region, Namespace: namespace, Name: name,
		Dimensions: map[string]string{"TrainingJobName": "j"}, Time: start.Add(at), Sum: v,
	}
}

func query(name string, from, to, period time.Duration) metrics.Query {
	return metrics.Query{
		Account: account, Region: region, Namespace: namespace, Name: name,
		Dimensions: map[string]string{"TrainingJobName": "j"},
		Start:      start.Add(from), End: start.Add(to), Period: period,
	}
}

func check(t *testing.T, s metrics.Store, q metrics.Query, want ...metrics.Point) {
	t.Helper()
	got, err := s.Points(t.Context(), q)
	must(t, err)
	if len(got) == 0 && len(want) == 0 {
		return
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("points %+v, want %+v", got, want)
	}
}

func point(at time.Duration, sum, lo, hi, count float64) metrics.Point {
	return metrics.Point{Start: start.Add(at), Sum: sum, Min: lo, Max: hi, Count: count, Unit: "None"}
}

func testPoints(t *testing.T, s metrics.Store, reopen func() metrics.Store) {
	ctx := t.Context()
	roll := datum("loss", 4*time.Minute, 30)
	roll.Min, roll.Max, roll.Count = 5, 9, 4
	must(t, s.Put(ctx, []metrics.Datum{
		datum("loss", 0, 1), datum("loss", 59*time.Second, 3), datum("loss", time.Minute, -2), roll, datum("other", 0, 8),
	}))
	must(t, s.Put(ctx, []metrics.Datum{datum("loss", 30*time.Second, 5)}))
	other := datum("loss", 0, 100)
	other.Dimensions = map[string]string{"TrainingJobName": "j", "Host": "h"}
	must(t, s.Put(ctx, []metrics.Datum{other}))
	for range 2 {
		check(t, s, query("loss", 0, 5*time.Minute, time.Minute),
			point(0, 9, 1, 5, 3), point(time.Minute, -2, -2, -2, 1), point(4*time.Minute, 30, 5, 9, 4))
		check(t, s, query("loss", 0, 2*time.Minute, 2*time.Minute), point(0, 7, -2, 5, 4))
		check(t, s, query("loss", 30*time.Second, time.Minute, time.Minute), point(0, 9, 1, 5, 3))
		check(t, s, query("loss", time.Minute, time.Minute+time.Second, time.Minute), point(time.Minute, -2, -2, -2, 1))
		check(t, s, query("loss", 2*time.Minute, 4*time.Minute, time.Minute))
		check(t, s, query("none", 0, 5*time.Minute, time.Minute))
		s = reopen()
	}
	if _, err := s.Points(ctx, query("loss", 0, time.Minute, time.Second)); err == nil {
		t.Error("a period below a minute was taken")
	}
	if err := s.Put(ctx, []metrics.Datum{{Name: "x"}}); err == nil {
		t.Error("a datum without a time was taken")
	}
}

func testUnits(t *testing.T, s metrics.Store, _ func() metrics.Store) {
	a, b := datum("m", 0, 1), datum("m", time.Minute, 2)
	a.Unit, b.Unit = "Seconds", "Bytes"
	must(t, s.Put(t.Context(), []metrics.Datum{a, b, datum("m", 0, 4)}))
	q := query("m", 0, time.Hour, 2*time.Minute)
	got, err := s.Points(t.Context(), q)
	must(t, err)
	if len(got) != 3 {
		t.Fatalf("%d points, want one of each unit: %+v", len(got), got)
	}
	q.Unit = "Seconds"
	check(t, s, q, metrics.Point{Start: start, Sum: 1, Min: 1, Max: 1, Count: 1, Unit: "Seconds"})
}

func testPutFrom(t *testing.T, s metrics.Store, reopen func() metrics.Store) {
	ctx := t.Context()
	must(t, s.PutFrom(ctx, "t", 100, []metrics.Datum{datum("m", 0, 1)}))
	for range 2 {
		must(t, s.PutFrom(ctx, "t", 100, []metrics.Datum{datum("m", 0, 1)}))
		must(t, s.PutFrom(ctx, "t", 40, []metrics.Datum{datum("m", 0, 1)}))
		s = reopen()
	}
	must(t, s.PutFrom(ctx, "t", 120, nil))
	must(t, s.PutFrom(ctx, "u", 10, []metrics.Datum{datum("m", 0, 7)}))
	check(t, s, query("m", 0, time.Minute, time.Minute), point(0, 8, 1, 7, 2))
	for task, want := range map[string]int64{"t": 120, "u": 10, "none": 0} {
		got, err := s.Offset(ctx, task)
		must(t, err)
		if got != want {
			t.Errorf("offset of %s is %d, want %d", task, got, want)
		}
	}
	if err := s.PutFrom(ctx, "", 10, nil); err == nil {
		t.Error("no task was taken")
	}
}

func testLast(t *testing.T, s metrics.Store, reopen func() metrics.Store) {
	ctx := t.Context()
	must(t, s.Put(ctx, []metrics.Datum{
		datum("loss", time.Minute, 3), datum("loss", 0, 9), datum("acc", 0, 0.5), datum("acc", 0, 0.25),
	}))
	must(t, s.Put(ctx, []metrics.Datum{datum("loss", time.Second, 7)}))
	s = reopen()
	last, err := s.Last(ctx, account, region, namespace, map[string]string{"TrainingJobName": "j"})
	must(t, err)
	if len(last) != 2 || last["loss"].Sum != 3 || !last["loss"].Time.Equal(start.Add(time.Minute)) || last["acc"].Sum != 0.25 {
		t.Errorf("last %+v", last)
	}
	for _, dims := range []map[string]string{nil, {"TrainingJobName": "k"}} {
		if none, err := s.Last(ctx, account, region, namespace, dims); err != nil || len(none) != 0 {
			t.Errorf("last of %v: %v, %v", dims, none, err)
		}
	}
}

func testList(t *testing.T, s metrics.Store, _ func() metrics.Store) {
	ctx := t.Context()
	var data []metrics.Datum
	for i := range 7 {
		d := datum(fmt.Sprintf("m%d", i%3), time.Duration(i)*time.Hour, 1)
		d.Dimensions = map[string]string{"Host": fmt.Sprint(i)}
		data = append(data, d)
	}
	bare := datum("m0", 0, 1)
	bare.Dimensions = nil
	must(t, s.Put(ctx, append(data, bare)))
	count := func(q metrics.SeriesQuery) int {
		t.Helper()
		q.Account, q.Region = account, region
		n := 0
		for {
			page, err := s.List(ctx, q)
			must(t, err)
			n += len(page)
			if len(page) == 0 || q.Max == 0 {
				return n
			}
			for _, p := range page {
				if p.Key() <= q.After {
					t.Fatalf("%q after %q", p.Key(), q.After)
				}
				q.After = p.Key()
			}
		}
	}
	for want, q := range map[int]metrics.SeriesQuery{
		8: {Max: 3},
		4: {Name: "m0"},
		7: {Dimensions: map[string]string{"Host": ""}, Max: 2},
		1: {Dimensions: map[string]string{"Host": "5"}},
		2: {Since: start.Add(5 * time.Hour)},
		0: {Namespace: "none"},
	} {
		if got := count(q); got != want {
			t.Errorf("%+v: %d series, want %d", q, got, want)
		}
	}
	if n, err := s.List(ctx, metrics.SeriesQuery{Account: "other", Region: region}); err != nil || len(n) != 0 {
		t.Errorf("another account sees %v, %v", n, err)
	}
}

// testRandom checks that the sum of what was put does not depend on how it was
// cut into batches, nor on repeats.
func testRandom(t *testing.T, s metrics.Store, _ func() metrics.Store) {
	ctx := t.Context()
	r := rand.New(rand.NewPCG(3, 4))
	var sum, count float64
	for next := int64(1); next < 60; {
		var batch []metrics.Datum
		for range r.IntN(20) {
			v := float64(r.IntN(100))
			batch = append(batch, datum("m", time.Duration(r.IntN(600))*time.Second, v))
			sum += v
			count++
		}
		must(t, s.PutFrom(ctx, "t", next, batch))
		if r.IntN(2) == 0 {
			must(t, s.PutFrom(ctx, "t", next, batch))
		}
		next += int64(1 + r.IntN(3))
	}
	for _, period := range []time.Duration{time.Minute, 3 * time.Minute, time.Hour} {
		points, err := s.Points(ctx, query("m", 0, 10*time.Minute, period))
		must(t, err)
		var gotSum, gotCount float64
		for i, p := range points {
			gotSum += p.Sum
			gotCount += p.Count
			if p.Min > p.Max || (i > 0 && !p.Start.After(points[i-1].Start)) {
				t.Errorf("point %+v", p)
			}
		}
		if gotSum != sum || gotCount != count {
			t.Errorf("period %v: %v of %v, want %v of %v", period, gotSum, gotCount, sum, count)
		}
	}
}
