package sqlite

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"clary/internal/resource"
	"clary/internal/store"
)

const benchRecords = 100_000

func benchKey(i int) resource.Key {
	return resource.Key{Account: "123456789012", Region: "us-east-1", Kind: "TrainingJob", Name: fmt.Sprintf("sagemaker-scikit-learn-2026-03-04-%09d", i)}
}

func benchRecord(i int) *resource.Record {
	at := time.Unix(1_700_000_000, 0).Add(time.Duration(i) * time.Second)
	r := &resource.Record{
		Key: benchKey(i), UID: resource.NewUID(), Arn: "arn:aws:sagemaker:us-east-1:123456789012:training-job/" + benchKey(i).Name,
		Phase: "Completed", Created: at, Modified: at,
		Spec:   json.RawMessage(`{"x":"` + strings.Repeat("s", 1000) + `"}`),
		Status: json.RawMessage(`{"x":"` + strings.Repeat("t", 300) + `"}`),
	}
	if i%997 == 0 {
		r.Phase = "InProgress"
	}
	if i == 4321 {
		r.Name = "the-needle-" + fmt.Sprint(i)
	}
	return r
}

// filled is a store of many jobs.
func filled(b *testing.B, n int) *Store {
	b.Helper()
	s := open(b)
	for i := 0; i < n; {
		err := s.Update(context.Background(), func(tx store.Tx) error {
			for range 1000 {
				if err := tx.Put(benchRecord(i)); err != nil {
					return err
				}
				i++
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	return s
}

func BenchmarkRead(b *testing.B) {
	s := filled(b, benchRecords)
	q := resource.Query{Account: "123456789012", Region: "us-east-1", Kind: "TrainingJob", Descending: true, Limit: 100}
	with := func(f func(q *resource.Query)) resource.Query { q := q; f(&q); return q }
	b.Run("Get", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			if _, err := s.Get(context.Background(), benchKey(i*7919%4000)); err != nil {
				b.Fatal(err)
			}
		}
	})
	for name, q := range map[string]resource.Query{
		"Newest100":  q,
		"Newest10":   with(func(q *resource.Query) { q.Limit = 10 }),
		"Modified":   with(func(q *resource.Query) { q.Sort = resource.SortModified }),
		"Name":       with(func(q *resource.Query) { q.Sort = resource.SortName }),
		"Phase":      with(func(q *resource.Query) { q.Phase = "InProgress" }),
		"Since":      with(func(q *resource.Query) { q.CreatedAfter = time.Unix(1_700_000_000+50_000, 0); q.Descending = false }),
		"ModSince":   with(func(q *resource.Query) { q.ModifiedBefore = time.Unix(1_700_000_000+50_000, 0) }),
		"NameCommon": with(func(q *resource.Query) { q.NameContains = "scikit" }),
		"NameRare":   with(func(q *resource.Query) { q.NameContains = "needle" }),
		"NameNone":   with(func(q *resource.Query) { q.NameContains = "nowhere" }),
		"NameShort":  with(func(q *resource.Query) { q.NameContains = "zz" }),
		"NamePhase":  with(func(q *resource.Query) { q.NameContains = "scikit"; q.Phase = "Failed" }),
	} {
		b.Run("List/"+name, func(b *testing.B) {
			for b.Loop() {
				if _, _, err := s.List(context.Background(), q); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("NextDue", func(b *testing.B) {
		for b.Loop() {
			if _, err := s.NextDue(context.Background(), "TrainingJob"); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("All", func(b *testing.B) {
		for b.Loop() {
			q := with(func(q *resource.Query) { q.Limit = 100 })
			for {
				_, next, err := s.List(context.Background(), q)
				if err != nil {
					b.Fatal(err)
				}
				if next == "" {
					break
				}
				q.Token = next
			}
		}
	})
}

func BenchmarkCreate(b *testing.B) {
	for _, p := range []int{1, 16} {
		b.Run(fmt.Sprint("c", p), func(b *testing.B) {
			s := open(b)
			n := make(chan int)
			go func() {
				defer close(n)
				for i := range b.N {
					n <- i
				}
			}()
			done := make(chan error)
			b.ResetTimer()
			for range p {
				go func() {
					for i := range n {
						if err := s.Update(context.Background(), func(tx store.Tx) error { return tx.Put(benchRecord(i)) }); err != nil {
							done <- err
							return
						}
					}
					done <- nil
				}()
			}
			for range p {
				if err := <-done; err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
