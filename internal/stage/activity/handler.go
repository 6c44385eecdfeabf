package activity

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"clary/internal/stage/agent"
)

const (
	askWithin   = 2 * time.Second
	warnWithin  = 5 * time.Second
	savedWithin = 25 * time.Second // the extension itself waits 20 s for open tabs
	maxAnswer   = 4 << 20
)

// Config is where to look.
type Config struct {
	Jupyter string       // its URL: http://127.0.0.1:8888
	Own     func() []int // processes of the instance's own beside this one and JupyterLab; may be nil
}

// Handler answers GET /activity, POST /warn and POST /save as package agent has
// it. Where JupyterLab does not answer, the status is 503: what goes on is then
// not known.
func Handler(c Config) http.Handler {
	h := &handler{Config: c, client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 2}}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /activity", h.activity)
	mux.HandleFunc("POST /warn", h.warn)
	mux.HandleFunc("POST /save", h.save)
	return mux
}

type handler struct {
	Config
	client *http.Client
}

func (h *handler) activity(w http.ResponseWriter, r *http.Request) {
	var told jupyter
	if err := h.ask(r.Context(), askWithin, http.MethodGet, "activity", nil, &told); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	own := []int{os.Getpid(), told.PID}
	if h.Own != nil {
		own = append(own, h.Own()...)
	}
	s, err := take(root, told, own)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(s) // whoever asked is gone
}

// warn hands a warning on to open tabs, and to those that are opened later.
func (h *handler) warn(w http.ResponseWriter, r *http.Request) {
	var in agent.Warning
	if err := json.NewDecoder(io.LimitReader(r.Body, maxAnswer)).Decode(&in); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	var out struct {
		StopAt float64 `json:"stop_at"` // seconds of Unix time; 0: no longer
		Idle   float64 `json:"idle"`    // seconds
		Budget string  `json:"budget,omitempty"`
	}
	out.Budget = in.Budget
	if !in.StopAt.IsZero() {
		out.StopAt, out.Idle = float64(in.StopAt.UnixMilli())/1000, in.Idle.Seconds()
	}
	h.hand(w, r, warnWithin, "warn", out)
}

// save has open tabs save, and answers when they have.
func (h *handler) save(w http.ResponseWriter, r *http.Request) {
	h.hand(w, r, savedWithin, "save", struct{}{})
}

func (h *handler) hand(w http.ResponseWriter, r *http.Request, within time.Duration, path string, in any) {
	var out map[string]any
	if err := h.ask(r.Context(), within, http.MethodPost, path, in, &out); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(out) // whoever asked is gone
}

// ask speaks to the server extension.
func (h *handler) ask(ctx context.Context, within time.Duration, method, path string, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	var body io.Reader = http.NoBody
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, h.Jupyter+"/clary/"+path, body)
	if err != nil {
		return err
	}
	if method != http.MethodGet {
		// Jupyter wants what only a page of its own could have said twice.
		const token = "clary"
		req.Header.Set("X-Xsrftoken", token)
		req.AddCookie(&http.Cookie{Name: "_xsrf", Value: token})
	}
	res, err := h.client.Do(req)
	if err != nil {
		return fmt.Errorf("JupyterLab: %w", err)
	}
	defer res.Body.Close() //nolint:errcheck // read as far as it matters
	text, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("JupyterLab: %w", err)
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("JupyterLab: %s: %.200s", res.Status, text)
	}
	if err := json.Unmarshal(text, out); err != nil {
		return fmt.Errorf("JupyterLab: %w", err)
	}
	return nil
}

// jupyter is what the server extension tells. Its times are seconds of
// CLOCK_MONOTONIC; nil: never.
type jupyter struct {
	PID     int      `json:"pid"`
	Started float64  `json:"started"`
	Saved   *float64 `json:"saved"`
	Kept    *float64 `json:"kept"`
	Tabs    int      `json:"tabs"`
	Kernels []struct {
		ID          string   `json:"id"`
		Name        string   `json:"name"`
		Document    string   `json:"document"`
		PID         int      `json:"pid"`
		State       string   `json:"state"`
		Last        *float64 `json:"last"`
		Connections int      `json:"connections"`
	} `json:"kernels"`
	Terminals []struct {
		Name        string   `json:"name"`
		PID         int      `json:"pid"`
		Input       *float64 `json:"input"`
		Connections int      `json:"connections"`
	} `json:"terminals"`
}

// take makes a sample of what JupyterLab told and what proc shows.
func take(proc string, told jupyter, own []int) (agent.Sample, error) {
	up, err := clock(unix.CLOCK_MONOTONIC)
	if err != nil {
		return agent.Sample{}, err
	}
	s := agent.Sample{At: time.Now().Round(0).UTC(), Up: up, Jupyter: told.PID, Tabs: told.Tabs}
	at := func(t *float64) time.Time {
		if t == nil {
			return time.Time{}
		}
		return s.At.Add(time.Duration(*t*float64(time.Second)) - up)
	}
	s.Booted, s.Saved, s.Kept = at(&told.Started), at(told.Saved), at(told.Kept)
	for _, k := range told.Kernels {
		s.Kernels = append(s.Kernels, agent.Kernel{
			ID: k.ID, Name: k.Name, Document: k.Document, PID: k.PID, State: k.State, Last: at(k.Last), Connections: k.Connections,
		})
	}
	for _, t := range told.Terminals {
		s.Terminals = append(s.Terminals, agent.Terminal{Name: t.Name, PID: t.PID, Input: at(t.Input), Connections: t.Connections})
	}
	return s, look(proc, own, &s)
}

func clock(id int32) (time.Duration, error) {
	var t unix.Timespec
	if err := unix.ClockGettime(id, &t); err != nil {
		return 0, fmt.Errorf("clock %d: %w", id, err)
	}
	return time.Duration(t.Nano()), nil
}
