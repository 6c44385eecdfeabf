package outbox

import (
	"testing"
	"time"
)

func waits(r Retry) (all []time.Duration, total time.Duration) {
	for n := 1; ; n++ {
		d, more := r.Wait(n)
		if !more {
			return all, total
		}
		all, total = append(all, d), total+d
	}
}

func TestRetry(t *testing.T) {
	t.Parallel()
	all, total := waits(WebRetry())
	if len(all) != 3 || total != time.Minute || all[0] != 20*time.Second {
		t.Errorf("http: %v", all)
	}
	if all, total = waits(MailRetry()); len(all) != 50 || all[0] != 10*time.Second || all[2] != 10*time.Second || all[11] != 10*time.Minute || all[49] != 10*time.Minute ||
		total < 6*time.Hour || total > 8*time.Hour || total != MailRetry().Total() {
		t.Errorf("mail: %v, %s", all, total)
	}
	for _, f := range []string{"", "linear", "arithmetic", "geometric", "exponential"} {
		r := Retry{AtOnce: 2, Before: 1, Backoff: 5, After: 2, Min: 1, Max: 81, Function: f}
		all, total := waits(r)
		if len(all) != 10 || all[0] != 0 || all[1] != 0 || all[2] != time.Second || all[3] != time.Second || all[7] != 81*time.Second || all[9] != 81*time.Second || total != r.Total() {
			t.Errorf("%s: %v", f, all)
		}
		for i := 3; i < 7; i++ {
			if all[i+1] <= all[i] {
				t.Errorf("%s does not grow: %v", f, all)
			}
		}
	}
	// in the middle, each as its name says
	for f, want := range map[string]time.Duration{"linear": 41 * time.Second, "arithmetic": 21 * time.Second, "exponential": 9 * time.Second} {
		if d, _ := (Retry{Backoff: 5, Min: 1, Max: 81, Function: f}).Wait(3); d.Round(time.Millisecond) != want {
			t.Errorf("%s: %s, want %s", f, d, want)
		}
	}
	if all, _ := waits(Retry{}); len(all) != 0 {
		t.Errorf("none: %v", all)
	}
}

func TestShown(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]string{"http://u:secret@a.example.com/x?y": "http://u:****@a.example.com/x?y", "http://u@a.example.com/": "http://u@a.example.com/", "a@example.com": "a@example.com", "arn:aws:sns:x": "arn:aws:sns:x"} {
		if got := Shown(s); got != want {
			t.Errorf("%s is shown as %s", s, got)
		}
	}
}

func TestAddress(t *testing.T) {
	t.Parallel()
	for s, ok := range map[string]bool{"a@example.com": true, "A B <a@example.com>": true, "a": false, "a@b@c": false, "ü@example.com": false, "": false, "a@example.com\r\nBcc: b@example.com": false, "a@": false} {
		if _, err := Address(s); (err == nil) != ok {
			t.Errorf("%q: %v", s, err)
		}
	}
}
