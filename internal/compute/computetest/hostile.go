package computetest

import (
	"crypto/rand"
	_ "embed"
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"clary/internal/compute"
)

// Cell is a driver under attack.
type Cell struct {
	// Open makes a driver on one state.
	Open func(t *testing.T) compute.Driver
	// Python makes a task that runs a script with an argument.
	Python func(id, script, arg string) compute.Task
	// Staged makes a task a training job without inputs, whose output is the
	// task's Output.
	Staged func(tk compute.Task) compute.Task
	// Output is where a task may upload to, Objects what it did, by key.
	Output  func(id compute.TaskID) (uri string)
	Objects func(id compute.TaskID) map[string][]byte

	Secrets map[string]string // host files by name that no task may read
	// Pids are host processes that no task may see, those of the running task
	// neighbour-1 among them.
	Pids func(t *testing.T) map[string]int
	// Egress are the ranges that tasks may reach although they are the
	// host's: the address of Redirector.
	Redirector string
	// UIDs says that tasks have user ids of their own, Groups that the kernel
	// counts their memory and processes, Volumes that it bounds what they write.
	UIDs, Groups, Volumes bool
}

//go:embed attacks/lib.py
var attackLib string //nolint:gochecknoglobals // embedded

//go:embed attacks/reach.py
var reachScript string //nolint:gochecknoglobals // embedded

//go:embed attacks/victim.py
var victimScript string //nolint:gochecknoglobals // embedded

//go:embed attacks/egress.py
var egressScript string //nolint:gochecknoglobals // embedded

// attackContext is what an attacker is told: more than it could find out.
type attackContext struct {
	Secret, Abstract, HostAbstract, NeighbourPath, Redirector, Mark, What, Stranger string
	Files, Writes                                                                   map[string]string
	Pids                                                                            map[string]int
	Marks, Addresses, Targets                                                       []string
	Port                                                                            int
	Isolated                                                                        bool
}

func (c attackContext) arg() string {
	b, err := json.Marshal(c)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func (c *Cell) attack(id, script string, ctx attackContext) compute.Task {
	return c.Python(id, attackLib+script, ctx.arg())
}

// reverse keeps a mark from being found in the attacker's own memory.
func reverse(s string) string {
	b := []byte(s)
	slices.Reverse(b)
	return string(b)
}

// token is a secret that occurs nowhere else.
func token() string { return "secret-" + strings.ToLower(rand.Text()) }

// verdict says what may come of an attack.
type verdict struct {
	name string // a name, or a prefix that ends in *
	want string // what is printed; a regular expression after ~
}

const refused = `~E[A-Z0-9]+`

func (v verdict) matches(name string) bool {
	p, prefix := strings.CutSuffix(v.name, "*")
	return name == v.name || prefix && strings.HasPrefix(name, p)
}

func (v verdict) holds(got string) bool {
	if re, ok := strings.CutPrefix(v.want, "~"); ok {
		return regexp.MustCompile(`^(?:` + re + `)$`).MatchString(got)
	}
	return got == v.want
}

// judge compares what attacks printed with what may come of them. Each line
// must have a verdict, each verdict a line, and the last line must be there.
func judge(t *testing.T, lines []string, verdicts []verdict) {
	t.Helper()
	seen := map[string]bool{}
	for _, l := range lines {
		name, got, ok := strings.Cut(l, "\t")
		if !ok {
			t.Errorf("unexpected line %q", l)
			continue
		}
		i := slices.IndexFunc(verdicts, func(v verdict) bool { return v.matches(name) })
		if i < 0 {
			t.Errorf("%s: %q, and nobody says what may come of it", name, got)
			continue
		}
		seen[verdicts[i].name] = true
		if !verdicts[i].holds(got) {
			t.Errorf("%s: %q, want %q", name, got, verdicts[i].want)
		}
	}
	for _, v := range verdicts {
		if !seen[v.name] {
			t.Errorf("%s was not tried", v.name)
		}
	}
	if !seen["end"] {
		t.Errorf("the attacks did not come to their end; last lines %q", lines[max(0, len(lines)-5):])
	}
}

type attack struct {
	name string
	f    func(*testing.T, *Cell)
}

// attacks are all that a driver has to bear; docs/SECURITY.md names each.
func attacks() []attack {
	return []attack{
		{"Reach", reach},
		{"ReachStaged", reachStaged},
		{"ReachIsolated", reachIsolated},
		{"ReachNotebook", reachNotebook},
		{"Egress", egress},
		{"Peers", hostilePeers},
		{"Forge", forge},
		{"Races", races},
		{"Links", links},
		{"ForkBomb", forkBomb},
		{"Memory", memoryFill},
		{"Disk", diskFill},
		{"Descriptors", descriptorFlood},
		{"Survivors", survivors},
	}
}

// Hostile runs programs that want to leave their task, to learn or to change
// what is not theirs, or to take what others need. cell makes a fresh one for
// each test. A driver that runs no programs can answer nothing of it.
func Hostile(t *testing.T, cell func(t *testing.T) Cell) {
	t.Helper()
	for _, tt := range attacks() {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := cell(t)
			tt.f(t, &c)
		})
	}
}

// neighbour starts a task with secrets and waits until it has them; it tells
// where its credentials are.
func (c *Cell) neighbour(t *testing.T, d compute.Driver, ctx attackContext) (tk compute.Task, path string) {
	t.Helper()
	tk = c.attack("neighbour-1", victimScript, ctx)
	must(t, d.Start(t.Context(), tk))
	line := untilLine(t, d, tk.ID)
	f := strings.Fields(line)
	if len(f) != 3 || f[0] != "alive" {
		t.Fatalf("the neighbour says %q, and not where its credentials are", line)
	}
	return tk, f[2]
}

// unharmed checks that a task goes on and that nothing befell it.
func unharmed(t *testing.T, d compute.Driver, id compute.TaskID) {
	t.Helper()
	st, err := d.Status(t.Context(), id)
	must(t, err)
	if st.Phase != compute.Running {
		t.Errorf("%s is %s: %+v", id, st.Phase, st.Exit)
	}
	Wait(t, d, id, "still talking", func(now compute.TaskStatus) bool { return now.Spooled > st.Spooled })
}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
