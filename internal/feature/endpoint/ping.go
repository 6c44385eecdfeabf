package endpoint

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"clary/internal/compute"
	"clary/internal/serving"
	"clary/internal/stage/plan"
)

const (
	pingPatience = 2 * time.Second // for an answer, as documented
	maxHead      = 64 << 10
)

// pings says whether a task is to be asked now whether it is healthy: one that
// was healthy a moment ago is not.
func (e *Endpoints) pings(in *instance, id compute.TaskID, t *compute.TaskStatus, now time.Time) bool {
	if t == nil || t.Phase != compute.Running {
		return false
	}
	if in.Ready == nil {
		return len(t.Steps) == 0 || slices.ContainsFunc(t.Steps, func(s compute.Step) bool { return s.Name == plan.StepTraining })
	}
	every := pingEvery
	if in.Strikes > 0 {
		every = pingAgain
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	last, ok := e.pinged[id]
	// A timer may ring a moment early by another clock.
	return !ok || now.Before(last) || now.Sub(last) > every-every/10
}

// ping asks tasks whether they are healthy, all at once.
func (e *Endpoints) ping(ctx context.Context, ids []compute.TaskID, tasks map[compute.TaskID]seen) {
	ctx, cancel := context.WithTimeout(ctx, pingPatience)
	defer cancel()
	well := make([]bool, len(ids))
	var all sync.WaitGroup
	for i, id := range ids {
		all.Go(func() { well[i] = e.healthy(ctx, id) })
	}
	all.Wait()
	now := time.Now()
	e.mu.Lock()
	defer e.mu.Unlock()
	for i, id := range ids {
		s := tasks[id]
		s.asked, s.healthy = true, well[i]
		tasks[id] = s
		e.pinged[id] = now
	}
}

// healthy says whether a container answers /ping with 200.
func (e *Endpoints) healthy(ctx context.Context, id compute.TaskID) bool {
	conn, err := e.Driver.Dial(ctx, id, serving.Port)
	if err != nil {
		return false
	}
	defer conn.Close() //nolint:errcheck // the answer was read
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://127.0.0.1/ping", nil)
	if err != nil {
		return false
	}
	req.Close = true
	if req.Write(conn) != nil {
		return false
	}
	res, err := http.ReadResponse(bufio.NewReader(io.LimitReader(conn, maxHead)), req)
	if err != nil {
		return false
	}
	_ = res.Body.Close() // it says nothing that matters
	return res.StatusCode == http.StatusOK
}
