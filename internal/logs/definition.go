package logs

import (
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/dlclark/regexp2"
)

// MetricDefinition finds a metric's values in lines of output: the first group
// of each match of Regex.
type MetricDefinition struct {
	Name, Regex string
}

const (
	matchLimit   = 100 * time.Millisecond // for one line of a pattern that backtracks
	matchStrikes = 10                     // lines over the limit before the pattern is given up
	maxMatches   = 1000                   // of one pattern in one line
)

// matcher finds one metric. RE2 takes linear time and most patterns; those
// written for Python that it refuses go to a backtracking matcher with a limit.
type matcher struct {
	name    string
	fast    *regexp.Regexp
	slow    *regexp2.Regexp
	strikes int
}

// newMatcher is nil for a pattern that no matcher understands, or that has no
// group to take a value from.
func newMatcher(d MetricDefinition) *matcher {
	if re, err := regexp.Compile(d.Regex); err == nil {
		if re.NumSubexp() == 0 {
			return nil
		}
		return &matcher{name: d.Name, fast: re}
	}
	re, err := regexp2.Compile(d.Regex, regexp2.None)
	if err != nil || len(re.GetGroupNumbers()) < 2 {
		return nil
	}
	re.MatchTimeout = matchLimit
	return &matcher{name: d.Name, slow: re}
}

// values gives the numbers that the pattern finds in a line.
func (m *matcher) values(line string) []float64 {
	var out []float64
	add := func(s string) {
		if v, err := strconv.ParseFloat(strings.TrimSpace(s), 64); err == nil && !math.IsNaN(v) && !math.IsInf(v, 0) {
			out = append(out, v)
		}
	}
	if m.fast != nil {
		for _, at := range m.fast.FindAllStringSubmatchIndex(line, maxMatches) {
			if at[2] >= 0 {
				add(line[at[2]:at[3]])
			}
		}
		return out
	}
	if m.strikes >= matchStrikes {
		return nil
	}
	found, err := m.slow.FindStringMatch(line)
	for n := 0; err == nil && found != nil && n < maxMatches; n++ {
		if g := found.GroupByNumber(1); g != nil && len(g.Captures) > 0 {
			add(g.String())
		}
		found, err = m.slow.FindNextMatch(found)
	}
	if err != nil {
		m.strikes++
	}
	return out
}
