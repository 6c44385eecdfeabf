package meter

import (
	"bytes"
	_ "embed"
	"encoding/csv"
	"fmt"
	"strconv"
	"strings"
	"sync"
)

//go:embed data/instances.csv
var instanceSizes []byte

// Size is what an instance type has.
type Size struct {
	VCPU, MemoryGiB, Accelerators int
	// Note says where the figures come from when the type is not listed.
	Note string
}

// sizes is read once and never changes.
var sizes = sync.OnceValue(func() map[string]Size {
	rows, err := csv.NewReader(bytes.NewReader(instanceSizes)).ReadAll()
	if err != nil {
		panic(err) // the file is part of the program
	}
	out := make(map[string]Size, len(rows))
	for _, row := range rows[1:] {
		var n [3]int
		for i := range n {
			f, err := strconv.ParseFloat(row[i+1], 64)
			if err != nil {
				panic(fmt.Errorf("%s: %w", row[0], err))
			}
			n[i] = int(f)
		}
		out[row[0]] = Size{VCPU: n[0], MemoryGiB: n[1], Accelerators: n[2]}
	}
	return out
})

// Instance gives the size of an instance type. A type that is not listed gets
// the size of its family: in proportion where the family has no accelerators,
// else that of its smallest listed member.
func Instance(instanceType string) (Size, bool) {
	all := sizes()
	if s, ok := all[instanceType]; ok {
		return s, true
	}
	dot := strings.LastIndexByte(instanceType, '.')
	if dot < 0 {
		return Size{}, false
	}
	family := instanceType[:dot+1]
	smallest, halves, bare := "", 0, true
	for name, s := range all {
		if !strings.HasPrefix(name, family) {
			continue
		}
		bare = bare && s.Accelerators == 0
		if h := inHalves(name[dot+1:]); h > 0 && (smallest == "" || h < halves) {
			smallest, halves = name, h
		}
	}
	if smallest == "" {
		return Size{}, false
	}
	s := all[smallest]
	if h := inHalves(instanceType[dot+1:]); bare && h > 0 {
		s.VCPU, s.MemoryGiB = max(1, s.VCPU*h/halves), max(1, s.MemoryGiB*h/halves)
		s.Note = fmt.Sprintf("the size of %s is not listed; taken in proportion to %s", instanceType, smallest)
		return s, true
	}
	s.Note = fmt.Sprintf("the size of %s is not listed; taken from %s, the smallest of its family", instanceType, smallest)
	return s, true
}

// Accelerators is how many an instance type has; at least one where only its
// family's letter says that it has some.
func Accelerators(instanceType string) int {
	if size, ok := Instance(instanceType); ok {
		return size.Accelerators
	}
	family := strings.TrimPrefix(instanceType, "ml.")
	for _, p := range []string{"p", "g", "trn", "inf", "dl"} {
		if rest, ok := strings.CutPrefix(family, p); ok && rest != "" && rest[0] >= '0' && rest[0] <= '9' {
			return 1
		}
	}
	return 0
}

// Larger is the listed type of the same family with the next more memory, ""
// if there is none.
func Larger(instanceType string) string {
	size, ok := Instance(instanceType)
	dot := strings.LastIndexByte(instanceType, '.')
	if !ok || dot < 0 {
		return ""
	}
	best, least := "", 0
	for name, s := range sizes() {
		if !strings.HasPrefix(name, instanceType[:dot+1]) || s.MemoryGiB <= size.MemoryGiB {
			continue
		}
		if best == "" || s.MemoryGiB < least || s.MemoryGiB == least && name < best {
			best, least = name, s.MemoryGiB
		}
	}
	return best
}

// inHalves measures a size in halves of an xlarge; 0 if it is none of AWS's.
func inHalves(size string) int {
	switch size {
	case "large":
		return 1
	case "xlarge":
		return 2
	}
	n, ok := strings.CutSuffix(size, "xlarge")
	if !ok {
		return 0
	}
	f, err := strconv.Atoi(n)
	if err != nil || f < 1 || f > 1000 {
		return 0
	}
	return 2 * f
}
