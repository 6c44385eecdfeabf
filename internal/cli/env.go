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
		unset, noProxy bool
		shell          string
	)
	cmd := &cobra.Command{
		Use: "env", Short: "Print the environment that points AWS clients here", Args: cobra.NoArgs,
		Long: "Print the environment that points unmodified AWS clients to this server:\n\n" +
			"  eval \"$(clary env)\"            sh, bash, zsh\n  clary env | source             fish\n  clary env | Out-String | iex   PowerShell\n\n" +
			"`clary env --unset` prints what puts the shell back as it was.",
		RunE: func(*cobra.Command, []string) error {
			if shell == "" {
				shell = guessShell(a.env)
			}
			if !slices.Contains([]string{"sh", "fish", "powershell"}, shell) {
				return fmt.Errorf("--shell %s: want sh, fish or powershell", shell)
			}
			user, was := before(a.Env)
			if unset {
				return printChanges(a.Out, shell, restore(was))
			}
			t, err := a.target()
			if err != nil {
				return err
			}
			list, err := t.changes(user, !noProxy)
			if err != nil {
				return err
			}
			undo, err := saved(user, list)
			if err != nil {
				return err
			}
			// what an earlier call set and this one does not goes back first
			list = append(leftover(was, list), append(list, change{savedName, &undo})...)
			return printChanges(a.Out, shell, list)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&unset, "unset", false, "print what puts the shell back as it was")
	f.StringVar(&shell, "shell", "", "sh, fish or powershell (default: from $SHELL)")
	f.BoolVar(&noProxy, "no-proxy", false, "leave HTTPS_PROXY alone; the SageMaker SDK's own calls to STS then go to AWS")
	return cmd
}

func guessShell(get func(string) string) string {
	switch s := filepath.Base(get("SHELL")); {
	case s == "fish":
		return "fish"
	case s == "pwsh" || s == "powershell", get("SHELL") == "" && get("PSModulePath") != "":
		return "powershell"
	}
	return "sh"
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

func printChanges(w io.Writer, shell string, list []change) error {
	var b strings.Builder
	for _, c := range list {
		switch {
		case shell == "sh" && c.value == nil:
			fmt.Fprintf(&b, "unset %s\n", c.name)
		case shell == "sh":
			fmt.Fprintf(&b, "export %s='%s'\n", c.name, strings.ReplaceAll(*c.value, "'", `'\''`))
		case shell == "fish" && c.value == nil:
			fmt.Fprintf(&b, "set -e %s;\n", c.name)
		case shell == "fish":
			fmt.Fprintf(&b, "set -gx %s '%s';\n", c.name, strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(*c.value))
		case c.value == nil:
			fmt.Fprintf(&b, "Remove-Item -ErrorAction SilentlyContinue Env:%s\n", c.name)
		default:
			fmt.Fprintf(&b, "$Env:%s = '%s'\n", c.name, strings.ReplaceAll(*c.value, "'", "''"))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (a *app) run() *cobra.Command {
	var noProxy bool
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
			list, err := t.changes(user, !noProxy)
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
	cmd.Flags().BoolVar(&noProxy, "no-proxy", false, "leave HTTPS_PROXY alone; the SageMaker SDK's own calls to STS then go to AWS")
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
