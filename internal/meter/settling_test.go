package meter

import (
	"testing"
	"time"
)

func TestSettling(t *testing.T) {
	t.Parallel()
	if (&Settling{Leap: time.Minute}).Wait(time.Now()) != 0 {
		t.Error("it waits without a start")
	}
	s := Settling{Start: 15 * time.Second, Leap: 45 * time.Second}
	now := time.Now()
	for _, tt := range []struct{ after, want time.Duration }{
		{0, 15 * time.Second}, {10 * time.Second, 5 * time.Second}, {5 * time.Second, 0}, {time.Hour, 0},
	} {
		now = now.Add(tt.after)
		if got := s.Wait(now); got != tt.want {
			t.Errorf("%s after a start: %s, want %s", tt.after, got, tt.want)
		}
	}
	s.passed(now, 40*time.Second, 20*time.Second)
	if got := s.Wait(now); got != 0 {
		t.Errorf("the clocks are set a little: %s", got)
	}
	for _, wall := range []time.Duration{time.Hour, -time.Hour} {
		now = now.Add(time.Hour)
		s.passed(now, wall, time.Second)
		if got := s.Wait(now.Add(10 * time.Second)); got != 35*time.Second {
			t.Errorf("10 s after a leap of %s: %s, want 35 s", wall, got)
		}
	}
}
