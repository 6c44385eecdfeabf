package costexplorer

import (
	"context"
	"math/big"
	"time"

	"clary/internal/api"
	apice "clary/internal/api/ce"
	"clary/internal/aws/apierr"
	"clary/internal/aws/op"
	"clary/internal/meter"
)

// GetCostForecast says what usage will come to.
func (s *Service) GetCostForecast(ctx context.Context, c op.Call, in *apice.GetCostForecastRequest) (*apice.GetCostForecastResponse, error) {
	if in.Metric == "USAGE_QUANTITY" || in.Metric == "NORMALIZED_USAGE_AMOUNT" {
		return nil, apierr.Validation("Metric %s is not supported for cost forecast. Use GetUsageForecast.", in.Metric)
	}
	f, err := s.forecast(ctx, c, in, "")
	if err != nil {
		return nil, err
	}
	unit := usd
	if f.unpriced {
		unit = incomplete
	}
	return f.answer(unit, dollars), nil
}

// GetUsageForecast says how much will be used of what has one unit.
func (s *Service) GetUsageForecast(ctx context.Context, c op.Call, in *apice.GetUsageForecastRequest) (*apice.GetUsageForecastResponse, error) {
	if in.Metric != "USAGE_QUANTITY" {
		return nil, apierr.Validation("Metric %s is not supported for usage forecast. Use USAGE_QUANTITY.", in.Metric)
	}
	ask := apice.GetCostForecastRequest(*in)
	flt, err := filter(in.Filter)
	if err != nil {
		return nil, err
	}
	if !asks(flt, "USAGE_TYPE") && !asks(flt, "USAGE_TYPE_GROUP") {
		return nil, apierr.Validation("A usage forecast requires a filter by USAGE_TYPE or USAGE_TYPE_GROUP, so that what is summed up has one unit.")
	}
	unit, err := s.unit(ctx, c, flt)
	if err != nil {
		return nil, err
	}
	f, err := s.forecast(ctx, c, &ask, unit)
	if err != nil {
		return nil, err
	}
	per, name := meter.Scale(unit)
	return (*apice.GetUsageForecastResponse)(f.answer(name, func(n int64) string { return trim(big.NewRat(n, per).FloatString(10)) })), nil
}

// unit is what usage that a filter selects is counted in.
func (s *Service) unit(ctx context.Context, c op.Call, f *meter.Filter) (string, error) {
	now := s.now().UTC()
	today := now.Truncate(day)
	unit, mixed := "", false
	err := s.each(ctx, question{span: span{today.AddDate(0, 0, -14), today.Add(day), daily}, account: c.Account, filter: f, now: now}, func(e *meter.Entry) {
		mixed = mixed || unit != "" && unit != e.Of.Unit
		unit = e.Of.Unit
	})
	switch {
	case err != nil:
		return "", err
	case mixed:
		return "", apierr.Validation("What the filter selects has several units: choose usage types of one.")
	case unit == "":
		return "", unavailable()
	}
	return unit, nil
}

func unavailable() error {
	return apierr.New(400, "DataUnavailableException", "Insufficient amount of historical data.")
}

// forecast is an answer before it is written.
type forecast struct {
	span
	parts    []meter.Outlook
	total    meter.Outlook
	unpriced bool
}

func (s *Service) forecast(ctx context.Context, c op.Call, in *apice.GetCostForecastRequest, unit string) (*forecast, error) {
	now := s.now().UTC()
	today := now.Truncate(day)
	p, err := interval(in.TimePeriod, in.Granularity)
	switch {
	case in.Granularity == hourly:
		return nil, apierr.Validation("Granularity should be either 'MONTHLY' or 'DAILY'")
	case err != nil:
		return nil, err
	case !p.from.Before(p.to):
		return nil, apierr.Validation("Requested Start: %s must be before requested End: %s", in.TimePeriod.Start, in.TimePeriod.End)
	case p.from.After(today):
		return nil, apierr.Validation("Start date must be equal to or no later than the current date, %s.", today.Format(time.DateOnly))
	case !p.to.After(today):
		return nil, apierr.Validation("End date must be later than the current date, %s.", today.Format(time.DateOnly))
	case p.from.Before(today.AddDate(0, -14, 0)):
		return nil, apierr.Validation("You haven't enabled historical data beyond 14 months.")
	case in.Granularity == daily && p.to.After(today.AddDate(0, 3, 1)):
		return nil, apierr.Validation("A daily forecast supports up to 3 months from the current date.")
	case p.to.After(today.AddDate(0, 18, 1)):
		return nil, apierr.Validation("A monthly forecast supports up to 18 months from the current date.")
	}
	flt, err := filter(in.Filter)
	if err != nil {
		return nil, err
	}
	if err := view(c, in.BillingViewArn); err != nil {
		return nil, err
	}
	sums := s.sums
	if flt != nil {
		sums = sums.Only(flt)
	}
	q := meter.ForecastQuery{Account: c.Account, Now: now, Level: int(api.Value(in.PredictionIntervalLevel)), Unit: unit}
	q.From, q.To = p.from, p.to
	whole, err := sums.Forecast(ctx, q)
	if err == nil && whole.None {
		err = unavailable()
	}
	if err != nil {
		return nil, err
	}
	out := &forecast{span: p, total: whole.Total, unpriced: whole.Unpriced, parts: whole.Days}
	if p.cut == daily {
		return out, nil
	}
	out.parts = nil
	for _, t := range p.cuts() {
		q.From, q.To = t, p.after(t)
		month, err := sums.Forecast(ctx, q)
		if err != nil {
			return nil, err
		}
		out.parts = append(out.parts, month.Total)
	}
	return out, nil
}

func (f *forecast) answer(unit string, text func(int64) string) *apice.GetCostForecastResponse {
	out := &apice.GetCostForecastResponse{Total: &apice.MetricValue{Amount: text(f.total.Mean), Unit: unit}}
	for i, t := range f.cuts() {
		x := f.parts[i]
		out.ForecastResultsByTime = append(out.ForecastResultsByTime, apice.ForecastResult{
			TimePeriod: f.interval(t, f.after(t)), MeanValue: text(x.Mean),
			PredictionIntervalLowerBound: text(x.Low), PredictionIntervalUpperBound: text(x.High),
		})
	}
	return out
}
