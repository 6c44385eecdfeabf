package transform

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// What SageMaker waits for a container, and for one answer that it is well.
const (
	Startup   = 8 * time.Minute
	pingTime  = 2 * time.Second
	pingPause = 50 * time.Millisecond
)

// NotReadyError is a container that was never well.
type NotReadyError struct {
	Container string // "" of the only one
	Last      string // what it said last
}

func (e *NotReadyError) Error() string {
	return "Model container failed to respond to ping. Please ensure /ping endpoint is implemented and responds with an HTTP 200 status code. " +
		fmt.Sprintf("For %s, %s %s", Startup, named(e.Container), e.Last)
}

// Ready waits until all containers answer /ping with 200, for patience at most.
func (t *Transformer) Ready(ctx context.Context, patience time.Duration) error {
	until, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for i := range t.s.Containers {
		last := "gave no answer"
		for {
			err := t.ping(until, i)
			if err == nil {
				break
			}
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if until.Err() != nil {
				return &NotReadyError{t.called(i), last}
			}
			last = err.Error()
			wait := time.NewTimer(pingPause)
			select {
			case <-until.Done():
			case <-wait.C:
			}
			wait.Stop()
		}
	}
	return nil
}

func (t *Transformer) ping(ctx context.Context, i int) error {
	resp, cancel, err := t.get(ctx, i, "/ping", pingTime)
	if err != nil {
		return err
	}
	defer cancel()
	defer resp.Body.Close()                                       //nolint:errcheck // its begin is read
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) // so that its connection can be used again
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("answered %d", resp.StatusCode)
	}
	return nil
}

func (t *Transformer) get(ctx context.Context, i int, path string, within time.Duration) (*http.Response, context.CancelFunc, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, within, fmt.Errorf("gave no answer within %s", within))
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, t.s.Containers[i]+path, http.NoBody)
	if err != nil {
		cancel()
		return nil, nil, err
	}
	resp, err := t.client.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		} else {
			err = fmt.Errorf("gave no answer: %w", plain(err))
		}
		cancel()
		return nil, nil, err
	}
	return resp, cancel, nil
}

// Parameters are what a container wants to be asked. nil: it does not say.
type Parameters struct {
	MaxConcurrentTransforms *int64
	MaxPayloadInMB          *int64
	BatchStrategy           *string // MULTI_RECORD or SINGLE_RECORD
}

// The bounds of what a container may want.
const (
	mostConcurrent = 100
	mostPayload    = 100 // MB
)

// Parameters asks the first container. 404 is that it does not say; the error is
// what it says wrongly, beside what can be used of it.
func (t *Transformer) Parameters(ctx context.Context) (p Parameters, err error) {
	resp, cancel, err := t.get(ctx, 0, "/execution-parameters", time.Minute)
	if err != nil {
		return p, fmt.Errorf("GET /execution-parameters: %w", err)
	}
	defer cancel()
	defer resp.Body.Close() //nolint:errcheck // its begin is read
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	switch {
	case resp.StatusCode == http.StatusNotFound:
		return p, nil
	case resp.StatusCode != http.StatusOK:
		return p, fmt.Errorf("GET /execution-parameters answered %d", resp.StatusCode)
	case err != nil:
		return p, fmt.Errorf("GET /execution-parameters: %w", err)
	}
	return parameters(body)
}

func parameters(body []byte) (p Parameters, err error) {
	var said struct {
		MaxConcurrentTransforms, MaxPayloadInMB, BatchStrategy any
	}
	if err := json.Unmarshal(body, &said); err != nil {
		return p, fmt.Errorf("GET /execution-parameters answered what is no JSON object: %w", err)
	}
	number := func(name string, v any, least, most int64) *int64 {
		f, ok := v.(float64)
		if n := int64(f); ok && float64(n) == f && n >= least && n <= most {
			return &n
		}
		if v != nil {
			err = errors.Join(err, fmt.Errorf("GET /execution-parameters answered %s %v, which is not a whole number from %d to %d", name, printable(fmt.Sprint(v), 100), least, most))
		}
		return nil
	}
	p.MaxConcurrentTransforms = number("MaxConcurrentTransforms", said.MaxConcurrentTransforms, 1, mostConcurrent)
	p.MaxPayloadInMB = number("MaxPayloadInMB", said.MaxPayloadInMB, 0, mostPayload)
	switch s, ok := said.BatchStrategy.(string); {
	case ok && (s == "MULTI_RECORD" || s == "SINGLE_RECORD"):
		p.BatchStrategy = &s
	case said.BatchStrategy != nil:
		err = errors.Join(err, fmt.Errorf("GET /execution-parameters answered BatchStrategy %s, which is neither MULTI_RECORD nor SINGLE_RECORD", printable(fmt.Sprint(said.BatchStrategy), 100)))
	}
	return p, err
}
