// Package costexplorer serves Cost Explorer: what an account's usage came to,
// by time and by whatever it is told apart by, and what it will come to. All of
// it is read from the ledger through the meter, to the micro-dollar; nothing is
// kept here. It must never show usage without a price as free: what lacks such
// usage says so in its unit, and the usage types are named beside the answer.
// Start at Operations, then usage.go.
package costexplorer

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"time"

	"github.com/go-json-experiment/json"

	apice "clary/internal/api/ce"
	"clary/internal/aws/apierr"
	"clary/internal/aws/op"
	"clary/internal/meter"
	"clary/internal/resource"
)

// Ledger is where usage is read of which hours are asked for.
type Ledger interface {
	ListUsage(ctx context.Context, q resource.UsageQuery) ([]resource.Usage, error)
}

// Service is Cost Explorer.
type Service struct {
	ledger Ledger
	sums   *meter.Sums
	books  []meter.Book // of the sums; the first one counts
	now    func() time.Time
	page   int // groups in an answer
}

// New serves what sums say by the first of their books.
func New(ledger Ledger, sums *meter.Sums, books []meter.Book) *Service {
	return &Service{ledger: ledger, sums: sums, books: books, now: time.Now, page: 5000}
}

// Name is the service's name.
func (*Service) Name() string { return "ce" }

// Operations lists what is served.
func (s *Service) Operations() map[string]op.Handler {
	return map[string]op.Handler{
		"GetCostAndUsage":              op.Op(s.GetCostAndUsage),
		"GetCostAndUsageWithResources": op.Op(s.GetCostAndUsageWithResources),
		"GetCostForecast":              op.Op(s.GetCostForecast),
		"GetUsageForecast":             op.Op(s.GetUsageForecast),
		"GetDimensionValues":           op.Op(s.GetDimensionValues),
		"GetTags":                      op.Op(s.GetTags),
	}
}

// view checks that a billing view is the only one there is.
func view(c op.Call, name string) error {
	if own := "arn:aws:billing::" + c.Account + ":billingview/primary"; name != "" && name != own {
		return apierr.New(400, "ResourceNotFoundException", "The billing view %s does not exist; there is %s.", name, own)
	}
	return nil
}

// token says where a page ends, and of which request it is.
type token struct {
	Of     []byte
	Period int       `json:",omitzero"`
	After  [2]string `json:",omitzero"`
	Skip   int       `json:",omitzero"`
}

// sign names a request that has no token.
func sign(in any) []byte {
	b, err := json.Marshal(in, json.Deterministic(true))
	if err != nil {
		return nil // it came as JSON
	}
	sum := sha256.Sum256(b)
	return sum[:8]
}

func (t token) String() string {
	b, _ := json.Marshal(t)
	return base64.RawURLEncoding.EncodeToString(b)
}

// from reads a token of the same request.
func from(text string, of []byte) (t token, err error) {
	if text == "" {
		return token{Of: of}, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err == nil {
		err = json.Unmarshal(b, &t)
	}
	if err != nil || t.Period < 0 || t.Skip < 0 {
		return t, apierr.New(400, "InvalidNextTokenException", "The pagination token is invalid. Try again without a pagination token.")
	}
	if string(t.Of) != string(of) {
		return t, apierr.New(400, "RequestChangedException", "Your request parameters changed between pages. Try again with the old parameters or without a pagination token.")
	}
	return t, nil
}

// attributes names usage types without a price.
func attributes(unpriced map[string]bool) []apice.DimensionValuesWithAttributes {
	out := []apice.DimensionValuesWithAttributes{}
	for _, u := range sorted(unpriced) {
		out = append(out, apice.DimensionValuesWithAttributes{Value: u, Attributes: map[string]string{
			"description": "No price is known for this usage: amounts in " + incomplete + " are without it.",
		}})
	}
	return out
}

// Witness tells what months cost as GetCostAndUsage does.
func (s *Service) Witness() meter.Witness {
	return meter.Witness{Name: "Cost Explorer", Month: func(ctx context.Context, account string, from, to, now time.Time) (int64, error) {
		cells, _, err := s.cells(ctx, question{span: span{from, to, daily}, account: account, now: now, groups: []grouping{
			func(u *resource.Usage) string { return value(u, "USAGE_TYPE") },
		}})
		var sum int64
		for _, part := range cells {
			for _, c := range part {
				sum += c.micro
			}
		}
		return sum, err
	}}
}
