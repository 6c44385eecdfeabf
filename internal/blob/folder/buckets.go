package folder

import (
	"sync"

	"clary/internal/blob"
)

// maxKept bounds the buckets that are remembered.
const maxKept = 10000

// buckets remembers what was read of buckets.
type buckets struct {
	mu       sync.Mutex // guards the others
	byName   map[string]blob.Bucket
	changing int // changes under way
	changes  int // that have ended
}

// get gives a bucket, or when it is not known what to hand to keep.
func (b *buckets) get(name string) (bucket blob.Bucket, known bool, at int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	bucket, known = b.byName[name]
	return bucket, known, b.changes
}

// keep remembers a bucket, unless one changed since the given get: then what
// was read may be old.
func (b *buckets) keep(bucket blob.Bucket, at int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.changing > 0 || at != b.changes {
		return
	}
	if b.byName == nil || len(b.byName) >= maxKept {
		b.byName = map[string]blob.Bucket{}
	}
	b.byName[bucket.Name] = bucket
}

// change forgets a bucket that is about to change. Until the function that it
// gives is called, nothing that was read is remembered.
func (b *buckets) change(name string) (done func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.changing++
	delete(b.byName, name)
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.changing--
		b.changes++
	}
}
