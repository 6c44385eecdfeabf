package lifecycle

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"clary/internal/api"
	apism "clary/internal/api/sagemaker"
	"clary/internal/aws/apierr"
	"clary/internal/aws/op"
	"clary/internal/resource"
	"clary/internal/store"
	"clary/internal/store/sqlite"
)

const prefix = "arn:aws:sagemaker:eu-west-1:123456789012:notebook-instance-lifecycle-config/"

func call() op.Call { return op.Call{Account: "123456789012", Region: "eu-west-1"} }

func open(t *testing.T) *Configs {
	t.Helper()
	db, err := sqlite.Open(filepath.Join(t.TempDir(), "clary.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return New(db)
}

func hook(script string) []apism.NotebookInstanceLifecycleHook {
	return []apism.NotebookInstanceLifecycleHook{{Content: base64.StdEncoding.EncodeToString([]byte(script))}}
}

func refused(t *testing.T, err error, text string) {
	t.Helper()
	if e, ok := errors.AsType[*apierr.Error](err); !ok || e.Code != "ValidationException" || e.Status != 400 || !strings.Contains(e.Message, text) {
		t.Errorf("%v, want a ValidationException with %q", err, text)
	}
}

func (l *Configs) shown(t *testing.T, name string) string {
	t.Helper()
	d, err := l.Describe(t.Context(), call(), &apism.DescribeNotebookInstanceLifecycleConfigInput{NotebookInstanceLifecycleConfigName: name})
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, list := range [][]apism.NotebookInstanceLifecycleHook{d.OnCreate, d.OnStart} {
		text := "-"
		for _, h := range list {
			b, err := base64.StdEncoding.DecodeString(h.Content)
			if err != nil {
				t.Fatal(err)
			}
			text = string(b)
		}
		out = append(out, text)
	}
	return strings.Join(out, " ")
}

func TestLife(t *testing.T) {
	t.Parallel()
	l := open(t)
	made, err := l.Create(t.Context(), call(), &request{NotebookInstanceLifecycleConfigName: "Setup", OnCreate: hook("one"), Tags: []apism.Tag{{Key: "a", Value: "b"}}})
	if err != nil || made.NotebookInstanceLifecycleConfigArn != prefix+"setup" {
		t.Fatalf("%+v, %v", made, err)
	}
	var tags map[string]string
	if err := l.set.Store.View(t.Context(), func(tx store.Tx) error { tags, err = tx.Tags(prefix + "setup"); return err }); err != nil || tags["a"] != "b" {
		t.Errorf("tags: %v, %v", tags, err)
	}
	for _, again := range []string{"Setup", "setup"} {
		_, err = l.Create(t.Context(), call(), &request{NotebookInstanceLifecycleConfigName: again})
		refused(t, err, "Unable to create Notebook Instance Lifecycle Config '"+prefix+"setup'. (Details: Notebook Instance Lifecycle Config already exists.)")
	}
	update := func(in apism.UpdateNotebookInstanceLifecycleConfigInput) {
		t.Helper()
		in.NotebookInstanceLifecycleConfigName = "Setup"
		if _, err := l.Update(t.Context(), call(), &in); err != nil {
			t.Error(err)
		}
	}
	update(apism.UpdateNotebookInstanceLifecycleConfigInput{OnStart: hook("two")})
	if got := l.shown(t, "Setup"); got != "one two" {
		t.Errorf("a script was added: %s", got)
	}
	update(apism.UpdateNotebookInstanceLifecycleConfigInput{OnCreate: []apism.NotebookInstanceLifecycleHook{}, OnStart: hook("three")})
	if got := l.shown(t, "Setup"); got != "- three" {
		t.Errorf("one was taken away and one replaced: %s", got)
	}
	if _, err := l.Delete(t.Context(), call(), &apism.DeleteNotebookInstanceLifecycleConfigInput{NotebookInstanceLifecycleConfigName: "Setup"}); err != nil {
		t.Error(err)
	}
	for verb, do := range map[string]func() error{
		"describe": func() error {
			_, err := l.Describe(t.Context(), call(), &apism.DescribeNotebookInstanceLifecycleConfigInput{NotebookInstanceLifecycleConfigName: "Setup"})
			return err
		},
		"update": func() error {
			_, err := l.Update(t.Context(), call(), &apism.UpdateNotebookInstanceLifecycleConfigInput{NotebookInstanceLifecycleConfigName: "Setup"})
			return err
		},
		"delete": func() error {
			_, err := l.Delete(t.Context(), call(), &apism.DeleteNotebookInstanceLifecycleConfigInput{NotebookInstanceLifecycleConfigName: "Setup"})
			return err
		},
	} {
		refused(t, do(), "Unable to "+verb+" Notebook Instance Lifecycle Config '"+prefix+"setup'. (Details: Notebook Instance Lifecycle Config does not exist.)")
	}
}

func TestScripts(t *testing.T) {
	t.Parallel()
	l := open(t)
	bad := []apism.NotebookInstanceLifecycleHook{{Content: "#!/bin/bash"}}
	_, err := l.Create(t.Context(), call(), &request{NotebookInstanceLifecycleConfigName: "a", OnStart: bad})
	refused(t, err, "OnStart[0].Content is not base64")
	// base64(1) breaks its lines
	text := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("echo\n", 40)))
	if _, err := l.Create(t.Context(), call(), &request{NotebookInstanceLifecycleConfigName: "a", OnStart: []apism.NotebookInstanceLifecycleHook{{Content: text[:76] + "\n" + text[76:] + "\n"}}}); err != nil {
		t.Error(err)
	}
	_, err = l.Update(t.Context(), call(), &apism.UpdateNotebookInstanceLifecycleConfigInput{NotebookInstanceLifecycleConfigName: "a", OnCreate: bad})
	refused(t, err, "OnCreate[0].Content is not base64")
	if got := l.shown(t, "a"); !strings.HasPrefix(got, "- echo\necho\n") {
		t.Errorf("%q", got)
	}
}

// A configuration stays as long as an instance would run it.
func TestDeleteInUse(t *testing.T) {
	t.Parallel()
	l := open(t)
	if _, err := l.Create(t.Context(), call(), &request{NotebookInstanceLifecycleConfigName: "Used"}); err != nil {
		t.Fatal(err)
	}
	instance := func(name, region, config, phase string) *resource.Record {
		spec, err := json.Marshal(apism.CreateNotebookInstanceInput{NotebookInstanceName: name, LifecycleConfigName: config})
		if err != nil {
			t.Fatal(err)
		}
		return &resource.Record{
			Key: resource.Key{Account: "123456789012", Region: region, Kind: instanceKind, Name: name}, UID: resource.NewUID(),
			Arn: "arn:aws:sagemaker:" + region + ":123456789012:notebook-instance/" + name, Phase: phase, Created: time.Now(), Modified: time.Now(), Spec: spec,
		}
	}
	if err := l.set.Store.Update(t.Context(), func(tx store.Tx) error {
		return errors.Join(tx.Put(instance("b", "eu-west-1", "Used", "Stopped")), tx.Put(instance("a", "eu-west-1", "Used", "Pending")), tx.Put(instance("leaving", "eu-west-1", "Used", "Deleting")),
			tx.Put(instance("other", "eu-west-1", "Another", "InService")), tx.Put(instance("far", "us-east-1", "Used", "InService")))
	}); err != nil {
		t.Fatal(err)
	}
	del := &apism.DeleteNotebookInstanceLifecycleConfigInput{NotebookInstanceLifecycleConfigName: "Used"}
	_, err := l.Delete(t.Context(), call(), del)
	refused(t, err, "(Details: Notebook Instance Lifecycle Config is in use by Notebook Instance(s) [a, b].)")
	if err := l.set.Store.Update(t.Context(), func(tx store.Tx) error {
		return errors.Join(tx.Delete(instance("a", "eu-west-1", "", "").Key), tx.Delete(instance("b", "eu-west-1", "", "").Key))
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Delete(t.Context(), call(), del); err != nil {
		t.Error(err)
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	synctest.Test(t, list)
}

func list(t *testing.T) {
	l := open(t)
	begin := time.Now()
	for _, name := range []string{"delta", "alpha", "charlie"} {
		time.Sleep(time.Minute)
		if _, err := l.Create(t.Context(), call(), &request{NotebookInstanceLifecycleConfigName: name}); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(time.Minute)
	if _, err := l.Update(t.Context(), call(), &apism.UpdateNotebookInstanceLifecycleConfigInput{NotebookInstanceLifecycleConfigName: "delta"}); err != nil {
		t.Fatal(err)
	}
	minute := func(n int) api.Time { return api.At(begin.Add(time.Duration(n) * time.Minute)) }
	type in = apism.ListNotebookInstanceLifecycleConfigsInput
	for _, tt := range []struct {
		in   in
		want string
	}{
		{in{}, "[delta alpha charlie]"},
		{in{SortOrder: "Descending"}, "[charlie alpha delta]"},
		{in{SortBy: "Name"}, "[alpha charlie delta]"},
		{in{SortBy: "LastModifiedTime"}, "[alpha charlie delta]"},
		{in{NameContains: "L", SortBy: "Name", SortOrder: "Descending"}, "[delta charlie alpha]"},
		{in{NameContains: "HA"}, "[alpha charlie]"},
		{in{CreationTimeAfter: minute(1)}, "[alpha charlie]"},
		{in{CreationTimeBefore: minute(2)}, "[delta]"},
		{in{LastModifiedTimeAfter: minute(3)}, "[delta]"},
		{in{LastModifiedTimeBefore: minute(3)}, "[alpha]"},
	} {
		for _, page := range []int64{1, 2, 100} {
			in, names := tt.in, []string{}
			in.MaxResults = &page
			for {
				out, err := l.List(t.Context(), call(), &in)
				if err != nil {
					t.Fatal(err)
				}
				for _, s := range out.NotebookInstanceLifecycleConfigs {
					if s.NotebookInstanceLifecycleConfigArn != prefix+s.NotebookInstanceLifecycleConfigName || s.CreationTime.IsZero() || s.LastModifiedTime.IsZero() {
						t.Errorf("%+v", s)
					}
					names = append(names, s.NotebookInstanceLifecycleConfigName)
				}
				if in.NextToken = out.NextToken; in.NextToken == "" {
					break
				}
			}
			if got := fmt.Sprint(names); got != tt.want {
				t.Errorf("%+v by %d: %s, want %s", tt.in, page, got, tt.want)
			}
		}
	}
	_, err := l.List(t.Context(), call(), &in{NextToken: "x"})
	refused(t, err, "Invalid NextToken")
}
