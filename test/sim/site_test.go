package sim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"clary/internal/api"
	apism "clary/internal/api/sagemaker"
	"clary/internal/compute"
	"clary/internal/compute/fake"
	"clary/internal/resource"
	"clary/internal/serving"
	"clary/internal/store"
)

// site is an endpoint: what its client does, and how its tasks go.
type site struct {
	name       string
	create     time.Duration // after the beginning
	acts       []act
	containers int         // of its model
	runs       []serverRun // of its tasks, one after the other, and again

	created, erasing, deleted atomic.Bool

	// The world's mutex guards what follows.
	tasks map[compute.TaskID]*siteTask
	order []compute.TaskID
}

// serverRun is how a model server goes.
type serverRun struct {
	fake.Script
	ill, well time.Duration // it does not answer in between, counted from its start; ill 0: it always does
}

// siteTask is what came of one task.
type siteTask struct {
	answered time.Time           // when it last answered /ping
	refused  int                 // pings in a row that it did not answer
	left     time.Time           // when it lost its traffic
	busy     time.Time           // until when a request is in flight to it, from then on
	final    *compute.TaskStatus // the last word of its supervisor
}

func (w *site) key() resource.Key {
	return resource.Key{Account: account, Region: region, Kind: serving.KindEndpoint, Name: w.name}
}

func newSite(rng *rand.Rand, name string, calm bool) *site {
	span := func(most time.Duration) time.Duration { return time.Duration(rng.Int64N(int64(most))) }
	w := &site{name: name, create: span(2 * time.Minute), containers: 1 + rng.IntN(4)/3, tasks: make(map[compute.TaskID]*siteTask)}
	for range rng.IntN(5) {
		w.acts = append(w.acts, act{time.Second + span([]time.Duration{10 * time.Second, 3 * time.Minute}[rng.IntN(2)]), []string{"update", "update", "grow", "shrink", "delete"}[rng.IntN(5)]})
	}
	if calm {
		w.create, w.containers = time.Second, 1
		w.acts = []act{{2 * time.Second, "update"}, {3 * time.Second, "shrink"}}
	}
	for range 9 {
		run := serverRun{Script: fake.Script{Delay: span(2 * time.Second), Forever: true, Ready: span(time.Second), IgnoreTERM: rng.IntN(5) == 0}}
		switch rng.IntN(9) {
		case 0:
			run.Forever, run.Run = false, span(2*time.Second) // perhaps before it answers
		case 1:
			run.Forever, run.Run = false, span(5*time.Minute)
		case 2:
			run.Lost = time.Second + span(5*time.Minute)
		case 3:
			run.ill = span(4 * time.Minute)
			run.well = run.ill + span(2*time.Minute)
		case 4:
			if rng.IntN(4) == 0 {
				run.Ready = time.Hour
			}
		}
		if calm {
			run = serverRun{Script: fake.Script{Delay: 50 * time.Millisecond, Forever: true, Ready: 50 * time.Millisecond}}
		}
		for i := range rng.IntN(4) {
			run.Output = append(run.Output, fmt.Sprintf("line %d of %s", i, name))
		}
		w.runs = append(w.runs, run)
	}
	if calm {
		w.runs[1].Forever, w.runs[1].Run = false, 2*time.Second // it dies in service
	}
	return w
}

// siteScript is that of one of the site's tasks, which begins now.
func (s *sim) siteScript(w *site, id compute.TaskID) fake.Script {
	run := w.runs[(nth(id)-1)%len(w.runs)]
	began := time.Now().Add(run.Delay)
	sc := run.Script
	sc.Serve = map[int]func(net.Conn){serving.Port: fake.HTTP(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		up := time.Since(began)
		ill := run.ill > 0 && up >= run.ill && up < run.well
		s.mu.Lock()
		t := w.tasks[id]
		if t.refused++; !ill {
			t.answered, t.refused = time.Now(), 0
		}
		s.mu.Unlock()
		if ill {
			rw.WriteHeader(http.StatusServiceUnavailable)
		}
	}))}
	return sc
}

// sited remembers whose task this is.
func (s *sim) sited(t compute.Task) {
	w := s.sites[t.Name]
	if w == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if w.tasks[t.ID] == nil {
		w.tasks[t.ID] = &siteTask{}
		w.order = append(w.order, t.ID)
	}
}

func (s *sim) siteOf(id compute.TaskID) *site {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range s.sites {
		if w.tasks[id] != nil {
			return w
		}
	}
	return nil
}

// stock keeps what endpoints are made of: two configurations of each site's
// model, of one instance and of two.
func (s *sim) stock(l *life) error {
	put := func(tx store.Tx, kind resource.Kind, name string, spec any) error {
		doc, err := json.Marshal(spec)
		if err != nil {
			return err
		}
		return tx.Put(&resource.Record{Key: resource.Key{Account: account, Region: region, Kind: kind, Name: name}, UID: resource.NewUID(), Created: time.Now(), Modified: time.Now(), Spec: doc, Status: json.RawMessage("{}")})
	}
	err := l.store.Update(context.Background(), func(tx store.Tx) error {
		for _, w := range s.sites {
			m := apism.CreateModelInput{ModelName: w.name, ExecutionRoleArn: role}
			for range w.containers {
				m.Containers = append(m.Containers, apism.ContainerDefinition{Image: "image", ModelDataUrl: "s3://bucket/model.tar.gz"})
			}
			if err := put(tx, serving.KindModel, w.name, m); err != nil {
				return err
			}
			for n := range int64(2) {
				name := fmt.Sprintf("%s-%d", w.name, n+1)
				if err := put(tx, serving.KindConfig, name, apism.CreateEndpointConfigInput{EndpointConfigName: name, ProductionVariants: []apism.ProductionVariant{{
					VariantName: "all", ModelName: w.name, InstanceType: "ml.m5.large", InitialInstanceCount: api.Ptr(n + 1),
				}}}); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if errors.Is(err, store.ErrExists) {
		return nil
	}
	return err
}

// visitor does what the site's client wants, and deletes it at the end.
func (s *sim) visitor(w *site) {
	time.Sleep(w.create)
	s.insist(s.stock)
	first, config := true, 1
	s.insist(func(l *life) error {
		_, err := l.sites.Create(context.Background(), call(), &apism.CreateEndpointInput{EndpointName: w.name, EndpointConfigName: w.name + "-1", Tags: s.tagged(w.name)})
		if !first && invalid(err) {
			err = nil // the call before did it after all
		}
		first = false
		return err
	})
	w.created.Store(true)
	for _, a := range append(w.acts, act{time.Second, "delete"}) {
		time.Sleep(a.after)
		if w.deleted.Load() {
			return
		}
		if a.what == "update" {
			config = 3 - config
		}
		s.changes(w, a.what, config)
	}
}

// changes calls an operation until it is answered. An endpoint whose status
// does not allow it refuses, which is fine.
func (s *sim) changes(w *site, what string, config int) {
	s.insist(func(l *life) error {
		ctx, c := context.Background(), call()
		var err error
		switch what {
		case "update":
			_, err = l.sites.Update(ctx, c, &apism.UpdateEndpointInput{EndpointName: w.name, EndpointConfigName: fmt.Sprintf("%s-%d", w.name, config)})
		case "grow", "shrink":
			n := map[string]int64{"grow": 3, "shrink": 1}[what]
			_, err = l.sites.UpdateWeights(ctx, c, &apism.UpdateEndpointWeightsAndCapacitiesInput{
				EndpointName: w.name, DesiredWeightsAndCapacities: []apism.DesiredWeightAndCapacity{{VariantName: "all", DesiredInstanceCount: &n}},
			})
		case "delete":
			w.erasing.Store(true) // or perhaps: whoever got no answer cannot know
			if _, err = l.sites.Delete(ctx, c, &apism.DeleteEndpointInput{EndpointName: w.name}); err == nil || invalid(err) {
				w.deleted.Store(true) // by now, or by a call that got no answer
			}
		}
		if invalid(err) {
			return nil
		}
		return err
	})
}

// gone tells whether nothing is left to do for the site.
func (w *site) gone(l *life) bool {
	_, err := l.store.Get(context.Background(), w.key())
	return w.deleted.Load() && errors.Is(err, store.ErrNotFound)
}

// mortalTraffic is a router of endpoints as long as the server lives. What has
// lost its traffic has a request in flight for a while.
type mortalTraffic struct{ l *life }

func (mortalTraffic) Changed(resource.Key) {}

func (m mortalTraffic) Open(id compute.TaskID) int {
	w := m.l.s.siteOf(id)
	if w == nil {
		return 0
	}
	m.l.s.mu.Lock()
	defer m.l.s.mu.Unlock()
	if time.Now().Before(w.tasks[id].busy) {
		return 1
	}
	return 0
}
