package control

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"clary/internal/stage/build"
)

// The names under which a task finds this program, besides sudo.
const (
	Crontab   = "crontab"
	Systemctl = "systemctl"
	Initctl   = "initctl"
)

// Scripts are further programs that SageMaker's machines have in /usr/bin, by
// their names: they start what the runtime has of them. Python is a kernel's,
// with boto3.
func Scripts() map[string]string {
	kernel, own := build.Env+"/"+build.Kernels+"/python3/bin/", build.Env+"/bin/"
	scripts := map[string]string{}
	for name, program := range map[string]string{"python": kernel + "python", "python3.8": kernel + "python", "aws": own + "aws", "jupyter": own + "jupyter"} {
		scripts[name] = "#!/bin/sh\nexec " + program + " \"$@\"\n"
	}
	return scripts
}

// Main is one of the programs.
func Main(ctx context.Context, name string, args []string, in io.Reader, out, errs io.Writer) int {
	p := program{socket: Socket, in: in, out: out, errs: errs}
	if name == Crontab {
		return p.crontab(ctx, args)
	}
	return p.service(ctx, name, args)
}

type program struct {
	socket    string
	in        io.Reader
	out, errs io.Writer
}

func (p *program) fail(name string, code int, format string, args ...any) int {
	_, _ = fmt.Fprintf(p.errs, name+": "+format+"\n", args...)
	return code
}

const crontabUsage = "usage: crontab [-u user] [file | -], crontab [-u user] -l | -r"

// crontab shows, replaces and removes a user's crontab.
func (p *program) crontab(ctx context.Context, args []string) int {
	whose, file, act := "-", "", ""
	for i := 0; i < len(args); i++ {
		switch a := args[i]; {
		case a == "-u" && i+1 < len(args):
			i++
			whose = args[i]
		case (a == "-l" || a == "-r" || a == "-i") && (act == "" || act == "-i" || a == "-i"):
			if act == "" || a != "-i" {
				act = a
			}
		case act == "" && (a == "-" || !strings.HasPrefix(a, "-")):
			act, file = "set", a
		default:
			return p.fail(Crontab, 1, "%s", crontabUsage)
		}
	}
	if strings.ContainsAny(whose, "/?#%") {
		return p.fail(Crontab, 1, "user `%s' unknown", whose)
	}
	path := "/crontab/" + whose
	switch act {
	case "-l":
		text, err := ask(ctx, p.socket, "GET", path, nil)
		if err != nil {
			_, _ = fmt.Fprintln(p.errs, err)
			return 1
		}
		_, _ = io.WriteString(p.out, text)
		return 0
	case "-r":
		if _, err := ask(ctx, p.socket, "DELETE", path, nil); err != nil {
			return p.fail(Crontab, 1, "%v", err)
		}
		return 0
	case "set", "": // without arguments it reads its input
	default:
		return p.fail(Crontab, 1, "%s", crontabUsage)
	}
	text, err := p.table(file)
	if err == nil {
		_, err = ask(ctx, p.socket, "PUT", path, strings.NewReader(text))
	}
	if err != nil {
		return p.fail(Crontab, 1, "%v\ncrontab: errors in crontab file, can't install", err)
	}
	return 0
}

func (p *program) table(file string) (string, error) {
	if file == "" || file == "-" {
		b, err := io.ReadAll(p.in)
		return string(b), err
	}
	b, err := os.ReadFile(file)
	return string(b), err
}

// unit is what scripts call JupyterLab.
const unit = "jupyter-server"

// service is systemctl or initctl, whose one service is JupyterLab.
func (p *program) service(ctx context.Context, name string, args []string) int {
	wait := true
	var words []string
	for _, a := range args {
		switch {
		case a == "--no-block" || a == "--no-wait":
			wait = false
		case !strings.HasPrefix(a, "-"):
			words = append(words, strings.TrimSuffix(a, ".service"))
		}
	}
	if len(words) == 1 && slices.Contains([]string{"daemon-reload", "daemon-reexec", "reload-configuration"}, words[0]) {
		return 0
	}
	if len(words) < 2 {
		return p.fail(name, 1, "there is one service here, %s, to restart", unit)
	}
	for _, u := range words[1:] {
		if u != unit {
			return p.fail(name, 5, "Unit %s.service not found.", u)
		}
	}
	switch words[0] {
	case "restart", "try-restart", "reload-or-restart", "force-reload":
		path := "/restart"
		if wait {
			path += "?wait=1"
		}
		if _, err := ask(ctx, p.socket, "POST", path, nil); err != nil {
			return p.fail(name, 1, "Failed to restart %s.service: %v", unit, err)
		}
		return 0
	case "start", "enable": // the instance starts it in any case
		return 0
	}
	return p.fail(name, 1, "%s.service can only be restarted", unit)
}
