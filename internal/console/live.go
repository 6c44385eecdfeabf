package console

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

const (
	pulse   = 20 * time.Second // between signs of life, below the front's limit
	settle  = 400 * time.Millisecond
	maxLive = time.Hour // then the browser comes back, with a session that still holds
)

// events is a stream of server-sent events.
type events struct {
	w    http.ResponseWriter
	rc   *http.ResponseController
	ends time.Time
}

func (v *view) eventStream() *events {
	h := v.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no")
	v.w.WriteHeader(http.StatusOK)
	s := &events{v.w, http.NewResponseController(v.w), time.Now().Add(maxLive)}
	s.send("", "", "")
	return s
}

// send writes one event; without a name, a comment that keeps the line open.
// A browser that is gone ends the request's context.
func (s *events) send(name, data, id string) {
	if id != "" {
		id = "id: " + id + "\n"
	}
	if name == "" {
		_, _ = fmt.Fprint(s.w, ":\n\n")
	} else {
		_, _ = fmt.Fprintf(s.w, "%sevent: %s\ndata: %s\n\n", id, name, data)
	}
	_ = s.rc.Flush()
}

// cut ends a stream that cannot go on; the browser asks again.
func (v *view) cut(err error) error {
	if v.r.Context().Err() == nil {
		v.c.log.Warn("event stream", "path", v.r.URL.Path, "err", err)
	}
	return nil
}

// wait is until something happened, settled for a moment so that a burst is
// one look. false: the stream ends.
func (s *events) wait(ctx context.Context, signals ...<-chan struct{}) bool {
	left := time.Until(s.ends)
	if left <= 0 {
		return false
	}
	t := time.NewTimer(min(pulse, left))
	defer t.Stop()
	a, b := first(signals, 0), first(signals, 1)
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		s.send("", "", "")
		return true
	case _, ok := <-a:
		if !ok {
			return false
		}
	case _, ok := <-b:
		if !ok {
			return false
		}
	}
	t.Reset(settle)
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

func first(list []<-chan struct{}, i int) <-chan struct{} {
	if i < len(list) {
		return list[i]
	}
	return nil
}

// live tells a page that something may have changed; the page then asks for
// itself anew.
func (c *Console) live(v *view) error {
	changed := c.cfg.Changes(v.r.Context())
	s := v.eventStream()
	for s.wait(v.r.Context(), changed) {
		if _, err := c.view(v.w, v.r); err != nil {
			return v.cut(err)
		}
		s.send("changed", "", "")
	}
	return nil
}
