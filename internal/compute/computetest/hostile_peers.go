package computetest

import (
	_ "embed"
	"slices"
	"testing"
	"time"

	"clary/internal/compute"
)

//go:embed attacks/peers.py
var hostilePeersScript string //nolint:gochecknoglobals // embedded

// hostilePeers has one host of a job try to be another, and to reach who is not
// of the job. Its peer, and another job of more hosts, tell what comes to them.
func hostilePeers(t *testing.T, c *Cell) {
	s := c.scene(t)
	const sent, lost = `~sent|E[A-Z0-9]+`, `~E[A-Z0-9]+|EOTHER:TimeoutError`
	for name, isolated := range map[string]bool{"attacker": false, "alone": true} {
		ctx := attackContext{Addresses: s.ctx.Addresses, Port: s.ctx.Port, Stranger: "10.77.0.3", Isolated: isolated}
		tells := func(id string, _ int) compute.Task {
			told := ctx
			told.What = "tell"
			return c.attack(id, hostilePeersScript, told)
		}
		strangers := c.job("not"+name, 3, isolated, tells)
		tasks := c.job(name, 2, isolated, func(id string, i int) compute.Task {
			if i > 0 {
				return tells(id, i)
			}
			return c.attack(id, hostilePeersScript, ctx)
		})
		others := slices.Concat(strangers, tasks[1:])
		startAll(t, s.d, others...)
		for _, tk := range others {
			untilLine(t, s.d, tk.ID)
		}
		lines, st := runs(t, s.d, tasks[0])
		if st.Exit.Result.ExitCode != 0 {
			t.Errorf("exit %+v", *st.Exit)
		}
		judge(t, lines, []verdict{
			{"descriptors", "0=/dev/null 1=pipe 2=pipe"},
			{"honest", "honest"},
			{"honest-still", "honest"},
			{"source-*", sent},
			{"raw-*", refused},
			{"far-end-overhear", lost},
			{"far-end*", sent},
			{"interfaces", "eth0 lo peer0"},
			{"set-*", "EPERM"},
			{"peer-*", "ECONNREFUSED"},
			{"stranger", lost},
			{"host-*", lost},
			{"beyond-*", sent},
			{"end", "end"},
		})
		stopAll(t, s.d, others...)
		for _, tk := range strangers {
			wantLines(t, Lines(t, Output(t, s.d, tk.ID, 0)), []string{"up\tup"})
		}
		wantLines(t, Lines(t, Output(t, s.d, tasks[1].ID, 0)), []string{"up\tup", "datagram-from-10.77.0.1\thonest"})
	}
	if n := s.host.Load(); n != 0 {
		t.Errorf("%d requests reached the host", n)
	}
	unharmed(t, s.d, s.tk.ID)
	must(t, s.d.Stop(t.Context(), s.tk.ID, time.Second))
}
