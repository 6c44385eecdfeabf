package resource

import (
	"encoding/json"
	"regexp"
	"testing"
)

func TestNewUID(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	form := regexp.MustCompile(`^[a-z2-7]{26}$`)
	for range 1000 {
		u := NewUID()
		if !form.MatchString(u) || seen[u] {
			t.Fatalf("%q", u)
		}
		seen[u] = true
	}
}

func TestAs(t *testing.T) {
	t.Parallel()
	type spec struct{ Name string }
	if v, err := As[spec](json.RawMessage(`{"Name":"x"}`)); err != nil || v.Name != "x" {
		t.Errorf("%v, %v", v, err)
	}
	if v, err := As[spec](nil); err != nil || v.Name != "" {
		t.Errorf("absent: %v, %v", v, err)
	}
	if v, err := As[spec](json.RawMessage(`{"name":"x"}`)); err != nil || v.Name != "" {
		t.Errorf("names are exact: %v, %v", v, err)
	}
	if _, err := As[spec](json.RawMessage(`{"Name":1}`)); err == nil {
		t.Error("a number is no name")
	}
}
