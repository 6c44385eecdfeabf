package segment

import (
	"log/slog"
	"testing"

	"go.uber.org/goleak"

	"clary/internal/logs"
	"clary/internal/logs/logstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, cfg Config) *Store {
	t.Helper()
	cfg.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	s, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestStore(t *testing.T) {
	t.Parallel()
	t.Run("Defaults", func(t *testing.T) {
		t.Parallel()
		logstest.Run(t, func(t *testing.T, dir string) logs.Store {
			t.Helper()
			return open(t, Config{Dir: dir})
		})
	})
	t.Run("Small", func(t *testing.T) {
		t.Parallel()
		logstest.Run(t, func(t *testing.T, dir string) logs.Store {
			t.Helper()
			return open(t, Config{Dir: dir, SegmentSize: 40 << 10, OpenFiles: 2, Loaded: 1})
		})
	})
}
