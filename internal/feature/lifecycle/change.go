package lifecycle

import (
	"context"
	"encoding/base64"
	"errors"
	"slices"
	"strings"

	apism "clary/internal/api/sagemaker"
	"clary/internal/aws/apierr"
	"clary/internal/aws/op"
	"clary/internal/resource"
	"clary/internal/store"
)

// Create keeps scripts under a name.
func (l *Configs) Create(ctx context.Context, c op.Call, in *request) (*apism.CreateNotebookInstanceLifecycleConfigOutput, error) {
	if err := checkScripts(in.OnCreate, in.OnStart); err != nil {
		return nil, err
	}
	arn := l.set.Arn(c, in.NotebookInstanceLifecycleConfigName)
	err := l.set.Create(ctx, c, in.NotebookInstanceLifecycleConfigName, in, in.Tags)
	if errors.Is(err, store.ErrExists) {
		return nil, unable("create", arn, "Notebook Instance Lifecycle Config already exists.")
	}
	if err != nil {
		return nil, err
	}
	return &apism.CreateNotebookInstanceLifecycleConfigOutput{NotebookInstanceLifecycleConfigArn: arn}, nil
}

// checkScripts refuses what no instance could run.
func checkScripts(onCreate, onStart []apism.NotebookInstanceLifecycleHook) error {
	for _, s := range []struct {
		member string
		hooks  []apism.NotebookInstanceLifecycleHook
	}{{"OnCreate", onCreate}, {"OnStart", onStart}} {
		for _, h := range s.hooks {
			if _, err := base64.StdEncoding.DecodeString(h.Content); err != nil {
				return apierr.Validation("%s[0].Content is not base64: a lifecycle configuration's script must be given as a base64-encoded string.", s.member)
			}
		}
	}
	return nil
}

// Update replaces the scripts that the request has; instances run them from
// their next start on.
func (l *Configs) Update(ctx context.Context, c op.Call, in *apism.UpdateNotebookInstanceLifecycleConfigInput) (*apism.UpdateNotebookInstanceLifecycleConfigOutput, error) {
	if err := checkScripts(in.OnCreate, in.OnStart); err != nil {
		return nil, err
	}
	name := in.NotebookInstanceLifecycleConfigName
	err := l.set.Edit(ctx, c, name, func(spec *request) {
		// An empty list takes the script away.
		if in.OnCreate != nil {
			spec.OnCreate = in.OnCreate
		}
		if in.OnStart != nil {
			spec.OnStart = in.OnStart
		}
	})
	if err != nil {
		return nil, found("update", l.set.Arn(c, name), err)
	}
	return &apism.UpdateNotebookInstanceLifecycleConfigOutput{}, nil
}

// Delete forgets a configuration that no notebook instance uses.
func (l *Configs) Delete(ctx context.Context, c op.Call, in *apism.DeleteNotebookInstanceLifecycleConfigInput) (*struct{}, error) {
	name := in.NotebookInstanceLifecycleConfigName
	users, err := l.users(ctx, c, name)
	if err != nil {
		return nil, err
	}
	if len(users) > 0 {
		return nil, unable("delete", l.set.Arn(c, name), "Notebook Instance Lifecycle Config is in use by Notebook Instance(s) [%s].", strings.Join(users, ", "))
	}
	return nil, found("delete", l.set.Arn(c, name), l.set.Delete(ctx, c, name))
}

// users are the names of the notebook instances that would run a configuration.
func (l *Configs) users(ctx context.Context, c op.Call, name string) ([]string, error) {
	var out []string
	for q := (resource.Query{Account: c.Account, Region: c.Region, Kind: instanceKind, Limit: 1000}); ; {
		recs, next, err := l.set.Store.List(ctx, q)
		if err != nil {
			return nil, err
		}
		for _, rec := range recs {
			spec, err := resource.As[apism.CreateNotebookInstanceInput](rec.Spec)
			if err != nil {
				return nil, err
			}
			if rec.Phase != "Deleting" && spec.LifecycleConfigName == name {
				out = append(out, rec.Name)
			}
		}
		if q.Token = next; next == "" {
			slices.Sort(out)
			return out, nil
		}
	}
}
