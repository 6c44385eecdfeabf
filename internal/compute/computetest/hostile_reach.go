package computetest

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"clary/internal/compute"
)

// reachVerdicts are for a program within its task.
func (c *Cell) reachVerdicts() []verdict {
	v := []verdict{
		{"call-of-the-future", "ENOSYS"},
		{"descriptor-limit", "True"},
		{"descriptors", "0=/dev/null 1=pipe 2=pipe"},
		{"capabilities", "0 0 0 0 0"},
		{"no-new-privileges", "1"},
		{"seccomp", "2"},
		{"groups", "~none|65534"},
		{"setuid-1000", refused},
		{"setgroups", refused},
		{"nice", refused},
		{"core-limit", "0"},
		{"call-listmount", "ENOSYS"},
		{"call-statmount", "ENOSYS"},
		{"call-*", "EPERM"},
		{"unshare-*", "EPERM"},
		{"clone-*", "EPERM"},
		{"clone3", "ENOSYS"},
		{"personality", "EPERM"},
		{"x32", "ENOSYS"},
		{"i386", "refused"},
		{"terminal-*", "EPERM"},
		{"socket-families", "1/1 1/2 1/3 1/5 10/1 10/2 16/2 16/3 2/1 2/2"},
		{"socket-families-wide", "~none|1/1 1/2 1/3 1/5 10/1 10/2 16/2 16/3 2/1 2/2"},
		{"netlink-protocols", "none"},
		{"ip-protocols", "6 17"},
		{"ipv6-protocols", "6 17"},
		{"socketpair-tipc", refused},
		{"netlink-set", "EPERM"},
		{"number", "1 below 0"},
		{"processes", "1"},
		{"writable-proc", "none"},
		{"writable-sys", "none"},
		{"devices", "full null pts/ptmx random tty urandom zero"},
		{"device-made", refused},
		{"mounts-loose", "none"},
		{"mounts-writable", "/dev/pts /dev/shm /etc /opt/ml /proc /root /tmp /var/tmp"},
		{"search", "none"},
		{"abstract-host", refused},
		{"abstract-neighbour", refused},
		{"stage-socket", refused},
		{"connect-*", refused},
		{"loopback-*", refused},
		{"setuid-file", "EPERM"},
		{"setuid-file-at-birth", "~no|EPERM"},
		{"setuid-files-of-the-host", "none"},
		{"works-archive", "0"},
		{"works-threads", "8"},
		{"works-files", "all"},
		{"works-network", "eth0 lo"},
		{"works-multiprocessing", "3"},
		{"write-*", refused},
		{"read-*", refused},
		{"end", "end"},
	}
	for _, what := range []string{"signal", "trace", "memory", "descriptor", "priority", "affinity", "limit"} {
		v = append(v, verdict{what + "-*", "ESRCH"})
	}
	return append(v, verdict{"look-at-*", "ENOENT"})
}

// scene is a neighbour, a host with listeners, and what an attacker knows.
type scene struct {
	d    compute.Driver
	ctx  attackContext
	host *atomic.Int64 // requests that reached the host's listener
	tk   compute.Task  // the neighbour
}

func (c *Cell) scene(t *testing.T) *scene {
	t.Helper()
	s := &scene{d: c.Open(t), host: new(atomic.Int64)}
	s.ctx = attackContext{
		Secret: token(), Abstract: "neighbour-" + token(), HostAbstract: "host-" + token(), Redirector: c.Redirector,
		Files: map[string]string{
			"shadow": "/etc/shadow", "ssh": "/etc/ssh/ssh_host_ed25519_key", "machine-id": "/etc/machine-id", "disk": "/dev/vda", "sda": "/dev/sda", "mem": "/dev/mem",
			"kmsg": "/dev/kmsg", "proc-kmsg": "/proc/kmsg", "kcore": "/proc/kcore", "keys": "/proc/keys", "fuse": "/dev/fuse",
			"tun": "/dev/net/tun", "loop": "/dev/loop-control", "kvm": "/dev/kvm", "debug": "/sys/kernel/debug/sleep_time", "securityfs": "/sys/kernel/security/lsm", "cgroup": "/sys/fs/cgroup/cgroup.procs",
			"cgroup-release": "/sys/fs/cgroup/memory/release_agent", "dmi": "/sys/class/dmi/id/product_uuid", "sched": "/proc/timer_list", "outer-root": "/proc/1/root/../../etc/shadow",
			"neighbour-file": "/opt/ml/neighbour", "neighbour-tmp": "/tmp/neighbour", "neighbour-memory": "/dev/shm/neighbour", "neighbour-socket": "/tmp/neighbour.sock",
			"up": "/opt/ml/../../../../../../etc/shadow",
		},
		Writes: map[string]string{
			"sysrq": "/proc/sysrq-trigger", "core-pattern": "/proc/sys/kernel/core_pattern", "hostname": "/proc/sys/kernel/hostname", "ports": "/proc/sys/net/ipv4/ip_local_port_range",
			"modprobe": "/proc/sys/kernel/modprobe", "binary": "/run/clary/clary-task", "python": "/usr/bin/python3", "cpu": "/sys/devices/system/cpu/cpu1/online", "uid-map": "/proc/self/uid_map",
			"setgroups": "/proc/self/setgroups", "root": "/x", "run": "/run/x", "usr": "/usr/x", "opt": "/opt/x", "dev": "/dev/x", "ld": "/etc/../usr/lib/x.so", "reclaim": "/sys/kernel/mm/ksm/run",
		},
		Marks: []string{}, Targets: []string{},
	}
	for n, p := range c.Secrets {
		s.ctx.Files["secret-"+n] = p
	}
	host, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", "@"+s.ctx.HostAbstract)
	must(t, err)
	t.Cleanup(func() { _ = host.Close() })
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", ":0")
	must(t, err)
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		s.host.Add(1)
		_, _ = w.Write([]byte("the host"))
	}))
	_ = srv.Listener.Close()
	srv.Listener = l
	srv.Start()
	t.Cleanup(srv.Close)
	s.ctx.Port = l.Addr().(*net.TCPAddr).Port
	s.ctx.Addresses = append(hostAddresses(t), "127.0.0.1", "169.254.169.254", "10.77.0.2")
	s.tk, s.ctx.NeighbourPath = c.neighbour(t, s.d, s.ctx)
	s.ctx.Pids = c.Pids(t)
	s.ctx.Marks = []string{reverse(s.ctx.Secret), reverse(s.ctx.NeighbourPath)}
	s.ctx.Secret = ""
	return s
}

// hostAddresses are the host's own, without link-local ones, which need a zone.
func hostAddresses(t *testing.T) []string {
	t.Helper()
	all, err := net.InterfaceAddrs()
	must(t, err)
	var own []string
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() {
			own = append(own, n.IP.String())
		}
	}
	return own
}

// runs starts a task and returns its lines and its end.
func runs(t *testing.T, d compute.Driver, tk compute.Task) ([]string, compute.TaskStatus) {
	t.Helper()
	must(t, d.Start(t.Context(), tk))
	lines := Lines(t, Output(t, d, tk.ID, 0))
	return lines, Ended(t, d, tk.ID)
}

func (c *Cell) reaches(t *testing.T, staged, isolated bool) {
	s := c.scene(t)
	attacker := s.ctx
	attacker.NeighbourPath = ""
	tk := c.attack("attacker-1", reachScript, attacker)
	if staged {
		tk = c.Staged(tk)
	}
	tk.Network.Isolated = isolated
	lines, st := runs(t, s.d, tk)
	if st.Exit.Reason != compute.ReasonExited || st.Exit.Result.ExitCode != 0 {
		t.Errorf("exit %+v", *st.Exit)
	}
	judge(t, lines, c.reachVerdicts())
	if n := s.host.Load(); n != 0 {
		t.Errorf("%d requests reached the host", n)
	}
	unharmed(t, s.d, s.tk.ID)
	must(t, s.d.Stop(t.Context(), s.tk.ID, time.Second))
}

func reach(t *testing.T, c *Cell)         { c.reaches(t, false, false) }
func reachStaged(t *testing.T, c *Cell)   { c.reaches(t, true, false) }
func reachIsolated(t *testing.T, c *Cell) { c.reaches(t, true, true) }

// targets are the forms in which the host and metadata services are asked for.
func targets(t *testing.T) []string {
	t.Helper()
	list := []string{
		"169.254.169.254", "2852039166", "0xa9fea9fe", "0251.0376.0251.0376", "169.254.43518", "::ffff:169.254.169.254", "::ffff:a9fe:a9fe", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1",
		"fd00:ec2::254", "fe80::1", "100.100.100.200", "168.63.129.16", "192.0.0.192", "metadata.google.internal", "127.0.0.1", "127.1", "127.0.0.2", "2130706433", "0x7f000001", "0177.0.0.1", "0", "0.0.0.0",
		"::1", "::", "::ffff:127.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "localhost", "LOCALHOST", "localhost.", "x.localhost", "ip6-localhost", "10.77.0.1", "224.0.0.1", "255.255.255.255",
	}
	if h, err := os.Hostname(); err == nil {
		list = append(list, h)
	}
	return append(list, hostAddresses(t)...)
}

func egress(t *testing.T, c *Cell) {
	s := c.scene(t)
	stop := redirector(t, c.Redirector, s.ctx.Port)
	defer stop()
	attacker := s.ctx
	attacker.Targets = targets(t)
	tk := c.attack("attacker-1", egressScript, attacker)
	tk.Network.Egress = true
	lines, st := runs(t, s.d, tk)
	if st.Exit.Result.ExitCode != 0 {
		t.Errorf("exit %+v", *st.Exit)
	}
	judge(t, lines, []verdict{
		{"egress-*", "~(403|502) (403|502)"},
		{"allowed", "hello"},
		{"redirect-*", "403"},
		{"odd-*", "~4[0-9][0-9]|50[0-9]|closed"},
		{"credentials-own", "200"},
		{"credentials-post", "405"},
		{"credentials-*", "404"},
		{"end", "end"},
	})
	if n := s.host.Load(); n != 0 {
		t.Errorf("%d requests reached the host", n)
	}
	must(t, s.d.Stop(t.Context(), s.tk.ID, time.Second))
}

// redirector answers at the one address of the host that tasks may reach, and
// sends on to those that they may not.
func redirector(t *testing.T, addr string, port int) (stop func()) {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", addr)
	must(t, err)
	s := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		to := map[string]string{"/metadata": "http://169.254.169.254/latest/meta-data/", "/host": fmt.Sprintf("http://127.0.0.1:%d/", port), "/name": fmt.Sprintf("http://localhost:%d/", port)}[r.URL.Path]
		if to == "" {
			_, _ = w.Write([]byte(strings.TrimPrefix(r.URL.Path, "/")))
			return
		}
		http.Redirect(w, r, to, http.StatusFound)
	})}
	go func() { _ = s.Serve(l) }()
	return func() { _ = s.Shutdown(context.WithoutCancel(t.Context())) }
}
