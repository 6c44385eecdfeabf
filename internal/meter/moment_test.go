package meter

import (
	"testing"
	"time"
)

func TestMoment(t *testing.T) {
	t.Parallel()
	a, b := Moment{"boot", int64(time.Minute)}, Moment{"boot", int64(time.Hour)}
	if d, ok := b.Since(a); !ok || d != 59*time.Minute {
		t.Errorf("%s, %t", d, ok)
	}
	if _, ok := b.Since(Moment{"earlier", 0}); ok {
		t.Error("moments of two starts of the machine are compared")
	}
}

func TestAccelerators(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]int{
		"ml.t3.medium": 0, "ml.m5.xlarge": 0, "ml.g4dn.xlarge": 1, "ml.p3.8xlarge": 4, "ml.trn9.2xlarge": 1, "ml.inf9.xlarge": 1, "ml.dl9.24xlarge": 1, "ml.unknown9.xlarge": 0,
	} {
		if got := Accelerators(name); got != want {
			t.Errorf("%s: %d, want %d", name, got, want)
		}
	}
}
