package lifecycle

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	apism "clary/internal/api/sagemaker"
	"clary/internal/aws/apierr"
	"clary/internal/aws/op"
	"clary/internal/aws/tags"
	"clary/internal/resource"
	"clary/internal/store"
)

// Create keeps scripts under a name.
func (l *Configs) Create(ctx context.Context, c op.Call, in *request) (*apism.CreateNotebookInstanceLifecycleConfigOutput, error) {
	if err := checkScripts(in.OnCreate, in.OnStart); err != nil {
		return nil, err
	}
	set, err := tags.Map(in.Tags)
	if err != nil {
		return nil, err
	}
	spec, err := json.Marshal(in)
	if err != nil {
		return nil, fmt.Errorf("spec: %w", err)
	}
	now := time.Now()
	arn := arnOf(c, in.NotebookInstanceLifecycleConfigName)
	err = l.store.Update(ctx, func(tx store.Tx) error {
		// Two names that differ in case have one ARN.
		if _, err := tx.ByArn(arn); !errors.Is(err, store.ErrNotFound) {
			if err == nil {
				err = store.ErrExists
			}
			return err
		}
		if err := tx.Put(&resource.Record{
			Key: key(c, in.NotebookInstanceLifecycleConfigName), UID: resource.NewUID(), Arn: arn, Created: now, Modified: now, Spec: spec,
		}); err != nil {
			return err
		}
		return tx.PutTags(arn, set)
	})
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
	err := l.store.Update(ctx, func(tx store.Tx) error {
		rec, err := tx.Get(key(c, name))
		if err != nil {
			return err
		}
		spec, err := resource.As[request](rec.Spec)
		if err != nil {
			return err
		}
		// An empty list takes the script away.
		if in.OnCreate != nil {
			spec.OnCreate = in.OnCreate
		}
		if in.OnStart != nil {
			spec.OnStart = in.OnStart
		}
		if rec.Spec, err = json.Marshal(spec); err != nil {
			return fmt.Errorf("spec: %w", err)
		}
		rec.Modified = time.Now()
		return tx.Put(rec)
	})
	if err != nil {
		return nil, found("update", arnOf(c, name), err)
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
		return nil, unable("delete", arnOf(c, name), "Notebook Instance Lifecycle Config is in use by Notebook Instance(s) [%s].", strings.Join(users, ", "))
	}
	err = l.store.Update(ctx, func(tx store.Tx) error { return tx.Delete(key(c, name)) })
	return nil, found("delete", arnOf(c, name), err)
}

// users are the names of the notebook instances that would run a configuration.
func (l *Configs) users(ctx context.Context, c op.Call, name string) ([]string, error) {
	var out []string
	for q := (resource.Query{Account: c.Account, Region: c.Region, Kind: instanceKind, Limit: 1000}); ; {
		recs, next, err := l.store.List(ctx, q)
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
