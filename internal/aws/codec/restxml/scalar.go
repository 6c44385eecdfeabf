package restxml

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"

	"clary/internal/aws/facts"
)

const (
	rfc822    = "rfc822"
	iso8601   = "iso8601"
	unixTime  = "unixTimestamp"
	isoLayout = "2006-01-02T15:04:05.000Z"
)

var errScalar = errors.New("not a value of its type")

// timeFormat is how a timestamp is written where it stands.
func timeFormat(m *facts.Member) string {
	switch {
	case m.Shape.TimestampFormat != "":
		return m.Shape.TimestampFormat
	case m.Location == "header" || m.Location == "headers":
		return rfc822
	}
	return iso8601
}

func formatTime(t time.Time, format string) string {
	t = t.UTC()
	switch format {
	case rfc822:
		return t.Format(http.TimeFormat)
	case unixTime:
		return strconv.FormatInt(t.Unix(), 10)
	}
	return t.Format(isoLayout)
}

// parseTime takes any of the forms, as S3 does.
func parseTime(s string) (time.Time, error) {
	if t, err := http.ParseTime(s); err == nil {
		return t.UTC(), nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "20060102T150405Z", "2006-01-02"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), nil
		}
	}
	if f, err := strconv.ParseFloat(s, 64); err == nil && math.Abs(f) < 1<<40 {
		sec, frac := math.Modf(f)
		return time.Unix(int64(sec), int64(frac*1e9)).UTC(), nil
	}
	return time.Time{}, errScalar
}

// The time type of package api holds a time.Time, in itself or as its first
// field.
func timeOf(v reflect.Value) time.Time {
	t, _ := reflect.TypeAssert[time.Time](timeSlot(v))
	return t
}

func timeSlot(v reflect.Value) reflect.Value {
	target := reflect.TypeFor[time.Time]()
	if v.Type() != target && v.Kind() == reflect.Struct && v.NumField() > 0 && v.Field(0).Type() == target {
		return v.Field(0)
	}
	if v.Type() != target && v.Type().ConvertibleTo(target) {
		return v.Convert(target)
	}
	return v
}

func setTime(v reflect.Value, t time.Time) {
	target := reflect.TypeFor[time.Time]()
	switch {
	case v.Type() == target:
		v.Set(reflect.ValueOf(t))
	case v.Kind() == reflect.Struct && v.NumField() > 0 && v.Field(0).Type() == target:
		v.Field(0).Set(reflect.ValueOf(t))
	case target.ConvertibleTo(v.Type()):
		v.Set(reflect.ValueOf(t).Convert(v.Type()))
	}
}

// indirect makes what a pointer points to.
func indirect(v reflect.Value) reflect.Value {
	for v.Kind() == reflect.Pointer {
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		v = v.Elem()
	}
	return v
}

// setScalar reads s into v.
func setScalar(v reflect.Value, m *facts.Member, s string) error {
	switch m.Shape.Type { //nolint:exhaustive // the others are no scalars
	case facts.String:
		v = indirect(v)
		if v.Kind() != reflect.String {
			return fmt.Errorf("member %s: %w", m.Name, errScalar)
		}
		v.SetString(s)
	case facts.Boolean:
		b, err := strconv.ParseBool(strings.ToLower(strings.TrimSpace(s)))
		if err != nil {
			return errScalar
		}
		indirect(v).SetBool(b)
	case facts.Integer, facts.Long:
		bits := 64
		if m.Shape.Type == facts.Integer {
			bits = 32
		}
		n, err := strconv.ParseInt(strings.TrimSpace(s), 10, bits)
		if err != nil {
			return errScalar
		}
		indirect(v).SetInt(n)
	case facts.Float, facts.Double:
		f, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
		if err != nil {
			return errScalar
		}
		indirect(v).SetFloat(f)
	case facts.Timestamp:
		t, err := parseTime(strings.TrimSpace(s))
		if err != nil {
			return err
		}
		setTime(indirect(v), t)
	case facts.Blob:
		b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(s))
		if err != nil {
			return errScalar
		}
		indirect(v).SetBytes(b)
	default:
		return errScalar
	}
	return nil
}

// scalar writes v; ok is false when there is nothing to write.
func scalar(v reflect.Value, m *facts.Member) (s string, ok bool) {
	given := false
	for v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return "", false
		}
		v, given = v.Elem(), true
	}
	switch m.Shape.Type { //nolint:exhaustive // the others are no scalars
	case facts.String:
		return v.String(), given || v.Len() > 0
	case facts.Boolean:
		return strconv.FormatBool(v.Bool()), true
	case facts.Integer, facts.Long:
		return strconv.FormatInt(v.Int(), 10), true
	case facts.Float, facts.Double:
		return strconv.FormatFloat(v.Float(), 'g', -1, 64), true
	case facts.Timestamp:
		t := timeOf(v)
		return formatTime(t, timeFormat(m)), !t.IsZero()
	case facts.Blob:
		if v.Kind() == reflect.Slice && !v.IsNil() {
			return base64.StdEncoding.EncodeToString(v.Bytes()), true
		}
	}
	return "", false
}
