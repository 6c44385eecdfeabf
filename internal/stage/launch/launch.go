// Package launch is script mode's "train": it does for a catalog runtime what
// the training toolkit does in SageMaker's images. It fetches and unpacks the
// user's sources, installs their requirements, makes the SM_ environment and
// runs the script. It runs as the user's program, with no rights of its own.
// Start at Main.
package launch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"clary/internal/stage/tail"
)

// Main is the launcher's whole run. It returns the exit code.
func Main(ctx context.Context, base string, environ []string, stdout, stderr io.Writer) int {
	l := &launcher{base: base, env: map[string]string{}, stdout: stdout, stderr: stderr}
	for _, e := range environ {
		if k, v, ok := strings.Cut(e, "="); ok && l.env[k] == "" {
			l.env[k] = v
		}
	}
	err := l.run(ctx)
	if err == nil {
		l.note("success", "")
		return 0
	}
	l.say("ERROR", "%v", err)
	code := 1
	if s, ok := errors.AsType[*scriptError](err); ok {
		code = s.code
	} else if _, ok := errors.AsType[*userError](err); !ok {
		//nolint:staticcheck // the text is shown to people as it is
		err = fmt.Errorf("Framework Error: \n%w", err)
	}
	l.note("failure", err.Error())
	return code
}

type launcher struct {
	name           string // in its own lines of the log; "": clary-train
	base           string // /opt/ml
	env            map[string]string
	stdout, stderr io.Writer

	hps  map[string]value // the user's
	sm   map[string]value // those for the toolkit
	code string
	args []string
}

// userError is a cause that the user can mend.
type userError struct{ text string }

func (e *userError) Error() string { return e.text }

func badRequest(format string, args ...any) error {
	return &userError{fmt.Sprintf(format, args...)}
}

// scriptError is a command of the user's that failed, in the form that
// FailureReason has on SageMaker.
type scriptError struct {
	kind, command, output string
	exit                  int // negative: a signal
	code                  int
}

func (e *scriptError) Error() string {
	extra := ""
	if e.exit == 137 || e.exit == -9 {
		extra = "ExtraInfo \"OutOfMemory: Process killed by SIGKILL (signal 9)\"\n"
	}
	return fmt.Sprintf("%s:\nExitCode %d\nErrorMessage \"%s\"\n%sCommand \"%s\"", e.kind, e.exit, e.output, extra, e.command)
}

func (l *launcher) say(level, format string, args ...any) {
	name := l.name
	if name == "" {
		name = "clary-train"
	}
	// A log that cannot be written stops nothing.
	_, _ = fmt.Fprintf(l.stderr, "%s %s %-8s %s\n", time.Now().UTC().Format("2006-01-02 15:04:05,000"), name, level, fmt.Sprintf(format, args...))
}

// note writes one of the two files that say how training ended. One that the
// script wrote is left alone.
func (l *launcher) note(name, text string) {
	f, err := os.OpenFile(filepath.Join(l.base, "output", name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if errors.Is(err, os.ErrExist) {
		return
	}
	if err == nil {
		_, err = f.WriteString(text)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		l.say("ERROR", "writing %s: %v", name, err)
	}
}

func (l *launcher) run(ctx context.Context) error {
	l.code = filepath.Join(l.base, "code")
	for _, d := range []string{l.code, filepath.Join(l.base, "output/data")} {
		if err := os.MkdirAll(d, 0o777); err != nil {
			return err
		}
	}
	vars, entry, source, err := l.environment(ctx)
	if err != nil {
		return err
	}
	if program := l.algorithm(entry); program != "" {
		return l.runAlgorithm(ctx, program, vars)
	}
	if err := l.fetch(ctx, source); err != nil {
		return err
	}
	if err := checkEntry(entry); err != nil {
		return err
	}
	if err := l.insideCode(entry); err != nil {
		return err
	}
	kind := l.kindOf(entry)
	if err := l.install(ctx, kind); err != nil {
		return err
	}
	maps.Copy(l.env, vars)
	l.env["PYTHONPATH"] = strings.TrimSuffix(l.code+":"+l.env["PYTHONPATH"], ":")
	done, err := l.standIn()
	if err != nil {
		return err
	}
	defer done()
	command, err := l.command(kind, entry)
	if err != nil {
		return err
	}
	l.sayEnvironment(vars, command)
	return l.exec(ctx, "ExecuteUserScriptError", command)
}

func (l *launcher) sayEnvironment(vars map[string]string, command []string) {
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(vars)) {
		if k == "SM_TRAINING_ENV" {
			continue // the others say it all
		}
		fmt.Fprintf(&b, "%s=%s\n", k, vars[k])
	}
	l.say("INFO", "environment of the script:\n\n%s", b.String())
	l.say("INFO", "running: %s\n", strings.Join(command, " "))
}

// entryKind is how an entry point is run.
type entryKind int

const (
	pythonScript  entryKind = iota
	pythonPackage           // sources with a setup.py are installed first
	shellCommand
)

func (l *launcher) kindOf(entry string) entryKind {
	_, err := os.Stat(filepath.Join(l.code, "setup.py"))
	switch {
	case strings.HasSuffix(entry, ".sh"):
		return shellCommand
	case err == nil:
		return pythonPackage
	case strings.HasSuffix(entry, ".py"):
		return pythonScript
	}
	return shellCommand
}

// checkEntry lets through plain relative paths: the name ends up in a command.
func checkEntry(entry string) error {
	const hint = "set sagemaker_program to the script's path below your source directory, for example train.py or bin/train.sh"
	if entry == "" || entry == "None" {
		return badRequest("no entry point is given: %s", hint)
	}
	for i, c := range entry {
		plain := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '.' || c == '_'
		if !plain && (i == 0 || (c != '+' && c != '-' && c != '/')) {
			return badRequest("the entry point %q cannot be used: %q is not allowed there; %s", entry, c, hint)
		}
	}
	for seg := range strings.SplitSeq(entry, "/") {
		if seg == "" || seg == "." || seg == ".." {
			return badRequest("the entry point %q cannot be used: it has an empty, '.' or '..' segment; %s", entry, hint)
		}
	}
	return nil
}

func (l *launcher) insideCode(entry string) error {
	root, err := os.OpenRoot(l.code)
	if err != nil {
		return err
	}
	defer root.Close() //nolint:errcheck // read only
	if _, err := root.Stat(entry); err != nil && !errors.Is(err, os.ErrNotExist) {
		return badRequest("the entry point %q leads out of the source directory: %v", entry, err)
	} else if err != nil && (strings.HasSuffix(entry, ".py") || strings.HasSuffix(entry, ".sh")) {
		if _, serr := root.Stat("setup.py"); serr == nil {
			return nil // a module of the package
		}
		entries, _ := os.ReadDir(l.code) // advice only
		var names []string
		for _, e := range entries {
			names = append(names, e.Name())
		}
		return badRequest("the entry point %q is not among the sources; they hold: %s", entry, strings.Join(names, ", "))
	}
	return nil
}

func (l *launcher) python() (string, error) {
	for _, name := range []string{"python", "python3"} {
		if p := l.find(name); p != "" {
			return p, nil
		}
	}
	return "", errors.New("there is no python in PATH")
}

// find looks a command up in the task's own PATH.
func (l *launcher) find(name string) string {
	for _, dir := range filepath.SplitList(l.env["PATH"]) {
		p := filepath.Join(dir, name)
		if fi, err := os.Stat(p); err == nil && fi.Mode().IsRegular() && fi.Mode()&0o111 != 0 && filepath.IsAbs(p) {
			return p
		}
	}
	return ""
}

func (l *launcher) install(ctx context.Context, kind entryKind) error {
	_, err := os.Stat(filepath.Join(l.code, "requirements.txt"))
	requirements := err == nil
	if kind == shellCommand || (kind == pythonScript && !requirements) {
		return nil
	}
	python, err := l.python()
	if err != nil {
		return err
	}
	command := []string{python, "-m", "pip", "install"}
	class := "InstallRequirementsError"
	if kind == pythonPackage {
		l.say("INFO", "installing the package")
		command, class = append(command, "."), "InstallModuleError"
	} else {
		l.say("INFO", "installing requirements.txt")
	}
	if requirements {
		command = append(command, "-r", "requirements.txt")
	}
	return l.exec(ctx, class, command)
}

func (l *launcher) command(kind entryKind, entry string) ([]string, error) {
	if kind == shellCommand {
		if err := os.Chmod(filepath.Join(l.code, entry), 0o777); err != nil {
			return nil, badRequest("the entry point %q: %v", entry, err)
		}
		quoted := make([]string, len(l.args))
		for i, a := range l.args {
			quoted[i] = shellQuote(a)
		}
		return []string{"/bin/sh", "-c", "./" + shellQuote(entry) + " " + strings.Join(quoted, " ")}, nil
	}
	python, err := l.python()
	if err != nil {
		return nil, err
	}
	if kind == pythonPackage {
		return append([]string{python, "-m", strings.TrimSuffix(entry, ".py")}, l.args...), nil
	}
	return append([]string{python, "--", entry}, l.args...), nil
}

// shellQuote leaves plain words as they are.
func shellQuote(s string) string {
	const safe = "@%+=:,./-_"
	plain := s != ""
	for _, c := range s {
		if ('a' > c || c > 'z') && ('A' > c || c > 'Z') && ('0' > c || c > '9') && !strings.ContainsRune(safe, c) {
			plain = false
		}
	}
	if plain {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'"'"'`) + "'"
}

// drainFor bounds the wait for output that something left behind holds open.
const drainFor = 2 * time.Second

// exec runs a command in the code folder. SIGTERM is passed on, so that a
// script can save its work when the job is stopped.
func (l *launcher) exec(ctx context.Context, kind string, command []string) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close() //nolint:errcheck // read to its end
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = l.code, w, w
	for _, k := range slices.Sorted(maps.Keys(l.env)) {
		cmd.Env = append(cmd.Env, k+"="+l.env[k])
	}
	terms := make(chan os.Signal, 1)
	signal.Notify(terms, syscall.SIGTERM, syscall.SIGINT)
	defer signal.Stop(terms)
	err = cmd.Start()
	_ = w.Close() // the command has its own
	if err != nil {
		return &scriptError{kind: kind, command: strings.Join(command, " "), output: err.Error(), exit: 127, code: 127}
	}
	last := &tail.Buffer{}
	copied := make(chan struct{})
	go func() {
		defer close(copied)
		_, _ = io.Copy(io.MultiWriter(last, l.stdout), r) // ends with the pipe or its deadline
	}()
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for err = errRunning; errors.Is(err, errRunning); {
		select {
		case err = <-ended:
		case s := <-terms:
			_ = cmd.Process.Signal(s) // it may have ended
		}
	}
	if derr := r.SetReadDeadline(time.Now().Add(drainFor)); derr != nil {
		_ = r.Close()
	}
	<-copied
	if err == nil {
		return nil
	}
	se := &scriptError{kind: kind, command: strings.Join(command, " "), output: tail.Cause(last.Bytes()), exit: 1, code: 1}
	if ee, ok := errors.AsType[*exec.ExitError](err); ok {
		ws, _ := ee.Sys().(syscall.WaitStatus)
		if ws.Signaled() {
			se.exit, se.code = -int(ws.Signal()), 128+int(ws.Signal())
		} else {
			se.exit, se.code = ws.ExitStatus(), ws.ExitStatus()
		}
	} else {
		se.output = err.Error()
	}
	// The reason keeps room for what follows it.
	if most := 900 - len(se.command) - 120; len(se.output) > most {
		se.output = tail.Shorten(se.output, max(most, 200))
	}
	return se
}

var errRunning = errors.New("running")

// readJSON reads one of the files of /opt/ml/input/config.
func (l *launcher) readJSON(name string, out any) error {
	data, err := os.ReadFile(filepath.Join(l.base, "input/config", name))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, out); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}
