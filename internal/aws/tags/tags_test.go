package tags

import (
	"maps"
	"strings"
	"testing"

	api "clary/internal/api/sagemaker"
)

func TestMap(t *testing.T) {
	t.Parallel()
	got, err := Map([]api.Tag{{Key: "a", Value: "1"}, {Key: "A"}})
	if err != nil || !maps.Equal(got, map[string]string{"a": "1", "A": ""}) {
		t.Errorf("%v, %v", got, err)
	}
	for text, list := range map[string][]api.Tag{
		"Duplicate tag key": {{Key: "a"}, {Key: "a", Value: "2"}},
		"reserved":          {{Key: "Aws:x"}},
	} {
		if _, err := Map(list); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%v: %v, want %q", list, err, text)
		}
	}
}
