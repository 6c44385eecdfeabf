package cli

import (
	"encoding/base64"
	"encoding/json"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// remember answers an operation and keeps what it was asked.
func (b *bench) remember(target string, answer any) *map[string]any {
	var got map[string]any
	b.on(target, func(in map[string]any) (int, any) {
		got = in
		return 200, answer
	})
	return &got
}

func (b *bench) fine(args ...string) (out string) {
	b.t.Helper()
	code, out, errOut := b.run(args...)
	if code != 0 {
		b.t.Fatalf("%v: %d %s", args, code, errOut)
	}
	return out
}

func (b *bench) fails(text string, args ...string) {
	b.t.Helper()
	if code, out, errOut := b.run(args...); code == 0 || !strings.Contains(errOut, text) {
		b.t.Errorf("%v: %d %s %s, want %q", args, code, out, errOut, text)
	}
}

var instances = map[string]any{"NotebookInstances": []any{
	map[string]any{"NotebookInstanceName": "two", "DefaultCodeRepository": "a", "AdditionalCodeRepositories": []string{"b", "https://elsewhere"}, "NotebookInstanceLifecycleConfigName": "setup"},
	map[string]any{"NotebookInstanceName": "one", "DefaultCodeRepository": "a"},
}}

func TestNotebookRepo(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	made := b.remember("SageMaker.CreateCodeRepository", map[string]any{"CodeRepositoryArn": "x"})
	const arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:git/me-AbCdEf"
	b.answer("secretsmanager.DescribeSecret", map[string]any{"ARN": arn})
	b.fine("notebook", "repo", "add", "a", "https://git/a.git")
	if want := map[string]any{"CodeRepositoryName": "a", "GitConfig": map[string]any{"RepositoryUrl": "https://git/a.git"}}; !reflect.DeepEqual(*made, want) {
		t.Errorf("%v, want %v", *made, want)
	}
	for _, secret := range []string{"git/me", arn} {
		b.fine("notebook", "repo", "add", "a", "https://git/a.git", "--branch", "main", "--secret", secret)
		if want := map[string]any{"RepositoryUrl": "https://git/a.git", "Branch": "main", "SecretArn": arn}; !reflect.DeepEqual((*made)["GitConfig"], want) {
			t.Errorf("%v, want %v", *made, want)
		}
	}
	b.on("secretsmanager.DescribeSecret", func(map[string]any) (int, any) {
		return 400, map[string]any{"__type": "ResourceNotFoundException", "message": "Secrets Manager can't find the specified secret."}
	})
	b.fails("secret none: ", "notebook", "repo", "add", "a", "https://git/a.git", "--secret", "none")

	b.answer("SageMaker.ListNotebookInstances", instances)
	b.answer("SageMaker.ListCodeRepositories", map[string]any{"CodeRepositorySummaryList": []any{}})
	if out := b.fine("notebook", "repo", "ls"); !strings.Contains(out, "clary notebook repo add") {
		t.Error(out)
	}
	if out := b.fine("notebook", "repo", "ls", "--json"); out != "[]\n" {
		t.Error(out)
	}
	b.on("SageMaker.ListCodeRepositories", func(in map[string]any) (int, any) {
		name, next := "a", "more"
		if in["NextToken"] == "more" {
			name, next = "c", ""
		}
		return 200, map[string]any{"NextToken": next, "CodeRepositorySummaryList": []any{map[string]any{
			"CodeRepositoryName": name, "CreationTime": 1700000000.5, "GitConfig": map[string]any{"RepositoryUrl": "https://git/" + name, "Branch": "main", "SecretArn": arn},
		}}}
	})
	out := b.fine("notebook", "repo", "ls")
	for _, want := range []string{"https://git/a", "https://git/c", "main", "git/me-AbCdEf", "one, two"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %s in\n%s", want, out)
		}
	}
	var rows []repoRow
	if err := json.Unmarshal([]byte(b.fine("notebook", "repo", "ls", "--json")), &rows); err != nil || len(rows) != 2 || !reflect.DeepEqual(rows[0].UsedBy, []string{"one", "two"}) || rows[1].UsedBy == nil || rows[1].Secret != arn || rows[0].Created.UnixMilli() != 1700000000500 {
		t.Errorf("%+v, %v", rows, err)
	}
	gone := b.remember("SageMaker.DeleteCodeRepository", map[string]any{})
	b.fine("notebook", "repo", "rm", "a")
	if (*gone)["CodeRepositoryName"] != "a" {
		t.Errorf("%v", *gone)
	}
	b.fails("accepts 2 arg(s)", "notebook", "repo", "add", "a")
}

func TestNotebookLifecycle(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	made := b.remember("SageMaker.CreateNotebookInstanceLifecycleConfig", map[string]any{})
	file := func(name, text string) string {
		b.write(name, text)
		return filepath.Join(b.data, name)
	}
	script := func(text string) any {
		return []any{map[string]any{"Content": base64.StdEncoding.EncodeToString([]byte(text))}}
	}
	b.fine("notebook", "lifecycle", "add", "setup", "--on-start", file("start.sh", "#!/bin/bash\ntrue\n"))
	if want := map[string]any{"NotebookInstanceLifecycleConfigName": "setup", "OnStart": script("#!/bin/bash\ntrue\n")}; !reflect.DeepEqual(*made, want) {
		t.Errorf("%v, want %v", *made, want)
	}
	most := strings.Repeat("x", maxScript)
	b.fine("notebook", "lifecycle", "add", "setup", "--on-create", file("create.sh", most))
	if content := (*made)["OnCreate"]; !reflect.DeepEqual(content, script(most)) || (*made)["OnStart"] != nil {
		t.Errorf("%v", *made)
	}
	b.fails("may have 12288", "notebook", "lifecycle", "add", "setup", "--on-create", file("long.sh", most+"x"))
	b.fails("is empty", "notebook", "lifecycle", "add", "setup", "--on-create", file("none.sh", ""))
	b.fails("no such file", "notebook", "lifecycle", "add", "setup", "--on-create", "/no/such")
	b.fails("no script is given", "notebook", "lifecycle", "add", "setup")

	b.answer("SageMaker.ListNotebookInstances", instances)
	b.answer("SageMaker.ListNotebookInstanceLifecycleConfigs", map[string]any{"NotebookInstanceLifecycleConfigs": []any{}})
	if out := b.fine("notebook", "lifecycle", "ls"); !strings.Contains(out, "clary notebook lifecycle add") {
		t.Error(out)
	}
	b.answer("SageMaker.ListNotebookInstanceLifecycleConfigs", map[string]any{"NotebookInstanceLifecycleConfigs": []any{
		map[string]any{"NotebookInstanceLifecycleConfigName": "setup"}, map[string]any{"NotebookInstanceLifecycleConfigName": "idle"},
	}})
	b.on("SageMaker.DescribeNotebookInstanceLifecycleConfig", func(in map[string]any) (int, any) {
		d := map[string]any{"CreationTime": 1700000000, "LastModifiedTime": 1700000060, "OnStart": script("x")}
		if in["NotebookInstanceLifecycleConfigName"] == "setup" {
			d["OnCreate"] = script("y")
		}
		return 200, d
	})
	if out := b.fine("notebook", "lifecycle", "ls"); !strings.Contains(out, "create, start") || !strings.Contains(out, "two") {
		t.Error(out)
	}
	var rows []lifecycleRow
	if err := json.Unmarshal([]byte(b.fine("notebook", "lifecycle", "ls", "--json")), &rows); err != nil || len(rows) != 2 || !rows[0].OnCreate || !rows[0].OnStart || rows[1].OnCreate ||
		!reflect.DeepEqual(rows[0].UsedBy, []string{"two"}) || rows[0].Modified.Sub(rows[0].Created).Seconds() != 60 {
		t.Errorf("%+v, %v", rows, err)
	}
	gone := b.remember("SageMaker.DeleteNotebookInstanceLifecycleConfig", map[string]any{})
	b.fine("notebook", "lifecycle", "rm", "setup")
	if (*gone)["NotebookInstanceLifecycleConfigName"] != "setup" {
		t.Errorf("%v", *gone)
	}
}

func TestNotebookCreateWithCode(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	made := b.remember("SageMaker.CreateNotebookInstance", map[string]any{})
	b.fine("notebook", "create", "nb", "--no-wait")
	for _, member := range []string{"DefaultCodeRepository", "AdditionalCodeRepositories", "LifecycleConfigName"} {
		if v, ok := (*made)[member]; ok {
			t.Errorf("%s is %v", member, v)
		}
	}
	b.fine("notebook", "create", "nb", "--no-wait", "--repo", "a", "--repo", "https://git/b,c", "--repo", "d", "--lifecycle", "setup")
	if (*made)["DefaultCodeRepository"] != "a" || !reflect.DeepEqual((*made)["AdditionalCodeRepositories"], []any{"https://git/b,c", "d"}) || (*made)["LifecycleConfigName"] != "setup" {
		t.Errorf("%v", *made)
	}
}
