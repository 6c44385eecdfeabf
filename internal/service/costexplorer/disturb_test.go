package costexplorer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/big"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	apice "clary/internal/api/ce"
	"clary/internal/meter"
	"clary/internal/resource"
	"clary/internal/store"
	"clary/internal/store/sqlite"
)

// event is of a resource, at a time of the machine being awake.
type event struct {
	at   time.Duration
	id   int // of the resource
	n    int // of the interval
	kind int // 0 opens, 1 closes, 2 tags
	tags map[string]string
}

// story is what happened to some resources: the truth, in the time that the
// machine was awake.
func story(rng *rand.Rand) (out []event) {
	for id := range 6 {
		t := time.Duration(rng.Int64N(int64(30 * time.Hour)))
		for n := range 1 + rng.IntN(4) {
			out = append(out, event{at: t, id: id, n: n + 1})
			end := t + time.Duration(rng.Int64N(int64([]time.Duration{3 * time.Minute, 20 * time.Hour}[rng.IntN(2)])))
			if rng.IntN(2) == 0 {
				out = append(out, event{at: t + (end-t)/2, id: id, kind: 2, tags: map[string]string{"team": string(rune('a' + rng.IntN(3)))}})
			}
			out = append(out, event{at: end, id: id, n: n + 1, kind: 1})
			t = end + time.Duration(rng.Int64N(int64(5*time.Hour)))
		}
	}
	slices.SortStableFunc(out, func(a, b event) int { return cmp.Compare(a.at, b.at) })
	return out
}

// world replays a story onto a ledger.
type world struct {
	t       *testing.T
	rng     *rand.Rand
	path    string
	db      *sqlite.Store
	wall    time.Duration // by how much the wall clock is off the time awake: steps and sleep
	anchors map[string]meter.Anchor
	kills   bool
}

func (w *world) open() {
	db, err := sqlite.Open(w.path, sqlite.Options{})
	if err != nil {
		w.t.Fatal(err)
	}
	w.db = db
}

// UsageSince is that of whatever server runs.
func (w *world) UsageSince(ctx context.Context, account string, from, to time.Time, since int64, f func(resource.Usage)) (int64, error) {
	return w.db.UsageSince(ctx, account, from, to, since, f)
}

var errKilled = errors.New("killed")

// change commits fn: with kills it is tried, lost, done and done once more.
func (w *world) change(fn func(store.Tx) error) {
	for w.kills && w.rng.IntN(3) == 0 {
		err := w.db.Update(w.t.Context(), func(tx store.Tx) error { return errors.Join(fn(tx), errKilled) })
		if !errors.Is(err, errKilled) {
			w.t.Fatal(err)
		}
		if w.rng.IntN(4) == 0 {
			_ = w.db.Close()
			w.open()
		}
	}
	for again := true; again; again = w.kills && w.rng.IntN(3) == 0 {
		if err := w.db.Update(w.t.Context(), fn); err != nil {
			w.t.Fatal(err)
		}
	}
}

const origin = "2026-10-10T00:00:00Z"

func (w *world) play(events []event) (now time.Time) {
	for _, e := range events {
		now = at(origin).Add(e.at + w.wall)
		m := meter.Moment{Boot: "b", Awake: int64(e.at)}
		name := fmt.Sprint("thing-", e.id)
		id := meter.ID(name, "training", e.n)
		w.change(func(tx store.Tx) error {
			switch e.kind {
			case 0:
				u := use("TrainingJob", name, "training", "ml.m5.large", now.Format(time.RFC3339Nano), "", map[string]string{"team": "a"})
				u.ID, u.Quantity = id, int64(1+e.id%2)
				if _, ok := w.anchors[id]; !ok {
					w.anchors[id] = meter.Anchor{At: u.Start, Of: m}
				}
				return meter.Open(tx, u)
			case 1:
				end, ok := w.anchors[id].Place(m)
				if !ok {
					return errors.New("no place")
				}
				return meter.Close(tx, id, end)
			}
			return tx.TagUsage(name, e.tags)
		})
	}
	return now
}

// However a server is killed and started anew, its transactions lost and
// repeated, the clock set and the machine put to sleep: what happened costs the
// same, and everything that tells of money says so, by whatever groups.
func TestDisturbancesCostNothing(t *testing.T) {
	t.Parallel()
	// 0.36 USD an hour: 100 micro-dollars a second, exact on whatever day.
	prices, err := meter.ReadPrices(strings.NewReader("region,component,unit,instance_type,usd_per_unit,as_of\n*,training,instance-hour,ml.m5.large,0.36,2026-01-01\n"), "own")
	if err != nil {
		t.Fatal(err)
	}
	books := []meter.Book{meter.MinuteBook(prices), meter.AWSBook(prices)}
	for seed := range uint64(6) {
		events := story(rand.New(rand.NewPCG(seed, 1)))
		var want [2]int64
		for round := range 3 {
			rng := rand.New(rand.NewPCG(seed, uint64(2+round)))
			w := &world{t: t, rng: rng, path: filepath.Join(t.TempDir(), "db"), anchors: map[string]meter.Anchor{}, kills: round > 0}
			w.open()
			sums := meter.NewSums(w, books)
			look := func(now time.Time) {
				if _, err := sums.Spend(t.Context(), meter.SpendQuery{Account: "123456789012", From: at("2026-10-01T00:00:00Z"), To: at("2026-11-01T00:00:00Z"), Now: now}); err != nil {
					t.Fatal(err)
				}
			}
			var now time.Time
			for rest := events; len(rest) > 0; {
				n := min(1+rng.IntN(5), len(rest))
				now = w.play(rest[:n])
				rest = rest[n:]
				if round == 0 {
					continue
				}
				switch rng.IntN(5) {
				case 0: // the clock is set
					w.wall += time.Duration(rng.Int64N(int64(40*time.Hour))) - 20*time.Hour
				case 1: // the machine sleeps
					w.wall += time.Duration(rng.Int64N(int64(10 * time.Hour)))
				case 2: // the server starts anew
					if err := w.db.Close(); err != nil {
						t.Fatal(err)
					}
					w.open()
					sums = meter.NewSums(w, books)
				case 3:
					look(now)
				}
			}
			if limit := at("2026-10-20T00:00:00Z"); now.Before(limit) {
				now = limit
			}
			sums = meter.NewSums(w, books)
			look(now)
			us, err := w.db.ListUsage(t.Context(), resource.UsageQuery{Account: "123456789012"})
			if err != nil {
				t.Fatal(err)
			}
			for i, b := range books {
				got := meter.Bill(us, b, time.Time{}, time.Time{}, now).MicroUSD
				if round == 0 {
					want[i] = got
				}
				if got != want[i] || got == 0 {
					t.Fatalf("seed %d, round %d, book %s: %d, undisturbed %d", seed, round, b.Name, got, want[i])
				}
			}
			s := New(w.db, sums, books)
			s.now = func() time.Time { return now }
			w.agree(s, now, want[0], books)
			_ = w.db.Close()
		}
	}
}

// agree holds that Cost Explorer and the second reckoning say what it cost.
func (w *world) agree(s *Service, now time.Time, want int64, books []meter.Book) {
	w.t.Helper()
	for _, in := range []*apice.GetCostAndUsageRequest{
		ask("2026-10-01", "2026-11-01", monthly),
		ask("2026-10-01", "2026-11-01", daily, apice.GroupDefinition{Type: "TAG", Key: "team"}, dim("USAGE_TYPE")),
		ask(now.AddDate(0, 0, -13).Format(time.DateOnly)+"T00:00:00Z", "2026-11-01T00:00:00Z", hourly, dim("REGION")),
	} {
		out, err := s.GetCostAndUsage(w.t.Context(), caller(), in)
		if err != nil {
			w.t.Fatal(err)
		}
		sum := new(big.Rat)
		for _, r := range out.ResultsByTime {
			for _, g := range append(r.Groups, apice.Group{Metrics: r.Total}) {
				if n, ok := new(big.Rat).SetString(g.Metrics["UnblendedCost"].Amount); ok {
					sum.Add(sum, n)
				}
			}
		}
		if sum.Cmp(big.NewRat(want, 1_000_000)) != 0 {
			w.t.Fatalf("%s by %v: %s, want %d micro-dollars", in.Granularity, in.GroupBy, sum.FloatString(6), want)
		}
	}
	p, err := meter.Verify(w.t.Context(), known{w.db}, books, "123456789012", now, s.sums.Witness(), s.Witness())
	for _, c := range p.Checks {
		// A clock that was set back makes intervals overlap which did not.
		if !c.OK && !strings.Contains(c.Name, "overlap") {
			w.t.Fatalf("%+v, %v", c, err)
		}
	}
	if err != nil || p.Books[0].Again != want {
		w.t.Fatalf("%+v, %v", p, err)
	}
}

// known is a ledger of which every resource is there.
type known struct{ store.Store }

func (known) Get(_ context.Context, k resource.Key) (*resource.Record, error) {
	return &resource.Record{Key: k, UID: k.Name, Phase: "InProgress"}, nil
}
