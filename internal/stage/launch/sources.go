package launch

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// Sources are a user's sources for a launcher that does not run them as a
// script.
type Sources struct {
	Name string            // of the launcher in its lines of the log
	Base string            // /opt/ml
	Code string            // where they are to be; "": /opt/ml/code
	Env  map[string]string // of the container
	Out  io.Writer         // the log
}

func (s Sources) launcher() *launcher {
	l := &launcher{name: s.Name, base: s.Base, code: s.Code, env: s.Env, stdout: s.Out, stderr: s.Out}
	if l.code == "" {
		l.code = filepath.Join(s.Base, "code")
	}
	return l
}

// Say writes a line of the launcher's own to the log.
func (s Sources) Say(level, format string, args ...any) { s.launcher().say(level, format, args...) }

// Python is the interpreter of the container's PATH.
func (s Sources) Python() (string, error) { return s.launcher().python() }

// Bring fetches the sources from S3 or a folder, unless they are there, looks
// whether the program is among them, and installs what they require. It returns
// the folder that they are in.
func (s Sources) Bring(ctx context.Context, source, program string) (string, error) {
	l := s.launcher()
	if err := os.MkdirAll(l.code, 0o777); err != nil {
		return "", err
	}
	start := time.Now()
	if err := l.fetch(ctx, source); err != nil {
		return "", err
	}
	if err := checkEntry(program); err != nil {
		return "", err
	}
	if err := l.insideCode(program); err != nil {
		return "", err
	}
	kind := l.kindOf(program)
	if kind == shellCommand && filepath.Ext(program) == "" {
		kind = pythonScript // the name of a module
	}
	if kind == shellCommand {
		return "", badRequest("the program %q is no Python script", program)
	}
	if err := l.install(ctx, kind); err != nil {
		return "", err
	}
	l.say("INFO", "the sources of %s are ready after %s", program, fmt.Sprint(time.Since(start).Round(time.Millisecond)))
	return l.code, nil
}
