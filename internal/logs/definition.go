package logs

import "clary/internal/metrics/pattern"

// MetricDefinition finds a metric's values in lines of output: the first group
// of each match of Regex.
type MetricDefinition struct {
	Name, Regex string
}

// matcher finds one metric.
type matcher struct {
	name string
	*pattern.Pattern
}
