// Package pattern finds a metric's values in lines of output, as a training
// job's metric definitions say: the first group of each match of a regular
// expression. It must never let one line or one expression take the time of
// all others. Start at New.
package pattern

import (
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/dlclark/regexp2"
)

const (
	matchLimit   = 100 * time.Millisecond // for one line of a pattern that backtracks
	matchStrikes = 10                     // lines over the limit before the pattern is given up
	maxMatches   = 1000                   // of one pattern in one line
)

// Pattern finds one metric. RE2 takes linear time and most expressions; those
// written for Python that it refuses go to a backtracking matcher with a limit.
// It is for one goroutine.
type Pattern struct {
	fast    *regexp.Regexp
	slow    *regexp2.Regexp
	strikes int
}

// New is nil for an expression that no matcher understands, or that has no
// group to take a value from.
func New(expr string) *Pattern {
	if re, err := regexp.Compile(expr); err == nil {
		if re.NumSubexp() == 0 {
			return nil
		}
		return &Pattern{fast: re}
	}
	re, err := regexp2.Compile(expr, regexp2.None)
	if err != nil || len(re.GetGroupNumbers()) < 2 {
		return nil
	}
	re.MatchTimeout = matchLimit
	return &Pattern{slow: re}
}

// Values gives the numbers that the pattern finds in a line.
func (p *Pattern) Values(line string) []float64 {
	var out []float64
	add := func(s string) {
		if v, err := strconv.ParseFloat(strings.TrimSpace(s), 64); err == nil && !math.IsNaN(v) && !math.IsInf(v, 0) {
			out = append(out, v)
		}
	}
	if p.fast != nil {
		for _, at := range p.fast.FindAllStringSubmatchIndex(line, maxMatches) {
			if at[2] >= 0 {
				add(line[at[2]:at[3]])
			}
		}
		return out
	}
	if p.strikes >= matchStrikes {
		return nil
	}
	found, err := p.slow.FindStringMatch(line)
	for n := 0; err == nil && found != nil && n < maxMatches; n++ {
		if g := found.GroupByNumber(1); g != nil && len(g.Captures) > 0 {
			add(g.String())
		}
		found, err = p.slow.FindNextMatch(found)
	}
	if err != nil {
		p.strikes++
	}
	return out
}
