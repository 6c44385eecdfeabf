package metrics

import "context"

// Told is a Store that tells of all data that were put, after they are kept.
// added must be quick: whoever puts waits for it. What a task's output is read
// from again after a restart may be told of again.
func Told(s Store, added func([]Datum)) Store { return told{s, added} }

type told struct {
	Store
	added func([]Datum)
}

// Put implements Store.
func (t told) Put(ctx context.Context, data []Datum) error {
	err := t.Store.Put(ctx, data)
	if err == nil {
		t.added(data)
	}
	return err
}

// PutFrom implements Store.
func (t told) PutFrom(ctx context.Context, task string, next int64, data []Datum) error {
	err := t.Store.PutFrom(ctx, task, next, data)
	if err == nil {
		t.added(data)
	}
	return err
}
