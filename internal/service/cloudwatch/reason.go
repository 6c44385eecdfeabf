package cloudwatch

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	apicw "clary/internal/api/cloudwatch"
)

const (
	reasonCreated = "Unchecked: Initial alarm creation"
	dateForm      = "2006-01-02T15:04:05.000-0700"
)

// number as AWS writes one: Java's text of a double.
func double(v float64) string {
	if a := math.Abs(v); v != 0 && (a < 1e-3 || a >= 1e7) {
		s := strconv.FormatFloat(v, 'E', -1, 64)
		mant, exp, _ := strings.Cut(s, "E")
		if !strings.Contains(mant, ".") {
			mant += ".0"
		}
		n, _ := strconv.Atoi(exp)
		return mant + "E" + strconv.Itoa(n)
	}
	s := strconv.FormatFloat(v, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func were(n int) string {
	if n == 1 {
		return "was"
	}
	return "were"
}

func operatorWords(op string) string {
	switch op {
	case "GreaterThanThreshold":
		return "greater than"
	case "GreaterThanOrEqualToThreshold":
		return "greater than or equal to"
	case "LessThanThreshold":
		return "less than"
	}
	return "less than or equal to"
}

// reason says why an evaluation came to its state.
func (r *rule) reason(v verdict, in *apicw.PutMetricAlarmInput) string {
	if v.state == stateInsufficient {
		return fmt.Sprintf("Insufficient Data: %s %s unknown.", count(v.lack, "datapoint"), were(v.lack))
	}
	var shown []string
	for _, b := range v.used {
		if b.breaches == (v.state == stateAlarm) {
			shown = append(shown, fmt.Sprintf("%s (%s)", double(b.value), time.Unix(b.start*60, 0).UTC().Format("02/01/06 15:04:05")))
		}
	}
	filled := ""
	if as := map[string]string{treatBreaching: "Breaching", treatNotBreaching: "NonBreaching"}[r.missing]; as != "" && v.lack > 0 {
		filled = fmt.Sprintf(" and %s %s treated as [%s]", count(v.lack, "missing datapoint"), were(v.lack), as)
	}
	if len(shown) == 0 {
		some := "no datapoints were"
		if n := len(v.used); n > 0 {
			some = count(n, "datapoint") + " " + were(n)
		}
		return fmt.Sprintf("Threshold Crossed: %s received for %s%s.", some, count(r.n, "period"), filled)
	}
	not := ""
	if v.state == stateOK {
		not = "not "
	}
	which, least := count(len(shown), "datapoint"), ""
	if in.DatapointsToAlarm != nil {
		which = fmt.Sprintf("%d out of the last %d datapoints", len(shown), r.n)
		need, way := r.m, "OK -> ALARM"
		if v.state == stateOK {
			need, way = r.n-r.m+1, "ALARM -> OK"
		}
		least = fmt.Sprintf(" (minimum %s for %s transition)", count(need, "datapoint"), way)
	}
	return fmt.Sprintf("Threshold Crossed: %s [%s] %s %s%s the threshold (%s)%s%s.",
		which, strings.Join(shown, ", "), were(len(shown)), not, operatorWords(r.operator), double(r.threshold), filled, least)
}

// javaNumber is a number in JSON as AWS writes it.
type javaNumber float64

// MarshalJSON implements json.Marshaler.
func (n javaNumber) MarshalJSON() ([]byte, error) { return []byte(double(float64(n))), nil }

type reasonData struct {
	Version   string               `json:"version"`
	QueryDate string               `json:"queryDate"`
	StartDate string               `json:"startDate,omitzero"`
	Unit      string               `json:"unit,omitzero"`
	Statistic string               `json:"statistic"`
	Period    int64                `json:"period"`
	Recent    []javaNumber         `json:"recentDatapoints"`
	Threshold javaNumber           `json:"threshold"`
	Evaluated []evaluatedDatapoint `json:"evaluatedDatapoints"`
}

type evaluatedDatapoint struct {
	Timestamp string      `json:"timestamp"`
	Samples   *javaNumber `json:"sampleCount,omitzero"`
	Value     *javaNumber `json:"value,omitzero"`
}

// mostEvaluated keeps the data below the 4,000 characters that they may have.
const mostEvaluated = 20

// data are the reason as a machine reads it.
func (r *rule) data(v verdict, now time.Time) (string, error) {
	d := reasonData{
		Version: "1.0", QueryDate: now.UTC().Format(dateForm), Unit: r.Unit, Statistic: r.Stat, Period: r.Period,
		Recent: []javaNumber{}, Threshold: javaNumber(r.threshold), Evaluated: []evaluatedDatapoint{},
	}
	for i, b := range v.used {
		if i == mostEvaluated {
			break
		}
		d.Recent = append([]javaNumber{javaNumber(b.value)}, d.Recent...) // the oldest first
		d.StartDate = time.Unix(b.start*60, 0).UTC().Format(dateForm)
	}
	for i, b := range v.last {
		if i == mostEvaluated {
			break
		}
		e := evaluatedDatapoint{Timestamp: time.Unix(b.start*60, 0).UTC().Format(dateForm)}
		if b.have {
			n, val := javaNumber(b.point.Count), javaNumber(b.value)
			e.Samples, e.Value = &n, &val
		}
		d.Evaluated = append(d.Evaluated, e)
	}
	b, err := json.Marshal(d)
	return string(b), err
}
