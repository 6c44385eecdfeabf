package console

import (
	"encoding/base64"
	"net/url"
	"slices"
	"strings"
	"time"

	sm "clary/internal/api/sagemaker"
)

// Repositories and lifecycle configurations are what notebook instances begin
// with: short lists, each row with the instances that use it.

func repositoryPath(name string) string {
	if strings.HasPrefix(name, "https:") {
		return "" // an instance may name a repository by its URL
	}
	return "/git-repositories/" + url.PathEscape(name)
}

func lifecyclePath(name string) string { return "/lifecycle-configurations/" + url.PathEscape(name) }

// named is a thing that has a page.
type named struct{ Name, Path string }

// users are what uses something: notebook instances, where nothing else is said.
type users struct {
	List    []named
	More    bool // there are so many that not all were looked at
	Unknown bool // the reader may not list them
}

// maxBooks is how many pages of instances are looked at for those that use
// something.
const maxBooks = 10

// users lists instances by what of() says that they use.
func (v *view) users(of func(sm.NotebookInstanceSummary) []string) (func(name string) users, error) {
	by := make(map[string][]named)
	in, more := sm.ListNotebookInstancesInput{MaxResults: ptr(100)}, false
	for page := 0; ; page++ {
		if more = page == maxBooks; more {
			break
		}
		out, err := v.listNotebooks(in)
		if denied(err) {
			return func(string) users { return users{Unknown: true} }, nil
		}
		if err != nil {
			return nil, err
		}
		for _, n := range out.NotebookInstances {
			for _, name := range of(n) {
				by[name] = append(by[name], named{n.NotebookInstanceName, notebookPath(n.NotebookInstanceName)})
			}
		}
		if in.NextToken = out.NextToken; in.NextToken == "" {
			break
		}
	}
	return func(name string) users { return users{List: by[name], More: more} }, nil
}

func repositoriesOf(n sm.NotebookInstanceSummary) []string {
	all := append([]string{n.DefaultCodeRepository}, n.AdditionalCodeRepositories...)
	slices.Sort(all)
	return slices.Compact(all)
}

func lifecycleOf(n sm.NotebookInstanceSummary) []string {
	return []string{n.NotebookInstanceLifecycleConfigName}
}

// finder is what a short list can be asked.
type finder struct {
	Section          section
	Name, Sort, Page string
	Sorts            []choice
	Wrong            string
	First, Next      string
	Empty            *emptyBody
}

// finder reads what is asked of a section; last is an order beside those that
// every list has.
func (v *view) finder(path string, last choice) finder {
	q := v.r.URL.Query()
	f := finder{Section: sectionAt(path), Name: strings.TrimSpace(q.Get("name")), Sort: q.Get("sort"), Page: q.Get("page")}
	if f.Sort != "name" && f.Sort != last.Value {
		f.Sort = "newest"
	}
	f.Sorts = []choice{{Value: "newest", Title: "Newest first"}, {Value: "name", Title: "By name"}, last}
	for i := range f.Sorts {
		f.Sorts[i].Chosen = f.Sorts[i].Value == f.Sort
	}
	return f
}

// changedFirst is an order of things that can change.
func changedFirst() choice { return choice{Value: "changed", Title: "Last changed first"} }

// order is how the API is asked for it.
func (f *finder) order() (by, order string) {
	switch f.Sort {
	case "name":
		return "Name", "Ascending"
	case "changed":
		return "LastModifiedTime", "Descending"
	case "oldest":
		return "CreationTime", "Ascending"
	}
	return "CreationTime", "Descending"
}

// found sets the addresses of other pages and, if nothing was found that was
// not asked for, what an empty section shows.
func (v *view) found(f *finder, rows int, next string) (err error) {
	f.First, f.Next = v.pages(next)
	if rows == 0 && f.Name == "" && f.Page == "" {
		f.Empty, err = v.empty(f.Section.Path)
	}
	return err
}

type repositoryRow struct {
	Name, Path, URL, Branch, Secret string
	Created, Modified               time.Time
	Users                           users
}

type repositoriesBody struct {
	finder
	Rows []repositoryRow
}

// gitRepositories lists them.
func (c *Console) gitRepositories(v *view) error {
	body := repositoriesBody{finder: v.finder("git-repositories", changedFirst())}
	show := func() error { return v.show("git-repositories", body.Section.Title, body.Section.Path, &body) }
	in := &sm.ListCodeRepositoriesInput{NameContains: body.Name, MaxResults: ptr(jobsPage), NextToken: body.Page}
	in.SortBy, in.SortOrder = body.order()
	out, err := ask[sm.ListCodeRepositoriesOutput](v, "sagemaker", "ListCodeRepositories", in)
	if e, ok := refused(err); ok && e.Code == "ValidationException" {
		body.Wrong = e.Message
		return show()
	}
	if err != nil {
		return err
	}
	by, err := v.users(repositoriesOf)
	if err != nil {
		return err
	}
	for _, r := range out.CodeRepositorySummaryList {
		row := repositoryRow{
			Name: r.CodeRepositoryName, Path: repositoryPath(r.CodeRepositoryName), Created: r.CreationTime.Time, Modified: r.LastModifiedTime.Time,
			Users: by(r.CodeRepositoryName),
		}
		if g := r.GitConfig; g != nil {
			row.URL, row.Branch, row.Secret = g.RepositoryUrl, g.Branch, secretName(g.SecretArn)
		}
		body.Rows = append(body.Rows, row)
	}
	if err := v.found(&body.finder, len(body.Rows), out.NextToken); err != nil {
		return err
	}
	return show()
}

// secretName is the end of a secret's ARN, which is its name and six characters.
func secretName(arn string) string {
	_, name, _ := strings.Cut(arn, ":secret:")
	return name
}

type codeBodyOf struct {
	Name              string
	Created, Modified time.Time
	Users             users
	Config            []fact
	Scripts           []script
	Snippets          []snippet
}

// gitRepository is a repository's page.
func (c *Console) gitRepository(v *view) error {
	r, err := ask[sm.DescribeCodeRepositoryOutput](v, "sagemaker", "DescribeCodeRepository", &sm.DescribeCodeRepositoryInput{CodeRepositoryName: v.r.PathValue("name")})
	if err != nil {
		return err
	}
	by, err := v.users(repositoriesOf)
	if err != nil {
		return err
	}
	body := codeBodyOf{Name: r.CodeRepositoryName, Created: r.CreationTime.Time, Modified: r.LastModifiedTime.Time, Users: by(r.CodeRepositoryName)}
	body.Config = []fact{{Name: "ARN", Value: r.CodeRepositoryArn}}
	if g := r.GitConfig; g != nil {
		body.Config = append(body.Config, fact{Name: "URL", Value: g.RepositoryUrl}, fact{Name: "Branch", Value: orElse(g.Branch, "the repository's own")},
			fact{Name: "Secret", Value: orElse(g.SecretArn, "none: anybody can clone it")})
	}
	if body.Snippets, err = sectionAt("git-repositories").snippets(v.about()); err != nil {
		return err
	}
	return v.show("git-repository", body.Name, "git-repositories", body)
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// configsPage is the size of a page of lifecycle configurations: each is asked
// for, since a list does not say which scripts it has.
const configsPage = 20

type lifecycleRow struct {
	Name, Path        string
	OnCreate, OnStart bool
	Created, Modified time.Time
	Users             users
}

type lifecyclesBody struct {
	finder
	Rows []lifecycleRow
}

// lifecycleConfigurations lists them.
func (c *Console) lifecycleConfigurations(v *view) error {
	body := lifecyclesBody{finder: v.finder("lifecycle-configurations", changedFirst())}
	show := func() error {
		return v.show("lifecycle-configurations", body.Section.Title, body.Section.Path, &body)
	}
	in := &sm.ListNotebookInstanceLifecycleConfigsInput{NameContains: body.Name, MaxResults: ptr(configsPage), NextToken: body.Page}
	in.SortBy, in.SortOrder = body.order()
	out, err := ask[sm.ListNotebookInstanceLifecycleConfigsOutput](v, "sagemaker", "ListNotebookInstanceLifecycleConfigs", in)
	if e, ok := refused(err); ok && e.Code == "ValidationException" {
		body.Wrong = e.Message
		return show()
	}
	if err != nil {
		return err
	}
	by, err := v.users(lifecycleOf)
	if err != nil {
		return err
	}
	for _, l := range out.NotebookInstanceLifecycleConfigs {
		name := l.NotebookInstanceLifecycleConfigName
		row := lifecycleRow{Name: name, Path: lifecyclePath(name), Created: l.CreationTime.Time, Modified: l.LastModifiedTime.Time, Users: by(name)}
		d, err := v.describeLifecycle(name)
		if _, ok := refused(err); ok {
			err = nil // it was deleted meanwhile, or may be listed and not read
		}
		if err != nil {
			return err
		}
		if d != nil {
			row.OnCreate, row.OnStart = len(d.OnCreate) > 0, len(d.OnStart) > 0
		}
		body.Rows = append(body.Rows, row)
	}
	if err := v.found(&body.finder, len(body.Rows), out.NextToken); err != nil {
		return err
	}
	return show()
}

func (v *view) describeLifecycle(name string) (*sm.DescribeNotebookInstanceLifecycleConfigOutput, error) {
	return ask[sm.DescribeNotebookInstanceLifecycleConfigOutput](v, "sagemaker", "DescribeNotebookInstanceLifecycleConfig",
		&sm.DescribeNotebookInstanceLifecycleConfigInput{NotebookInstanceLifecycleConfigName: name})
}

// script is one of a lifecycle configuration, as text.
type script struct{ Title, Text string }

// lifecycleConfiguration is a configuration's page.
func (c *Console) lifecycleConfiguration(v *view) error {
	l, err := v.describeLifecycle(v.r.PathValue("name"))
	if err != nil {
		return err
	}
	by, err := v.users(lifecycleOf)
	if err != nil {
		return err
	}
	name := l.NotebookInstanceLifecycleConfigName
	body := codeBodyOf{
		Name: name, Created: l.CreationTime.Time, Modified: l.LastModifiedTime.Time, Users: by(name),
		Config: []fact{{Name: "ARN", Value: l.NotebookInstanceLifecycleConfigArn}},
	}
	for _, hooks := range []struct {
		title string
		list  []sm.NotebookInstanceLifecycleHook
	}{{"Runs once, when an instance is made", l.OnCreate}, {"Runs at each start", l.OnStart}} {
		for _, h := range hooks.list {
			text, err := base64.StdEncoding.DecodeString(h.Content)
			if err != nil {
				return err // Create has checked it
			}
			body.Scripts = append(body.Scripts, script{hooks.title, strings.ToValidUTF8(string(text), "\ufffd")})
		}
	}
	if body.Snippets, err = sectionAt("lifecycle-configurations").snippets(v.about()); err != nil {
		return err
	}
	return v.show("lifecycle-configuration", name, "lifecycle-configurations", body)
}
