package activity

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"clary/internal/stage/agent"
)

// kernelName is how people know a kernel.
func kernelName(k agent.Kernel) string {
	if k.Document == "" {
		return "a kernel (" + short(k.Name) + ")"
	}
	return "the kernel of " + short(k.Document)
}

var (
	isFile   = regexp.MustCompile(`^[A-Za-z0-9_./-]*[./][A-Za-z0-9_./-]*$|^[0-9]+$`)
	isModule = regexp.MustCompile(`^[A-Za-z0-9_.]+$`)
)

// processName is a program's name and what it was given first, if that is a
// file, a number, or a module of Python. Whatever else stands in its arguments
// may be a secret, and evidence is read by more people than an instance.
func processName(p agent.Process) string {
	words := strings.Fields(p.Args)
	if len(words) == 0 {
		return fmt.Sprintf("process %d", p.PID)
	}
	name, args := path.Base(words[0]), words[1:]
	if isPython.MatchString(name) {
		for len(args) > 0 && slices.Contains([]string{"-u", "-B", "-E", "-I", "-O", "-s", "-S"}, args[0]) {
			args = args[1:]
		}
	}
	switch {
	case len(args) > 1 && args[0] == "-m" && isPython.MatchString(name) && isModule.MatchString(args[1]):
		name += " -m " + args[1]
	case len(args) > 0 && args[0][0] != '-' && isFile.MatchString(args[0]):
		name += " " + args[0]
	}
	return fmt.Sprintf("process %d (%s)", p.PID, short(name))
}

// short is the beginning of a text, in signs that can be shown.
func short(s string) string {
	const most = 60
	r := []rune(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s[:min(len(s), 4*most)]))
	if len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return string(r)
}

// place is where a process comes from: a terminal, a kernel, or neither.
func (v *view) place(p agent.Process) string {
	for range deepest {
		if t := v.shells[p.PID]; t != nil {
			return " in terminal " + short(t.Name)
		}
		if k := v.kernels[p.PID]; k != nil {
			return " below " + kernelName(*k)
		}
		parent := v.byPID[p.Parent]
		if parent == nil || parent.Own {
			break
		}
		p = *parent
	}
	return " in the background"
}

// list joins what runs; what is more than a reader wants is counted.
func list(all []string) string {
	const most = 3
	if len(all) <= most {
		return strings.Join(all, "; ")
	}
	return fmt.Sprintf("%s; and %d more", strings.Join(all[:most], "; "), len(all)-most)
}

// rest is what is there and does not work.
func (v *view) rest() string {
	var out []string
	if n := len(v.Kernels); n > 0 {
		out = append(out, count(n, "kernel")+" idle")
	}
	prompts, left, helpers := 0, []string{}, 0
	for _, p := range v.Processes {
		switch v.kinds[p.PID] {
		case shell:
			if v.children[p.PID] == 0 {
				prompts++
			}
		case reader, prompt, monitor, filter:
			left = append(left, processName(p)+" left open"+v.place(p))
		case server:
			left = append(left, fmt.Sprintf("%s waits on port %d%s", processName(p), p.Listens[0], v.visitors(p)))
		case helper, worker:
			helpers++
		case program, nothing, kernel, waiter, shown:
		}
	}
	if prompts > 0 {
		out = append(out, count(prompts, "shell")+" at the prompt")
	}
	if len(left) > 0 {
		out = append(out, list(left))
	}
	if helpers > 0 {
		out = append(out, count(helpers, "helper process")+" without work")
	}
	if v.Tabs > 0 {
		out = append(out, count(v.Tabs, "tab")+" open")
	}
	if len(out) == 0 {
		return "no kernel, no terminal, no tab"
	}
	return strings.Join(out, ", ")
}

// visitors counts the connections that a server has.
func (v *view) visitors(p agent.Process) string {
	n := 0
	for _, c := range v.Connections {
		if c.PID == p.PID {
			n++
		}
	}
	if n == 0 {
		return ""
	}
	return " (" + count(n, "connection") + ")"
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	if strings.HasSuffix(what, "s") {
		return fmt.Sprintf("%d %ses", n, what)
	}
	return fmt.Sprintf("%d %ss", n, what)
}
