package job

import (
	"sync"

	"clary/internal/aws/op"
	"clary/internal/resource"
)

// Answers keeps what a Describe said of a record at its version: who waits for
// a job asks the same again and again. A record that changed has another
// version, so what is here is never wrong, only of no more use.
type Answers[T any] struct {
	mu         sync.Mutex // guards what follows
	young, old map[string]answer[T]
	bytes      int // of young
}

const (
	answerBytes = 1 << 20 // of records, in either generation; answers are about twice that
	answerLimit = 32 << 10
)

type answer[T any] struct {
	version int64
	kept    *op.Kept[T]
}

// Get gives nil when there is no answer of that version.
func (a *Answers[T]) Get(r *resource.Record) *op.Kept[T] {
	a.mu.Lock()
	defer a.mu.Unlock()
	e, ok := a.young[r.UID]
	if !ok {
		if e, ok = a.old[r.UID]; ok && e.version == r.Version {
			a.add(r, e)
		}
	}
	if e.version != r.Version {
		return nil
	}
	return e.kept
}

// Put keeps the answer of a record.
func (a *Answers[T]) Put(r *resource.Record, k *op.Kept[T]) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.add(r, answer[T]{r.Version, k})
}

func (a *Answers[T]) add(r *resource.Record, e answer[T]) {
	n := len(r.Spec) + len(r.Status)
	if n > answerLimit {
		return
	}
	if a.bytes += n; a.young == nil || a.bytes > answerBytes {
		a.old, a.young, a.bytes = a.young, make(map[string]answer[T]), n
	}
	a.young[r.UID] = e
}
