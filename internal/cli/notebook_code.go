package cli

import (
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// codeFlags say what a notebook instance begins with.
type codeFlags struct {
	repos     []string
	lifecycle string
}

func (c *codeFlags) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringArrayVar(&c.repos, "repo", nil, "Git repository to clone, by URL or as `clary notebook repo ls` names it; the first is where JupyterLab opens, and three more may follow")
	f.StringVar(&c.lifecycle, "lifecycle", "", "lifecycle configuration to run, as `clary notebook lifecycle ls` names it")
}

// into adds them to the request that makes an instance.
func (c codeFlags) into(in map[string]any) {
	if len(c.repos) > 0 {
		in["DefaultCodeRepository"] = c.repos[0]
	}
	if len(c.repos) > 1 {
		in["AdditionalCodeRepositories"] = c.repos[1:]
	}
	if c.lifecycle != "" {
		in["LifecycleConfigName"] = c.lifecycle
	}
}

// uses lists the instances that use a thing, by what that is called.
func (n *notebooks) uses(ctx context.Context, names func(notebook) []string) (map[string][]string, error) {
	all, err := n.all(ctx)
	if err != nil {
		return nil, err
	}
	out := make(map[string][]string)
	for _, nb := range all {
		for _, name := range names(nb) {
			if name != "" {
				out[name] = append(out[name], nb.NotebookInstanceName)
			}
		}
	}
	for _, list := range out {
		slices.Sort(list)
	}
	return out, nil
}

// verb is a command of the notebooks' that is no act on one instance.
func (a *app) verb(use, short string, args cobra.PositionalArgs, run func(ctx context.Context, n *notebooks, args []string) error) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Args: args,
		RunE: func(cmd *cobra.Command, args []string) error {
			n, err := a.toNotebooks()
			if err != nil {
				return err
			}
			defer n.close()
			return run(cmd.Context(), n, args)
		},
	}
}

func (a *app) notebookRepo() *cobra.Command {
	cmd := &cobra.Command{
		Use: "repo", Short: "Git repositories that notebook instances clone, by name", Aliases: []string{"repos"},
		Long: "A Git repository that is known by a name is cloned into a notebook instance that is made with it:\n" +
			"clary notebook create NAME --repo REPOSITORY. Its secret is one of Secrets Manager that holds\n" +
			`{"username": "...", "password": "..."}; the password may be a token.`,
	}
	ls := a.verb("ls", "List Git repositories", cobra.NoArgs, func(ctx context.Context, n *notebooks, _ []string) error { return n.repos(ctx) })
	ls.Aliases = []string{"list"}
	ls.Flags().BoolVar(&a.json, "json", false, "print JSON")
	var branch, secret string
	add := a.verb("add NAME URL", "Give a Git repository a name", cobra.ExactArgs(2), func(ctx context.Context, n *notebooks, args []string) error {
		return n.addRepo(ctx, args[0], args[1], branch, secret)
	})
	add.Flags().StringVar(&branch, "branch", "", "branch to check out (default: the repository's own)")
	add.Flags().StringVar(&secret, "secret", "", "name or ARN of the secret that opens it")
	rm := a.verb("rm NAME", "Forget a Git repository; what was cloned stays", cobra.ExactArgs(1), func(ctx context.Context, n *notebooks, args []string) error {
		return n.call(ctx, "DeleteCodeRepository", map[string]any{"CodeRepositoryName": args[0]}, nil)
	})
	rm.Aliases = []string{"delete"}
	cmd.AddCommand(ls, add, rm)
	return cmd
}

// repoRow is one repository as --json prints it.
type repoRow struct {
	Name, URL string
	Branch    string    `json:",omitempty"`
	Secret    string    `json:",omitempty"` // ARN
	Created   time.Time // UTC
	UsedBy    []string  // notebook instances
}

func (n *notebooks) repos(ctx context.Context) error {
	used, err := n.uses(ctx, func(nb notebook) []string { return append(nb.AdditionalCodeRepositories, nb.DefaultCodeRepository) })
	if err != nil {
		return err
	}
	out, rows, now := []repoRow{}, [][]string{}, time.Now()
	in := map[string]any{"MaxResults": 100}
	for {
		var page struct {
			CodeRepositorySummaryList []struct {
				CodeRepositoryName string
				CreationTime       epoch
				GitConfig          struct{ RepositoryUrl, Branch, SecretArn string } //nolint:revive // AWS's name
			}
			NextToken string
		}
		if err := n.call(ctx, "ListCodeRepositories", in, &page); err != nil {
			return err
		}
		for _, r := range page.CodeRepositorySummaryList {
			row := repoRow{r.CodeRepositoryName, r.GitConfig.RepositoryUrl, r.GitConfig.Branch, r.GitConfig.SecretArn, r.CreationTime.time().UTC(), used[r.CodeRepositoryName]}
			if row.UsedBy == nil {
				row.UsedBy = []string{}
			}
			out = append(out, row)
			_, secret, _ := strings.Cut(row.Secret, ":secret:")
			rows = append(rows, []string{row.Name, row.URL, row.Branch, secret, span(now.Sub(row.Created)) + " ago", strings.Join(row.UsedBy, ", ")})
		}
		if page.NextToken == "" {
			break
		}
		in["NextToken"] = page.NextToken
	}
	if n.json {
		return n.printJSON(out)
	}
	if len(rows) == 0 {
		_, err := fmt.Fprintln(n.Out, "No Git repository. Give one a name: clary notebook repo add NAME URL")
		return err
	}
	printTable(n.Out, []string{"repository", "url", "branch", "secret", "created", "used by"}, rows, nil)
	return nil
}

func (n *notebooks) addRepo(ctx context.Context, name, url, branch, secret string) error {
	git := map[string]any{"RepositoryUrl": url}
	if branch != "" {
		git["Branch"] = branch
	}
	if secret != "" && !strings.HasPrefix(secret, "arn:") {
		var found struct{ ARN string }
		if err := worded(n.c.JSON(ctx, "secretsmanager", "secretsmanager.DescribeSecret", map[string]any{"SecretId": secret}, &found), n.t.Addr); err != nil {
			return fmt.Errorf("secret %s: %w", secret, err)
		}
		secret = found.ARN
	}
	if secret != "" {
		git["SecretArn"] = secret
	}
	if err := n.call(ctx, "CreateCodeRepository", map[string]any{"CodeRepositoryName": name, "GitConfig": git}, nil); err != nil {
		return err
	}
	_, err := fmt.Fprintf(n.Err, "%s is known: clary notebook create NAME --repo %s\n", name, name)
	return err
}

func (a *app) notebookLifecycle() *cobra.Command {
	cmd := &cobra.Command{
		Use: "lifecycle", Short: "Scripts that notebook instances run when they are made or started", Aliases: []string{"lifecycles"},
		Long: "A lifecycle configuration holds two scripts: one that a notebook instance runs once, when it is\n" +
			"made, and one that it runs at each start. They run as root inside, for five minutes at most:\n" +
			"clary notebook create NAME --lifecycle CONFIGURATION.",
	}
	ls := a.verb("ls", "List lifecycle configurations", cobra.NoArgs, func(ctx context.Context, n *notebooks, _ []string) error { return n.lifecycles(ctx) })
	ls.Aliases = []string{"list"}
	ls.Flags().BoolVar(&a.json, "json", false, "print JSON")
	var onCreate, onStart string
	add := a.verb("add NAME", "Keep scripts as a lifecycle configuration", cobra.ExactArgs(1), func(ctx context.Context, n *notebooks, args []string) error {
		return n.addLifecycle(ctx, args[0], onCreate, onStart)
	})
	add.Flags().StringVar(&onCreate, "on-create", "", "file with the script that runs once, when the instance is made")
	add.Flags().StringVar(&onStart, "on-start", "", "file with the script that runs at each start")
	rm := a.verb("rm NAME", "Delete a lifecycle configuration that no notebook instance uses", cobra.ExactArgs(1), func(ctx context.Context, n *notebooks, args []string) error {
		return n.call(ctx, "DeleteNotebookInstanceLifecycleConfig", map[string]any{"NotebookInstanceLifecycleConfigName": args[0]}, nil)
	})
	rm.Aliases = []string{"delete"}
	cmd.AddCommand(ls, add, rm)
	return cmd
}

// lifecycleRow is one configuration as --json prints it.
type lifecycleRow struct {
	Name              string
	OnCreate, OnStart bool
	Created, Modified time.Time // UTC
	UsedBy            []string  // notebook instances
}

func (n *notebooks) lifecycles(ctx context.Context) error {
	used, err := n.uses(ctx, func(nb notebook) []string { return []string{nb.NotebookInstanceLifecycleConfigName} })
	if err != nil {
		return err
	}
	out, rows, now := []lifecycleRow{}, [][]string{}, time.Now()
	in := map[string]any{"MaxResults": 100, "SortBy": "Name"}
	for {
		var page struct {
			NotebookInstanceLifecycleConfigs []struct{ NotebookInstanceLifecycleConfigName string }
			NextToken                        string
		}
		if err := n.call(ctx, "ListNotebookInstanceLifecycleConfigs", in, &page); err != nil {
			return err
		}
		for _, l := range page.NotebookInstanceLifecycleConfigs {
			row, err := n.lifecycle(ctx, l.NotebookInstanceLifecycleConfigName)
			if err != nil {
				return err
			}
			if row.UsedBy = used[row.Name]; row.UsedBy == nil {
				row.UsedBy = []string{}
			}
			out = append(out, row)
			var runs []string
			if row.OnCreate {
				runs = append(runs, "create")
			}
			if row.OnStart {
				runs = append(runs, "start")
			}
			rows = append(rows, []string{
				row.Name, strings.Join(runs, ", "), span(now.Sub(row.Created)) + " ago", span(now.Sub(row.Modified)) + " ago", strings.Join(row.UsedBy, ", "),
			})
		}
		if page.NextToken == "" {
			break
		}
		in["NextToken"] = page.NextToken
	}
	if n.json {
		return n.printJSON(out)
	}
	if len(rows) == 0 {
		_, err := fmt.Fprintln(n.Out, "No lifecycle configuration. Make one: clary notebook lifecycle add NAME --on-start FILE")
		return err
	}
	printTable(n.Out, []string{"configuration", "runs at", "created", "changed", "used by"}, rows, nil)
	return nil
}

func (n *notebooks) lifecycle(ctx context.Context, name string) (lifecycleRow, error) {
	var d struct {
		OnCreate, OnStart              []struct{ Content string }
		CreationTime, LastModifiedTime epoch
	}
	err := n.call(ctx, "DescribeNotebookInstanceLifecycleConfig", map[string]any{"NotebookInstanceLifecycleConfigName": name}, &d)
	return lifecycleRow{
		Name: name, OnCreate: len(d.OnCreate) > 0, OnStart: len(d.OnStart) > 0,
		Created: d.CreationTime.time().UTC(), Modified: d.LastModifiedTime.time().UTC(),
	}, err
}

// maxScript is what fits into the 16,384 characters that AWS takes of a script
// in base64.
const maxScript = 16384 / 4 * 3

func (n *notebooks) addLifecycle(ctx context.Context, name, onCreate, onStart string) error {
	if onCreate == "" && onStart == "" {
		return fmt.Errorf("no script is given: clary notebook lifecycle add %s --on-create FILE --on-start FILE", name)
	}
	in := map[string]any{"NotebookInstanceLifecycleConfigName": name}
	for member, file := range map[string]string{"OnCreate": onCreate, "OnStart": onStart} {
		if file == "" {
			continue
		}
		b, err := os.ReadFile(file)
		switch {
		case err != nil:
			return err
		case len(b) == 0:
			return fmt.Errorf("%s is empty", file)
		case len(b) > maxScript:
			return fmt.Errorf("%s has %d bytes, and a script may have %d: have it fetch the rest", file, len(b), maxScript)
		}
		in[member] = []map[string]any{{"Content": base64.StdEncoding.EncodeToString(b)}}
	}
	if err := n.call(ctx, "CreateNotebookInstanceLifecycleConfig", in, nil); err != nil {
		return err
	}
	_, err := fmt.Fprintf(n.Err, "%s is known: clary notebook create NAME --lifecycle %s\n", name, name)
	return err
}
