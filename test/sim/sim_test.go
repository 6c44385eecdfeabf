package sim

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"clary/internal/compute"
	"clary/internal/compute/fake"
	"clary/internal/store"
)

const (
	account   = "123456789012"
	region    = "us-east-1"
	namespace = "/aws/sagemaker/TrainingJobs"
	// patience is the virtual time in which all jobs must have come to an end.
	patience = 5 * 24 * time.Hour
)

// sim is one simulated world with the servers that live in it one after the
// other.
type sim struct {
	t     *testing.T
	dir   string
	world *fake.World
	plans map[string]*job
	log   slog.Handler

	mu      sync.Mutex // guards all below
	rng     *rand.Rand
	points  int
	deaths  []string
	kill    func(point int) bool
	lives   int
	current *life
	up      chan struct{} // closed while a server lives
	names   map[compute.TaskID]*job
	failed  bool
}

// roll gives a number below n.
func (s *sim) roll(n int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rng.IntN(n)
}

// fail reports what must not be; it does not end the run.
func (s *sim) fail(format string, args ...any) {
	s.t.Helper()
	s.mu.Lock()
	s.failed = true
	deaths := strings.Join(s.deaths, ", ")
	s.mu.Unlock()
	s.t.Errorf("%s (killed at: %s)", fmt.Sprintf(format, args...), deaths)
}

// point is a moment at which the server may be killed; it tells whether it was.
func (s *sim) point(l *life, what string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.dead.Load() {
		return true
	}
	s.points++
	if !s.kill(s.points) {
		return false
	}
	s.deaths = append(s.deaths, fmt.Sprintf("%d %s", s.points, what))
	l.kill()
	return true
}

// server waits for a server that lives.
func (s *sim) server() *life {
	for {
		s.mu.Lock()
		l, up := s.current, s.up
		s.mu.Unlock()
		if l != nil && !l.dead.Load() {
			return l
		}
		if l != nil {
			time.Sleep(time.Second)
			continue
		}
		<-up
	}
}

// options of one run.
type options struct {
	seed uint64
	jobs int
	kill func(rng *rand.Rand) func(point int) bool
	// calm leaves out clocks that jump and machines that sleep.
	calm bool
}

// run simulates one world from its beginning until all is settled. It gives
// the number of points at which a server could have been killed.
func run(t *testing.T, dir string, o options) (points int) {
	t.Helper()
	rng := rand.New(rand.NewPCG(o.seed, 0xC1A21))
	s := &sim{
		t: t, dir: dir, rng: rng, kill: o.kill(rng), plans: make(map[string]*job),
		names: make(map[compute.TaskID]*job), up: make(chan struct{}), log: slog.DiscardHandler,
	}
	if os.Getenv("SIM_SEED") != "" {
		s.log = slog.NewTextHandler(os.Stderr, nil)
	}
	for i := range o.jobs {
		j := newJob(rng, fmt.Sprintf("job-%d", i), o.calm)
		s.plans[j.name] = j
	}
	s.world = fake.NewWorld(func(t compute.Task) fake.Script { return s.plans[t.Name].script }, nil)

	settled := make(chan struct{})
	go func() {
		defer close(settled)
		s.clients()
		s.settle()
	}()
	for done := false; !done; {
		l, err := s.begin()
		if err != nil {
			t.Fatalf("start %d: %v", s.lives, err)
		}
		s.mu.Lock()
		s.lives++
		s.current = l
		close(s.up)
		s.mu.Unlock()
		s.acknowledged(l)
		select {
		case <-l.killed:
		case <-settled:
			done = true
			s.judge(l)
		}
		s.mu.Lock()
		s.current, s.up = nil, make(chan struct{})
		down := []time.Duration{0, 0, 5 * time.Second, time.Minute, 20 * time.Minute}[s.rng.IntN(5)]
		s.mu.Unlock()
		if err := l.end(); err != nil {
			s.fail("end of a server: %v", err)
		}
		if !done {
			time.Sleep(down)
		}
	}
	return s.points
}

func env(name string, otherwise int) int {
	n, err := strconv.Atoi(os.Getenv(name))
	if err != nil {
		return otherwise
	}
	return n
}

// TestSeeds runs worlds that are all different, with kills at random points.
func TestSeeds(t *testing.T) {
	t.Parallel()
	first, n := 0, env("SIM_N", 200)
	if one := env("SIM_SEED", -1); one >= 0 {
		first, n = one, 1
	}
	for seed := first; seed < first+n; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				run(t, dir, options{seed: uint64(seed), jobs: 1 + seed%6, kill: func(rng *rand.Rand) func(int) bool {
					left, odds := rng.IntN(15), 2+rng.IntN(40)
					return func(int) bool {
						if left > 0 && rng.IntN(odds) == 0 {
							left--
							return true
						}
						return false
					}
				}})
			})
		})
	}
}

// TestEveryPoint runs one world over and over and kills the server at each
// point of it in turn, and again a few points later.
func TestEveryPoint(t *testing.T) {
	t.Parallel()
	const seed = 11
	var most int
	t.Run("none", func(t *testing.T) {
		dir := t.TempDir()
		synctest.Test(t, func(t *testing.T) {
			most = run(t, dir, options{seed: seed, jobs: 1, calm: true, kill: func(*rand.Rand) func(int) bool {
				return func(int) bool { return false }
			}})
		})
	})
	if most < 20 {
		t.Fatalf("the world has only %d points: it tests nothing", most)
	}
	for at := 1; at <= most; at++ {
		for _, again := range []int{0, 1, 5} {
			t.Run(fmt.Sprintf("%d+%d", at, again), func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				synctest.Test(t, func(t *testing.T) {
					run(t, dir, options{seed: seed, jobs: 1, calm: true, kill: func(*rand.Rand) func(int) bool {
						return func(p int) bool { return p == at || again > 0 && p == at+again }
					}})
				})
			})
		}
	}
}

// settle waits until every job is over and cleared away.
func (s *sim) settle() {
	deadline := time.Now().Add(patience)
	for time.Now().Before(deadline) {
		if s.quiet() {
			return
		}
		time.Sleep(30 * time.Second)
	}
	s.fail("not settled after %s: %s", patience, s.state())
}

// quiet tells whether nothing is left to do.
func (s *sim) quiet() bool {
	l := s.server()
	for _, j := range s.plans {
		r, err := l.store.Get(context.Background(), j.key())
		switch {
		case j.deleted.Load():
			if !errors.Is(err, store.ErrNotFound) {
				return false
			}
		case err != nil, !over(r.Phase), !r.Due.IsZero():
			return false
		}
	}
	return len(s.world.Running()) == 0
}

func (s *sim) state() string {
	l := s.server()
	var out []string
	for _, j := range s.plans {
		r, err := l.store.Get(context.Background(), j.key())
		if err != nil {
			out = append(out, fmt.Sprintf("%s: %v", j.name, err))
			continue
		}
		out = append(out, fmt.Sprintf("%s: %s due %s attempts %d %q %s", j.name, r.Phase, r.Due, r.Attempts, r.LastError, r.Status))
	}
	return strings.Join(out, "\n") + fmt.Sprint(" running: ", s.world.Running())
}
