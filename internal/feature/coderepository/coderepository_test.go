package coderepository

import (
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
	"clary/internal/store"
	"clary/internal/store/sqlite"
)

const (
	secret = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:git-AbCdEf"
	prefix = "arn:aws:sagemaker:eu-west-1:123456789012:code-repository/"
)

func call() op.Call { return op.Call{Account: "123456789012", Region: "eu-west-1"} }

func open(t *testing.T) *Repositories {
	t.Helper()
	db, err := sqlite.Open(filepath.Join(t.TempDir(), "clary.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return New(db)
}

func one(name string) *request {
	return &request{CodeRepositoryName: name, GitConfig: &apism.GitConfig{RepositoryUrl: "https://git.example.com/team/" + name + ".git", Branch: "main"}}
}

func refused(t *testing.T, err error, text string) {
	t.Helper()
	if e, ok := errors.AsType[*apierr.Error](err); !ok || e.Code != "ValidationException" || e.Status != 400 || !strings.Contains(e.Message, text) {
		t.Errorf("%v, want a ValidationException with %q", err, text)
	}
}

func TestLife(t *testing.T) {
	t.Parallel()
	r := open(t)
	in := one("Project")
	in.Tags = []apism.Tag{{Key: "team", Value: "red"}}
	made, err := r.Create(t.Context(), call(), in)
	if err != nil || made.CodeRepositoryArn != prefix+"project" {
		t.Fatalf("%+v, %v", made, err)
	}
	var tags map[string]string
	if err := r.set.Store.View(t.Context(), func(tx store.Tx) error { tags, err = tx.Tags(made.CodeRepositoryArn); return err }); err != nil || tags["team"] != "red" {
		t.Errorf("tags: %v, %v", tags, err)
	}
	for _, again := range []string{"Project", "project"} {
		_, err := r.Create(t.Context(), call(), one(again))
		refused(t, err, "Cannot create a duplicate CodeRepository ("+prefix+"project)")
	}

	changed, err := r.Update(t.Context(), call(), &apism.UpdateCodeRepositoryInput{CodeRepositoryName: "Project", GitConfig: &apism.GitConfigForUpdate{SecretArn: secret}})
	if err != nil || changed.CodeRepositoryArn != prefix+"project" {
		t.Errorf("%+v, %v", changed, err)
	}
	got, err := r.Describe(t.Context(), call(), &apism.DescribeCodeRepositoryInput{CodeRepositoryName: "Project"})
	if err != nil {
		t.Fatal(err)
	}
	if want := (apism.GitConfig{RepositoryUrl: in.GitConfig.RepositoryUrl, Branch: "main", SecretArn: secret}); *got.GitConfig != want || got.CodeRepositoryName != "Project" {
		t.Errorf("%+v, want %+v", got.GitConfig, want)
	}
	if got.CreationTime.IsZero() || got.LastModifiedTime.Before(got.CreationTime.Time) {
		t.Errorf("created %v, modified %v", got.CreationTime, got.LastModifiedTime)
	}

	elsewhere := call()
	elsewhere.Region = "us-east-1"
	_, err = r.Describe(t.Context(), elsewhere, &apism.DescribeCodeRepositoryInput{CodeRepositoryName: "Project"})
	refused(t, err, "Cannot find CodeRepository: arn:aws:sagemaker:us-east-1:123456789012:code-repository/project")

	if _, err := r.Delete(t.Context(), call(), &apism.DeleteCodeRepositoryInput{CodeRepositoryName: "Project"}); err != nil {
		t.Error(err)
	}
	_, err = r.Delete(t.Context(), call(), &apism.DeleteCodeRepositoryInput{CodeRepositoryName: "Project"})
	refused(t, err, "Cannot find CodeRepository: "+prefix+"project")
	_, err = r.Update(t.Context(), call(), &apism.UpdateCodeRepositoryInput{CodeRepositoryName: "Project"})
	refused(t, err, "Cannot find CodeRepository")
}

func TestRefused(t *testing.T) {
	t.Parallel()
	r := open(t)
	for text, spoil := range map[string]func(*request){
		"must not contain a user name":    func(in *request) { in.GitConfig.RepositoryUrl = "https://me:token@git.example.com/a" },
		"is not a URL that Git can":       func(in *request) { in.GitConfig.RepositoryUrl = "https://git.example.com/%zz" },
		"is not a URL that Git can clone": func(in *request) { in.GitConfig.RepositoryUrl = "https://%41/abcd" },
		"it must be like https://HOST":    func(in *request) { in.GitConfig.RepositoryUrl = "https://git.example.com" },
		"reserved":                        func(in *request) { in.Tags = []apism.Tag{{Key: "aws:x"}} },
	} {
		in := one("a")
		spoil(in)
		_, err := r.Create(t.Context(), call(), in)
		refused(t, err, text)
		if err != nil && strings.Contains(err.Error(), "token") && text != "must not contain a user name" {
			t.Errorf("the answer shows what was in the URL: %v", err)
		}
	}
	out, err := r.List(t.Context(), call(), &apism.ListCodeRepositoriesInput{})
	if err != nil || len(out.CodeRepositorySummaryList) != 0 || out.CodeRepositorySummaryList == nil {
		t.Errorf("something was made, or the list is absent: %+v, %v", out, err)
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	synctest.Test(t, list)
}

func list(t *testing.T) {
	r := open(t)
	begin := time.Now()
	for _, name := range []string{"delta", "alpha", "charlie", "bravo"} {
		time.Sleep(time.Minute)
		if _, err := r.Create(t.Context(), call(), one(name)); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(time.Minute)
	if _, err := r.Update(t.Context(), call(), &apism.UpdateCodeRepositoryInput{CodeRepositoryName: "alpha"}); err != nil {
		t.Fatal(err)
	}
	minute := func(n int) api.Time { return api.At(begin.Add(time.Duration(n) * time.Minute)) }
	type in = apism.ListCodeRepositoriesInput
	for _, tt := range []struct {
		in   in
		want string
	}{
		{in{}, "[alpha bravo charlie delta]"},
		{in{SortOrder: "Descending"}, "[delta charlie bravo alpha]"},
		{in{SortBy: "CreationTime"}, "[delta alpha charlie bravo]"},
		{in{SortBy: "LastModifiedTime"}, "[delta charlie bravo alpha]"},
		{in{NameContains: "R"}, "[bravo charlie]"},
		{in{CreationTimeAfter: minute(2)}, "[bravo charlie]"},
		{in{CreationTimeBefore: minute(2)}, "[delta]"},
		{in{LastModifiedTimeAfter: minute(4)}, "[alpha]"},
		{in{LastModifiedTimeBefore: minute(3)}, "[delta]"},
	} {
		for _, page := range []int64{1, 3, 100} {
			in, names := tt.in, []string{}
			in.MaxResults = &page
			for {
				out, err := r.List(t.Context(), call(), &in)
				if err != nil {
					t.Fatal(err)
				}
				for _, s := range out.CodeRepositorySummaryList {
					if s.GitConfig.Branch != "main" || s.CodeRepositoryArn != prefix+s.CodeRepositoryName {
						t.Errorf("%+v", s)
					}
					names = append(names, s.CodeRepositoryName)
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
	_, err := r.List(t.Context(), call(), &in{NextToken: "x"})
	refused(t, err, "Invalid NextToken")
}

// TestNamed: what is cloned lies in a folder that the address names.
func TestNamed(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]bool{
		"/a": true, "/a/b.git": true, "/a/b/": true, "/a/b/.git": true, "/a/b/.git/": true, "/a/_git/b": true,
		"": false, "/": false, "/.git": false, "/a/..": false, "/a/..git": false, "/.git.git": false, "/a/.hidden": false,
	} {
		if named(path) != want {
			t.Errorf("%q: %t", path, !want)
		}
	}
}
