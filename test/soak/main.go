package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"clary/test/daemon"
)

func main() {
	length := flag.Duration("for", 10*time.Minute, "how long")
	bin := flag.String("bin", "bin/clary", "the program")
	seed := flag.Uint64("seed", uint64(time.Now().UnixNano()), "of what happens when")
	keep := flag.Bool("keep", false, "leave the data folder")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, *bin, *length, *seed, *keep)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
}

const bucket = "soak"

// soak is one run.
type soak struct {
	*daemon.API
	d     *daemon.Daemon
	began time.Time

	mu       sync.Mutex // guards all below
	rng      *rand.Rand
	failures []string
	hurt     map[string]bool // jobs whose supervisor was killed
	orphans  map[string]bool // jobs that ran when their server was killed
	count    map[string]int
	samples  []sample
}

// fail reports what must not be; the run goes on.
func (s *soak) fail(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	text := fmt.Sprintf("at %s: ", time.Since(s.began).Round(time.Second)) + fmt.Sprintf(format, args...)
	s.failures = append(s.failures, text)
	fmt.Println("FAIL " + text)
}

func (s *soak) roll(n int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rng.IntN(n)
}

func (s *soak) counted(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count[what]++
}

// run soaks for a while. For the first two fifths the server is killed now and
// then; after that it lives on, so that what grows shows, and only supervisors
// are killed.
func run(ctx context.Context, bin string, length time.Duration, seed uint64, keep bool) (err error) {
	if bin, err = filepath.Abs(bin); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "clary-soak-")
	if err != nil {
		return err
	}
	if !keep {
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	d, err := daemon.New(bin, dir, "--instance-scale", "16")
	if err != nil {
		return err
	}
	if err := d.Start(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Stop()) }()
	s := &soak{d: d, rng: rand.New(rand.NewPCG(seed, 0x50AC)), hurt: map[string]bool{}, orphans: map[string]bool{}, count: map[string]int{}}
	if s.API, err = d.API(); err != nil {
		return err
	}
	if err := s.CreateBucket(ctx, bucket); err != nil {
		return err
	}
	fmt.Printf("soak: seed %d, %s in %s; the first job builds the runtime\n", seed, length, dir)
	s.began = time.Now()
	s.job(ctx, "first")
	if len(s.failures) > 0 {
		return errors.New(s.failures[0])
	}

	s.began = time.Now()
	during, cancel := context.WithTimeout(ctx, length)
	defer cancel()
	stormy, calm := context.WithTimeout(during, length*2/5)
	defer calm()
	var wg sync.WaitGroup
	for w := range 3 {
		wg.Go(func() {
			for n := 0; during.Err() == nil; n++ {
				s.job(ctx, fmt.Sprintf("job-%d-%d", w, n))
			}
		})
	}
	wg.Go(func() { s.objects(ctx, during) })
	wg.Go(func() { s.lists(ctx, during) })
	wg.Go(func() { s.killServer(ctx, stormy) })
	wg.Go(func() { s.killSupervisors(during) })
	wg.Go(func() { s.watch(during) })
	wg.Wait()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	s.billed(ctx)
	s.empty()
	for _, what := range unseen(s.count) {
		s.fail("there were no %s: run longer", what)
	}
	s.report(length * 2 / 5)
	if n := len(s.failures); n > 0 {
		return fmt.Errorf("%d failures, the first: %s\n%s", n, s.failures[0], d.Tail())
	}
	fmt.Println("soak: passed")
	return nil
}

// pause waits between two things that happen by themselves.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// What a run must have seen, or it has shown nothing.
const (
	serverKills     = "server kills"
	supervisorKills = "supervisor kills"
	outlived        = "jobs that outlived their server"
	lost            = "jobs lost with their supervisor"
)

// unseen are those of them that have not come about.
func unseen(count map[string]int) []string {
	return slices.DeleteFunc([]string{serverKills, supervisorKills, outlived, lost}, func(what string) bool { return count[what] > 0 })
}

// killServer kills the server now and then and starts it again.
func (s *soak) killServer(ctx, during context.Context) {
	for {
		pause(during, time.Duration(3+s.roll(12))*time.Second)
		if during.Err() != nil {
			return
		}
		if !s.d.Now().Runs() {
			s.fail("the server has ended by itself")
		}
		running := s.running()
		if err := s.d.Kill(); err != nil {
			s.fail("kill the server: %v", err)
			return
		}
		s.counted(serverKills)
		s.mu.Lock()
		for _, t := range running {
			s.orphans[t.Name] = true
		}
		s.mu.Unlock()
		pause(ctx, time.Duration(s.roll(3))*time.Second)
		if err := s.d.Start(ctx); err != nil {
			s.fail("start the server again: %v", err)
			return
		}
	}
}

// running are the tasks whose supervisor is there and has seen no end.
func (s *soak) running() []daemon.Task {
	tasks, _ := s.d.Tasks() // none, and unseen tells
	return slices.DeleteFunc(tasks, func(t daemon.Task) bool { return t.PID == 0 || t.Exited })
}

// killSupervisors kills a random task's supervisor now and then: that job must
// fail, and say why.
func (s *soak) killSupervisors(during context.Context) {
	for {
		pause(during, time.Duration(2+s.roll(8))*time.Second)
		if during.Err() != nil {
			return
		}
		tasks := s.running()
		if len(tasks) == 0 {
			continue
		}
		t := tasks[s.roll(len(tasks))]
		s.mu.Lock()
		s.hurt[t.Name] = true
		s.mu.Unlock()
		if t.Kill("supervisor") == nil { // else it has just ended
			s.counted(supervisorKills)
		}
	}
}
