package server

import (
	"context"
	"net/url"

	"clary/internal/audit"
	"clary/internal/aws/op"
	"clary/internal/console"
	"clary/internal/feature/charges"
	"clary/internal/feature/coderepository"
	"clary/internal/feature/lifecycle"
	"clary/internal/feature/notebook"
	"clary/internal/feature/processing"
	"clary/internal/feature/training"
	"clary/internal/feature/transform"
	"clary/internal/forgotten"
	"clary/internal/logs"
	"clary/internal/meter"
	"clary/internal/outbox"
	"clary/internal/resource"
	"clary/internal/service/budgets"
	"clary/internal/service/cloudwatch"
	"clary/internal/service/sns"
	"clary/internal/serving"
)

// openConsole makes the pages. They ask operations through the front, which
// is made after them.
func (r *rooms) openConsole(books []meter.Book) error {
	var err error
	r.console, err = console.New(console.Config{
		Calls: calls{r}, Costs: ledger{forgottenPath{usagePath{store: r.store, auth: r.ids, books: books, idle: r.notebooks.Idle}, r.metrics}, r.sums, r.notebooks},
		Keys: r.ids, Store: r.store, Region: r.cfg.Region, Log: r.log,
		Mail: r.mail(),
		Changes: func(ctx context.Context) <-chan struct{} {
			return r.changes(ctx, budgets.Kind, budgets.KindAction, outbox.KindDelivery, sns.KindTopic, sns.KindSubscription, cloudwatch.KindHistory)
		},
		Grown: func(ctx context.Context, account, region, group, stream string) <-chan struct{} {
			return r.logs.Follow(ctx, logs.Stream{Account: account, Region: region, Group: group, Name: stream})
		},
	})
	return err
}

// mail is what pages say of letters and of other messages on their way.
func (r *rooms) mail() console.Mail {
	m := console.Mail{From: r.cfg.MailFrom, Deliveries: func(ctx context.Context, c op.Call, phase, token string) ([]outbox.Told, string, error) {
		d, err := deliveriesPath{r.store, r.ids}.list(ctx, url.Values{"region": {"*"}, "phase": {phase}, "token": {token}}, c)
		if err != nil {
			return nil, "", err
		}
		return d.Deliveries, d.NextToken, nil
	}}
	if r.mailer != nil {
		m.Server = r.mailer.String()
	}
	return m
}

// changes signals when a record that costs, or one of more, may have changed.
func (r *rooms) changes(ctx context.Context, more ...resource.Kind) <-chan struct{} {
	out := make(chan struct{}, 1)
	keys := r.store.Watch(ctx, append(more, training.Kind, processing.Kind, transform.Kind, notebook.Kind, coderepository.Kind, lifecycle.Kind,
		serving.KindModel, serving.KindConfig, serving.KindEndpoint)...)
	go func() {
		defer close(out)
		for range keys {
			select {
			case out <- struct{}{}:
			default: // one is waiting already
			}
		}
	}()
	return out
}

// charges is what publishes what is spent.
func (r *rooms) charges(ctx context.Context) charges.Config {
	return charges.Config{Account: r.cfg.Account, Settle: budgets.Settle, Sums: r.sums, Ledger: r.store, Metrics: r.metrics, Changes: r.changes(ctx), Log: r.log}
}

// calls is the front, once there is one.
type calls struct{ r *rooms }

func (c calls) Call(ctx context.Context, call op.Call, in any) (any, error) {
	return c.r.front.Call(ctx, call, in)
}

func (c calls) Serves(service, operation string) bool { return c.r.front.Serves(service, operation) }

// ledger reads usage for the console, under the same permissions as for the
// command line.
type ledger struct {
	forgottenPath
	sums      *meter.Sums
	notebooks *notebook.Notebooks
}

func (l ledger) Costs(ctx context.Context, c op.Call, q resource.UsageQuery) (console.Bills, error) {
	q.Account = c.Account
	kinds, err := l.kinds(ctx, c, q.Kind)
	if err != nil {
		return console.Bills{}, err
	}
	usage, bills, now, err := l.bills(ctx, q, kinds)
	out := console.Bills{Usage: usage, By: bills, Now: now}
	if err == nil && q.Kind == notebook.Kind {
		out.Idle = make(map[string]console.Idle)
		for name, i := range l.notebooks.Idle(ctx, c.Account, q.Region, q.Names) {
			out.Idle[name] = console.Idle(i)
		}
	}
	return out, err
}

func (l ledger) Spend(ctx context.Context, c op.Call, q meter.SpendQuery) (meter.Spend, error) {
	kinds, err := l.kinds(ctx, c, "")
	if err != nil {
		return meter.Spend{}, err
	}
	q.Account, q.Kinds = c.Account, kinds
	spent, err := l.sums.Spend(ctx, q)
	if len(kinds) == len(kindActions()) {
		spent.Kinds = nil // nothing is left out
	}
	return spent, err
}

func (l ledger) Forgotten(ctx context.Context, c op.Call, region string) (*forgotten.Report, error) {
	return l.find(ctx, c, region, 0)
}

func (l ledger) Price(u resource.Usage) map[string]meter.Statement {
	by := make(map[string]meter.Statement, len(l.books))
	for _, b := range l.books {
		by[b.Name] = meter.Bill([]resource.Usage{u}, b, u.Start, u.End, u.End)
	}
	return by
}

// recorder keeps the calls that change something.
func (r *rooms) recorder() *audit.Recorder {
	return &audit.Recorder{Store: r.store, Log: r.log, BucketRegion: func(ctx context.Context, bucket string) string {
		b, err := r.blobs.Bucket(ctx, bucket)
		if err != nil {
			return "" // there is none, or the call will fail by the same error
		}
		return b.Region
	}}
}
