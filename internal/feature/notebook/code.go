package notebook

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"

	api "clary/internal/api/sagemaker"
	"clary/internal/aws/apierr"
	"clary/internal/aws/arn"
	"clary/internal/resource"
	"clary/internal/stage/agent"
	"clary/internal/store"
)

// The records of another feature that a notebook names.
const (
	kindRepository resource.Kind = "CodeRepository"
	kindLifecycle  resource.Kind = "NotebookInstanceLifecycleConfig"
)

// repo is a repository that an instance clones once. URL and Branch are what it
// is known by.
type repo struct {
	Source string `json:"source"` // as the request last named it
	URL    string `json:"url"`
	Branch string `json:"branch,omitzero"`
	Folder string `json:"folder"` // below SageMaker
	Cloned bool   `json:"cloned,omitzero"`
}

// sources are the repositories that a request names, the default one first.
func sources(spec *request) []string {
	var all []string
	if spec.DefaultCodeRepository != "" {
		all = append(all, spec.DefaultCodeRepository)
	}
	return append(all, spec.AdditionalCodeRepositories...)
}

func isURL(source string) bool { return strings.HasPrefix(source, "https://") }

// checkSources refuses repositories that are named twice, and URLs that git
// could not clone or that hold what must be kept secret.
func checkSources(spec *request) error {
	all := sources(spec)
	for _, s := range all {
		if !isURL(s) {
			continue
		}
		switch u, err := url.Parse(s); {
		case err != nil: // it is not said again: who knows what is in it
			return apierr.Validation("A URL names no Git repository: https://HOST/PATH/REPOSITORY is expected.")
		case u.User != nil:
			return errSecret()
		case u.Host == "" || strings.ContainsAny(s, " \\") || u.RawQuery != "" || u.Fragment != "" || folderOf(s) == "":
			return apierr.Validation("The URL %q names no Git repository: https://HOST/PATH/REPOSITORY is expected.", s)
		}
	}
	for i, s := range all {
		if slices.Contains(all[:i], s) {
			return apierr.Validation("The repository %q is named twice; each repository can be associated once with a notebook instance.", s)
		}
	}
	return nil
}

func errSecret() error {
	return apierr.Validation("The URL of a Git repository must hold no user and no password: " +
		"create a code repository whose SecretArn names a secret with them, and give its name.")
}

// checkNamed refuses a repository or a lifecycle configuration that is named and
// is not there.
func checkNamed(tx store.Tx, r resource.Key, lifecycle string, repositories ...string) error {
	missing := func(kind resource.Kind, name string) (bool, error) {
		_, err := tx.Get(resource.Key{Account: r.Account, Region: r.Region, Kind: kind, Name: name})
		if errors.Is(err, store.ErrNotFound) {
			return true, nil
		}
		return false, err
	}
	if lifecycle != "" {
		if no, err := missing(kindLifecycle, lifecycle); err != nil || no {
			return cmp.Or[error](err, apierr.Validation("%s", noLifecycle(r, lifecycle)))
		}
	}
	for _, s := range repositories {
		if s == "" || isURL(s) {
			continue
		}
		if no, err := missing(kindRepository, s); err != nil || no {
			return cmp.Or[error](err, apierr.Validation("%s", noRepository(r, s)))
		}
	}
	return nil
}

func noLifecycle(r resource.Key, name string) string {
	return "Unable to describe Notebook Instance Lifecycle Config '" + lifecycleArn(r, name) + "'. (Details: Notebook Instance Lifecycle Config does not exist.)"
}

func noRepository(r resource.Key, name string) string {
	return "Cannot find CodeRepository: " + arn.SageMaker(r.Region, r.Account, "code-repository", name)
}

func lifecycleArn(r resource.Key, name string) string {
	return arn.SageMaker(r.Region, r.Account, "notebook-instance-lifecycle-config", name)
}

// refusal is why a run cannot begin before somebody changes something: the text
// of FailureReason.
type refusal string

func (r refusal) Error() string { return string(r) }

// order is what the next run does before JupyterLab is started. Repositories
// and scripts are read now, as they are.
func (n *Notebooks) order(ctx context.Context, rec *resource.Record, st *status, spec *request) (agent.Order, error) {
	o := agent.Order{Name: rec.Name, Arn: rec.Arn, Root: orElse(spec.RootAccess, enabled) == enabled}
	if err := n.orderCode(ctx, rec, st, spec, &o); err != nil {
		return o, err
	}
	if spec.LifecycleConfigName == "" {
		return o, nil
	}
	o.Lifecycle = lifecycleArn(rec.Key, spec.LifecycleConfigName)
	r, err := n.Store.Get(ctx, resource.Key{Account: rec.Account, Region: rec.Region, Kind: kindLifecycle, Name: spec.LifecycleConfigName})
	if errors.Is(err, store.ErrNotFound) {
		return o, refusal(noLifecycle(rec.Key, spec.LifecycleConfigName))
	}
	if err != nil {
		return o, err
	}
	cfg, err := resource.As[api.CreateNotebookInstanceLifecycleConfigInput](r.Spec)
	if err != nil {
		return o, fmt.Errorf("lifecycle configuration: %w", err)
	}
	if o.OnStart, err = script(cfg.OnStart); err != nil {
		return o, refusal(fmt.Sprintf("The OnStart script of %s cannot be read: %v", o.Lifecycle, err))
	}
	// An instance that was in service was created, by whatever version of ours.
	if st.Created || st.Bills > 0 {
		return o, nil
	}
	if o.OnCreate, err = script(cfg.OnCreate); err != nil {
		return o, refusal(fmt.Sprintf("The OnCreate script of %s cannot be read: %v", o.Lifecycle, err))
	}
	return o, nil
}

func script(hooks []api.NotebookInstanceLifecycleHook) (string, error) {
	if len(hooks) == 0 {
		return "", nil
	}
	b, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(hooks[0].Content), ""))
	return string(b), err
}

// orderCode orders the repositories, and notes which folder is whose.
func (n *Notebooks) orderCode(ctx context.Context, rec *resource.Record, st *status, spec *request, o *agent.Order) error {
	kept := slices.DeleteFunc(slices.Clone(st.Repos), func(r repo) bool { return !r.Cloned })
	for _, s := range sources(spec) {
		url, branch, secret, err := n.repository(ctx, rec, s)
		if errors.Is(err, store.ErrNotFound) {
			// Its folder is there all the same once it was cloned.
			i := slices.IndexFunc(kept, func(r repo) bool { return r.Source == s })
			if i < 0 {
				return refusal(noRepository(rec.Key, s))
			}
			url, branch, err = kept[i].URL, kept[i].Branch, nil
		}
		if err != nil {
			return err
		}
		name := folderOf(url)
		if name == "" {
			return refusal("The URL of the code repository " + s + " names no Git repository")
		}
		i := slices.IndexFunc(kept, func(r repo) bool { return r.URL == url && r.Branch == branch })
		if i < 0 {
			i = len(kept)
			kept = append(kept, repo{Source: s, URL: url, Branch: branch, Folder: free(kept, name)})
		}
		kept[i].Source = s
		if s == spec.DefaultCodeRepository {
			o.Open = kept[i].Folder
		}
		o.Repositories = append(o.Repositories, agent.Repository{URL: url, Branch: branch, Folder: kept[i].Folder, Secret: secret, Cloned: kept[i].Cloned})
	}
	st.Repos = kept
	return nil
}

// repository is what a source means.
func (n *Notebooks) repository(ctx context.Context, rec *resource.Record, source string) (url, branch, secret string, err error) {
	if isURL(source) {
		return source, "", "", nil
	}
	r, err := n.Store.Get(ctx, resource.Key{Account: rec.Account, Region: rec.Region, Kind: kindRepository, Name: source})
	if err != nil {
		return "", "", "", err
	}
	in, err := resource.As[api.CreateCodeRepositoryInput](r.Spec)
	if err != nil {
		return "", "", "", fmt.Errorf("code repository: %w", err)
	}
	if in.GitConfig == nil {
		return "", "", "", fmt.Errorf("code repository %s: no Git configuration", source)
	}
	return in.GitConfig.RepositoryUrl, in.GitConfig.Branch, in.GitConfig.SecretArn, nil
}

// folderOf is the folder that git would clone a URL into; "" if it names none.
func folderOf(source string) string {
	u, err := url.Parse(source)
	if err != nil {
		return ""
	}
	name := strings.TrimSuffix(path.Base(strings.TrimSuffix(strings.TrimRight(u.EscapedPath(), "/"), "/.git")), ".git")
	if name == "" || name[0] == '.' || name == "/" || name == "lost+found" || len(name) > 200 {
		return ""
	}
	return name
}

// free is a name that no repository has yet.
func free(taken []repo, name string) string {
	for i := 0; ; i++ {
		try := name
		if i > 0 {
			try = fmt.Sprintf("%s-%d", name, i)
		}
		if !slices.ContainsFunc(taken, func(r repo) bool { return r.Folder == try }) {
			return try
		}
	}
}

// hear takes note of how far a run has come. What was done once is not ordered
// again.
func (st *status) hear(s *agent.State) {
	if s.Phase != agent.Failed {
		st.Step = s.Phase
	}
	past := s.Phase == agent.Creating || s.Phase == agent.Starting || s.Phase == agent.Serving
	for i, r := range st.Repos {
		st.Repos[i].Cloned = r.Cloned || past || slices.Contains(s.Cloned, r.Folder)
	}
	st.Created = st.Created || s.Created || s.Phase == agent.Starting || s.Phase == agent.Serving
}
