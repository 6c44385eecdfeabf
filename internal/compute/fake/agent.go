package fake

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"clary/internal/compute"
	"clary/internal/stage/agent"
)

// Agent is the first process of a notebook instance's task, or of one that
// rescues. It does nothing but tell how far it is.
type Agent struct {
	Clone, Create, Start time.Duration // of each step that is ordered
	Lab                  time.Duration // from then on to JupyterLab's first answer
	Fails                agent.Phase   // the step at whose end it fails; "" none
	Failure              string

	Sample func() agent.Sample // nil: it has nothing to tell
	// Asked is told each request that is about to be answered, with its body,
	// and what /state says.
	Asked func(method, path string, body []byte, s agent.State)
	// Refuses says whether a request is answered by 503; nil: none is.
	Refuses func(path string) bool
	// Search is how long it looks for what is worth keeping, and Found what it
	// finds: a file's text by its name.
	Search time.Duration
	Found  map[string]string
	Rescue agent.Rescue // without Ready and Files
}

// Order is what a task was ordered.
func Order(t compute.Task) (o agent.Order) {
	for _, f := range t.Files {
		if f.Path == agent.OrderFile && json.Unmarshal(f.Data, &o) != nil {
			panic("an order that cannot be read: " + string(f.Data))
		}
	}
	return o
}

// Ports are what a task serves that begins now and is Running after delay: the
// agent, and from its time on JupyterLab on a port.
func (a Agent) Ports(t compute.Task, delay time.Duration, port int, lab http.Handler) map[int]func(net.Conn) {
	p := &process{Agent: a, order: Order(t), began: time.Now().Add(delay)}
	served := HTTP(lab)
	return map[int]func(net.Conn){
		agent.Port: HTTP(p),
		port: func(c net.Conn) {
			if s := p.state(time.Now()); s.Phase == agent.Serving && s.For >= a.Lab {
				served(c)
			}
		},
	}
}

// process is an Agent in a task.
type process struct {
	Agent
	order agent.Order
	began time.Time

	mu   sync.Mutex // guards what follows
	told time.Time  // that OnCreate is known to be over
}

// state is how far it is.
func (p *process) state(now time.Time) (s agent.State) {
	p.mu.Lock()
	told := p.told
	p.mu.Unlock()
	a, o, passed := p.Agent, p.order, now.Sub(p.began)
	clone := false
	for _, r := range o.Repositories {
		clone = clone || !r.Cloned
	}
	for _, step := range []struct {
		phase agent.Phase
		takes time.Duration
		asked bool
	}{{agent.Cloning, a.Clone, clone}, {agent.Creating, a.Create, o.OnCreate != ""}, {agent.Starting, a.Start, o.OnStart != ""}} {
		if !step.asked {
			continue
		}
		if passed < step.takes {
			s.Phase, s.For = step.phase, passed
			return s
		}
		passed -= step.takes
		if a.Fails == step.phase {
			s.Phase, s.For, s.Failure = agent.Failed, passed, a.Failure
			return s
		}
		switch step.phase { //nolint:exhaustive // the others leave nothing behind
		case agent.Cloning:
			for _, r := range o.Repositories {
				s.Cloned = append(s.Cloned, r.Folder)
			}
		case agent.Creating:
			if s.Created = true; told.IsZero() {
				s.Phase, s.For = step.phase, passed+step.takes
				return s
			}
			passed = now.Sub(told)
		}
	}
	s.Phase, s.For = agent.Serving, passed
	return s
}

// ServeHTTP answers as package agent says.
func (p *process) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body) // of the world's own server
	s := p.state(time.Now())
	var doc any = struct{}{}
	name, file := strings.CutPrefix(r.URL.Path, "/rescue/")
	switch what := r.Method + " " + r.URL.Path; {
	case p.Refuses != nil && p.Refuses(r.URL.Path):
		http.Error(w, "not now", http.StatusServiceUnavailable)
		return
	case file && p.Found[name] != "":
		_, _ = io.WriteString(w, p.Found[name]) // nobody reads on if it fails
		doc = nil
	case what == "GET /rescue":
		doc = p.rescue(time.Since(p.began))
	case what == "GET /state":
		doc = s
	case what == "GET /activity" && p.Sample != nil:
		doc = p.Sample()
	case what == "POST /created":
		p.mu.Lock()
		if p.told.IsZero() {
			p.told = time.Now()
		}
		p.mu.Unlock()
	case what == "POST /warn", what == "POST /save":
	default:
		http.NotFound(w, r)
		return
	}
	if p.Asked != nil {
		p.Asked(r.Method, r.URL.Path, body, s)
	}
	if doc != nil {
		_ = json.NewEncoder(w).Encode(doc)
	}
}

func (a Agent) rescue(passed time.Duration) agent.Rescue {
	r := a.Rescue
	if r.Failure != "" || passed < a.Search {
		return r
	}
	r.Ready = true
	for _, name := range slices.Sorted(maps.Keys(a.Found)) {
		text := a.Found[name]
		r.Files = append(r.Files, agent.File{Name: name, What: "what was on the volume", Bytes: int64(len(text)), SHA256: fmt.Sprintf("%x", sha256.Sum256([]byte(text)))})
	}
	return r
}
