package activity

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"clary/internal/stage/agent"
)

var began = time.Date(2026, 11, 30, 9, 0, 0, 0, time.UTC)

const (
	jupyterPID = 10
	shellPID   = 20
	kernelPID  = 30
	ptty       = 34816
)

// at is an instance some time after it was started, with a kernel and a
// terminal that nobody used since.
func at(after time.Duration, more ...agent.Process) agent.Sample {
	x := agent.Sample{
		At: began.Add(after), Up: time.Hour + after, Booted: began, Jupyter: jupyterPID, Tabs: 1,
		Kernels:   []agent.Kernel{{ID: "k", Name: "conda_python3", Document: "Untitled.ipynb", PID: kernelPID, State: "idle", Last: began.Add(time.Second), Connections: 1}},
		Terminals: []agent.Terminal{{Name: "1", PID: shellPID, Connections: 1}},
		Processes: []agent.Process{
			{PID: 1, Args: "/run/clary/clary-task notebook", State: "S", Started: began, Own: true, Listens: []int{8889}},
			{PID: jupyterPID, Parent: 1, Args: "python -c jupyterlab", State: "S", Started: began, Own: true, Listens: []int{8888}, CPU: after / 50},
			{PID: shellPID, Parent: jupyterPID, Args: "/bin/bash -l", State: "S", Started: began, TTY: ptty, Foreground: true, Waits: agent.WaitsInput},
			{PID: kernelPID, Parent: jupyterPID, Args: "python -m ipykernel_launcher -f kernel.json", State: "S", Started: began, Listens: []int{5001, 5002}, Waits: agent.WaitsInput, CPU: after / 500},
		},
	}
	x.Processes = append(x.Processes, more...)
	return x
}

// proc is a process that was started a second after the instance and waits for
// input.
func proc(pid, parent int, args string, change ...func(*agent.Process)) agent.Process {
	p := agent.Process{PID: pid, Parent: parent, Args: args, State: "S", Started: began.Add(time.Second), Waits: agent.WaitsInput}
	for _, f := range change {
		f(&p)
	}
	return p
}

func tty(p *agent.Process)    { p.TTY, p.Foreground = ptty, true }
func bg(p *agent.Process)     { p.TTY, p.Foreground = ptty, false }
func sleeps(p *agent.Process) { p.Waits = agent.WaitsTime }
func child(p *agent.Process)  { p.Waits = agent.WaitsChild }
func lock(p *agent.Process)   { p.Waits = agent.WaitsLock }

func listens(port int) func(*agent.Process) {
	return func(p *agent.Process) { p.Listens = []int{port} }
}

// TestProcesses has one kind of thing going on for ten minutes.
func TestProcesses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		active bool
		list   []agent.Process
		cpu    float64 // share of a processor that the first takes all the time
	}{
		{name: "nothing"},
		{name: "training in a terminal", active: true, list: []agent.Process{proc(50, shellPID, "python train.py", tty)}},
		{name: "training that sleeps", active: true, list: []agent.Process{proc(50, shellPID, "python3.11 -u -W ignore train.py --epochs 3", tty, sleeps)}},
		{name: "training whose output stands in less", active: true, cpu: .5, list: []agent.Process{proc(50, shellPID, "python train.py", tty), proc(51, shellPID, "less", tty)}},
		{name: "a module", active: true, list: []agent.Process{proc(50, shellPID, "python -m train", tty)}},
		{name: "background", active: true, list: []agent.Process{proc(50, 1, "sleep 1000", sleeps)}},
		{name: "background of a shell", active: true, list: []agent.Process{proc(50, shellPID, "./train", bg)}},
		{name: "a script and its child", active: true, list: []agent.Process{proc(50, shellPID, "bash train.sh", tty, child), proc(51, 50, "sleep 100", tty, sleeps)}},
		{name: "a script's own loop", active: true, list: []agent.Process{proc(50, shellPID, "bash train.sh", tty, sleeps)}},
		{name: "a loop typed at the prompt", active: true, list: []agent.Process{proc(50, shellPID, "sleep 60", tty, sleeps)}},
		{name: "bash -lc", active: true, list: []agent.Process{proc(50, shellPID, "bash -lc read", tty)}},
		{name: "below a kernel", active: true, list: []agent.Process{proc(50, kernelPID, "./train", child)}},
		{name: "multiprocessing that trains", active: true, cpu: .2, list: []agent.Process{proc(50, kernelPID, "python -m ipykernel_launcher -f kernel.json")}},
		{name: "multiprocessing that sleeps", active: true, list: []agent.Process{proc(50, kernelPID, "python -m ipykernel_launcher -f kernel.json", sleeps)}},
		{name: "prompt that sleeps", active: true, list: []agent.Process{proc(50, shellPID, "python3", tty, sleeps)}},
		{name: "prompt that waits for its threads", active: true, list: []agent.Process{proc(50, shellPID, "ipython", tty, lock)}},
		{name: "make below vim", active: true, list: []agent.Process{proc(50, shellPID, "vim x.c", tty, child), proc(51, 50, "make", func(p *agent.Process) { p.TTY = ptty })}},
		{name: "tmux", active: true, list: []agent.Process{proc(50, shellPID, "tmux", tty), proc(51, 1, "tmux"), proc(52, 51, "-bash", tty, child), proc(53, 52, "./train", tty)}},
		{name: "server at work", active: true, cpu: .3, list: []agent.Process{proc(50, 1, "tensorboard --logdir x", listens(6006))}},
		{name: "root's", active: true, list: []agent.Process{proc(50, shellPID, "sudo -s", tty, child), proc(51, 50, "/bin/bash", tty, child), proc(52, 51, "yum install x", tty)}},
		{name: "notebook that is executed", active: true, list: []agent.Process{proc(50, 1, "python nbconvert --execute x.ipynb"), proc(51, 50, "python -m ipykernel_launcher -f y.json", listens(5100))}},
		{name: "compiler server of a script", active: true, list: []agent.Process{proc(50, 1, "python train.py"), proc(51, 50, "python -c 'from multiprocessing.resource_tracker import main'")}},

		{name: "vim", list: []agent.Process{proc(50, shellPID, "vim notes.md", tty)}},
		{name: "nano", list: []agent.Process{proc(50, shellPID, "/usr/bin/nano notes.md", tty)}},
		{name: "less", list: []agent.Process{proc(50, shellPID, "less log.txt", tty)}},
		{name: "git log", list: []agent.Process{proc(50, shellPID, "git log", tty, child), proc(51, 50, "less", tty)}},
		{name: "git commit", list: []agent.Process{proc(50, shellPID, "git commit", tty, child), proc(51, 50, "/usr/bin/vim .git/COMMIT_EDITMSG", tty)}},
		{name: "seq in less", list: []agent.Process{proc(50, shellPID, "seq 1 1000000", tty, func(p *agent.Process) { p.Waits = "" }), proc(51, shellPID, "less", tty)}},
		{name: "python's prompt", list: []agent.Process{proc(50, shellPID, "python3 -q", tty)}},
		{name: "ipython's prompt", list: []agent.Process{proc(50, shellPID, "/usr/bin/python3 /usr/bin/ipython", tty)}},
		{name: "python -m IPython", list: []agent.Process{proc(50, shellPID, "python -m IPython", tty)}},
		{name: "sqlite3", list: []agent.Process{proc(50, shellPID, "sqlite3 data.sqlite", tty)}},
		{name: "top", cpu: .08, list: []agent.Process{proc(50, shellPID, "top -d 1", tty)}},
		{name: "watch", list: []agent.Process{proc(50, shellPID, "watch -n 2 nvidia-smi", tty, sleeps), proc(51, 50, "sh -c nvidia-smi", tty, child), proc(52, 51, "nvidia-smi", tty)}},
		{name: "tail -f and grep", list: []agent.Process{proc(50, shellPID, "tail -n 5 -f x.log", tty), proc(51, shellPID, "grep --line-buffered loss", tty)}},
		{name: "tail -f in the background", list: []agent.Process{proc(50, 1, "tail -F x.log")}},
		{name: "nested shells", list: []agent.Process{proc(50, shellPID, "bash", tty, child), proc(51, 50, "zsh", tty)}},
		{name: "sudo's shell", list: []agent.Process{proc(50, shellPID, "sudo -s", tty, child), proc(51, 50, "/bin/bash", tty)}},
		{name: "tmux without work", list: []agent.Process{proc(51, 1, "tmux new -s x"), proc(52, 51, "-bash", tty)}},
		{name: "halted", list: []agent.Process{proc(50, shellPID, "python train.py", bg, func(p *agent.Process) { p.State = "T" })}},
		{name: "zombie", list: []agent.Process{proc(50, kernelPID, "(python)", func(p *agent.Process) { p.State = "Z" })}},
		{name: "helpers", list: []agent.Process{
			proc(50, kernelPID, "python -c from multiprocessing.resource_tracker import main;main(51)"),
			proc(51, kernelPID, "python -m joblib.externals.loky.backend.popen_loky_posix --process-name LokyProcess-1", lock),
			proc(52, kernelPID, "python -c from multiprocessing.spawn import spawn_main; spawn_main(tracker_fd=64, pipe_handle=66) --multiprocessing-fork"),
			proc(53, jupyterPID, "node pyright-langserver.js --stdio"),
			proc(54, kernelPID, "python -m ipykernel_launcher -f kernel.json", lock),
		}},
		{name: "tensorboard", cpu: .02, list: []agent.Process{proc(50, 1, "python tensorboard --logdir x", listens(6006)), proc(51, 50, "tensorboard_data_server", listens(40001))}},
		{name: "streamlit from a script", list: []agent.Process{proc(50, shellPID, "bash start.sh", tty, child), proc(51, 50, "python streamlit run app.py", tty, listens(8501))}},
		{name: "gunicorn", list: []agent.Process{proc(50, 1, "python gunicorn app:app", listens(8000)), proc(51, 50, "python gunicorn app:app", listens(8000), sleeps)}, active: true},
		{name: "gunicorn without work", list: []agent.Process{proc(50, 1, "python gunicorn app:app", listens(8000)), proc(51, 50, "python gunicorn app:app", listens(8000))}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for _, every := range []time.Duration{5 * time.Second, time.Minute} {
				var s State
				var v Verdict
				for after := every; after <= 10*time.Minute; after += every {
					x := at(after, slices.Clone(c.list)...)
					if c.cpu > 0 {
						x.Processes[4].CPU = time.Duration(c.cpu * float64(after))
					}
					s, v = Judge(s, x)
				}
				if v.Active != c.active {
					t.Errorf("every %s: active %v: %s", every, v.Active, v.Evidence)
				}
				if !c.active && v.Idle < 8*time.Minute {
					t.Errorf("every %s: idle for %s: %s", every, v.Idle, v.Evidence)
				}
				if c.active && v.Idle != 0 {
					t.Errorf("every %s: in use, and idle for %s", every, v.Idle)
				}
			}
		})
	}
}

// errands are what JupyterLab does for an open tab.
func TestErrands(t *testing.T) {
	t.Parallel()
	var s State
	var v Verdict
	for after := time.Minute; after <= 10*time.Minute; after += time.Minute {
		young := func(p *agent.Process) { p.Started = began.Add(after - 2*time.Second) }
		s, v = Judge(s, at(after, proc(int(after/time.Second), jupyterPID, "git status --porcelain", young), proc(9000, 1, "python auto-stop.py", young)))
	}
	if v.Active || v.Idle < 8*time.Minute {
		t.Errorf("%+v", v)
	}
	if _, v = Judge(s, at(11*time.Minute, proc(700, jupyterPID, "git clone https://x", func(p *agent.Process) { p.Started = began.Add(10 * time.Minute) }))); !v.Active {
		t.Errorf("a long clone: %+v", v)
	}
}

func TestSigns(t *testing.T) {
	t.Parallel()
	when := began.Add(9*time.Minute + 30*time.Second)
	for want, change := range map[string]func(*agent.Sample){
		"somebody typed in terminal 1":          func(x *agent.Sample) { x.Terminals[0].Input = when },
		"the kernel of Untitled.ipynb was used": func(x *agent.Sample) { x.Kernels[0].Last = when },
		"a document was saved":                  func(x *agent.Sample) { x.Saved = when },
		"somebody asked to keep it running":     func(x *agent.Sample) { x.Kept = when },
		"JupyterLab was started":                func(x *agent.Sample) { x.Booted = when },
	} {
		s, _ := Judge(State{}, at(time.Minute))
		s, v := Judge(s, at(9*time.Minute))
		if v.Active || v.Idle != 8*time.Minute {
			t.Fatalf("%+v", v)
		}
		x := at(10 * time.Minute)
		change(&x)
		s, v = Judge(s, x)
		if !v.Active || v.Evidence != want || !v.Since.Equal(when) || v.Idle != 30*time.Second {
			t.Errorf("%s: %+v", want, v)
		}
		x = at(12 * time.Minute)
		change(&x)
		if _, v = Judge(s, x); v.Active || !v.Since.Equal(when) || v.Idle != 150*time.Second {
			t.Errorf("%s, two minutes later: %+v", want, v)
		}
	}
}

func TestKernels(t *testing.T) {
	t.Parallel()
	s, _ := Judge(State{}, at(time.Minute))
	busy := at(2 * time.Minute)
	busy.Kernels[0].State = "busy"
	if _, v := Judge(s, busy); !v.Active || v.Evidence != "the kernel of Untitled.ipynb is busy" {
		t.Errorf("%+v", v)
	}
	dead := at(2 * time.Minute)
	dead.Kernels[0].State, dead.Processes = "busy", dead.Processes[:3]
	if _, v := Judge(s, dead); v.Active {
		t.Errorf("its process is gone: %+v", v)
	}
	thread := at(2 * time.Minute)
	thread.Processes[3].CPU += 20 * time.Second
	if _, v := Judge(s, thread); !v.Active || v.Evidence != "the kernel of Untitled.ipynb computes without a cell" {
		t.Errorf("%+v", v)
	}
	loads := at(2 * time.Minute)
	loads.Processes[3].Wrote = 64 << 20
	if _, v := Judge(s, loads); !v.Active {
		t.Errorf("a thread that downloads: %+v", v)
	}
}

func TestGapsAndClocks(t *testing.T) {
	t.Parallel()
	working := []agent.Process{proc(50, 1, "./train")}
	s, _ := Judge(State{}, at(time.Minute, working...))
	// The server was away for three hours, and the work ended meanwhile.
	s, v := Judge(s, at(181*time.Minute))
	if v.Active || v.Idle != 0 {
		t.Errorf("after a gap: %+v", v)
	}
	// It was away again, and nothing happened.
	s, v = Judge(s, at(241*time.Minute))
	if v.Active || v.Idle != time.Hour {
		t.Errorf("after a gap without work: %+v", v)
	}
	// The machine's clock was set two hours ahead: no longer idle for that.
	x := at(242 * time.Minute)
	shift(&x, 2*time.Hour)
	s, v = Judge(s, x)
	if v.Active || v.Idle != 61*time.Minute || !v.Since.Equal(began.Add(181*time.Minute+2*time.Hour)) {
		t.Errorf("a clock set ahead: %+v", v)
	}
	x = at(243 * time.Minute)
	shift(&x, -5*time.Hour)
	s, v = Judge(s, x)
	if v.Active || v.Idle != 62*time.Minute {
		t.Errorf("a clock set back: %+v", v)
	}
	// The machine slept: At went on, Up did not.
	x = at(244 * time.Minute)
	shift(&x, 9*time.Hour)
	if _, v = Judge(s, x); v.Idle != 63*time.Minute {
		t.Errorf("after a sleep: %+v", v)
	}
	// The machine was started anew.
	x = at(time.Minute)
	x.Up = 10 * time.Second
	if _, v = Judge(s, x); v.Active || v.Idle != 0 {
		t.Errorf("after a start of the machine: %+v", v)
	}
}

// shift is what a sample says when the machine's clock is another.
func shift(x *agent.Sample, by time.Duration) {
	add := func(t *time.Time) {
		if !t.IsZero() {
			*t = t.Add(by)
		}
	}
	for _, t := range []*time.Time{&x.At, &x.Booted, &x.Saved, &x.Kept} {
		add(t)
	}
	x.Kernels, x.Terminals, x.Processes = slices.Clone(x.Kernels), slices.Clone(x.Terminals), slices.Clone(x.Processes)
	for i := range x.Kernels {
		add(&x.Kernels[i].Last)
	}
	for i := range x.Terminals {
		add(&x.Terminals[i].Input)
	}
	for i := range x.Processes {
		add(&x.Processes[i].Started)
	}
}

// random is an instance on which anything may go on.
func random(r *rand.Rand, after time.Duration) agent.Sample {
	x := at(after)
	commands := []string{"vim x", "python train.py", "python", "sleep 100", "top", "tail -f x", "bash", "bash run.sh", "tensorboard", "python -m ipykernel_launcher -f kernel.json", "git status", "", "python -c from multiprocessing.spawn import spawn_main"}
	waits := []string{"", agent.WaitsInput, agent.WaitsTime, agent.WaitsChild, agent.WaitsLock}
	states := []string{"S", "S", "S", "R", "D", "T", "Z"}
	for pid := 100; pid < 100+r.IntN(6); pid++ {
		p := agent.Process{
			PID: pid, Parent: []int{1, jupyterPID, shellPID, kernelPID, pid - 1, 999}[r.IntN(6)], Args: commands[r.IntN(len(commands))],
			State: states[r.IntN(len(states))], Waits: waits[r.IntN(len(waits))], Started: began.Add(time.Duration(r.Int64N(int64(after)))),
			CPU: time.Duration(r.Int64N(int64(time.Minute))), Read: r.Int64N(1 << 30), Wrote: -1,
		}
		if r.IntN(2) == 0 {
			p.TTY, p.Foreground = ptty, r.IntN(2) == 0
		}
		if r.IntN(4) == 0 {
			p.Listens = []int{8000 + pid}
		}
		x.Processes = append(x.Processes, p)
	}
	if r.IntN(5) == 0 {
		x.Kernels[0].State = "busy"
	}
	if r.IntN(5) == 0 {
		x.Terminals[0].Input = x.At.Add(-time.Duration(r.Int64N(int64(after))))
	}
	return x
}

// TestProperties holds what must be so whatever goes on.
func TestProperties(t *testing.T) {
	t.Parallel()
	idle := []agent.Process{
		proc(900, shellPID, "vim x", bg), proc(901, 1, "tail -f x"), proc(902, 1, "tensorboard", listens(6006)),
		proc(903, jupyterPID, "node pyright-langserver.js --stdio"), proc(904, kernelPID, "python -m ipykernel_launcher -f kernel.json"),
	}
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, 7))
		var s, with, shifted State
		var last Verdict
		after, clock := time.Duration(0), time.Duration(0)
		for range 20 {
			after += time.Duration(1 + r.Int64N(int64(3*time.Minute)))
			x := random(r, after)
			before := s
			var v, w, u Verdict
			s, v = Judge(s, x)

			// An idle process more never makes an instance idle that is in use,
			// nor one in use that is idle.
			more := x
			more.Processes = append(slices.Clone(x.Processes), idle...)
			if with, w = Judge(with, more); w.Active != v.Active || w.Idle != v.Idle {
				t.Fatalf("seed %d: %+v, with idle processes %+v", seed, v, w)
			}
			// A tab more, a page that polls: no use.
			open := x
			open.Tabs, open.Connections = 50, []agent.Connection{{PID: kernelPID, Local: "127.0.0.1:6006", Peer: "127.0.0.1:50000"}}
			if _, o := Judge(before, open); o.Active != v.Active || o.Idle != v.Idle {
				t.Fatalf("seed %d: %+v, with tabs %+v", seed, v, o)
			}
			// Whatever the machine's clock is set to.
			clock += time.Duration(r.Int64N(int64(4*time.Hour))) - 2*time.Hour
			y := x
			shift(&y, clock)
			if shifted, u = Judge(shifted, y); u.Active != v.Active || u.Idle != v.Idle {
				t.Fatalf("seed %d: %+v, with another clock %+v", seed, v, u)
			}
			// Without use, Since stands.
			if before.Up != 0 && !v.Active && !before.Active && v.Since.Sub(last.Since).Abs() > 2*time.Millisecond {
				t.Fatalf("seed %d: idle since %s, then since %s: %s", seed, last.Since, v.Since, v.Evidence)
			}
			if v.Idle < 0 || v.Since.After(x.At) || v.Evidence == "" || s.Active && v.Idle != 0 {
				t.Fatalf("seed %d: %+v", seed, v)
			}
			// The record keeps the state as JSON.
			text, err := json.Marshal(s)
			if err != nil || len(text) > 20<<10 {
				t.Fatalf("%d bytes, %v", len(text), err)
			}
			var read State
			if err := json.Unmarshal(text, &read); err != nil || fmt.Sprint(read) != fmt.Sprint(s) {
				t.Fatalf("%+v as JSON %s: %v", s, text, err)
			}
			last = v
		}
	}
}

func TestManyProcesses(t *testing.T) {
	t.Parallel()
	x := at(time.Minute)
	for pid := 1000; pid < 3000; pid++ {
		x.Processes = append(x.Processes, proc(pid, kernelPID, "python -m ipykernel_launcher -f kernel.json", func(p *agent.Process) { p.CPU = time.Duration(pid) * time.Millisecond }))
	}
	s, _ := Judge(State{}, x)
	x.At, x.Up = x.At.Add(time.Minute), x.Up+time.Minute
	s, v := Judge(s, x)
	if len(s.Used) > maxUsed || v.Active {
		t.Errorf("%d noted, %+v", len(s.Used), v)
	}
	if strings.Count(v.Evidence, ",") > 5 || len(v.Evidence) > 400 {
		t.Errorf("%s", v.Evidence)
	}
}

// TestLies has chains and rings of processes that no machine has.
func TestLies(t *testing.T) {
	t.Parallel()
	const many = 20_000
	chain, ring := at(time.Minute), at(time.Minute)
	for i := range many {
		chain.Processes = append(chain.Processes, proc(1000+i, 999+i, "sleep 100", sleeps))
		ring.Processes = append(ring.Processes, proc(1000+i, 1000+(i+1)%many, "vim x"))
	}
	chain.Terminals[0].Name = strings.Repeat("\x1b[2Jé", 1<<16)
	chain.Kernels[0].Document, chain.Kernels[0].Name, chain.Kernels[0].State = "", strings.Repeat("k", 1<<16), "busy"
	for _, x := range []agent.Sample{chain, ring} {
		s, _ := Judge(State{}, x)
		x.Terminals[0].Input = x.At.Add(time.Minute)
		if s, v := Judge(s, x); len(v.Evidence) > 600 || len(s.Used) > maxUsed || strings.Contains(v.Evidence, "\x1b") {
			t.Errorf("%d bytes of evidence, %d noted", len(v.Evidence), len(s.Used))
		}
	}
}

// TestNoSecrets holds that evidence has of a command line what is no secret.
func TestNoSecrets(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"python train.py --token=hush":              "python train.py",
		"/usr/bin/python3 -u train.py hush":         "python3 train.py",
		"python -m http.server 6006":                "python -m http.server",
		"python -c import(hush)":                    "python",
		"python --token hush.py":                    "python",
		"psql postgres://me:hush@host.example/db":   "psql",
		"mysql -phush":                              "mysql",
		"mysql -p hush.x":                           "mysql",
		"curl https://me:hush@host.example/file.gz": "curl",
		"ssh me@hush.example":                       "ssh",
		"./login hush":                              "login",
		"vim notes.md":                              "vim notes.md",
		"sleep 250":                                 "sleep 250",
	} {
		if got := processName(agent.Process{PID: 7, Args: args}); got != "process 7 ("+want+")" {
			t.Errorf("%s: %s", args, got)
		}
	}
	if got := processName(agent.Process{PID: 7}); got != "process 7" {
		t.Errorf("%s", got)
	}
}
