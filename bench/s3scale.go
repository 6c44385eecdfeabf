package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"clary/internal/store"
	"clary/internal/store/sqlite"
)

// s3Keys are the sizes of the buckets whose pages are compared.
var s3Keys = []int{1_000, 100_000, 1_000_000} //nolint:gochecknoglobals // a constant

func keyedBucket(n int) string { return fmt.Sprintf("clary-bench-%d", n) }

// fillKeys writes rows through the store's own interface: flat/NNNNNNN beside
// deep/NNN/NNNN, half and half. The objects are empty, so they have no files.
func fillKeys(ctx context.Context, db *sqlite.Store) error {
	index := db.Objects()
	for _, n := range s3Keys {
		bucket := keyedBucket(n)
		if err := index.CreateBucket(ctx, store.BlobBucket{Name: bucket, Account: "123456789012", Region: region, Created: time.Now()}); err != nil {
			return err
		}
		begin := time.Now()
		var next atomic.Int64
		var wg sync.WaitGroup
		var mu sync.Mutex // guards failed
		var failed error
		for range 64 {
			wg.Go(func() {
				for {
					i := int(next.Add(1)) - 1
					if i >= n {
						return
					}
					key := fmt.Sprintf("flat/%07d", i)
					if i%2 == 1 {
						key = fmt.Sprintf("deep/%04d/%07d", i/200, i)
					}
					_, _, err := index.PutObject(ctx, store.BlobObject{
						Bucket: bucket, Key: key, ETag: "d41d8cd98f00b204e9800998ecf8427e", Modified: time.Now(),
						Meta: []byte(`{"type":"binary/octet-stream"}`),
					}, nil)
					if err != nil {
						mu.Lock()
						failed = errors.Join(failed, err)
						mu.Unlock()
						return
					}
				}
			})
		}
		wg.Wait()
		if failed != nil {
			return failed
		}
		fmt.Printf("   %s keys written in %s\n", count(float64(n)), time.Since(begin).Round(time.Millisecond))
	}
	return nil
}

// s3ScaleRows compares pages of buckets of very different sizes.
func (b *bench) s3ScaleRows() (err error) {
	data := filepath.Join(b.dir, "s3scale")
	s, err := b.startClary(data) // makes the data folder
	if err != nil {
		return err
	}
	if err := s.stop(); err != nil {
		return err
	}
	db, err := sqlite.Open(filepath.Join(data, "clary.db"), sqlite.Options{})
	if err != nil {
		return err
	}
	if err := errors.Join(fillKeys(b.ctx, db), db.Close()); err != nil {
		return err
	}
	if s, err = b.startClary(data); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	for _, page := range []struct {
		name string
		ask  func(n int) url.Values
	}{
		{"first page of 1,000", func(int) url.Values { return url.Values{} }},
		{"page of 200 from the middle", func(n int) url.Values {
			return url.Values{"start-after": {fmt.Sprintf("flat/%07d", n/2)}, "max-keys": {"200"}}
		}},
		{"folders (delimiter /) of the top", func(int) url.Values { return url.Values{"delimiter": {"/"}} }},
	} {
		figures := make([][]time.Duration, len(s3Keys))
		for round := range b.rounds * 20 {
			for i, n := range s3Keys { // in turn, so that the machine's mood is shared
				begin := time.Now()
				l, err := s.client.list(b.ctx, keyedBucket(n), page.ask(n))
				took := time.Since(begin)
				if err != nil {
					return err
				}
				if len(l.Contents)+len(l.CommonPrefixes) == 0 {
					return fmt.Errorf("%s of %d keys is empty", page.name, n)
				}
				if round > 0 {
					figures[i] = append(figures[i], took)
				}
			}
		}
		first, last := quantile(figures[0], 0.5), quantile(figures[len(figures)-1], 0.5)
		b.add(row{
			name:  "S3 " + page.name + ", 1M keys (100k)",
			ours:  times(figures[2]) + " (" + times(figures[1]) + ")",
			floor: "1k keys " + times(figures[0]),
			goal:  "≤ 1.5× the figure at 1k keys", met: reached(float64(last) <= 1.5*float64(first)),
			note: notes["s3scale"],
		})
	}
	return nil
}
