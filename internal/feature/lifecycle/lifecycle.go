// Package lifecycle is the NotebookInstanceLifecycleConfig family: scripts that
// notebook instances run when they are made and whenever they start.
//
// It keeps records and runs nothing: an instance reads the record, whose spec
// is the request, when it starts. Start at Operations.
package lifecycle

import (
	"context"
	"errors"
	"fmt"

	"clary/internal/api"
	apism "clary/internal/api/sagemaker"
	"clary/internal/aws/apierr"
	"clary/internal/aws/op"
	"clary/internal/document"
	"clary/internal/resource"
	"clary/internal/store"
)

// Kind is the record kind of lifecycle configurations.
const Kind resource.Kind = "NotebookInstanceLifecycleConfig"

// instanceKind is the record kind of notebook instances, which use them.
const instanceKind resource.Kind = "NotebookInstance"

// request is the stored spec.
type request = apism.CreateNotebookInstanceLifecycleConfigInput

// Configs serves the operations.
type Configs struct{ set document.Set[request] }

// New makes the feature.
func New(s store.Store) *Configs {
	return &Configs{document.Set[request]{Store: s, Kind: Kind, Type: "notebook-instance-lifecycle-config"}}
}

// Name is the service whose operations these are.
func (*Configs) Name() string { return "sagemaker" }

// Operations lists what this package serves.
func (l *Configs) Operations() map[string]op.Handler {
	return map[string]op.Handler{
		"CreateNotebookInstanceLifecycleConfig": op.On(op.Op(l.Create), func(c op.Call, in *request) string {
			return l.set.Arn(c, in.NotebookInstanceLifecycleConfigName)
		}),
		"DescribeNotebookInstanceLifecycleConfig": op.On(op.Op(l.Describe), func(c op.Call, in *apism.DescribeNotebookInstanceLifecycleConfigInput) string {
			return l.set.Arn(c, in.NotebookInstanceLifecycleConfigName)
		}),
		"UpdateNotebookInstanceLifecycleConfig": op.On(op.Op(l.Update), func(c op.Call, in *apism.UpdateNotebookInstanceLifecycleConfigInput) string {
			return l.set.Arn(c, in.NotebookInstanceLifecycleConfigName)
		}),
		"DeleteNotebookInstanceLifecycleConfig": op.On(op.Op(l.Delete), func(c op.Call, in *apism.DeleteNotebookInstanceLifecycleConfigInput) string {
			return l.set.Arn(c, in.NotebookInstanceLifecycleConfigName)
		}),
		"ListNotebookInstanceLifecycleConfigs": op.Op(l.List),
	}
}

// unable is AWS's refusal of an act on a configuration.
func unable(verb, arn, format string, args ...any) error {
	return apierr.Validation("Unable to %s Notebook Instance Lifecycle Config '%s'. (Details: %s)", verb, arn, fmt.Sprintf(format, args...))
}

// found words a missing record as AWS does.
func found(verb, arn string, err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return unable(verb, arn, "Notebook Instance Lifecycle Config does not exist.")
	}
	return err
}

// Describe shows one configuration with its scripts.
func (l *Configs) Describe(ctx context.Context, c op.Call, in *apism.DescribeNotebookInstanceLifecycleConfigInput) (*apism.DescribeNotebookInstanceLifecycleConfigOutput, error) {
	name := in.NotebookInstanceLifecycleConfigName
	rec, spec, err := l.set.Get(ctx, c, name)
	if err != nil {
		return nil, found("describe", l.set.Arn(c, name), err)
	}
	return &apism.DescribeNotebookInstanceLifecycleConfigOutput{
		NotebookInstanceLifecycleConfigName: rec.Name, NotebookInstanceLifecycleConfigArn: rec.Arn,
		OnCreate: spec.OnCreate, OnStart: spec.OnStart, CreationTime: api.At(rec.Created), LastModifiedTime: api.At(rec.Modified),
	}, nil
}
