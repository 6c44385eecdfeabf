package notebook

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json" // as the first process of a task speaks it
	"fmt"
	"io"
	"math"
	"net/http"
	"time"

	"clary/internal/compute"
	"clary/internal/runtimes"
	"clary/internal/stage/agent"
)

const (
	probePatience = 2 * time.Second
	maxAnswer     = 4 << 20
	maxHead       = 64 << 10
)

func encode(v any) ([]byte, error) { return json.Marshal(v) }

// state asks the first process of a task how its run stands; nil: it does not
// answer.
func (n *Notebooks) state(ctx context.Context, id compute.TaskID) *agent.State {
	ctx, cancel := context.WithTimeout(ctx, probePatience)
	defer cancel()
	var s agent.State
	if n.read(ctx, id, agent.Port, "/state", &s) != nil {
		return nil
	}
	switch s.Phase {
	case agent.Cloning, agent.Creating, agent.Starting, agent.Serving, agent.Failed:
		return &s
	}
	return nil
}

// answers says whether JupyterLab of a task does: only then is anything in
// service.
func (n *Notebooks) answers(ctx context.Context, id compute.TaskID) bool {
	ctx, cancel := context.WithTimeout(ctx, probePatience)
	defer cancel()
	return n.read(ctx, id, runtimes.NotebookPort, "/api/status", nil) == nil
}

// read gets a JSON document from a port of a task; out nil: only whether it can.
func (n *Notebooks) read(ctx context.Context, id compute.TaskID, port int, path string, out any) error {
	return n.ask(ctx, id, port, http.MethodGet, path, nil, func(body io.Reader) error {
		if out == nil {
			return nil
		}
		return json.NewDecoder(io.LimitReader(body, maxAnswer)).Decode(out)
	})
}

// created tells a task that OnCreate is known to be over. Its state says whether
// it heard.
func (n *Notebooks) created(ctx context.Context, id compute.TaskID) {
	ctx, cancel := context.WithTimeout(ctx, probePatience)
	defer cancel()
	_ = n.say(ctx, id, "/created", struct{}{})
}

// say posts a JSON document to a task's first process.
func (n *Notebooks) say(ctx context.Context, id compute.TaskID, path string, doc any) error {
	b, err := json.Marshal(doc)
	if err != nil {
		return err
	}
	return n.ask(ctx, id, agent.Port, http.MethodPost, path, b, func(io.Reader) error { return nil })
}

// ask makes one request to a port of a task and has the body of its answer
// read, which must be 200. ctx bounds all of it.
func (n *Notebooks) ask(ctx context.Context, id compute.TaskID, port int, method, path string, body []byte, use func(io.Reader) error) error {
	conn, err := n.Driver.Dial(ctx, id, port)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // all was read
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	req, err := http.NewRequestWithContext(ctx, method, "http://127.0.0.1"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Close = true
	if err := req.Write(conn); err != nil {
		return err
	}
	head := &io.LimitedReader{R: conn, N: maxHead}
	res, err := http.ReadResponse(bufio.NewReader(head), req)
	if err != nil {
		return err
	}
	head.N = math.MaxInt64 // whoever reads on bounds what follows
	defer res.Body.Close() //nolint:errcheck // read as far as it matters
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", path, res.Status)
	}
	return use(res.Body)
}
