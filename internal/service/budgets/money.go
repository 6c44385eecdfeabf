package budgets

import (
	"errors"
	"math"
	"math/big"
	"strconv"
	"strings"

	apib "clary/internal/api/budgets"
)

// million is how finely amounts are kept: a dollar has so many parts.
const million = 1_000_000

const usd = "USD"

// micro reads an amount, to the millionth.
func micro(s string) (int64, error) {
	if s == "" || strings.Trim(s, "0123456789.") != "" {
		return 0, errors.New("no amount")
	}
	r, ok := new(big.Rat).SetString(s)
	if !ok {
		return 0, errors.New("no amount")
	}
	r.Mul(r, new(big.Rat).SetInt64(million))
	n := new(big.Int).Quo(r.Num(), r.Denom())
	if !n.IsInt64() {
		return 0, errors.New("too large")
	}
	return n.Int64(), nil
}

// decimal is an amount of millionths as the API writes it.
func decimal(n int64) string {
	s := strings.TrimRight(strconv.FormatFloat(float64(n%million)/million, 'f', 6, 64), "0")
	_, frac, _ := strings.Cut(s, ".")
	if frac == "" {
		frac = "0"
	}
	return strconv.FormatInt(n/million, 10) + "." + frac
}

// dollars is an amount as a person reads it: to the cent, and finer where it is
// less than ten of them.
func dollars(n int64) string {
	f := float64(n) / million
	if n%10_000 != 0 && n < 100_000 {
		return "$" + strconv.FormatFloat(f, 'f', 4, 64)
	}
	return "$" + strconv.FormatFloat(f, 'f', 2, 64)
}

// price is an amount with all its digits, and cents.
func price(n int64) string {
	s := decimal(n)
	if at := strings.IndexByte(s, '.'); len(s)-at == 2 {
		s += "0"
	}
	return "$" + s
}

func round(f float64) int64 {
	if f >= math.MaxInt64 {
		return math.MaxInt64
	}
	return int64(math.Round(f))
}

// amount is what the budget's unit makes of millionths.
func (b *budget) amount(n int64) *apib.Spend { return &apib.Spend{Amount: decimal(n), Unit: b.unit()} }

func (b *budget) unit() string {
	if b.Budget.BudgetLimit != nil {
		return b.Budget.BudgetLimit.Unit
	}
	for _, l := range b.Budget.PlannedBudgetLimits {
		return l.Unit
	}
	return usd
}

// words are an amount as a message says it.
func (b *budget) words(n int64) string {
	if b.Budget.BudgetType == typeCost {
		return dollars(n)
	}
	return strings.TrimSuffix(decimal(n), ".0") + " " + b.unit()
}
