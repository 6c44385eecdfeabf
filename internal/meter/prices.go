package meter

import (
	"bytes"
	_ "embed"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math/big"
	"slices"
	"strings"
	"time"
)

//go:embed data/prices.csv
var listPrices []byte

// Price is what Per units cost, in pico-dollars. An hourly price is kept as
// the price of 3600 instance-seconds, so nothing is lost before an amount is
// rounded.
type Price struct {
	Pico    int64
	Per     int64
	Version string // the date of the reading
}

// anyRegion stands for the regions without a row of their own.
const anyRegion = "*"

type priceKey struct{ region, component, instanceType string }

// Prices are the rows of one or more price files.
type Prices struct {
	rows map[priceKey][]Price // by Version
	unit map[priceKey]string
}

// ListPrices are the prices that come with Clary.
func ListPrices() (*Prices, error) {
	return ReadPrices(bytes.NewReader(listPrices), "built-in prices")
}

var priceHeader = []string{"region", "component", "unit", "instance_type", "usd_per_unit", "as_of"}

// ReadPrices reads a price file: CSV with a header row of region, component,
// unit (instance-hour, GB-month, request), instance_type, usd_per_unit, as_of
// (YYYY-MM-DD) and, if you like, basis. Region * stands for all without rows
// of their own.
func ReadPrices(r io.Reader, name string) (*Prices, error) {
	c := csv.NewReader(r)
	c.TrimLeadingSpace = true
	c.FieldsPerRecord = -1
	head, err := c.Read()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if len(head) < len(priceHeader) || !slices.Equal(head[:len(priceHeader)], priceHeader) {
		return nil, fmt.Errorf("%s: the first row must be %s", name, strings.Join(priceHeader, ","))
	}
	p := &Prices{rows: make(map[priceKey][]Price), unit: make(map[priceKey]string)}
	for {
		row, err := c.Read()
		if errors.Is(err, io.EOF) {
			return p, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		line, _ := c.FieldPos(0)
		if err := p.add(row); err != nil {
			return nil, fmt.Errorf("%s: line %d: %w", name, line, err)
		}
	}
}

// components are what is charged for. A price of anything else is a slip of
// the pen, and what it was meant for would go without.
func components() []string {
	return []string{"hosting", "notebook", "processing", "training", "transform"}
}

func (p *Prices) add(row []string) error {
	if len(row) < len(priceHeader) {
		return fmt.Errorf("%d columns, want %d", len(row), len(priceHeader))
	}
	k := priceKey{row[0], row[1], row[3]}
	if k.region == "" || k.component == "" {
		return errors.New("a price needs region and component")
	}
	if !slices.Contains(components(), k.component) {
		return fmt.Errorf("unknown component %q: it is one of %s", k.component, strings.Join(components(), ", "))
	}
	var unit string
	var per int64
	switch row[2] {
	case "instance-hour":
		unit, per = InstanceSecond, 3600
	case "GB-month":
		// AWS prorates storage over months of 30 days.
		unit, per = GBSecond, 30*24*3600
		if k.instanceType == "volume" {
			k.component, k.instanceType = k.component+"-volume", ""
		}
	case "request":
		unit, per = Request, 1
	default:
		return fmt.Errorf("unknown unit %q: it is one of instance-hour, GB-month, request", row[2])
	}
	pico, err := picoDollars(row[4])
	if err != nil {
		return err
	}
	if _, err := time.Parse(time.DateOnly, row[5]); err != nil {
		return fmt.Errorf("as_of %q is not YYYY-MM-DD", row[5])
	}
	if u, ok := p.unit[k]; ok && u != unit {
		return fmt.Errorf("%s %s is priced per %s elsewhere", k.component, k.instanceType, u)
	}
	for _, other := range p.rows[k] {
		if other.Version == row[5] {
			return fmt.Errorf("%s %s of %s has two prices in %s", k.component, k.instanceType, row[5], k.region)
		}
	}
	p.unit[k] = unit
	p.rows[k] = append(p.rows[k], Price{Pico: pico, Per: per, Version: row[5]})
	slices.SortFunc(p.rows[k], func(a, b Price) int { return strings.Compare(a.Version, b.Version) })
	return nil
}

// picoDollars reads a decimal number of dollars.
func picoDollars(s string) (int64, error) {
	bad := fmt.Errorf("%q is no price in dollars with at most 12 decimals", s)
	if strings.Trim(s, "0123456789.") != "" {
		return 0, bad
	}
	r, ok := new(big.Rat).SetString(s)
	if !ok {
		return 0, bad
	}
	r.Mul(r, new(big.Rat).SetInt64(1e12))
	if !r.IsInt() || !r.Num().IsInt64() {
		return 0, bad
	}
	return r.Num().Int64(), nil
}

// With gives p with every price that other names replaced by other's.
func (p *Prices) With(other *Prices) *Prices {
	out := &Prices{rows: make(map[priceKey][]Price), unit: make(map[priceKey]string)}
	for _, from := range []*Prices{p, other} {
		for k, rows := range from.rows {
			out.rows[k], out.unit[k] = rows, from.unit[k]
		}
	}
	return out
}

// Price finds what a unit costs on a day (YYYY-MM-DD): the newest price that
// is not of a later day, or the oldest one, since a reading's date is not the
// day from which the price was valid.
func (p *Prices) Price(region, component, instanceType, unit, day string) (Price, bool) {
	for _, r := range []string{region, anyRegion} {
		k := priceKey{r, component, instanceType}
		rows := p.rows[k]
		if len(rows) == 0 || p.unit[k] != unit {
			continue
		}
		best := rows[0]
		for _, row := range rows[1:] {
			if row.Version <= day {
				best = row
			}
		}
		return best, true
	}
	return Price{}, false
}
