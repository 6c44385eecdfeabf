package sqlite

import (
	"path/filepath"
	"testing"

	"clary/internal/metrics"
	"clary/internal/metrics/metricstest"
)

func TestMetrics(t *testing.T) {
	t.Parallel()
	metricstest.Run(t, func(t *testing.T) (metrics.Store, func() metrics.Store) {
		t.Helper()
		path := filepath.Join(t.TempDir(), "clary.db")
		var s *Store
		open := func() metrics.Store {
			if s != nil {
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
			}
			var err error
			if s, err = Open(path, Options{}); err != nil {
				t.Fatal(err)
			}
			return metrics.New(s.Metrics())
		}
		first := open()
		t.Cleanup(func() { _ = s.Close() })
		return first, open
	})
}

func TestSamples(t *testing.T) {
	t.Parallel()
	metricstest.RunSamples(t, func(t *testing.T) (*metrics.Samples, func() *metrics.Samples) {
		t.Helper()
		path := filepath.Join(t.TempDir(), "clary.db")
		var s *Store
		open := func() *metrics.Samples {
			if s != nil {
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
			}
			var err error
			if s, err = Open(path, Options{}); err != nil {
				t.Fatal(err)
			}
			return metrics.NewSamples(s.Samples())
		}
		first := open()
		t.Cleanup(func() { _ = s.Close() })
		return first, open
	})
}
