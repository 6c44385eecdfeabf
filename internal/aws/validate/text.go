package validate

import (
	"encoding/base64"
	"math"
	"net/http"
	"strconv"
	"time"

	"clary/internal/aws/facts"
)

// Scalar puts a text on the JSON type of its shape, for the protocols that
// have values in forms, paths, queries and headers. ok is false when the text
// is no such value.
func Scalar(s *facts.Shape, v string) (n Node, ok bool) {
	number := Node{Kind: Number}
	switch s.Type {
	case facts.Boolean:
		switch v {
		case "true":
			return Node{Kind: True}, true
		case "false":
			return Node{Kind: False}, true
		}
		return number, false
	case facts.Integer, facts.Long:
		bits := 64
		if s.Type == facts.Integer {
			bits = 32
		}
		i, err := strconv.ParseInt(v, 10, bits)
		number.Text = strconv.FormatInt(i, 10)
		return number, err == nil
	case facts.Float, facts.Double:
		f, err := strconv.ParseFloat(v, 64)
		number.Text = strconv.FormatFloat(f, 'g', -1, 64)
		return number, err == nil && f-f == 0
	case facts.Timestamp:
		number.Text, ok = timestamp(v)
		return number, ok
	case facts.Blob:
		_, err := base64.StdEncoding.DecodeString(v)
		return Node{Kind: Text, Text: v}, err == nil
	case facts.String:
		return Node{Kind: Text, Text: v}, true
	default:
		return Node{}, false
	}
}

// timestamp gives epoch seconds of any of the three formats.
func timestamp(v string) (string, bool) {
	t, err := time.Parse(time.RFC3339, v)
	if err != nil {
		t, err = http.ParseTime(v)
	}
	if err == nil {
		return strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', 3, 64), true
	}
	f, err := strconv.ParseFloat(v, 64)
	if err != nil || math.IsNaN(f) || math.Abs(f) >= 253402300800 { // the year 10000
		return "", false
	}
	return strconv.FormatFloat(f, 'f', 3, 64), true
}
