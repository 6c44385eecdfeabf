package training

import (
	"sync"

	api "clary/internal/api/sagemaker"
	"clary/internal/aws/op"
	"clary/internal/resource"
)

// answers keeps what DescribeTrainingJob said of a record at its version: who
// waits for a job asks the same again and again. A record that changed has
// another version, so what is here is never wrong, only of no more use.
type answers struct {
	mu         sync.Mutex // guards what follows
	young, old map[string]answer
	bytes      int // of young
}

const (
	answerBytes = 1 << 20 // of records, in either generation; answers are about twice that
	answerLimit = 32 << 10
)

type answer struct {
	version int64
	kept    *op.Kept[api.DescribeTrainingJobResponse]
}

// get gives nil when there is no answer of that version.
func (a *answers) get(r *resource.Record) *op.Kept[api.DescribeTrainingJobResponse] {
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

func (a *answers) put(r *resource.Record, k *op.Kept[api.DescribeTrainingJobResponse]) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.add(r, answer{r.Version, k})
}

func (a *answers) add(r *resource.Record, e answer) {
	n := len(r.Spec) + len(r.Status)
	if n > answerLimit {
		return
	}
	if a.bytes += n; a.young == nil || a.bytes > answerBytes {
		a.old, a.young, a.bytes = a.young, make(map[string]answer), n
	}
	a.young[r.UID] = e
}
