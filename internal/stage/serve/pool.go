package serve

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// pool keeps a number of workers, and starts another for each that ends.
type pool struct {
	n     int
	start func() (*worker, error)

	idle    chan *worker  // free ones; some may have ended since
	loaded  chan struct{} // closed when all of the first ones are ready
	leaving chan struct{} // closed when there are to be no new ones

	mu   sync.Mutex
	live map[*worker]bool
	up   int           // of the workers, those that are ready
	news chan struct{} // closed and replaced when up changes
}

func newPool(n int, start func() (*worker, error)) *pool {
	return &pool{
		n: n, start: start, idle: make(chan *worker), loaded: make(chan struct{}), leaving: make(chan struct{}),
		live: map[*worker]bool{}, news: make(chan struct{}),
	}
}

// errLeaving says that there are to be no new workers.
var errLeaving = errors.New("the server is ending")

// run starts the workers and sees to it that there are as many. It returns the
// error of the first that cannot load the model: the next one could not either.
func (p *pool) run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var first, all sync.WaitGroup
	first.Add(p.n)
	for range p.n {
		all.Go(func() { cancel(p.keep(ctx, sync.OnceFunc(first.Done))) })
	}
	go func() {
		first.Wait()
		if ctx.Err() == nil {
			close(p.loaded)
		}
	}()
	<-ctx.Done()
	err := context.Cause(ctx)
	p.end()
	all.Wait()
	return err
}

// keep is one place of the pool.
func (p *pool) keep(ctx context.Context, started func()) error {
	defer started()
	for {
		w, err := p.begin()
		if err != nil {
			return err
		}
		if err := w.ready(); err != nil {
			p.gone(w)
			return fmt.Errorf("a worker could not load the model: it %w", err)
		}
		started()
		p.count(1)
		p.offer(ctx, w)
		select {
		case <-w.dead:
		case <-ctx.Done():
			w.kill()
		}
		p.count(-1)
		p.gone(w)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}

// begin starts a worker, unless there are to be no new ones.
func (p *pool) begin() (*worker, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.leaving:
		return nil, errLeaving
	default:
	}
	w, err := p.start()
	if err == nil {
		p.live[w] = true
	}
	return w, err
}

func (p *pool) gone(w *worker) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.live, w)
}

func (p *pool) count(d int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.up += d
	close(p.news)
	p.news = make(chan struct{})
}

// offer gives a worker to who waits for one, now or later.
func (p *pool) offer(ctx context.Context, w *worker) {
	go func() {
		select {
		case p.idle <- w:
		case <-w.dead:
		case <-ctx.Done():
		}
	}()
}

// ready says whether requests can be answered: the first workers are all there,
// and of them at least one still is. It waits for that a little, so that whoever
// asks again and again learns it at once.
func (p *pool) ready(ctx context.Context, patience time.Duration) bool {
	wait := time.NewTimer(patience)
	defer wait.Stop()
	select {
	case <-p.loaded:
	case <-ctx.Done():
		return false
	case <-wait.C:
		return false
	}
	for {
		p.mu.Lock()
		up, news := p.up, p.news
		p.mu.Unlock()
		if up > 0 {
			return true
		}
		select {
		case <-news:
		case <-ctx.Done():
			return false
		case <-wait.C:
			return false
		}
	}
}

// do has one of the workers answer.
func (p *pool) do(ctx context.Context, r request, body []byte, timeout time.Duration) (response, error) {
	type result struct {
		response
		err error
	}
	w, err := p.take(ctx)
	if err != nil {
		return response{}, err
	}
	done := make(chan result, 1)
	go func() {
		out, err := w.do(r, body, timeout)
		done <- result{out, err}
		if err == nil {
			p.offer(context.Background(), w) // until it ends
		}
	}()
	select {
	case res := <-done:
		return res.response, res.err
	case <-ctx.Done():
		return response{}, context.Cause(ctx) // nobody waits; the worker goes on to the end
	}
}

// take waits for a free worker that has not ended meanwhile.
func (p *pool) take(ctx context.Context) (*worker, error) {
	for {
		select {
		case w := <-p.idle:
			select {
			case <-w.dead:
			default:
				return w, nil
			}
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// leave lets no new workers begin.
func (p *pool) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.leaving:
	default:
		close(p.leaving)
	}
}

// end kills the workers and waits for their end.
func (p *pool) end() {
	p.leave()
	p.mu.Lock()
	var all []*worker
	for w := range p.live {
		all = append(all, w)
	}
	p.mu.Unlock()
	for _, w := range all {
		w.kill()
	}
}
