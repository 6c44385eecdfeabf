package sim

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	apism "clary/internal/api/sagemaker"
	"clary/internal/compute"
	"clary/internal/compute/fake"
	"clary/internal/resource"
	"clary/internal/stage/agent"
	"clary/internal/store"
)

// done is what was done of a book's code, once and for all.
type done struct {
	created, cloned           bool // it ended well, whoever learned of it
	createdKnown, clonedKnown bool // and that was committed
}

// said is what the first process of a task told at a moment.
type said struct {
	at    time.Time
	by    *life // who asked
	state agent.State
}

// asks notes which server is about to ask a task something.
func (s *sim) asks(l *life, id compute.TaskID) {
	if b := s.bookOf(id); b != nil {
		s.mu.Lock()
		b.tasks[id].asker = l
		s.mu.Unlock()
	}
}

// newAgent is one whose steps mostly end well, and soon.
func newAgent(rng *rand.Rand, span func(time.Duration) time.Duration) fake.Agent {
	a := fake.Agent{Clone: span(4 * time.Second), Create: span(10 * time.Second), Start: span(4 * time.Second), Lab: span(8 * time.Second), Search: span(8 * time.Second), Failure: "it did not end well"}
	switch rng.IntN(9) {
	case 0:
		a.Fails = []agent.Phase{agent.Cloning, agent.Creating, agent.Starting}[rng.IntN(3)]
	case 2:
		a.Rescue.Failure = "it cannot be read"
	case 3:
		a.Search = span(90 * time.Minute)
	case 1:
		*[]*time.Duration{&a.Clone, &a.Create, &a.Start}[rng.IntN(3)] = span(20 * time.Minute)
	}
	return a
}

// scripts stores a lifecycle configuration.
func scripts(l *life) error {
	hook := func(text string) []apism.NotebookInstanceLifecycleHook {
		return []apism.NotebookInstanceLifecycleHook{{Content: base64.StdEncoding.EncodeToString([]byte(text))}}
	}
	spec, err := json.Marshal(apism.CreateNotebookInstanceLifecycleConfigInput{NotebookInstanceLifecycleConfigName: "scripts", OnCreate: hook("create"), OnStart: hook("start")})
	if err != nil {
		return err
	}
	err = l.store.Update(context.Background(), func(tx store.Tx) error {
		return tx.Put(&resource.Record{
			Key: resource.Key{Account: account, Region: region, Kind: "NotebookInstanceLifecycleConfig", Name: "scripts"},
			UID: resource.NewUID(), Created: time.Now(), Modified: time.Now(), Spec: spec, Status: json.RawMessage("{}"),
		})
	})
	if errors.Is(err, store.ErrExists) {
		return nil
	}
	return err
}

// ordered sees that a task does what was not done yet, and nothing twice.
func (s *sim) ordered(b *book, o agent.Order) {
	if o.Shelter != nil {
		return
	}
	if !b.code {
		if o.OnCreate != "" || o.OnStart != "" || len(o.Repositories) > 0 {
			s.fail("%s has no code and is ordered %+v", b.name, o)
		}
		return
	}
	s.mu.Lock()
	d := b.done
	s.mu.Unlock()
	again := o.OnCreate == ""
	if d.createdKnown && !again || !d.created && again || o.OnStart != "start" {
		s.fail("%s: its scripts are %q and %q after %+v", b.name, o.OnCreate, o.OnStart, d)
	}
	if len(o.Repositories) != 2 || o.Repositories[0].Folder != "x" || o.Repositories[1].Folder != "x-1" || o.Open != "x" {
		s.fail("%s: its repositories are %+v", b.name, o.Repositories)
		return
	}
	for _, r := range o.Repositories {
		if d.clonedKnown && !r.Cloned || !d.cloned && r.Cloned {
			s.fail("%s: %s is ordered as cloned: %t, after %+v", b.name, r.Folder, r.Cloned, d)
		}
	}
}

// told notes what a task's first process answered.
func (s *sim) told(b *book, id compute.TaskID, path string, st agent.State) {
	s.mu.Lock()
	known := b.done.createdKnown
	if path == "/state" {
		b.tasks[id].said = said{time.Now(), b.tasks[id].asker, st}
		b.done.created = b.done.created || st.Created
		b.done.cloned = b.done.cloned || len(st.Cloned) > 0
	}
	s.mu.Unlock()
	if path == "/created" && !known {
		s.fail("%s goes on after OnCreate, of which nobody has a record", b.name)
	}
}

// heard is what a book's first process told this server in this instant, nil
// if nothing. Of a book that comes from a status in which nothing runs, it is
// the word of a run that is over.
func (l *life) heard(name, from string) *agent.State {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	b := l.s.books[name]
	if len(b.order) == 0 {
		return nil
	}
	last := b.tasks[b.order[len(b.order)-1]]
	if slices.Contains([]string{"Stopped", "Failed"}, from) {
		last.said = said{}
	}
	if !last.said.at.Equal(time.Now()) || last.said.by != l {
		return nil
	}
	st := last.said.state
	return &st
}

// prepared sees that what was told is kept with the status that follows of it:
// asking and committing are one instant here.
func (s *sim) prepared(b *book, t turn) {
	if t.told != nil {
		s.mu.Lock()
		b.done.createdKnown = b.done.createdKnown || t.told.Created
		b.done.clonedKnown = b.done.clonedKnown || len(t.told.Cloned) > 0
		s.mu.Unlock()
	}
	awaited := slices.Contains([]string{"Pending", "InService"}, t.from)
	if t.told != nil && awaited && t.told.Phase == agent.Failed && t.to != "Failed" {
		s.fail("%s is %s after its first process failed", b.name, t.to)
	}
	if t.from == "Pending" && t.to == "InService" && (t.told == nil || t.told.Phase != agent.Serving) {
		s.fail("%s is in service and its first process did not say that it serves", b.name)
	}
}
