package cron

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// most is how many bytes a table may have.
const most = 256 << 10

// Tables are those of all users. They live as long as the task, as everything
// does that is not on the volume.
type Tables struct {
	// Start runs an entry of a user's and does not wait for it.
	Start func(user string, e Entry)

	mu     sync.Mutex // guards text and tables
	text   map[string]string
	tables map[string]Table
}

// Get is a user's crontab as it was set, if there is one.
func (t *Tables) Get(user string) (text string, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	text, ok = t.text[user]
	return text, ok
}

// Remove takes a user's crontab away.
func (t *Tables) Remove(user string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.text, user)
	delete(t.tables, user)
}

// Set replaces a user's crontab. One that cannot be read changes nothing.
func (t *Tables) Set(user, text string) error {
	if len(text) > most {
		return fmt.Errorf("a crontab of more than %d bytes", most)
	}
	table, err := Parse(text)
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.text == nil {
		t.text, t.tables = map[string]string{}, map[string]Table{}
	}
	t.text[user], t.tables[user] = text, table
	return nil
}

// Run starts what is due, each minute of UTC, until ctx is over.
func (t *Tables) Run(ctx context.Context) {
	last := time.Now()
	for {
		next := last.Truncate(time.Minute).Add(time.Minute)
		timer := time.NewTimer(time.Until(next))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		// A machine may have slept, or its clock been set: what was missed is
		// missed, and no minute comes twice.
		now := time.Now().UTC()
		if now.Before(next) {
			if next.Sub(now) > 2*time.Minute { // the clock was set back
				last = now
			}
			continue
		}
		last = now
		t.each(now)
	}
}

func (t *Tables) each(now time.Time) {
	type job struct {
		user string
		e    Entry
	}
	var due []job
	t.mu.Lock()
	for user, table := range t.tables {
		for _, e := range table {
			if e.Due(now) {
				due = append(due, job{user, e})
			}
		}
	}
	t.mu.Unlock()
	for _, j := range due {
		t.Start(j.user, j.e)
	}
}
