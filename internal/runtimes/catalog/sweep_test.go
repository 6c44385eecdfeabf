package catalog

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"clary/internal/compute/fake"
)

// plant makes a built runtime that a job asked for at a time.
func (s *site) plant(id string, used time.Time) string {
	s.t.Helper()
	dir := filepath.Join(s.dir, id)
	data, err := json.Marshal(meta{ID: id})
	if err := errors.Join(err, os.MkdirAll(filepath.Join(dir, "env"), 0o755),
		os.WriteFile(filepath.Join(dir, "env", "pyvenv.cfg"), []byte("x"), 0o644),
		os.WriteFile(filepath.Join(dir, metaFile), data, 0o600),
		os.Chtimes(filepath.Join(dir, metaFile), used, used)); err != nil {
		s.t.Fatal(err)
	}
	return dir
}

func (s *site) there() []string {
	s.t.Helper()
	all, err := list(s.dir)
	if err != nil {
		s.t.Fatal(err)
	}
	var ids []string
	for _, k := range all {
		ids = append(ids, k.id)
	}
	return ids
}

func TestSweep(t *testing.T) {
	t.Parallel()
	s := newSite(t, fake.Script{})
	c := s.open()
	defer c.Close()
	now := time.Now()
	s.plant("aaaa", now.Add(-unusedAfter-time.Hour))
	busy := s.plant("bbbb", now.Add(-unusedAfter-time.Hour))
	s.plant("cccc", now.Add(-unusedAfter+time.Hour))
	s.plant("dddd", now)
	failed := filepath.Join(s.dir, "work", "eeee")
	if err := os.MkdirAll(filepath.Join(failed, "env"), 0o755); err != nil {
		t.Fatal(err)
	}
	c.cfg.Envs = func(context.Context) ([]string, error) { return nil, errors.New("no answer") }
	if err := c.sweep(t.Context(), now); err == nil {
		t.Error("swept without knowing what tasks have")
	}
	if got := s.there(); len(got) != 4 {
		t.Fatalf("%q are there", got)
	}
	c.cfg.Envs = func(context.Context) ([]string, error) { return []string{filepath.Join(busy, "env")}, nil }
	if err := c.sweep(t.Context(), now); err != nil {
		t.Fatal(err)
	}
	if got := s.there(); !slices.Equal(got, []string{"bbbb", "cccc", "dddd"}) {
		t.Errorf("%q are there", got)
	}
	for _, dir := range []string{failed, filepath.Join(s.dir, goneDir, "aaaa")} {
		if _, err := os.Stat(dir); !os.IsNotExist(err) {
			t.Errorf("%s: %v", dir, err)
		}
	}
	// Asked for in time, what would have gone stays.
	if c.asked("cccc", now); !c.ready("cccc") {
		t.Error("cccc is not ready")
	}
	if err := c.sweep(t.Context(), now.Add(2*time.Hour)); err != nil {
		t.Fatal(err)
	}
	if got := s.there(); !slices.Contains(got, "cccc") {
		t.Errorf("%q are there", got)
	}
}

func TestSweepBySize(t *testing.T) {
	t.Parallel()
	s := newSite(t, fake.Script{})
	c := s.open()
	defer c.Close()
	c.cfg.Envs = func(context.Context) ([]string, error) { return nil, nil }
	now := time.Now()
	for id, age := range map[string]time.Duration{"old": 48 * time.Hour, "mid": 24 * time.Hour, "new": fresh / 2} {
		dir := s.plant(id, now.Add(-age))
		f, err := os.Create(filepath.Join(dir, "env", "big"))
		if err := errors.Join(err, f.Truncate(keepBytes/2-1000), f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.sweep(t.Context(), now); err != nil {
		t.Fatal(err)
	}
	if got := s.there(); !slices.Equal(got, []string{"mid", "new"}) {
		t.Errorf("%q are there", got)
	}
	if sv, err := Survey(s.dir); err != nil || sv.Runtimes != 2 || sv.Bytes < keepBytes-4000 {
		t.Errorf("%+v, %v", sv, err)
	}
}

func TestSurveyOfNothing(t *testing.T) {
	t.Parallel()
	if sv, err := Survey(filepath.Join(t.TempDir(), "none")); err != nil || sv.Runtimes != 0 {
		t.Errorf("%+v, %v", sv, err)
	}
}
