package storetest

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"clary/internal/resource"
	"clary/internal/store"
)

func pending(name string, at time.Time) *store.Pending {
	return &store.Pending{
		Event: resource.Event{Account: "1", Region: "r", ID: resource.NewUID(), At: at, Name: name, Source: "s", User: "u", ResourceName: "n-" + name},
		Render: func(seq int64, previous string) ([]byte, error) {
			return fmt.Appendf(nil, "%d %s %s", seq, name, previous), nil
		},
	}
}

func events(t testing.TB, s store.Events, q resource.EventQuery) []resource.Event {
	t.Helper()
	var out []resource.Event
	q.Account, q.Region = "1", "r"
	for {
		page, next, err := s.ListEvents(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, page...)
		if next == "" {
			return out
		}
		q.Token = next
	}
}

// Events checks the log of calls. s also takes records.
func Events(t *testing.T, s interface {
	store.Store
	store.Events
},
) {
	ctx := t.Context()
	key := func(n string) resource.Key { return resource.Key{Account: "1", Region: "r", Kind: "K", Name: n} }
	put := func(ctx context.Context, n string, fail error) error {
		return s.Update(ctx, func(tx store.Tx) error {
			if err := tx.Put(&resource.Record{Key: key(n), UID: resource.NewUID(), Created: epoch(), Modified: epoch()}); err != nil {
				return err
			}
			return fail
		})
	}

	// with a change: in its transaction, once however many changes follow
	p := pending("Create", epoch())
	if err := put(store.WithEvent(ctx, p), "a", nil); err != nil || !p.Kept() {
		t.Fatal(err, p.Kept())
	}
	if err := put(store.WithEvent(ctx, p), "b", nil); err != nil {
		t.Fatal(err)
	}
	if list := events(t, s, resource.EventQuery{}); len(list) != 1 || list[0].Seq != 1 || list[0].Name != "Create" {
		t.Fatalf("%+v", list)
	}
	// a change that failed leaves none
	p = pending("Broken", epoch())
	boom := errors.New("boom")
	if err := put(store.WithEvent(ctx, p), "c", boom); !errors.Is(err, boom) || p.Kept() {
		t.Fatal(err, p.Kept())
	}
	if err := s.AppendEvent(ctx, p); err != nil || !p.Kept() {
		t.Fatal(err)
	}
	if err := s.AppendEvent(ctx, p); err != nil { // again: nothing
		t.Fatal(err)
	}
	// many at once stay one chain
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			p := pending(fmt.Sprintf("Many%d", i%4), epoch().Add(time.Duration(i)*time.Second))
			if i%2 == 0 {
				if err := put(store.WithEvent(ctx, p), fmt.Sprintf("m%d", i), nil); err != nil {
					t.Error(err)
				}
			} else if err := s.AppendEvent(ctx, p); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	list := events(t, s, resource.EventQuery{Limit: 7})
	if len(list) != 42 {
		t.Fatalf("%d events", len(list))
	}
	previous := strings.Repeat("0", 64)
	for i, e := range slices.Backward(list) {

		sum := sha256.Sum256(e.Text)
		if want := fmt.Sprintf("%d %s %s", len(list)-i, e.Name, previous); string(e.Text) != want || e.Hash != hex.EncodeToString(sum[:]) {
			t.Fatalf("event %d: %q, want %q", e.Seq, e.Text, want)
		}
		previous = e.Hash
	}
	for _, c := range []struct {
		q    resource.EventQuery
		want int
	}{
		{resource.EventQuery{Name: "Many1"}, 10},
		{resource.EventQuery{ResourceName: "n-Create"}, 1},
		{resource.EventQuery{User: "nobody"}, 0},
		{resource.EventQuery{From: epoch().Add(30 * time.Second)}, 10},
		{resource.EventQuery{To: epoch()}, 3},
	} {
		if got := events(t, s, c.q); len(got) != c.want {
			t.Errorf("%+v: %d events, want %d", c.q, len(got), c.want)
		}
	}
	for _, q := range []resource.EventQuery{{Token: "?"}, {Token: "1.1"}, {Token: "0"}, {Name: "n", Token: "1"}, {Name: "n", Token: "?.1"}, {From: epoch(), Token: "1.?"}, {To: epoch(), Token: "1.-1"}} {
		q.Account, q.Region = "1", "r"
		if _, _, err := s.ListEvents(ctx, q); !errors.Is(err, store.ErrToken) {
			t.Errorf("%+v: %v", q, err)
		}
	}
	for _, region := range []string{"a", "z", "a"} {
		p := pending("Elsewhere", epoch())
		p.Region = region
		if err := s.AppendEvent(ctx, p); err != nil {
			t.Fatal(err)
		}
	}
	heads, err := s.EventHeads(ctx, "1")
	if err != nil || len(heads) != 3 || heads[0].Region != "a" || heads[0].Seq != 2 || heads[2].Region != "z" || heads[2].Seq != 1 ||
		heads[1] != (resource.EventHead{Region: "r", Seq: list[0].Seq, Hash: list[0].Hash}) {
		t.Errorf("the chains are %+v, %v", heads, err)
	}
	if heads, err := s.EventHeads(ctx, "2"); err != nil || len(heads) != 0 {
		t.Errorf("nobody's chains are %+v, %v", heads, err)
	}
	searched(t, s)
	if other, _, err := s.ListEvents(ctx, resource.EventQuery{Account: "1", Region: "other"}); err != nil || len(other) != 0 {
		t.Error(other, err)
	}
}

// searched compares searches with what a look at every event finds. Calls end
// in another order than they came.
func searched(t *testing.T, s store.Events) {
	rng := rand.New(rand.NewPCG(7, 7))
	of := func(what string) string { return what + string(rune('a'+rng.IntN(4))) }
	for range 150 {
		p := pending(of("Call"), epoch().Add(time.Duration(rng.IntN(100))*time.Second))
		p.Source, p.User, p.AccessKeyID, p.ResourceType, p.ResourceName = of("source"), of("user"), of("key"), of("type"), of("name")
		if rng.IntN(3) == 0 {
			p.AccessKeyID, p.ResourceType, p.ResourceName = "", "", ""
		}
		if err := s.AppendEvent(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	all := events(t, s, resource.EventQuery{})
	slices.SortFunc(all, func(a, b resource.Event) int { return cmp.Or(b.At.Compare(a.At), cmp.Compare(b.Seq, a.Seq)) })
	found := 0
	for range 400 {
		q := resource.EventQuery{Limit: 1 + rng.IntN(20)}
		for _, f := range []struct {
			to   *string
			what string
		}{{&q.Name, "Call"}, {&q.Source, "source"}, {&q.User, "user"}, {&q.AccessKeyID, "key"}, {&q.ResourceType, "type"}, {&q.ResourceName, "name"}} {
			if rng.IntN(5) == 0 {
				*f.to = of(f.what)
			}
		}
		if rng.IntN(10) == 0 {
			q.ID = all[rng.IntN(len(all))].ID
		}
		if rng.IntN(2) == 0 {
			q.From = epoch().Add(time.Duration(rng.IntN(100)) * time.Second)
		}
		if rng.IntN(2) == 0 {
			q.To = epoch().Add(time.Duration(rng.IntN(100)) * time.Second)
		}
		if q == (resource.EventQuery{Limit: q.Limit}) {
			continue // the chain
		}
		is := func(want, got string) bool { return want == "" || want == got }
		var want []int64
		for _, e := range all {
			if is(q.ID, e.ID) && is(q.Name, e.Name) && is(q.Source, e.Source) && is(q.User, e.User) && is(q.AccessKeyID, e.AccessKeyID) &&
				is(q.ResourceType, e.ResourceType) && is(q.ResourceName, e.ResourceName) &&
				(q.From.IsZero() || !e.At.Before(q.From)) && (q.To.IsZero() || !e.At.After(q.To)) {
				want = append(want, e.Seq)
			}
		}
		var got []int64
		for _, e := range events(t, s, q) {
			got = append(got, e.Seq)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%+v: %v, want %v", q, got, want)
		}
		found += len(got)
	}
	if found < 1000 {
		t.Errorf("%d events were found, which tests little", found)
	}
}
