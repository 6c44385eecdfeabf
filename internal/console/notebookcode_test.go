package console

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	sm "clary/internal/api/sagemaker"
	"clary/internal/aws/apierr"
	"clary/internal/aws/op"
)

// reader gives pages of a console that asks calls.
func reader(t *testing.T, calls Calls) func(path string) string {
	t.Helper()
	c, cookie := open(t, newWorld())
	c.cfg.Calls = calls
	return func(path string) string {
		t.Helper()
		r := httptest.NewRequest(http.MethodGet, "http://console.localhost"+path, nil)
		r.AddCookie(cookie)
		rec := httptest.NewRecorder()
		c.ServeHTTP(rec, r)
		if rec.Code != http.StatusOK {
			t.Errorf("%s: %d", path, rec.Code)
		}
		return rec.Body.String()
	}
}

// Repositories, configurations and the instances that use them lead to each
// other; what is shown of a secret is its name.
func TestNotebookCodePages(t *testing.T) {
	t.Parallel()
	look := reader(t, newWorld())
	for path, wants := range map[string][]string{
		"/git-repositories": {
			`<a href="/git-repositories/code">code</a>`, "https://git.example.com/code.git", ">main<", ">git/me-AbCdEf<", `<a href="/notebook-instances/n">n</a>`,
			`href="/git-repositories?page=more">Next page`,
		},
		"/git-repositories/code":    {"arn:of:code", "secret:git/me-AbCdEf", `Used by <a href="/notebook-instances/n">n</a>`, `data-snippet="boto3"`},
		"/lifecycle-configurations": {`<a href="/lifecycle-configurations/setup">setup</a>`, "<td>at each start</td>", `<a href="/notebook-instances/n">n</a>`},
		"/lifecycle-configurations/setup": {
			"Runs at each start", "echo &#39;&lt;b&gt;&amp;&#39; &gt;&gt; log", `Used by <a href="/notebook-instances/n">n</a>`, `data-snippet="cli"`,
		},
		"/notebook-instances/n": {
			`<a href="/lifecycle-configurations/setup">setup</a>`, `<a href="/git-repositories/code">code</a>`, `<td class="mono">https://elsewhere/x</td>`,
		},
	} {
		body := look(path)
		for _, want := range wants {
			if !strings.Contains(body, want) {
				t.Errorf("%s: no %s in\n%s", path, want, body)
			}
		}
	}
	if body := look("/git-repositories"); strings.Count(body, "/notebook-instances/n\"") != 50 {
		t.Error("a repository that nobody uses has users")
	}
}

// fewRights may see repositories, and no instances.
type fewRights struct{ *world }

func (f fewRights) Call(ctx context.Context, c op.Call, in any) (any, error) {
	if c.Operation == "ListNotebookInstances" {
		return nil, apierr.AccessDenied("not authorized")
	}
	return f.world.Call(ctx, c, in)
}

func TestUsersDenied(t *testing.T) {
	t.Parallel()
	look := reader(t, fewRights{newWorld()})
	for _, path := range []string{"/git-repositories", "/git-repositories/code", "/lifecycle-configurations", "/lifecycle-configurations/setup"} {
		if body := look(path); !strings.Contains(body, "not allowed") || strings.Contains(body, "No notebook instance uses it") {
			t.Errorf("%s: %s", path, body)
		}
	}
}

// bare has nothing yet, or refuses a token.
type bare struct{ *world }

func (b bare) Call(ctx context.Context, c op.Call, in any) (any, error) {
	switch in := in.(type) {
	case *sm.ListCodeRepositoriesInput:
		if in.NextToken != "" {
			return nil, apierr.Validation("Invalid NextToken")
		}
		return &sm.ListCodeRepositoriesOutput{}, nil
	case *sm.ListNotebookInstanceLifecycleConfigsInput:
		if in.NextToken != "" {
			return nil, apierr.Validation("Invalid NextToken")
		}
		return &sm.ListNotebookInstanceLifecycleConfigsOutput{}, nil
	}
	return b.world.Call(ctx, c, in)
}

func TestNotebookCodeEmpty(t *testing.T) {
	t.Parallel()
	look := reader(t, bare{newWorld()})
	for _, path := range []string{"/git-repositories", "/lifecycle-configurations"} {
		for query, want := range map[string]string{"": "data-snippet", "?name=x": "fits.", "?page=x": "Invalid NextToken"} {
			if body := look(path + query); !strings.Contains(body, want) || strings.Contains(body, "UnsupportedOperation") {
				t.Errorf("%s%s: no %s in %s", path, query, want, body)
			}
		}
	}
}
