package console

import (
	"encoding/base64"
	"strings"
	"testing"
)

// What notebook instances begin with has pages, which show it as it is and
// follow it without a reload.
func TestNotebookCodePages(t *testing.T) {
	t.Parallel()
	d, api := start(t)
	ctx := t.Context()
	b := open(t, d)
	b.signIn("/git-repositories")
	js[bool](b, "window.here = true")
	must(t, api.SageMaker(ctx, "CreateCodeRepository", map[string]any{
		"CodeRepositoryName": "flowers", "GitConfig": map[string]any{
			"RepositoryUrl": "https://git.example.com/team/flowers.git", "Branch": "main",
			"SecretArn": "arn:aws:secretsmanager:us-east-1:123456789012:secret:git/flowers-AbCdEf",
		},
	}, nil))
	b.until("the new repository, without a reload", `/flowers/.test(document.querySelector("#repositories")?.innerText)`)
	if !js[bool](b, "window.here === true") {
		t.Error("the page was loaded again")
	}
	b.visit("/git-repositories")
	b.shoot("git-repositories")
	b.visit("/git-repositories/flowers")
	for _, want := range []string{"https://git.example.com/team/flowers.git", "secret:git/flowers-AbCdEf", "No notebook instance uses it"} {
		if !strings.Contains(b.text("main"), want) {
			t.Errorf("the page of a repository lacks %q", want)
		}
	}
	b.shoot("git-repository")

	script := "#!/bin/bash\nset -e\n# <b>not bold</b> & 'quoted'\npip install xgboost\n"
	b.visit("/lifecycle-configurations")
	must(t, api.SageMaker(ctx, "CreateNotebookInstanceLifecycleConfig", map[string]any{
		"NotebookInstanceLifecycleConfigName": "setup", "OnStart": []any{map[string]any{"Content": base64.StdEncoding.EncodeToString([]byte(script))}},
	}, nil))
	b.until("the new configuration, without a reload", `/setup/.test(document.querySelector("#configurations")?.innerText)`)
	b.visit("/lifecycle-configurations")
	b.shoot("lifecycle-configurations")
	b.visit("/lifecycle-configurations/setup")
	if got := js[string](b, `document.querySelector("#summary pre").textContent`); got != script {
		t.Errorf("the script is shown as %q", got)
	}
	b.shoot("lifecycle-configuration")
	for _, path := range []string{"/git-repositories/none", "/lifecycle-configurations/none"} {
		b.visit(path)
		if !strings.Contains(b.text("main"), "Not found") {
			t.Errorf("%s does not say that there is none", path)
		}
	}
}
