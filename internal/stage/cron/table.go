// Package cron reads crontabs and says what is due when. Start at Parse for the
// tables, at Run for their execution.
package cron

import (
	"fmt"
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Table is a user's crontab.
type Table []Entry

// Entry is a line of it that names a command.
type Entry struct {
	Command string
	Input   string   // what the command reads
	Env     []string // assignments above it
	Reboot  bool     // at the start of the machine, which was before there was a table: never

	minute, hour, day, month, weekday uint64 // a bit each
	anyDay, anyWeekday                bool
}

// field is one of the five.
type field struct {
	name     string
	from, to int
	names    []string // of from and the following
}

var fields = [5]field{ //nolint:gochecknoglobals // a constant table
	{"minute", 0, 59, nil},
	{"hour", 0, 23, nil},
	{"day of month", 1, 31, nil},
	{"month", 1, 12, []string{"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}},
	{"day of week", 0, 7, []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}},
}

var nicknames = map[string]string{ //nolint:gochecknoglobals // a constant table
	"@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *", "@weekly": "0 0 * * 0",
	"@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@hourly": "0 * * * *",
}

// Parse reads a crontab. The error names the first line that is none.
func Parse(text string) (Table, error) {
	var t Table
	var env []string
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		if name, value, ok := assignment(line); ok {
			env = append(slices.Clip(env), name+"="+value)
			continue
		}
		e, err := parseEntry(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		e.Env = env
		t = append(t, e)
	}
	return t, nil
}

// assignment is NAME = value, the value quoted or not.
func assignment(line string) (name, value string, ok bool) {
	name, value, ok = strings.Cut(line, "=")
	name, value = strings.TrimSpace(name), strings.TrimSpace(value)
	if !ok || name == "" || strings.IndexFunc(name, func(r rune) bool {
		return r != '_' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	}) >= 0 || name[0] >= '0' && name[0] <= '9' {
		return "", "", false
	}
	if n := len(value); n >= 2 && (value[0] == '"' || value[0] == '\'') && value[n-1] == value[0] {
		value = value[1 : n-1]
	}
	return name, value, true
}

func parseEntry(line string) (e Entry, err error) {
	when, rest := cutWord(line)
	if when == "@reboot" {
		e.Reboot = true
	} else {
		words := strings.Fields(nicknames[when])
		if len(words) == 0 {
			if when[0] == '@' {
				return e, fmt.Errorf("%q is no time", when)
			}
			rest = line
			for range fields {
				var w string
				w, rest = cutWord(rest)
				words = append(words, w)
			}
		}
		if err := e.times(words); err != nil {
			return e, err
		}
	}
	if rest == "" {
		return e, fmt.Errorf("there is no command")
	}
	e.Command, e.Input = command(rest)
	return e, nil
}

func cutWord(s string) (word, rest string) {
	i := strings.IndexAny(s, " \t")
	if i < 0 {
		return s, ""
	}
	return s[:i], strings.TrimLeft(s[i:], " \t")
}

func (e *Entry) times(words []string) error {
	for i, to := range []*uint64{&e.minute, &e.hour, &e.day, &e.month, &e.weekday} {
		set, err := fields[i].parse(words[i])
		if err != nil {
			return err
		}
		*to = set
	}
	e.weekday |= e.weekday >> 7 & 1 // 7 is Sunday too
	e.anyDay, e.anyWeekday = words[2][0] == '*', words[4][0] == '*'
	return nil
}

// parse reads lists of numbers, names, ranges and steps.
func (f *field) parse(word string) (set uint64, err error) {
	for part := range strings.SplitSeq(word, ",") {
		span, step, stepped := strings.Cut(part, "/")
		every := 1
		if stepped {
			if every, err = strconv.Atoi(step); err != nil || every < 1 {
				return 0, fmt.Errorf("%s: %q is no step", f.name, part)
			}
		}
		from, to := f.from, f.to
		if span != "*" {
			low, high, ranged := strings.Cut(span, "-")
			if from, err = f.number(low); err != nil {
				return 0, err
			}
			if ranged {
				if to, err = f.number(high); err != nil {
					return 0, err
				}
			} else if !stepped {
				to = from
			}
		}
		if from > to {
			return 0, fmt.Errorf("%s: %q ends before it begins", f.name, part)
		}
		for n := from; n <= to; n += every {
			set |= 1 << n
		}
	}
	return set, nil
}

func (f *field) number(s string) (int, error) {
	if i := slices.Index(f.names, strings.ToLower(s)); i >= 0 {
		return f.from + i, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < f.from || n > f.to || s[0] == '+' {
		return 0, fmt.Errorf("%s: %q is not from %d to %d", f.name, s, f.from, f.to)
	}
	return n, nil
}

// command is what comes before a %, input what comes after it, line by line. A
// \% is a %.
func command(s string) (cmd, input string) {
	var b strings.Builder
	inside := false
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s) && s[i+1] == '%':
			i++
			b.WriteByte('%')
		case s[i] == '%' && !inside:
			cmd, inside = b.String(), true
			b.Reset()
		case s[i] == '%':
			b.WriteByte('\n')
		default:
			b.WriteByte(s[i])
		}
	}
	if !inside {
		return b.String(), ""
	}
	return cmd, b.String() + "\n"
}

// Due says whether the entry's minute is that of t.
func (e *Entry) Due(t time.Time) bool {
	if e.Reboot || !has(e.minute, t.Minute()) || !has(e.hour, t.Hour()) || !has(e.month, int(t.Month())) {
		return false
	}
	day, weekday := has(e.day, t.Day()), has(e.weekday, int(t.Weekday()))
	if e.anyDay || e.anyWeekday {
		return day && weekday
	}
	return day || weekday // who names both means either
}

func has(set uint64, n int) bool { return bits.OnesCount64(set&(1<<n)) == 1 }
