package metricstest

import (
	"math"
	"reflect"
	"slices"
	"testing"
	"time"

	"clary/internal/metrics"
	"clary/internal/store"
)

// RunSamples tests a store of samples; reopen closes it and gives one over the
// same data.
func RunSamples(t *testing.T, open func(t *testing.T) (s *metrics.Samples, reopen func() *metrics.Samples)) {
	t.Helper()
	at := start.Add
	x0 := start.Unix()
	points := func(t *testing.T, s *metrics.Samples, q metrics.SampleQuery) []metrics.XY {
		t.Helper()
		if q.Max == 0 {
			q.Max = 100
		}
		got, more, err := s.Points(t.Context(), q)
		must(t, err)
		if more {
			t.Error("there should be no more")
		}
		return got
	}
	t.Run("Statistics", func(t *testing.T) {
		t.Parallel()
		s, reopen := open(t)
		must(t, s.Put(t.Context(), "u1", []store.Sample{
			{Name: "loss", At: at(5 * time.Second), Step: 1, Value: 8},
			{Name: "loss", At: at(0), Step: 0, Value: 2},
			{Name: "loss", At: at(59 * time.Second), Step: 1, Value: 5},
			{Name: "loss", At: at(60 * time.Second), Step: store.NoStep, Value: -1},
			{Name: "acc", At: at(0), Step: 0, Value: 77},
		}))
		must(t, s.Put(t.Context(), "u2", []store.Sample{{Name: "loss", At: at(0), Step: 0, Value: 99}}))
		s = reopen()
		for stat, want := range map[metrics.Stat][]float64{
			metrics.StatMin: {2, -1}, metrics.StatMax: {8, -1}, metrics.StatAvg: {5, -1}, metrics.StatCount: {3, 1},
			metrics.StatLast: {5, -1}, metrics.StatStdDev: {math.Sqrt(6), 0},
		} {
			got := points(t, s, metrics.SampleQuery{Owner: "u1", Name: "loss", Stat: stat, Period: time.Minute})
			if len(got) != 2 || got[0].X != x0 || got[1].X != x0+60 || math.Abs(got[0].Y-want[0]) > 1e-12 || got[1].Y != want[1] {
				t.Errorf("%s: %v, want %v", stat, got, want)
			}
		}
		byStep := points(t, s, metrics.SampleQuery{Owner: "u1", Name: "loss", Axis: metrics.ByStep, Stat: metrics.StatLast})
		if want := []metrics.XY{{X: 0, Y: 2}, {X: 1, Y: 5}}; !reflect.DeepEqual(byStep, want) {
			t.Errorf("by step %v", byStep)
		}
		if got := points(t, s, metrics.SampleQuery{Owner: "u3", Name: "loss", Period: time.Minute}); len(got) != 0 {
			t.Errorf("another owner's: %v", got)
		}
	})
	t.Run("Bounds", func(t *testing.T) {
		t.Parallel()
		s, _ := open(t)
		var all []store.Sample
		for i := range 10 {
			all = append(all, store.Sample{Name: "m", At: at(time.Duration(i) * time.Minute), Step: int64(i * 10), Value: float64(i)})
		}
		must(t, s.Put(t.Context(), "u", all))
		from, to := int64(20), int64(40)
		got := points(t, s, metrics.SampleQuery{Owner: "u", Name: "m", Axis: metrics.ByStep, From: &from, To: &to})
		if want := []metrics.XY{{X: 20, Y: 2}, {X: 30, Y: 3}, {X: 40, Y: 4}}; !reflect.DeepEqual(got, want) {
			t.Errorf("by step %v", got)
		}
		from, to = x0+120, x0+180
		got = points(t, s, metrics.SampleQuery{Owner: "u", Name: "m", Period: time.Minute, From: &from, To: &to})
		if want := []metrics.XY{{X: x0 + 120, Y: 2}, {X: x0 + 180, Y: 3}}; !reflect.DeepEqual(got, want) {
			t.Errorf("by time %v", got)
		}
		cut, more, err := s.Points(t.Context(), metrics.SampleQuery{Owner: "u", Name: "m", Axis: metrics.ByStep, Max: 4})
		if err != nil || !more || len(cut) != 4 || cut[3].X != 30 {
			t.Errorf("%v %v %v", cut, more, err)
		}
	})
	t.Run("Twice", func(t *testing.T) {
		t.Parallel()
		s, _ := open(t)
		batch := []store.Sample{{Name: "m", At: at(0), Step: 1, Value: 3}, {Name: "m", At: at(0), Step: store.NoStep, Value: 3}}
		for range 3 {
			must(t, s.Put(t.Context(), "u", slices.Clone(batch)))
		}
		got := points(t, s, metrics.SampleQuery{Owner: "u", Name: "m", Stat: metrics.StatCount, Period: time.Hour})
		if len(got) != 1 || got[0].Y != 2 {
			t.Errorf("%v", got)
		}
	})
}
