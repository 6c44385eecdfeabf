package budget

import (
	"strings"

	"clary/internal/resource"
)

// Advice is how somebody ends what a resource costs: by our own command, and by
// the call that AWS has for it.
type Advice struct{ Command, Call string }

// Remedy is the advice for a running resource; none for a kind that does not
// cost.
func Remedy(kind resource.Kind, name string) Advice {
	switch kind {
	case "NotebookInstance":
		return Advice{"clary notebook stop " + name, "aws sagemaker stop-notebook-instance --notebook-instance-name " + name}
	case "Endpoint":
		return Advice{"clary endpoint delete " + name, "aws sagemaker delete-endpoint --endpoint-name " + name}
	case "TrainingJob", "ProcessingJob", "TransformJob":
		// They have no command of their own: ours runs AWS's.
		word := strings.ToLower(strings.TrimSuffix(string(kind), "Job")) + "-job"
		call := "aws sagemaker stop-" + word + " --" + word + "-name " + name
		return Advice{"clary run -- " + call, call}
	}
	return Advice{}
}

// RemedyForVolume is the advice for the volume of a notebook instance that is
// stopped: it costs until the instance is deleted.
func RemedyForVolume(name string) Advice {
	return Advice{"clary notebook delete " + name, "aws sagemaker delete-notebook-instance --notebook-instance-name " + name}
}

// Quote is a word as shells read it: names of budgets and alarms may hold
// anything, and what shows commands to copy must not let them be more than a
// name.
func Quote(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:@%+=,", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
