package sim

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"clary/internal/api"
	apism "clary/internal/api/sagemaker"
	"clary/internal/aws/apierr"
	"clary/internal/aws/op"
	"clary/internal/compute"
	"clary/internal/compute/fake"
	"clary/internal/feature/notebook"
	"clary/internal/logs"
	"clary/internal/meter"
	"clary/internal/resource"
	"clary/internal/runtimes"
	"clary/internal/stage/agent"
	"clary/internal/store"
)

// book is a notebook instance: what its client does, and how its tasks go.
type book struct {
	name   string
	create time.Duration // after the beginning
	acts   []act
	runs   []fake.Script // of its tasks, one after the other; the last one for all that follow
	agents []fake.Agent  // their first processes
	code   bool          // it has repositories and lifecycle scripts
	works  bool          // its programs write to the volume
	leaves bool          // its client never stops it at the end
	use    use

	created, erasing, deleted atomic.Bool

	// The world's mutex guards what follows.
	turns []turn
	tasks map[compute.TaskID]*bookTask
	order []compute.TaskID
	done  done
}

// act is something that the client does after a while.
type act struct {
	after time.Duration
	what  string // start, stop, grow, delete
}

// bookTask is what came of one task.
type bookTask struct {
	dialled time.Time           // when its JupyterLab last answered
	asker   *life               // who dialled last
	said    said                // what its first process last told
	ready   time.Time           // its answer was taken note of, durably
	final   *compute.TaskStatus // the last word of its supervisor
}

// turn is a change of a notebook's record that was committed.
type turn struct {
	name, from, to string
	at             time.Time
	policy         bool         // by the idle policy
	version        int64        // of the record before it
	told           *agent.State // what its first process told in the same instant, to the same server; nil: nothing
}

func (b *book) key() resource.Key {
	return resource.Key{Account: account, Region: region, Kind: notebook.Kind, Name: b.name}
}

func newBook(rng *rand.Rand, name string, calm bool) *book {
	span := func(most time.Duration) time.Duration { return time.Duration(rng.Int64N(int64(most))) }
	b := &book{name: name, create: span(5 * time.Minute), tasks: make(map[compute.TaskID]*bookTask)}
	b.use, b.leaves = newUse(rng), rng.IntN(3) == 0
	most := []time.Duration{time.Minute, 20 * time.Minute, 3 * time.Hour}
	for range rng.IntN(8) {
		what := []string{"start", "stop", "stop", "grow", "start", "delete"}[rng.IntN(6)]
		b.acts = append(b.acts, act{time.Second + span(most[rng.IntN(3)]), what})
	}
	if calm {
		b.acts = []act{{5 * time.Minute, "stop"}, {time.Minute, "grow"}, {time.Minute, "start"}, {2 * time.Minute, "stop"}, {time.Minute, "delete"}}
		b.use.spans = nil
	}
	b.code, b.works = calm || rng.IntN(2) == 0, calm || rng.IntN(3) > 0
	for i := range 12 {
		sc := fake.Script{Delay: span(3 * time.Second), Forever: true, IgnoreTERM: rng.IntN(5) == 0}
		a := newAgent(rng, span)
		switch rng.IntN(7) {
		case 0:
			sc.Forever, sc.Run = false, span(20*time.Second) // perhaps before it answers
		case 1:
			sc.Forever, sc.Run = false, span(time.Hour)
		case 2:
			sc.Lost = time.Second + span(2*time.Hour)
		case 3:
			if rng.IntN(3) == 0 {
				a.Lab = 24 * time.Hour
			} else {
				a.Lab = span(2 * time.Minute)
			}
		}
		if calm {
			sc = fake.Script{Delay: time.Second, Forever: i > 0, Run: 2 * time.Minute}
			a = fake.Agent{Clone: time.Second, Create: time.Second, Start: time.Second, Lab: time.Second}
		}
		for range rng.IntN(4) {
			sc.Output = append(sc.Output, "")
		}
		b.runs, b.agents = append(b.runs, sc), append(b.agents, a)
	}
	return b
}

// nth is the number of a task, from 1.
func nth(id compute.TaskID) int {
	_, run, _ := strings.Cut(string(id), "-")
	n, _ := strconv.Atoi(run) // the driver takes no other id
	return n
}

// script is that of one of the book's tasks, which begins now.
func (s *sim) bookScript(b *book, t compute.Task) fake.Script {
	n := nth(t.ID)
	sc, a := b.runs[(n-1)%len(b.runs)], b.agents[(n-1)%len(b.agents)]
	sc.Output = b.output(t.ID)
	if fake.Order(t).Shelter != nil {
		return sheltering(t, sc, a)
	}
	if b.works {
		sc.Work = func(files map[string]string) []string {
			files[runtimes.NotebookDir+"/work.ipynb"] += fmt.Sprintln("run", n)
			return nil
		}
	}
	a.Asked = func(_, path string, body []byte, st agent.State) {
		s.told(b, t.ID, path, st)
		s.posted(b, path, body)
	}
	began := time.Now().Add(sc.Delay)
	a.Sample = func() agent.Sample { return s.sample(b, began) }
	sc.Serve = a.Ports(t, sc.Delay, runtimes.NotebookPort, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		s.mu.Lock()
		b.tasks[t.ID].dialled = time.Now()
		s.mu.Unlock()
	}))
	return sc
}

// output is what one of the book's tasks prints, some of it for streams of its
// own.
func (b *book) output(id compute.TaskID) (out []string) {
	n := nth(id)
	for i := range b.runs[(n-1)%len(b.runs)].Output {
		mark := []string{"", agent.Mark + agent.StreamOnCreate + agent.Mark, agent.Mark + agent.StreamOnStart + agent.Mark}[(i+n)%3]
		out = append(out, fmt.Sprintf("%sline %d of run %d", mark, i, n))
	}
	return out
}

// newNaps are stretches of time that the machine sleeps. Its programs go on
// all the same: only what the clocks tell is of a machine that slept.
func newNaps(rng *rand.Rand) []span {
	var out []span
	at := time.Now()
	for range rng.IntN(3) {
		at = at.Add(time.Duration(rng.Int64N(int64(2 * time.Hour))))
		until := at.Add(time.Duration(rng.Int64N(int64(time.Hour))))
		out = append(out, span{at, until})
		at = until
	}
	return out
}

// slept is how much of a stretch of time the machine slept.
func (s *sim) slept(from, to time.Time) (d time.Duration) {
	for _, n := range s.naps {
		a, b := n.from, n.to
		if a.Before(from) {
			a = from
		}
		if b.After(to) {
			b = to
		}
		if b.After(a) {
			d += b.Sub(a)
		}
	}
	return d
}

// awake is the length of a stretch of time without sleep.
func (s *sim) awake(from, to time.Time) time.Duration { return to.Sub(from) - s.slept(from, to) }

// moment is the machine's own count of time.
func (s *sim) moment() meter.Moment {
	s.mu.Lock()
	boot := s.boot
	s.mu.Unlock()
	begin := time.Unix(946684800, 0) // of the bubble
	return meter.Moment{Boot: fmt.Sprint("boot", boot), Awake: int64(s.awake(begin, time.Now()))}
}

// bookClocks shows a status as the supervisor of a machine that sleeps writes it.
func (s *sim) bookClocks(id compute.TaskID, st *compute.TaskStatus) {
	if s.bookOf(id) != nil || s.siteOf(id) != nil {
		end := st.Heartbeat
		if st.Exit != nil {
			end = st.Exit.At
		}
		st.Suspended = s.slept(st.Created, end)
	}
}

func (s *sim) bookOf(id compute.TaskID) *book {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range s.books {
		if b.tasks[id] != nil {
			return b
		}
	}
	return nil
}

// booked remembers whose task this is.
func (s *sim) booked(t compute.Task) {
	b := s.books[t.Name]
	if b == nil {
		return
	}
	s.mu.Lock()
	if b.tasks[t.ID] == nil {
		b.tasks[t.ID] = &bookTask{}
		b.order = append(b.order, t.ID)
	}
	s.mu.Unlock()
	s.ordered(b, fake.Order(t))
}

// removed keeps the last word of a task that is about to be forgotten.
func (b *book) removed(s *sim, id compute.TaskID, st compute.TaskStatus) {
	if st.Phase != compute.Ended && st.Phase != compute.Lost {
		s.fail("%s: its task %s was removed while it was %s", b.name, id, st.Phase)
	}
	s.mu.Lock()
	b.tasks[id].final = &st
	s.mu.Unlock()
}

// turn sees that a notebook's status goes as on AWS.
func (x lawfulTx) turn(old, r *resource.Record) {
	from := ""
	if old != nil {
		from = old.Phase
	}
	lawful := map[string][]string{
		"": {"Pending"}, "Pending": {"InService", "Failed"}, "InService": {"Stopping", "Failed", "Pending"}, "Stopping": {"Stopped"},
		"Stopped": {"Pending", "Updating", "Deleting"}, "Failed": {"Pending", "Updating", "Deleting"}, "Updating": {"Stopped", "Failed"},
	}
	ok := from == r.Phase
	for _, to := range lawful[from] {
		ok = ok || to == r.Phase
	}
	if !ok {
		x.seen.broken = append(x.seen.broken, fmt.Sprintf("%s went from %q to %s", r.Name, from, r.Phase))
	}
	x.seen.turns = append(x.seen.turns, turn{policy: x.seen.policy && r.Phase == "Stopping", name: r.Name, from: from, to: r.Phase, at: time.Now(), version: r.Version, told: x.seen.life.heard(r.Name, from)})
}

// turned notes what was committed.
func (s *sim) turned(turns []turn) {
	for _, t := range turns {
		if s.prepared(s.books[t.name], t); t.policy {
			s.judgeStop(s.books[t.name], t.at)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range turns {
		b := s.books[t.name]
		b.turns = append(b.turns, t)
		// Who committed first need not be the first to come here.
		slices.SortStableFunc(b.turns, func(x, y turn) int { return cmp.Compare(x.version, y.version) })
		if n := len(b.order); n > 0 && t.to == "InService" {
			// Asking JupyterLab and noting its answer are one instant here.
			if k := b.tasks[b.order[n-1]]; k.dialled.Equal(t.at) && k.ready.IsZero() {
				k.ready = t.at
			}
		}
	}
}

// client does what the book's client wants, until nothing costs any more but
// perhaps a volume.
func (s *sim) client(b *book) {
	time.Sleep(b.create)
	first := true
	in := &apism.CreateNotebookInstanceInput{NotebookInstanceName: b.name, InstanceType: "ml.t3.medium", RoleArn: "arn:aws:iam::" + account + ":role/Role", Tags: s.tagged(b.name)}
	if b.code {
		s.insist(scripts)
		in.LifecycleConfigName, in.DefaultCodeRepository, in.AdditionalCodeRepositories = "scripts", "https://git.example/a/x.git", []string{"https://git.example/b/x"}
	}
	s.insist(func(l *life) error {
		_, err := l.books.Create(context.Background(), call(), in)
		if !first && invalid(err) {
			err = nil // the call before did it after all
		}
		first = false
		return err
	})
	b.created.Store(true)
	size := int64(5)
	for _, a := range b.acts {
		time.Sleep(a.after)
		if a.what == "grow" {
			size += 2
		}
		if s.does(b, a.what, size); b.deleted.Load() {
			return
		}
	}
	bound := patience
	if s.team != nil {
		bound = 3 * time.Hour
	}
	for deadline := time.Now().Add(bound); time.Now().Before(deadline); time.Sleep(time.Minute) {
		switch s.phaseOf(b) {
		case "Stopped", "Failed", "":
			return
		case "InService":
			if !b.leaves {
				s.does(b, "stop", size)
			}
		}
	}
}

// does calls an operation until it is answered. A notebook whose status does
// not allow it refuses, which is fine.
func (s *sim) does(b *book, what string, size int64) {
	s.insist(func(l *life) error {
		ctx, c := context.Background(), call()
		var err error
		switch what {
		case "start":
			_, err = l.books.Start(ctx, c, &apism.StartNotebookInstanceInput{NotebookInstanceName: b.name})
		case "stop":
			_, err = l.books.Stop(ctx, c, &apism.StopNotebookInstanceInput{NotebookInstanceName: b.name})
		case "grow":
			_, err = l.books.Update(ctx, c, &apism.UpdateNotebookInstanceInput{NotebookInstanceName: b.name, VolumeSizeInGB: api.Ptr(size)})
		case "delete":
			b.erasing.Store(true) // or perhaps: whoever got no answer cannot know
			if _, err = l.books.Delete(ctx, c, &apism.DeleteNotebookInstanceInput{NotebookInstanceName: b.name}); err == nil {
				b.deleted.Store(true)
			}
		}
		if invalid(err) {
			return nil
		}
		return err
	})
	if what == "delete" && !b.deleted.Load() {
		// Refused, or done by a call that got no answer.
		phase := s.phaseOf(b)
		b.deleted.Store(phase == "" || phase == "Deleting")
		b.erasing.Store(b.deleted.Load())
	}
}

// phaseOf is the book's status, "" when it is gone.
func (s *sim) phaseOf(b *book) (phase string) {
	s.insist(func(l *life) error {
		d, err := l.books.Describe(context.Background(), call(), &apism.DescribeNotebookInstanceInput{NotebookInstanceName: b.name})
		if phase = ""; err == nil {
			phase = d.NotebookInstanceStatus
		}
		if invalid(err) {
			return nil
		}
		return err
	})
	return phase
}

func invalid(err error) bool {
	e, ok := errors.AsType[*apierr.Error](err)
	return ok && e.Code == "ValidationException"
}

// quiet tells whether nothing is left to do for the book.
func (b *book) quiet(l *life) bool {
	r, err := l.store.Get(context.Background(), b.key())
	if b.deleted.Load() {
		return errors.Is(err, store.ErrNotFound)
	}
	return err == nil && (r.Phase == "Stopped" || r.Phase == "Failed") && r.Due.IsZero()
}

// bookOutput is the server's own bridge from notebooks to the ingester.
type bookOutput struct{ output }

func (o bookOutput) Ensure(task compute.TaskID, st logs.Stream, sides ...logs.Side) error {
	return o.in.Ensure(string(task), st, "", nil, nil, sides...)
}

// mortalDoor is the way into notebooks as long as the server lives.
type mortalDoor struct{ l *life }

func (mortalDoor) URL(context.Context, op.Call, *resource.Record, time.Duration) (string, error) {
	return "", nil
}

func (m mortalDoor) Close(context.Context, string) error {
	return m.l.around("door", func() error { return nil })
}

func (d *mortalDriver) EnsureVolume(ctx context.Context, id compute.VolumeID, bytes int64) error {
	return d.act("volume", func() error {
		if err := d.l.s.noRoom(); err != nil {
			return err
		}
		return d.Driver.EnsureVolume(ctx, id, bytes)
	})
}

func (d *mortalDriver) RemoveVolume(ctx context.Context, id compute.VolumeID) error {
	return d.act("remove volume", func() error {
		d.l.s.judgeRescue(id)
		return d.Driver.RemoveVolume(ctx, id)
	})
}

func (d *mortalDriver) Renew(ctx context.Context, id compute.TaskID, fresh compute.Identity) error {
	return d.act("renew", func() error { return d.Driver.Renew(ctx, id, fresh) })
}

func (d *mortalDriver) Dial(ctx context.Context, id compute.TaskID, port int) (net.Conn, error) {
	return asked(d.l, func() (net.Conn, error) {
		d.l.s.asks(d.l, id)
		return d.Driver.Dial(ctx, id, port)
	})
}
