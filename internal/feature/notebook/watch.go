package notebook

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"clary/internal/aws/apierr"
	"clary/internal/compute"
	"clary/internal/resource"
	"clary/internal/runtimes"
	"clary/internal/stage/agent"
	"clary/internal/store"
)

const (
	// idleTag says after how many minutes without use an instance is stopped,
	// whatever the server's own limit is; 0 or off: never.
	idleTag      = "clary:idle-stop-minutes"
	leastMinutes = 5
	mostMinutes  = 7 * 24 * 60

	samplePatience = 5 * time.Second // processes are looked at one by one
	savePatience   = 30 * time.Second
	idlePatience   = 500 * time.Millisecond
)

// limit reads the tag's value, and says what is wrong with it.
func limit(value string) (d time.Duration, wrong string) {
	value = strings.TrimSpace(value)
	if value == "0" || strings.EqualFold(value, "off") {
		return 0, ""
	}
	m, err := strconv.Atoi(value)
	if err != nil || m < leastMinutes || m > mostMinutes {
		return 0, fmt.Sprintf("The tag %s is %q: %d to %d minutes, or off, are expected.", idleTag, value, leastMinutes, mostMinutes)
	}
	return time.Duration(m) * time.Minute, ""
}

// checkIdleTag refuses a limit that cannot be.
func checkIdleTag(tags map[string]string) error {
	value, ok := tags[idleTag]
	if !ok {
		return nil
	}
	if _, wrong := limit(value); wrong != "" {
		return apierr.Validation("%s", wrong)
	}
	return nil
}

// watch looks at how an instance in service is used, when it is time to, and
// reads after how long without use it is stopped.
func (n *Notebooks) watch(ctx context.Context, rec *resource.Record, st status, o *observed) error {
	if !st.Agent || st.Ready == nil || o.task == nil || o.task.Phase != compute.Running || !st.Idle.looks(o.now) {
		return nil
	}
	o.limit = n.IdleStop
	err := n.Store.View(ctx, func(tx store.Tx) error {
		tags, err := tx.Tags(rec.Arn)
		if err != nil {
			return err
		}
		if value, ok := tags[idleTag]; ok {
			o.setLimit(value)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("tags: %w", err)
	}
	o.sample = n.sample(ctx, st.Task)
	o.now, o.clock = time.Now(), n.Clock() // asking took a while
	return nil
}

// setLimit takes an instance's own limit; one that cannot be counts for nothing.
func (o *observed) setLimit(tag string) {
	own, wrong := limit(tag)
	if wrong != "" {
		o.complaint = wrong + " The server's own limit counts."
		return
	}
	o.limit = own
}

// sample asks a task how it is used; nil: it cannot tell now.
func (n *Notebooks) sample(ctx context.Context, id compute.TaskID) *agent.Sample {
	ctx, cancel := context.WithTimeout(ctx, samplePatience)
	defer cancel()
	var x agent.Sample
	if n.read(ctx, id, agent.Port, "/activity", &x) != nil {
		return nil
	}
	return &x
}

// warn tells whoever has an instance open that it will be stopped, or that it
// will not. What was not heard is said again.
func (n *Notebooks) warn(ctx context.Context, was *idle, d *decision) {
	ctx, cancel := context.WithTimeout(ctx, samplePatience)
	defer cancel()
	i := d.st.Idle
	if n.say(ctx, d.st.Task, "/warn", agent.Warning{StopAt: i.StopAt, Idle: time.Duration(i.For)}) == nil {
		return
	}
	i.Warned, i.StopAt = 0, time.Time{}
	if was != nil {
		i.Warned, i.StopAt = was.Warned, was.StopAt
	}
	d.after = min(d.after, sampleSoon)
	i.Next = i.Seen.Add(d.after)
}

// settle has what is open saved, and stops an instance if nobody has come back
// meanwhile.
func (n *Notebooks) settle(ctx context.Context, o observed, d decision) decision {
	n.saveOpen(ctx, &d.st)
	x := n.sample(ctx, d.st.Task)
	o.now, o.clock = time.Now(), n.Clock()
	if x == nil {
		d.after = sampleSoon
		d.st.Idle.Next = o.now.Add(d.after)
		return d
	}
	if v := d.st.Idle.judge(*x, o.now); v.Active || v.Idle < o.limit {
		d.after = time.Second
		d.st.Idle.Next = o.now // the warning is taken back at once
		return d
	}
	d.stops(o, o.limit)
	return d
}

// saveOpen has open pages save what they hold.
func (n *Notebooks) saveOpen(ctx context.Context, st *status) {
	ctx, cancel := context.WithTimeout(ctx, savePatience)
	defer cancel()
	if err := n.say(ctx, st.Task, "/save", struct{}{}); err != nil {
		st.tell("What was open could not be saved before the stop" + because(err.Error()))
	}
}

// Idle is how an instance that nobody uses stands.
type Idle struct {
	Since    time.Time // nobody has used it; zero: it does not run any more
	Evidence string
	StopAt   time.Time // it will be stopped, and whoever has it open was told; zero: not yet
	Stopped  time.Time // it was, as nobody used it; zero: it was not
}

// Idle says which of these notebook instances nobody uses, or were stopped for
// that. One that is in use or cannot tell is left out. A tab that is only open
// is no use.
func (n *Notebooks) Idle(ctx context.Context, account, region string, names []string) map[string]Idle {
	ctx, cancel := context.WithTimeout(ctx, idlePatience)
	defer cancel()
	var (
		mu  sync.Mutex // guards out
		out = make(map[string]Idle)
		all sync.WaitGroup
	)
	for _, name := range names {
		rec, err := n.Store.Get(ctx, key(account, region, name))
		if err != nil {
			continue
		}
		st, err := readStatus(rec)
		switch i := st.Idle; {
		case err != nil:
		case st.Halted != nil:
			mu.Lock()
			out[name] = Idle{Stopped: st.Halted.At, Evidence: st.Halted.Evidence}
			mu.Unlock()
		case rec.Phase != phaseInService || st.Ready == nil:
		case !st.Agent: // begun by a server that could not ask for more
			all.Go(func() {
				if at, ok := n.lastUse(ctx, st.Task); ok {
					mu.Lock()
					out[name] = Idle{Since: at}
					mu.Unlock()
				}
			})
		case i != nil && !i.Since.IsZero():
			mu.Lock()
			out[name] = Idle{Since: i.Since, Evidence: i.Evidence, StopAt: i.StopAt}
			mu.Unlock()
		}
	}
	all.Wait()
	return out
}

// lastUse asks JupyterLab of a task; false: it is used now, or cannot tell.
func (n *Notebooks) lastUse(ctx context.Context, id compute.TaskID) (time.Time, bool) {
	var (
		server struct {
			Started time.Time `json:"started"`
		}
		used []struct {
			State string    `json:"execution_state"`
			Last  time.Time `json:"last_activity"`
		}
	)
	if n.read(ctx, id, runtimes.NotebookPort, "/api/status", &server) != nil {
		return time.Time{}, false
	}
	last := server.Started
	for _, path := range []string{"/api/kernels", "/api/terminals"} {
		used = nil
		if n.read(ctx, id, runtimes.NotebookPort, path, &used) != nil {
			return time.Time{}, false
		}
		for _, u := range used {
			if u.State == "busy" {
				return time.Time{}, false
			}
			if u.Last.After(last) {
				last = u.Last
			}
		}
	}
	return last, true
}
