// Package tags reads the tags that a SageMaker request gives a new resource.
package tags

import (
	"strings"

	api "clary/internal/api/sagemaker"
	"clary/internal/aws/apierr"
)

// Map gives tags by their keys. A key that stands twice, or is AWS's own, is a
// ValidationException.
func Map(list []api.Tag) (map[string]string, error) {
	out := make(map[string]string, len(list))
	for _, t := range list {
		if _, twice := out[t.Key]; twice {
			return nil, apierr.Validation("Duplicate tag key %q: tag keys must be unique.", t.Key)
		}
		if strings.HasPrefix(strings.ToLower(t.Key), "aws:") {
			return nil, apierr.Validation("Invalid tag key %q: the prefix aws: is reserved.", t.Key)
		}
		out[t.Key] = t.Value
	}
	return out, nil
}
