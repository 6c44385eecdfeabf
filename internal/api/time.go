// Package api holds what the generated packages below it share. The structs of
// each service are generated from the service models by tool/modelgen and are
// spelled as AWS spells them; nothing here knows a wire format but JSON's.
package api

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"
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

// MarshalJSONTo writes epoch seconds.
func (t Time) MarshalJSONTo(e *jsontext.Encoder) error {
	var room [32]byte
	return e.WriteValue(t.append(room[:0]))
}

// MarshalJSON writes epoch seconds.
func (t Time) MarshalJSON() ([]byte, error) { return t.append(nil), nil }

func (t Time) append(b []byte) []byte {
	if t.IsZero() {
		return append(b, "null"...)
	}
	ms := t.UnixMilli()
	if ms < 0 {
		b, ms = append(b, '-'), -ms
	}
	b = strconv.AppendInt(b, ms/1000, 10)
	if f := ms % 1000; f != 0 {
		b = append(b, '.', byte('0'+f/100), byte('0'+f/10%10), byte('0'+f%10))
	}
	return b
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
