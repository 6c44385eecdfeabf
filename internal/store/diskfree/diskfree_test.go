package diskfree

import (
	"errors"
	"path/filepath"
	"testing"

	"clary/internal/store"
)

func TestJudge(t *testing.T) {
	t.Parallel()
	const gib = 1 << 30
	for _, c := range []struct {
		free, total int64
		full        bool
	}{
		{2 * gib, 10 * gib, false},
		{2*gib - 1, 10 * gib, true},
		{2 * gib, 40 * gib, false},
		{2 * gib, 41 * gib, true},
		{50 * gib, 1000 * gib, false},
		{50*gib - 1, 1000 * gib, true},
		{0, 0, true},
	} {
		err := judge(c.free, c.total)
		if errors.Is(err, store.ErrFull) != c.full || !c.full && err != nil {
			t.Errorf("%d of %d free: %v", c.free, c.total, err)
		}
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	if err := Check(t.TempDir()); err != nil && !errors.Is(err, store.ErrFull) {
		t.Error(err)
	}
	if err := Check(filepath.Join(t.TempDir(), "none")); err == nil || errors.Is(err, store.ErrFull) {
		t.Errorf("no such folder: %v", err)
	}
	if n := bytes(1<<62, int64(4096)); n < 0 {
		t.Errorf("a huge disk has %d bytes", n)
	}
}
