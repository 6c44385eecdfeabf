package cli

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

func (a *app) envCmd() *cobra.Command {
	var (
		unset bool
		name  string
		o     envOptions
	)
	cmd := &cobra.Command{
		Use: "env", Short: "Print the environment that points AWS clients here", Args: cobra.NoArgs,
		Long: "Print the environment that points unmodified AWS clients to this server:\n\n" +
			"  eval \"$(clary env)\"            sh, bash, zsh\n  clary env | source             fish\n  clary env | Out-String | iex   PowerShell\n\n" +
			"`clary env --unset` prints what puts the shell back as it was.\n\n" +
			"No file of yours is changed, ~/.aws least of all. A script that names a profile (boto3.Session(profile_name=\"dev\"),\n" +
			"aws --profile dev) would find the real one there; `clary env --profile dev` lets that name mean Clary in this shell.",
		RunE: func(*cobra.Command, []string) error {
			if name == "" {
				name = guessShell(a.parent(), a.env)
			}
			sh, ok := shellOf(name)
			if !ok {
				return fmt.Errorf("--shell %s: want %s", name, shellNames)
			}
			user, was := before(a.Env)
			if unset {
				return a.print(sh.script(restore(was)))
			}
			t, err := a.target()
			if err != nil {
				return err
			}
			list, err := t.changes(user, o)
			if err != nil {
				return err
			}
			undo, err := saved(user, list)
			if err != nil {
				return err
			}
			// what an earlier call set and this one does not goes back first
			list = append(leftover(was, list), append(list, change{savedName, &undo})...)
			return a.print(sh.script(list))
		},
	}
	f := cmd.Flags()
	f.BoolVar(&unset, "unset", false, "print what puts the shell back as it was")
	f.StringVar(&name, "shell", "", shellNames+" (default: the shell that asks, then $SHELL)")
	o.flags(cmd)
	return cmd
}

// envOptions are what `clary env` and `clary run` let the user choose.
type envOptions struct {
	noProxy bool
	profile string
}

func (o *envOptions) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.BoolVar(&o.noProxy, "no-proxy", false, "leave HTTPS_PROXY alone; the SageMaker SDK's own calls to STS then go to AWS")
	f.StringVar(&o.profile, "profile", "", profileHelp)
}

func (a *app) parent() string {
	if a.Parent != nil {
		return a.Parent()
	}
	return parentName()
}

func (a *app) print(text string) error {
	_, err := io.WriteString(a.Out, text)
	return err
}

// restore undoes what was saved.
func restore(was map[string]*string) []change {
	var list []change
	for _, k := range slices.Sorted(maps.Keys(was)) {
		list = append(list, change{k, was[k]})
	}
	return append(list, change{savedName, nil})
}

func leftover(was map[string]*string, list []change) []change {
	var out []change
	for _, c := range restore(was) {
		if c.name != savedName && !slices.ContainsFunc(list, func(d change) bool { return d.name == c.name }) {
			out = append(out, c)
		}
	}
	return out
}

func (a *app) run() *cobra.Command {
	var o envOptions
	cmd := &cobra.Command{
		Use: "run [flags] -- COMMAND [ARG...]", Short: "Run a command in the environment that `clary env` prints",
		Args: cobra.MinimumNArgs(1), Example: "  clary run -- python train.py",
		RunE: func(cmd *cobra.Command, args []string) error {
			t, err := a.target()
			if err != nil {
				return err
			}
			if err := a.reachable(cmd.Context(), t); err != nil {
				return err
			}
			user, _ := before(a.Env)
			list, err := t.changes(user, o)
			if err != nil {
				return err
			}
			env := apply(user, list)
			path, err := findProgram(args[0], env)
			if err != nil {
				_, werr := fmt.Fprintln(a.Err, "clary:", err)
				return errors.Join(Exit(127), werr)
			}
			if err := a.Exec(path, args, env); err != nil {
				_, werr := fmt.Fprintf(a.Err, "clary: %s: %v\n", path, err)
				return errors.Join(Exit(126), werr)
			}
			return nil
		},
	}
	cmd.Flags().SetInterspersed(false)
	o.flags(cmd)
	return cmd
}

// findProgram looks where the command's own environment says.
func findProgram(name string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	path, _ := lookup(env, "PATH")
	for _, dir := range filepath.SplitList(path) {
		if dir == "" {
			continue // the working folder is never searched
		}
		full := filepath.Join(dir, name)
		if st, err := os.Stat(full); err == nil && st.Mode().IsRegular() && st.Mode().Perm()&0o111 != 0 {
			return full, nil
		}
	}
	return "", fmt.Errorf("%s: command not found", name)
}
