// Package api holds what the generated packages below it share. The structs of
// each service are generated from the service models by tool/modelgen and are
// spelled as AWS spells them; nothing here knows a wire format but JSON's.
package api

import (
	"fmt"
	"math"
	"strconv"
	"time"
)

// Time is a timestamp of the API. In JSON it is epoch seconds with
// milliseconds as the fraction. The zero Time is absent.
type Time struct{ time.Time }

// At is t as the API shows it, to the millisecond.
func At(t time.Time) Time {
	if t.IsZero() {
		return Time{}
	}
	return Time{t.UTC().Truncate(time.Millisecond)}
}

// MarshalJSON writes epoch seconds.
func (t Time) MarshalJSON() ([]byte, error) {
	if t.IsZero() {
		return []byte("null"), nil
	}
	ms := t.UnixMilli()
	if ms%1000 == 0 {
		return strconv.AppendInt(nil, ms/1000, 10), nil
	}
	sign, abs := "", ms
	if ms < 0 {
		sign, abs = "-", -ms
	}
	return fmt.Appendf(nil, "%s%d.%03d", sign, abs/1000, abs%1000), nil
}

// UnmarshalJSON reads epoch seconds.
func (t *Time) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		*t = Time{}
		return nil
	}
	f, err := strconv.ParseFloat(string(b), 64)
	if err != nil {
		return fmt.Errorf("timestamp %s: %w", b, err)
	}
	v, err := FromSeconds(f)
	if err != nil {
		return err
	}
	*t = v
	return nil
}

// FromSeconds is the Time of epoch seconds. It refuses years that no calendar
// of ours can hold.
func FromSeconds(f float64) (Time, error) {
	const limit = 253402300800 // the year 10000
	if math.IsNaN(f) || f <= -limit || f >= limit {
		return Time{}, fmt.Errorf("timestamp %v is out of range", f)
	}
	return Time{time.UnixMilli(int64(math.Round(f * 1000))).UTC()}, nil
}

// Ptr is a pointer to v, for optional numbers and booleans.
func Ptr[T any](v T) *T { return &v }

// Value is what p points to, or the zero value.
func Value[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}
