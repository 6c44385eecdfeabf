package rescue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"clary/internal/stage/agent"
)

// Main makes a rescue of the volume of a notebook instance, offers it until it
// is told to end, and returns the exit code.
func Main(environ []string, out io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM, unix.SIGINT)
	defer stop()
	home := "/home/ec2-user"
	for _, e := range environ {
		if v, ok := strings.CutPrefix(e, "HOME="); ok && v != "" {
			home = v
		}
	}
	say := func(format string, args ...any) {
		_, _ = fmt.Fprintf(out, "clary: "+format+"\n", args...) // the log is advice
	}
	shelter, err := order(agent.OrderFile)
	if err != nil {
		say("a rescue needs its order: %v", err)
		return 1
	}
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", agent.Port))
	if err != nil {
		say("%v", err)
		return 1
	}
	if err := serve(ctx, l, filepath.Join(home, "SageMaker"), shelter, say); err != nil {
		say("%v", err)
		return 1
	}
	return 0
}

// order reads what is asked for, and removes it.
func order(path string) (agent.Shelter, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return agent.Shelter{}, err
	}
	_ = os.Remove(path) // it may lie where the user may not write; nothing in it is secret
	var o agent.Order
	if err := json.Unmarshal(text, &o); err != nil {
		return agent.Shelter{}, err
	}
	if o.Shelter == nil {
		return agent.Shelter{}, errors.New("it asks for none")
	}
	return *o.Shelter, nil
}

// serve makes the rescue and answers meanwhile, until ctx is done.
func serve(ctx context.Context, l net.Listener, root string, shelter agent.Shelter, say func(string, ...any)) error {
	dir, err := os.MkdirTemp("", "rescue-")
	if err != nil {
		return errors.Join(err, l.Close())
	}
	defer os.RemoveAll(dir) //nolint:errcheck // it is gone with the task at the latest
	o := &offer{dir: dir}
	srv := &http.Server{Handler: o.handler(), ReadHeaderTimeout: 10 * time.Second}
	var wg sync.WaitGroup
	wg.Go(func() {
		began := time.Now()
		r, err := Make(ctx, root, dir, shelter)
		if err != nil {
			r = agent.Rescue{Failure: err.Error()}
		}
		o.set(r)
		say("the rescue has %d files after %d ms%s", len(r.Files), time.Since(began).Milliseconds(), r.Failure)
		for _, n := range r.Notes {
			say("%s", n)
		}
	})
	wg.Go(func() {
		<-ctx.Done()
		_ = srv.Close() // whoever reads has been told to end
	})
	err = srv.Serve(l)
	wg.Wait()
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// offer is what the server is told.
type offer struct {
	dir string
	mu  sync.Mutex
	now agent.Rescue
}

func (o *offer) set(r agent.Rescue) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.now = r
}

func (o *offer) get() agent.Rescue {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.now
}

func (o *offer) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /rescue", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(o.get()) // whoever asked has gone
	})
	mux.HandleFunc("GET /rescue/{name}", func(w http.ResponseWriter, r *http.Request) {
		name := r.PathValue("name")
		if now := o.get(); !now.Ready || !slices.ContainsFunc(now.Files, func(f agent.File) bool { return f.Name == name }) {
			http.NotFound(w, r)
			return
		}
		f, err := os.Open(filepath.Join(o.dir, name))
		if err != nil {
			http.Error(w, "it cannot be read", http.StatusInternalServerError)
			return
		}
		defer f.Close() //nolint:errcheck // read only
		w.Header().Set("Content-Type", "application/octet-stream")
		http.ServeContent(w, r, "", time.Time{}, f)
	})
	return mux
}
