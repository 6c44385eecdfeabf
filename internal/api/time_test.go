package api

import (
	"testing"
	"time"

	"github.com/go-json-experiment/json"
)

func TestTime(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"1700000000": "1700000000", "1700000000.5": "1700000000.500", "1.7e9": "1700000000", "0": "0", "-1.5": "-1.500", "-0.25": "-0.250",
		"1700000000.0004": "1700000000", "1700000000.0006": "1700000000.001",
	} {
		var v Time
		if err := json.Unmarshal([]byte(text), &v); err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got, err := json.Marshal(v); err != nil || string(got) != want {
			t.Errorf("%s: got %s, want %s (%v)", text, got, want, err)
		}
	}
	for _, text := range []string{`"2026-01-01T00:00:00Z"`, "1e300", "253402300800", "true"} {
		var v Time
		if err := json.Unmarshal([]byte(text), &v); err == nil {
			t.Errorf("%s is %v", text, v)
		}
	}
	if !At(time.Time{}).IsZero() || At(time.Unix(0, 1)).UnixNano() != 0 {
		t.Error("At")
	}
	var holder struct {
		T Time `json:"T,omitzero"`
	}
	if b, err := json.Marshal(holder); err != nil || string(b) != "{}" {
		t.Errorf("%s %v", b, err)
	}
	if err := json.Unmarshal([]byte(`{"T":null}`), &holder); err != nil || !holder.T.IsZero() {
		t.Error(err)
	}
}
