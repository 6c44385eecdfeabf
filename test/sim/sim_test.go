package sim

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"clary/internal/compute"
	"clary/internal/compute/fake"
	"clary/internal/store"
	"clary/internal/store/sqlite"
)

const (
	account = "123456789012"
	region  = "us-east-1"
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
	books map[string]*book
	sites map[string]*site
	downs []span // when no server lived
	naps  []span // when the machine sleeps; only notebooks' clocks show it
	fulls []span // when the disk is full
	most  int    // tasks that run at once; 0: as many as like
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
	boot    int
	kept    map[string]string // objects by key, of what was rescued
	team    map[string]bool   // names of what the budget covers
	failed  bool
}

// span is a stretch of time.
type span struct{ from, to time.Time }

// full says whether the disk is full now.
func (s *sim) full() bool {
	now := time.Now()
	for _, f := range s.fulls {
		if !now.Before(f.from) && now.Before(f.to) {
			return true
		}
	}
	return false
}

// room is what the server is told of the disk.
func (s *sim) room() error {
	if s.full() {
		return store.ErrFull
	}
	return nil
}

// noRoom is how a write ends while the disk is full: now and then one still
// finds a place.
func (s *sim) noRoom() error {
	if s.full() && s.roll(3) > 0 {
		return fmt.Errorf("write: %w", store.ErrFull)
	}
	return nil
}

// crowded says that there is no room for another task.
func (s *sim) crowded(id compute.TaskID) bool {
	running := s.world.Running()
	return s.most > 0 && len(running) >= s.most && !slices.Contains(running, id)
}

// disturb does to the machine what no server sees coming: it is restarted, or
// its clock is set.
func (s *sim) disturb() (step time.Duration) {
	switch s.roll(6) {
	case 0:
		s.world.Crash()
		s.mu.Lock()
		s.boot++
		s.mu.Unlock()
	case 1:
		step = time.Duration(s.roll(int(4*time.Hour))) - 2*time.Hour
	}
	return step
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
	seed  uint64
	jobs  int
	hosts int // of each job; 0: of some one, of some two or three
	books int
	sites int
	kill  func(rng *rand.Rand) func(point int) bool
	// score has so many of three jobs be transform jobs.
	score int
	// budget has three things forgotten below a budget, which 1 stops and 2 only
	// tells of.
	budget int
	judged *atomic.Int64
	told   *atomic.Int64
	// left are books whose client goes away.
	left bool
	// calm leaves out clocks that jump and machines that sleep.
	calm bool
}

// run simulates one world from its beginning until all is settled. It gives
// the number of points at which a server could have been killed.
func run(t *testing.T, dir string, o options) (points int) {
	t.Helper()
	rng := rand.New(rand.NewPCG(o.seed, 0xC1A21))
	s := &sim{
		t: t, dir: dir, rng: rng, kill: o.kill(rng), plans: make(map[string]*job), books: make(map[string]*book), sites: make(map[string]*site),
		names: make(map[compute.TaskID]*job), kept: make(map[string]string), up: make(chan struct{}), log: slog.DiscardHandler,
	}
	if os.Getenv("SIM_SEED") != "" {
		s.log = slog.NewTextHandler(os.Stderr, nil)
	}
	for i := range o.jobs {
		j := newJob(rng, fmt.Sprintf("job-%d", i), o.hosts, o.calm)
		if o.score > 0 && rng.IntN(3) < o.score {
			j.score(rng)
		}
		s.plans[j.name] = j
	}
	for i := range o.books {
		b := newBook(rng, fmt.Sprintf("book-%d", i), o.calm)
		if o.left {
			b.acts, b.leaves, b.use.spans = []act{{6 * time.Hour, "delete"}}, true, []span{{time.Now().Add(3 * time.Minute), time.Now().Add(5 * time.Minute)}}
		}
		s.books[b.name] = b
	}
	for i := range o.sites {
		w := newSite(rng, fmt.Sprintf("site-%d", i), o.calm)
		s.sites[w.name] = w
	}
	if o.budget > 0 {
		s.forgets(rng, o)
	}
	s.world = fake.NewWorld(func(t compute.Task) fake.Script {
		if w := s.sites[t.Name]; w != nil {
			return s.siteScript(w, t.ID)
		}
		if b := s.books[t.Name]; b != nil {
			return s.bookScript(b, t)
		}
		return s.plans[t.Name].scripts[hostOf(t.ID)]
	}, nil)

	if !o.calm {
		if o.books == 0 && o.budget == 0 {
			s.most = 3 + rng.IntN(6)
			for _, j := range s.plans {
				s.most = max(s.most, len(j.scripts)) // or it waits for ever
			}
		}
		if o.books > 0 || o.sites > 0 || o.budget > 0 {
			s.naps = newNaps(rng)
		}
		for range rng.IntN(3) {
			if o.budget > 0 {
				break // what cannot be written cannot be stopped
			}
			from := time.Now().Add(time.Duration(rng.Int64N(int64(3 * time.Hour))))
			s.fulls = append(s.fulls, span{from, from.Add(time.Duration(rng.Int64N(int64(40 * time.Minute))))})
		}
	}

	settled := make(chan struct{})
	go func() {
		defer close(settled)
		if o.budget > 0 {
			s.limits(o.budget == 1)
		}
		s.clients()
		s.settle()
	}()
	var step time.Duration
	for done := false; !done; {
		l, err := s.begin(step)
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
			if o.budget > 0 {
				s.judgeBudget(l, o.budget == 1, o.judged, o.told)
			} else {
				s.judge(l)
			}
		}
		s.mu.Lock()
		s.current, s.up = nil, make(chan struct{})
		down := []time.Duration{0, 0, 5 * time.Second, time.Minute, 20 * time.Minute}[s.rng.IntN(5)]
		if o.budget > 0 {
			down = min(down, 20*time.Second) // who came later would find the dollar spent
		}
		s.mu.Unlock()
		if err := l.end(); err != nil {
			s.fail("end of a server: %v", err)
		}
		if !done {
			s.mu.Lock()
			s.downs = append(s.downs, span{time.Now(), time.Now().Add(down)})
			s.mu.Unlock()
			time.Sleep(down)
			if step = 0; !o.calm {
				step = s.disturb()
			}
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

// folder is where a world's database lies: in memory where that may be, since
// no world loses the machine's power. It begins empty, with the schema.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "clary-sim-")
	if err != nil {
		dir = t.TempDir()
	} else {
		t.Cleanup(func() {
			if err := os.RemoveAll(dir); err != nil {
				t.Error(err)
			}
		})
	}
	empty, err := schema()
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, database), empty, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// database is the name of a world's.
const database = "clary.db"

// schema is a database that holds nothing; to make it is a good part of a short
// world.
var schema = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "clary-sim-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // of no use any more
	path := filepath.Join(dir, database)
	st, err := sqlite.Open(path, sqlite.Options{Readers: 1})
	if err != nil {
		return nil, err
	}
	if err := st.Close(); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
})

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
			dir := folder(t)
			synctest.Test(t, func(t *testing.T) {
				run(t, dir, options{seed: uint64(seed), jobs: 1 + seed%6, score: seed % 3, kill: anywhere})
			})
		})
	}
}

// TestNotebooks runs worlds of notebooks, and of jobs beside them.
func TestNotebooks(t *testing.T) {
	t.Parallel()
	first, n := 0, env("SIM_N", 200)
	if one := env("SIM_SEED", -1); one >= 0 {
		first, n = one, 1
	}
	for seed := first; seed < first+n; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			dir := folder(t)
			synctest.Test(t, func(t *testing.T) {
				run(t, dir, options{seed: uint64(seed), jobs: seed % 2, books: 1 + seed%3, calm: seed%4 == 3, kill: anywhere})
			})
		})
	}
}

// TestTransforms runs worlds of transform jobs, on one instance and on several,
// with one container each and with several.
func TestTransforms(t *testing.T) {
	t.Parallel()
	first, n := 0, env("SIM_N", 200)
	if one := env("SIM_SEED", -1); one >= 0 {
		first, n = one, 1
	}
	for seed := first; seed < first+n; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			dir := folder(t)
			synctest.Test(t, func(t *testing.T) {
				run(t, dir, options{seed: uint64(seed), jobs: 1 + seed%3, score: 3, calm: seed%8 == 7, kill: anywhere})
			})
		})
	}
}

// TestEndpoints runs worlds of endpoints.
func TestEndpoints(t *testing.T) {
	t.Parallel()
	first, n := 0, env("SIM_N", 200)
	if one := env("SIM_SEED", -1); one >= 0 {
		first, n = one, 1
	}
	for seed := first; seed < first+n; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			dir := folder(t)
			synctest.Test(t, func(t *testing.T) {
				run(t, dir, options{seed: uint64(seed), sites: 1 + seed%2, calm: seed%8 == 7, kill: anywhere})
			})
		})
	}
}

// anywhere kills at random points.
func anywhere(rng *rand.Rand) func(int) bool {
	left, odds := rng.IntN(15), 2+rng.IntN(40)
	return func(int) bool {
		if left > 0 && rng.IntN(odds) == 0 {
			left--
			return true
		}
		return false
	}
}

// TestEveryPoint runs one world over and over and kills the server at each
// point of it in turn, and again a few points later.
func TestEveryPoint(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		world options
		again []int
	}{
		"job":      {options{seed: 43, jobs: 1, hosts: 1, calm: true}, []int{0, 1, 5}},
		"hosts":    {options{seed: 60, jobs: 1, hosts: 3, calm: true}, []int{0}},
		"pipeline": {options{seed: 60, jobs: 1, hosts: 2, score: 3, calm: true}, []int{0}},
		"notebook": {options{seed: 11, books: 1, calm: true}, []int{0}},
		"endpoint": {options{seed: 11, sites: 1, calm: true}, []int{0}},
		"idle":     {options{seed: 11, books: 1, calm: true, left: true}, []int{0}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			everyPoint(t, tc.world, tc.again)
		})
	}
}

func everyPoint(t *testing.T, world options, then []int) {
	t.Helper()
	killed := func(t *testing.T, kill func(int) bool) (points int) {
		t.Helper()
		dir, o := folder(t), world
		o.kill = func(*rand.Rand) func(int) bool { return kill }
		synctest.Test(t, func(t *testing.T) { points = run(t, dir, o) })
		return points
	}
	most := killed(t, func(int) bool { return false })
	if most < 20 {
		t.Fatalf("the world has only %d points: it tests nothing", most)
	}
	for at := 1; at <= most; at++ {
		for _, again := range then {
			t.Run(fmt.Sprintf("%d+%d", at, again), func(t *testing.T) {
				t.Parallel()
				killed(t, func(p int) bool { return p == at || again > 0 && p == at+again })
			})
		}
	}
}

// settle waits until every job is over and cleared away.
func (s *sim) settle() {
	bound := patience
	if s.team != nil {
		bound = 3 * time.Hour
	}
	deadline := time.Now().Add(bound)
	for time.Now().Before(deadline) {
		if s.quiet() {
			return
		}
		time.Sleep(30 * time.Second)
	}
	s.fail("not settled after %s: %s", bound, s.state())
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
	for _, b := range s.books {
		if !b.quiet(l) {
			return false
		}
	}
	for _, w := range s.sites {
		if !w.gone(l) {
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
	for _, b := range s.books {
		if r, err := l.store.Get(context.Background(), b.key()); err == nil {
			out = append(out, fmt.Sprintf("%s: %s due %s attempts %d %q %s", b.name, r.Phase, r.Due, r.Attempts, r.LastError, r.Status))
		}
	}
	for _, w := range s.sites {
		if r, err := l.store.Get(context.Background(), w.key()); err == nil {
			out = append(out, fmt.Sprintf("%s: %s due %s attempts %d %q %s", w.name, r.Phase, r.Due, r.Attempts, r.LastError, r.Status))
		}
	}
	return strings.Join(out, "\n") + fmt.Sprint(" running: ", s.world.Running())
}
