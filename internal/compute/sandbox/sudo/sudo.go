// Package sudo is the sudo of a task that has a user: programs there gain
// nothing from setuid files, so it uses the capabilities with which the user
// was left. Where the task has one id only, everybody is root already and it
// runs the command. It asks for no password, keeps the environment, since that
// is what leads to Clary, and must never be more than a convenience: what the
// task may do, it may do without it. Start reading at Main.
package sudo

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"clary/internal/compute/sandbox/jail"
	"clary/internal/stage/notebook"
)

const usage = "usage: sudo [-EHnS] [-i | -s] [-u user] [VAR=value ...] [command [arg ...]]"

// order is what the command line says.
type order struct {
	user         string
	login, shell bool
	env          []string
	args         []string
	only         string // what is said instead of running anything
}

// Main runs a command as another user and does not return if it can.
func Main(args, environ []string, out, errs io.Writer) int {
	err := run(args, environ)
	if say, ok := errors.AsType[saying](err); ok {
		if say != "" {
			_, _ = fmt.Fprintln(out, say)
		}
		return 0
	}
	_, _ = fmt.Fprintln(errs, "sudo:", err)
	return 1
}

// saying ends without running anything.
type saying string

func (s saying) Error() string { return string(s) }

func run(args, environ []string) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	if o.only != "" {
		return saying(strings.TrimSpace(o.only))
	}
	passwd, err := os.ReadFile("/etc/passwd")
	if err != nil {
		return err
	}
	target, ok := lookup(string(passwd), o.user)
	if !ok {
		return fmt.Errorf("unknown user %s", o.user)
	}
	me, ok := lookup(string(passwd), "#"+strconv.Itoa(os.Getuid()))
	if !ok {
		me.name = strconv.Itoa(os.Getuid())
	}
	argv := o.command(target)
	if len(argv) == 0 {
		return errors.New("no command is given\n" + usage)
	}
	env := o.environment(environ, target, me)
	path := target.shell
	if !o.login && !o.shell {
		if path, err = find(argv[0], env); err != nil {
			return err
		}
	}
	if o.login {
		if err := os.Chdir(target.home); err != nil {
			_, _ = fmt.Fprintln(os.Stderr, "sudo:", err) // it goes on where it is
		}
	}
	if target.uid != os.Getuid() {
		keep := capabilities()
		if keep == 0 {
			return fmt.Errorf("%s is not allowed to run sudo here", me.name)
		}
		if _, err := os.Stat(notebook.NoRoot); err == nil && target.uid != 0 {
			keep = 0 // the way back would be a way for all that is the user's
		}
		if err := jail.BecomeUser(target.uid, keep); err != nil {
			return fmt.Errorf("unable to become %s: %w", target.name, err)
		}
	}
	return fmt.Errorf("%s: %w", argv[0], syscall.Exec(path, argv, env))
}

// parse reads the command line.
func parse(args []string) (o order, err error) {
	o.user = "root"
	need := func(i *int, rest string) (string, error) {
		if rest != "" {
			return rest, nil
		}
		if *i++; *i >= len(args) {
			return "", errors.New("an option lacks its value\n" + usage)
		}
		return args[*i], nil
	}
	i := 0
	for ; i < len(args) && strings.HasPrefix(args[i], "-") && args[i] != "-"; i++ {
		a := args[i]
		if a == "--" {
			i++
			break
		}
		if long, ok := strings.CutPrefix(a, "--"); ok {
			name, value, _ := strings.Cut(long, "=")
			switch name {
			case "user":
				if o.user, err = need(&i, value); err != nil {
					return o, err
				}
			case "login":
				o.login = true
			case "shell":
				o.shell = true
			case "preserve-env", "set-home", "non-interactive", "stdin":
			case "validate", "reset-timestamp", "remove-timestamp":
				o.only = " "
			case "help":
				o.only = usage
			case "version":
				o.only = "Sudo of a Clary task"
			default:
				return o, fmt.Errorf("option --%s is not known here\n%s", name, usage)
			}
			continue
		}
		for j := 1; j < len(a); j++ {
			switch a[j] {
			case 'u':
				if o.user, err = need(&i, a[j+1:]); err != nil {
					return o, err
				}
				j = len(a)
			case 'i':
				o.login = true
			case 's':
				o.shell = true
			case 'E', 'H', 'n', 'S', 'P': // as it is in any case
			case 'v', 'k', 'K':
				o.only = " "
			case 'h':
				o.only = usage
			case 'V':
				o.only = "Sudo of a Clary task"
			default:
				return o, fmt.Errorf("option -%c is not known here\n%s", a[j], usage)
			}
		}
	}
	if o.login && o.shell {
		return o, errors.New("-i and -s exclude each other\n" + usage)
	}
	for ; i < len(args); i++ {
		name, _, ok := strings.Cut(args[i], "=")
		if !ok || name == "" || strings.ContainsAny(name, "/ ") {
			break
		}
		o.env = append(o.env, args[i])
	}
	o.args = args[i:]
	if (o.login || o.shell || len(o.args) > 0) && o.only != "" { // -k with a command runs it
		o.only = ""
	}
	return o, nil
}

// account is a line of /etc/passwd.
type account struct {
	name        string
	uid         int
	home, shell string
}

// lookup finds who is named, or numbered after #.
func lookup(passwd, who string) (account, bool) {
	number, numbered := strings.CutPrefix(who, "#")
	for line := range strings.Lines(passwd) {
		f := strings.Split(strings.TrimSpace(line), ":")
		if len(f) != 7 {
			continue
		}
		uid, err := strconv.Atoi(f[2])
		if err != nil || numbered && f[2] != number || !numbered && f[0] != who {
			continue
		}
		a := account{f[0], uid, f[5], f[6]}
		if a.shell == "" || strings.HasSuffix(a.shell, "nologin") {
			a.shell = "/bin/sh"
		}
		return a, true
	}
	return account{}, false
}

// command is what is run: the arguments, or a shell that runs them.
func (o *order) command(target account) []string {
	if !o.login && !o.shell {
		return o.args
	}
	name := target.shell
	if o.login {
		name = "-" + name[strings.LastIndexByte(name, '/')+1:]
	}
	argv := []string{name}
	if len(o.args) > 0 {
		words := make([]string, len(o.args))
		for i, a := range o.args {
			words[i] = quote(a)
		}
		argv = append(argv, "-c", strings.Join(words, " "))
	}
	return argv
}

// quote keeps a shell from reading more into a word than is there, but for $,
// as sudo does.
func quote(s string) string {
	var b strings.Builder
	for _, r := range s {
		plain := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r > 127 || strings.ContainsRune("_-$", r)
		switch {
		case r == '\n':
			b.WriteString("'\n'")
			continue
		case !plain:
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}

// environment is the caller's with the names that tell who one is.
func (o *order) environment(environ []string, target, me account) []string {
	set := []string{
		"HOME=" + target.home, "USER=" + target.name, "LOGNAME=" + target.name, "SHELL=" + target.shell,
		"SUDO_USER=" + me.name, "SUDO_UID=" + strconv.Itoa(os.Getuid()), "SUDO_GID=" + strconv.Itoa(os.Getgid()), "SUDO_COMMAND=" + strings.Join(o.args, " "),
	}
	env := slices.Clone(environ)
	for _, s := range slices.Concat(set, o.env) {
		name, _, _ := strings.Cut(s, "=")
		env = slices.DeleteFunc(env, func(e string) bool { return strings.HasPrefix(e, name+"=") })
		env = append(env, s)
	}
	return env
}

// find looks a command up in the PATH that it will have.
func find(name string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	for _, e := range env {
		path, ok := strings.CutPrefix(e, "PATH=")
		if !ok {
			continue
		}
		for dir := range strings.SplitSeq(path, ":") {
			if f, err := exec.LookPath(dir + "/" + name); err == nil && dir != "" {
				return f, nil
			}
		}
	}
	return "", fmt.Errorf("%s: command not found", name)
}

// BecomeRoot has a program run as root of the task, if its user may become that
// and is not. It returns only if that is not so, or not possible.
func BecomeRoot(path string, argv, environ []string) error {
	keep := capabilities()
	if os.Getuid() == 0 || keep == 0 {
		return nil
	}
	if err := jail.BecomeUser(0, keep); err != nil {
		return err
	}
	return fmt.Errorf("%s: %w", path, syscall.Exec(path, argv, environ))
}

// capabilities are those that this process may hand on.
func capabilities() uint64 {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if unix.Capget(&hdr, &data[0]) != nil {
		return 0
	}
	return (uint64(data[1].Permitted)<<32 | uint64(data[0].Permitted)) & jail.SudoCapabilities
}
