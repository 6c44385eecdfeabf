package computetest

import (
	_ "embed"
	"slices"
	"testing"
	"time"

	"clary/internal/compute"
)

//go:embed attacks/users.py
var usersScript string //nolint:gochecknoglobals // embedded

// asNotebook makes a task one of a notebook's shape, with a volume of its own.
func asNotebook(tk compute.Task) compute.Task {
	tk.User = &compute.User{Name: "ec2-user", Home: "/home/ec2-user", Sudo: true}
	tk.Mounts = append(tk.Mounts, compute.Mount{Volume: compute.VolumeID(tk.ID), Path: volumeAt, Writable: true})
	tk.Dir = volumeAt
	return tk
}

// reachNotebook tries all that a program may try, with the rights of a
// notebook's user and as the root that these make of it. Its neighbour is a
// notebook too, with a secret in its volume.
func reachNotebook(t *testing.T, c *Cell) {
	vols := facet[compute.Volumes](t, c.Open(t))
	for _, id := range []compute.VolumeID{"neighbour-1", "user-1", "root-1", "user-2", "root-2"} {
		must(t, vols.EnsureVolume(t.Context(), id, 64<<20))
	}
	n := *c
	n.Python = func(id, script, arg string) compute.Task { return asNotebook(c.Python(id, script, arg)) }
	s := n.scene(t)
	attacker := s.ctx
	attacker.NeighbourPath = ""
	for _, who := range []string{"user", "root"} {
		tk := n.attack(who+"-1", reachScript, attacker)
		powers := n.attack(who+"-2", usersScript, attacker)
		if who == "root" {
			tk.Args = append([]string{"sudo"}, tk.Args...)
			powers.Args = append([]string{"sudo"}, powers.Args...)
		}
		lines, st := runs(t, s.d, tk)
		if st.Exit.Reason != compute.ReasonExited || st.Exit.Result.ExitCode != 0 {
			t.Errorf("%s: exit %+v", who, *st.Exit)
		}
		judge(t, lines, n.userVerdicts(who))
		lines, st = runs(t, s.d, powers)
		if st.Exit.Reason != compute.ReasonExited || st.Exit.Result.ExitCode != 0 {
			t.Errorf("%s: exit %+v", who, *st.Exit)
		}
		judge(t, lines, n.powerVerdicts(who))
	}
	if n := s.host.Load(); n != 0 {
		t.Errorf("%d requests reached the host", n)
	}
	unharmed(t, s.d, s.tk.ID)
	must(t, s.d.Stop(t.Context(), s.tk.ID, time.Second))
}

// userVerdicts are those of every program but for what is a user's.
func (c *Cell) userVerdicts(who string) []verdict {
	own := []verdict{{"mounts-writable", "/dev/pts /dev/shm /etc /home/ec2-user /home/ec2-user/SageMaker /opt/ml /proc /root /tmp /var/log /var/tmp"}}
	if c.UIDs {
		const five = "203" // CHOWN, DAC_OVERRIDE, FOWNER, SETGID, SETUID
		own = append(own, verdict{"capabilities", five + " " + five + " " + five + " " + five + " " + five},
			verdict{"writable-proc", "~none|/proc/mounts"}, // its own, which takes no writes
			verdict{"setuid-1000", "BECAME"}, verdict{"setgroups", "BECAME"}, verdict{"groups", map[string]string{"user": "1000", "root": "0"}[who]})
	}
	return slices.Concat(own, c.reachVerdicts())
}

func (c *Cell) powerVerdicts(who string) []verdict {
	ids := "EINVAL" // nobody has them
	if !c.UIDs {
		ids = "~EINVAL|EPERM"
	}
	uid := "0"
	if c.UIDs && who == "user" {
		uid = "1000"
	}
	return []verdict{
		{"raise-*", "EPERM"},
		{"inherit-*", "EPERM"},
		{"become-*", ids},
		{"chmod-*", refused},
		{"chown-*", refused},
		{"map-write", refused},
		{"filecap", refused},
		{"trusted", refused},
		{"immutable", refused},
		{"device", refused},
		{"works-owner", "0"},
		{"works-home", "['mine-" + uid + "']"},
		{"end", "end"},
	}
}
