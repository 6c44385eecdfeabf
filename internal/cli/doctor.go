package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"clary/internal/compute"
)

// finding is one thing that doctor looked at. Level is ok, note or bad: a note
// costs something, a bad thing keeps jobs from running.
type finding struct {
	Level, What, Detail string
}

func (a *app) doctor() *cobra.Command {
	cmd := &cobra.Command{
		Use: "doctor", Short: "Say what this machine can do for Clary and what is missing", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			list := a.examine(cmd.Context())
			bad := false
			for _, f := range list {
				bad = bad || f.Level == "bad"
			}
			if a.json {
				if err := a.printJSON(list); err != nil {
					return err
				}
			} else {
				var b strings.Builder
				for _, f := range list {
					fmt.Fprintf(&b, "%-5s %-8s %s\n", f.Level, f.What, printable(f.Detail))
				}
				if _, err := io.WriteString(a.Out, b.String()); err != nil {
					return err
				}
			}
			if bad {
				return Exit(1)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&a.json, "json", false, "print JSON")
	return cmd
}

func (a *app) examine(ctx context.Context) []finding {
	list := []finding{{"ok", "version", buildVersion()}}
	list = append(list, a.examineData()...)
	list = append(list, a.examineRuntimes()...)
	list = append(list, a.examineServer(ctx)...)
	list = append(list, a.examinePython(ctx)...)
	list = append(list, a.examineCLI(ctx)...)
	return append(list, examineSandbox(ctx, a.Probe)...)
}

// the free space below which the server refuses new work
const (
	minFree = 2 << 30
	minPart = 20 // a 20th of the disk
)

func (a *app) examineData() []finding {
	dir := a.data
	for {
		if _, err := os.Stat(dir); err == nil || filepath.Dir(dir) == dir {
			break
		}
		dir = filepath.Dir(dir)
	}
	if err := unix.Access(dir, unix.W_OK|unix.X_OK); err != nil {
		return []finding{{"bad", "data", fmt.Sprintf("%s cannot be written: %v; choose another folder with --data", a.data, err)}}
	}
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return []finding{{"bad", "data", fmt.Sprintf("%s: %v", dir, err)}}
	}
	//nolint:unconvert // no int64 on other systems
	size := int64(st.Bsize)
	free, all := int64(st.Bavail)*size, int64(st.Blocks)*size
	need := max(minFree, all/minPart)
	text := fmt.Sprintf("%s, %.1f GiB free", a.data, float64(free)/(1<<30))
	if free < need {
		return []finding{{"bad", "data", fmt.Sprintf("%s; below %.1f GiB new jobs and uploads are refused", text, float64(need)/(1<<30))}}
	}
	return []finding{{"ok", "data", text}}
}

func (a *app) examineRuntimes() []finding {
	if a.Runtimes == nil {
		return nil
	}
	s, err := a.Runtimes(a.data)
	if err != nil {
		return []finding{{"note", "runtimes", err.Error()}}
	}
	list := []finding{{"ok", "runtimes", "none yet: the first job of an image builds one"}}
	if s.Runtimes > 0 {
		list[0].Detail = fmt.Sprintf("%d, %.1f GiB, and %.1f GiB of downloads; one that no job asks for goes after %d days",
			s.Runtimes, float64(s.Bytes)/(1<<30), float64(s.Spare)/(1<<30), int(s.UnusedAfter.Hours()/24))
	}
	if s.NoSpark != "" {
		list = append(list, finding{"note", "spark", "jobs of Spark images fail: " + s.NoSpark})
	}
	return list
}

func (a *app) examineServer(ctx context.Context) []finding {
	t, err := a.target()
	if err != nil {
		return []finding{{"note", "server", err.Error()}}
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := a.reachable(ctx, t); err != nil {
		return []finding{{"note", "server", err.Error()}}
	}
	list := []finding{{"ok", "server", fmt.Sprintf("answers on http://%s, account %s, region %s", t.Addr, t.Account, t.Region)}}
	return append(list, examineMail(ctx, t))
}

// examineMail has the server try its mail server; no letter is sent.
func examineMail(ctx context.Context, t target) finding {
	c := t.client()
	defer c.Close()
	var rep struct{ Server, Error string }
	err := c.Document(ctx, sagemaker, "/_clary/mail", nil, &rep)
	switch {
	case err != nil:
		return finding{"note", "mail", err.Error()}
	case rep.Server == "":
		return finding{"note", "mail", "no mail server: letters to subscribers wait until clary serve has --smtp and --mail-from"}
	case rep.Error != "":
		return finding{"note", "mail", rep.Error + "; letters wait and are tried again"}
	}
	return finding{"ok", "mail", "letters go by " + rep.Server}
}

func (a *app) examinePython(ctx context.Context) []finding {
	path, err := findProgram("python3", a.Env)
	if err != nil {
		return []finding{{"bad", "python", "no python3 in PATH: catalog runtimes and the SageMaker SDK need Python 3.9 or newer with venv"}}
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "-c", "import sys, venv; print('%d.%d.%d' % sys.version_info[:3])")
	cmd.Env = a.Env
	out, err := cmd.Output()
	if err != nil {
		detail := err.Error()
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			detail = lastLine(string(exit.Stderr))
		}
		return []finding{{"bad", "python", path + ": " + detail}}
	}
	return []finding{{"ok", "python", path + ", " + strings.TrimSpace(string(out))}}
}

// examineCLI looks for an AWS CLI of before it knew AWS_ENDPOINT_URL, which
// would call AWS with our keys. Debian 12 has one.
func (a *app) examineCLI(ctx context.Context) []finding {
	path, err := findProgram("aws", a.Env)
	if err != nil {
		return nil // not everyone wants one
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "--version")
	cmd.Env = a.Env
	out, err := cmd.Output()
	var major, minor int
	if err == nil {
		_, err = fmt.Sscanf(string(out), "aws-cli/%d.%d", &major, &minor)
	}
	switch {
	case err != nil:
		return []finding{{"note", "aws cli", fmt.Sprintf("%s: its version cannot be told: %v", path, err)}}
	case major == 1 && minor < 29, major == 2 && minor < 13:
		return []finding{{"note", "aws cli", fmt.Sprintf("%s is %d.%d, older than AWS_ENDPOINT_URL: call it as `aws --endpoint-url \"$AWS_ENDPOINT_URL\" ...`, or get 2.13 or newer", path, major, minor)}}
	}
	return []finding{{"ok", "aws cli", fmt.Sprintf("%s, %d.%d", path, major, minor)}}
}

func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return s[strings.LastIndexByte(s, '\n')+1:]
}

func examineSandbox(ctx context.Context, probe func(context.Context) (string, compute.Capacity, error)) []finding {
	name, c, err := probe(ctx)
	if err != nil {
		return []finding{{"bad", "sandbox", err.Error()}}
	}
	yes := func(b bool, t, f string) string {
		if b {
			return t
		}
		return f
	}
	list := []finding{{"ok", "sandbox", fmt.Sprintf("%s: %d vCPU, %.1f GiB, %d GPUs; %s; %s", name, c.VCPU, float64(c.MemoryBytes)/(1<<30), c.GPUs,
		yes(c.Root, "tasks get users of their own", "tasks run as your user's shadow"), yes(c.Limits, "the kernel enforces limits", "limits are watched, not enforced by the kernel"))}}
	for _, n := range c.Notes {
		list = append(list, finding{"note", "sandbox", n})
	}
	return list
}
