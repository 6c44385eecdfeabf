package activity

import (
	"path"
	"regexp"
	"slices"
	"strings"

	"clary/internal/stage/agent"
)

// kind is what a process is, as far as its use of the instance goes.
type kind int

const (
	program kind = iota // whatever is not known to wait for somebody: it is work, however quiet
	nothing             // the instance's own, an errand of its, dead, or halted
	kernel              // one of JupyterLab's: its state says whether it works, or a thread of it does
	shell               // at a prompt: what it runs are processes of their own
	waiter              // waits for a child, which is looked at itself
	reader              // an editor or a pager: it waits for whoever reads
	monitor             // shows what others do, again and again; all that it starts belongs to that
	shown               // its output stands in a pager or a monitor
	prompt              // an interpreter or a client at its prompt
	filter              // passes on what another gives it
	helper              // of a library or an editor: it does what it is asked
	worker              // of a pool: it may be at work itself
	server              // listens: it does what it is asked
)

// rule is when a process of a kind is at work.
type rule struct {
	never bool     // whatever it does
	cpu   int      // that many times the processor time that others may use while they wait; 0 is 1
	bytes bool     // also by what it reads and writes
	works []string // also while its first thread waits for that
}

func (k kind) rule() rule {
	switch k {
	case nothing, monitor:
		return rule{never: true}
	case kernel:
		return rule{bytes: true}
	case prompt:
		return rule{bytes: true, works: []string{agent.WaitsTime, agent.WaitsChild, agent.WaitsLock}}
	case worker:
		return rule{bytes: true, works: []string{agent.WaitsTime, agent.WaitsChild}}
	case server:
		return rule{cpu: 3} // whoever polls it makes it work a little
	case program, shell, waiter, reader, shown, filter, helper:
	}
	return rule{}
}

// byName is what a program is whatever its arguments say.
func byName(name string) kind {
	switch name {
	case "vi", "vim", "vim.basic", "vim.tiny", "vimdiff", "nvim", "view", "nano", "pico", "emacs", "emacs-nox", "micro", "joe", "ne", "mcedit",
		"less", "more", "most", "man", "info", "mc", "ranger", "nnn", "tig", "lazygit":
		return reader
	case "top", "htop", "btop", "atop", "iotop", "nvtop", "glances", "watch", "dstat", "multitail", "inotifywait", "ping":
		return monitor
	case "cat", "grep", "egrep", "fgrep", "rg", "sed", "awk", "gawk", "mawk", "tee", "sort", "uniq", "head", "tail", "cut", "tr", "wc", "column", "jq", "ts":
		return filter
	case "ssh-agent", "gpg-agent", "dbus-daemon", "git-credential-cache--daemon", "cron", "crond", "atd", "ipengine", "ipcontroller", "ray::IDLE",
		"tmux", "tmux:", "screen", "SCREEN", "dtach", "sudo", "su", "script", "tini", "dumb-init", "pylsp", "tsserver":
		return helper
	}
	return program
}

var (
	isPython = regexp.MustCompile(`^python[0-9.]*$`)
	// what interpreters are told that become helpers or workers of a library
	helps = regexp.MustCompile(`multiprocessing\.(resource_tracker|semaphore_tracker|forkserver)|loky\.backend\.(resource|semaphore)_tracker|debugpy|lang(uage)?[-_]?server`)
	pools = regexp.MustCompile(`multiprocessing\.(spawn|popen_spawn)|loky\.backend\.popen_loky|--multiprocessing-fork`)

	tails  = regexp.MustCompile(`^(-[a-zA-Z0-9]*[fF][a-zA-Z0-9]*|--follow.*)$`)
	loops  = regexp.MustCompile(`^(-l.*|--loop.*|dmon|pmon)$`)
	waits  = regexp.MustCompile(`^(-[a-z]*[wW]|--follow.*)$`)
	counts = regexp.MustCompile(`^(-s.*|--seconds.*|\d+)$`)
)

// follows says whether a program shows more and more, by its arguments.
func follows(name string, args []string) bool {
	switch name {
	case "tail", "journalctl":
		return slices.ContainsFunc(args, tails.MatchString)
	case "nvidia-smi":
		return slices.ContainsFunc(args, loops.MatchString)
	case "dmesg":
		return slices.ContainsFunc(args, waits.MatchString)
	case "vmstat", "iostat", "mpstat", "pidstat", "sar", "free":
		return slices.ContainsFunc(args, counts.MatchString)
	}
	return false
}

// command is what a process is by its command line.
func command(p agent.Process) kind {
	words := strings.Fields(p.Args)
	if len(words) == 0 {
		return program
	}
	name, args := path.Base(strings.TrimPrefix(words[0], "-")), words[1:]
	switch {
	case follows(name, args):
		return monitor
	case byName(name) != program:
		return byName(name)
	case helps.MatchString(p.Args):
		return helper
	case pools.MatchString(p.Args):
		return worker
	case p.TTY == 0:
		return program // it is given its commands by another program
	case isShell(name):
		if atPrompt(args, "--rcfile", "--init-file", "-o", "-O", "+O") {
			return shell
		}
	case isPython.MatchString(name):
		return python(args)
	case isInterpreter(name):
		if atPrompt(args) {
			return prompt
		}
	case isClient(name):
		if !slices.ContainsFunc(args, executes) {
			return prompt
		}
	}
	return program
}

func isShell(name string) bool {
	return slices.Contains([]string{"bash", "sh", "dash", "zsh", "fish", "ksh"}, name)
}

func isInterpreter(name string) bool {
	return slices.Contains([]string{"ipython", "ipython3", "ptpython", "bpython", "jupyter-console", "R", "julia", "node", "irb", "ghci", "lua"}, name)
}

// isClient says whether a program speaks to something that its arguments name.
func isClient(name string) bool {
	return slices.Contains([]string{"sqlite3", "mysql", "psql", "redis-cli", "bc", "gdb"}, name)
}

// executes says whether an argument is an option that gives a program something
// to run.
func executes(arg string) bool {
	return slices.Contains([]string{"-c", "-e", "-f", "-p", "--command", "--eval", "--execute", "--file", "--print", "-batch", "--batch"}, arg)
}

// atPrompt says whether an interpreter with these arguments runs no program.
// Some options are followed by their value.
func atPrompt(args []string, valued ...string) bool {
	for i := 0; i < len(args); i++ {
		switch a := args[i]; {
		case slices.Contains(valued, a):
			i++
		case a[0] != '-', executes(a):
			return false
		case a[1:] != "" && a[1] != '-' && strings.HasSuffix(a, "c"): // -lc
			return false
		}
	}
	return true
}

// python is what a Python in a terminal is by its arguments: at its prompt if
// it was given no program, or one that is a prompt.
func python(args []string) kind {
	for i := 0; i < len(args); i++ {
		switch a := args[i]; {
		case a == "-W" || a == "-X":
			i++
		case a == "-m":
			if i+1 < len(args) && slices.Contains([]string{"IPython", "ptpython", "bpython", "code"}, args[i+1]) {
				return prompt
			}
			return program
		case a == "-c" || a == "-":
			return program
		case a[0] != '-':
			if isInterpreter(path.Base(a)) && atPrompt(args[i+1:]) {
				return prompt
			}
			return program
		}
	}
	return prompt
}
