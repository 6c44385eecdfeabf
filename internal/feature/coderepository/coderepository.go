// Package coderepository is the CodeRepository family: a Git repository that is
// known by a name, with its branch and the secret that opens it.
//
// It keeps records and does nothing else: who clones a repository reads its
// record, whose spec is the request. It never reads a secret, and no URL holds
// one. Start at Operations.
package coderepository

import (
	"context"
	"errors"
	"net/url"
	"path"
	"strings"

	"clary/internal/api"
	apism "clary/internal/api/sagemaker"
	"clary/internal/aws/apierr"
	"clary/internal/aws/op"
	"clary/internal/document"
	"clary/internal/resource"
	"clary/internal/store"
)

// Kind is the record kind of repositories.
const Kind resource.Kind = "CodeRepository"

// request is the stored spec.
type request = apism.CreateCodeRepositoryInput

// Repositories serves the operations.
type Repositories struct{ set document.Set[request] }

// New makes the feature.
func New(s store.Store) *Repositories {
	return &Repositories{document.Set[request]{Store: s, Kind: Kind, Type: "code-repository"}}
}

// Name is the service whose operations these are.
func (*Repositories) Name() string { return "sagemaker" }

// Operations lists what this package serves.
func (r *Repositories) Operations() map[string]op.Handler {
	return map[string]op.Handler{
		"CreateCodeRepository": op.On(op.Op(r.Create), func(c op.Call, in *request) string { return r.set.Arn(c, in.CodeRepositoryName) }),
		"DescribeCodeRepository": op.On(op.Op(r.Describe), func(c op.Call, in *apism.DescribeCodeRepositoryInput) string {
			return r.set.Arn(c, in.CodeRepositoryName)
		}),
		"UpdateCodeRepository": op.On(op.Op(r.Update), func(c op.Call, in *apism.UpdateCodeRepositoryInput) string {
			return r.set.Arn(c, in.CodeRepositoryName)
		}),
		"DeleteCodeRepository": op.On(op.Op(r.Delete), func(c op.Call, in *apism.DeleteCodeRepositoryInput) string {
			return r.set.Arn(c, in.CodeRepositoryName)
		}),
		"ListCodeRepositories": op.Op(r.List),
	}
}

// found words a missing record as AWS does.
func (r *Repositories) found(c op.Call, name string, err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return apierr.Validation("Cannot find CodeRepository: %s", r.set.Arn(c, name))
	}
	return err
}

// checkURL refuses a URL that names no repository, and a password in one, which
// every list and record would show.
func checkURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || !named(u.Path):
		return apierr.Validation("RepositoryUrl is not a URL that Git can clone: it must be like https://HOST/PATH.")
	case u.User != nil:
		return apierr.Validation("RepositoryUrl must not contain a user name or password. Put them into a secret of Secrets Manager, as {\"username\": ..., \"password\": ...}, and give its ARN as GitConfig.SecretArn.")
	}
	return nil
}

// named says whether a path ends in a name, which a clone's folder can have.
func named(p string) bool {
	name := strings.TrimSuffix(path.Base(strings.TrimSuffix(strings.TrimRight(p, "/"), "/.git")), ".git")
	return name != "" && name != "/" && name[0] != '.'
}

// Describe shows one repository.
func (r *Repositories) Describe(ctx context.Context, c op.Call, in *apism.DescribeCodeRepositoryInput) (*apism.DescribeCodeRepositoryOutput, error) {
	rec, spec, err := r.set.Get(ctx, c, in.CodeRepositoryName)
	if err != nil {
		return nil, r.found(c, in.CodeRepositoryName, err)
	}
	return &apism.DescribeCodeRepositoryOutput{
		CodeRepositoryName: rec.Name, CodeRepositoryArn: rec.Arn, GitConfig: spec.GitConfig,
		CreationTime: api.At(rec.Created), LastModifiedTime: api.At(rec.Modified),
	}, nil
}

// Delete forgets a repository. What was cloned of it stays where it is.
func (r *Repositories) Delete(ctx context.Context, c op.Call, in *apism.DeleteCodeRepositoryInput) (*struct{}, error) {
	return nil, r.found(c, in.CodeRepositoryName, r.set.Delete(ctx, c, in.CodeRepositoryName))
}
