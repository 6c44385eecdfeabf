package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
)

// pkg is what `go list -json` says of a package.
type pkg struct {
	ImportPath   string
	Dir          string
	Standard     bool
	GoFiles      []string
	Imports      []string
	TestImports  []string
	XTestImports []string
	Deps         []string
}

var listed = sync.OnceValues(func() (map[string]*pkg, error) {
	cmd := exec.Command("go", "list", "-deps", "-json=ImportPath,Dir,Standard,GoFiles,Imports,TestImports,XTestImports,Deps", "clary/...")
	cmd.Dir = "../.."
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	out, err := cmd.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return nil, fmt.Errorf("%w\n%s", err, exit.Stderr)
	} else if err != nil {
		return nil, err
	}
	pkgs := map[string]*pkg{}
	dec := json.NewDecoder(strings.NewReader(string(out)))
	for dec.More() {
		var p pkg
		if err := dec.Decode(&p); err != nil {
			return nil, err
		}
		pkgs[p.ImportPath] = &p
	}
	return pkgs, nil
})

func packages(t *testing.T) map[string]*pkg {
	t.Helper()
	pkgs, err := listed()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	return pkgs
}

// under says whether path, relative to clary/internal, is one of the given
// packages or below one that ends in "/...".
func under(path string, patterns ...string) bool {
	path = strings.TrimPrefix(path, "clary/internal/")
	for _, p := range patterns {
		if base, tree := strings.CutSuffix(p, "/..."); path == base || tree && strings.HasPrefix(path, base+"/") {
			return true
		}
	}
	return false
}

// The words that anything may use: they know no room.
var vocabulary = []string{"resource", "api/...", "aws/...", "stage/plan", "stage/agent", "stage/jsonpath", "blob/checksum", "metrics/pattern"}

// The rooms that others meet in.
var contracts = []string{"store", "compute", "runtimes", "blob", "logs", "metrics", "meter", "reconcile", "identity", "document", "serving", "outbox", "budget"}

// rule says what the packages under From may import of ours.
type rule struct {
	from  []string
	may   []string
	outer []string // modules beside the standard library; nil: any
}

// rules are the import arrows. A package is held by every rule it matches.
func rules() []rule {
	suites := []string{"blob/blobtest", "compute/computetest", "logs/logstest", "metrics/metricstest", "store/storetest"}
	return []rule{
		{
			from: vocabulary, may: vocabulary,
			outer: []string{"github.com/go-json-experiment/json", "github.com/dlclark/regexp2", "github.com/fxamacker/cbor/v2", "github.com/minio/crc64nvme"},
		},
		{from: contracts, may: join(vocabulary, contracts)},
		{from: []string{"outbox/courier", "outbox/smtp"}, may: join(vocabulary, []string{"outbox", "store", "reconcile"})},
		{from: suites, may: join(vocabulary, contracts, suites)},
		{from: []string{"job"}, may: join(vocabulary, contracts)},
		{from: []string{"job/jobtest"}, may: join(vocabulary, contracts, []string{"job", "compute/fake", "store/sqlite"})},
		{from: []string{"feature/...", "service/..."}, may: join(vocabulary, contracts, []string{"job", "feature/notebook/activity"})},
		{from: []string{"front/..."}, may: join(vocabulary, []string{"identity", "front/..."})},
		{from: []string{"audit"}, may: join(vocabulary, []string{"identity", "store"})},
		{from: []string{"forgotten"}, may: join(vocabulary, contracts)},
		// the store is for sign-ins alone: pages read through operations
		{from: []string{"console/..."}, may: join(vocabulary, []string{"identity", "identity/browser", "meter", "store", "reconcile", "outbox", "budget", "forgotten", "console/..."})},
		{from: []string{"identity/browser"}, may: join(vocabulary, []string{"store", "reconcile"})},
		{from: []string{"dataplane"}, may: join(vocabulary, []string{"compute", "identity", "identity/browser", "store", "reconcile"})},
		{from: []string{"dataplane/router"}, may: join(vocabulary, contracts)},
		{from: []string{"client/..."}, may: join(vocabulary, []string{"client/..."})},
		{from: []string{"cli/..."}, may: join(vocabulary, contracts, []string{"audit", "forgotten", "client/...", "cli/...", "stage/rescue/bundle"})},
		{from: []string{"stage/..."}, may: join(vocabulary, []string{"client", "stage/..."})},
		{from: []string{"store/diskfree"}, may: join(vocabulary, []string{"store"})},
		{from: []string{"store/sqlite/...", "store/postgres/..."}, may: join(vocabulary, []string{"store", "blob", "metrics", "store/diskfree", "store/sqlite/...", "store/postgres/..."})},
		{from: []string{"blob/folder/..."}, may: join(vocabulary, []string{"blob", "store", "store/diskfree", "blob/folder/..."})},
		{from: []string{"logs/segment/..."}, may: join(vocabulary, []string{"logs", "logs/segment/..."})},
		{from: []string{"metrics/rollup/..."}, may: join(vocabulary, []string{"metrics", "store", "metrics/rollup/..."})},
		{from: []string{"compute/sandbox/..."}, may: join(vocabulary, []string{"compute", "runtimes", "stage/...", "compute/sandbox/..."})},
		{from: []string{"compute/fake"}, may: join(vocabulary, []string{"compute"})},
		{from: []string{"runtimes/catalog/..."}, may: join(vocabulary, []string{"runtimes", "compute", "stage/build", "stage/tail", "runtimes/catalog/..."})},
	}
}

func join(lists ...[]string) []string { return slices.Concat(lists...) }

func TestImportArrows(t *testing.T) {
	pkgs := packages(t)
	for path, p := range pkgs {
		if !strings.HasPrefix(path, "clary/internal/") {
			continue
		}
		held := false
		for _, r := range rules() {
			if !under(path, r.from...) {
				continue
			}
			held = true
			for _, imp := range p.Imports {
				if rel, ours := strings.CutPrefix(imp, "clary/"); ours {
					if !under(imp, r.may...) {
						t.Errorf("%s imports %s: packages under %s may not", path, rel, strings.Join(r.from, ", "))
					}
				} else if r.outer != nil && !pkgs[imp].standard() && !slices.ContainsFunc(r.outer, func(m string) bool { return imp == m || strings.HasPrefix(imp, m+"/") }) {
					t.Errorf("%s imports %s: only the standard library and %s are for the vocabulary", path, imp, strings.Join(r.outer, ", "))
				}
			}
		}
		if !held && !under(path, "server/...") {
			t.Errorf("%s is under no import rule: add it to rules in tool/check, beside its like", path)
		}
	}
}

func (p *pkg) standard() bool { return p == nil || p.Standard }

func TestFeaturesDoNotMeet(t *testing.T) {
	for path, p := range packages(t) {
		for _, room := range []string{"clary/internal/feature/", "clary/internal/service/"} {
			rel, ok := strings.CutPrefix(path, room)
			if !ok {
				continue
			}
			own := room + strings.Split(rel, "/")[0]
			for _, imp := range p.Imports {
				if strings.HasPrefix(imp, "clary/internal/feature/") || strings.HasPrefix(imp, "clary/internal/service/") {
					if imp != own && !strings.HasPrefix(imp, own+"/") {
						t.Errorf("%s imports %s: features and services meet in records only", path, imp)
					}
				}
			}
		}
	}
}

func TestOnlyCommandsSeeTheServer(t *testing.T) {
	for path, p := range packages(t) {
		for _, imp := range p.Imports {
			if imp == "clary/internal/server" && !strings.HasPrefix(path, "clary/cmd/") {
				t.Errorf("%s imports internal/server: only cmd and tests may", path)
			}
			if strings.HasPrefix(imp, "clary/") && strings.HasSuffix(imp, "test") && !strings.HasSuffix(path, "test") {
				t.Errorf("%s imports the test package %s", path, imp)
			}
		}
	}
}

func TestSQLStaysInStore(t *testing.T) {
	for path, p := range packages(t) {
		if !strings.HasPrefix(path, "clary/") || under(path, "store/...") {
			continue
		}
		for _, imp := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
			if imp == "database/sql" || strings.HasPrefix(imp, "database/sql/") {
				t.Errorf("%s imports %s: SQL is spoken below internal/store only", path, imp)
			}
		}
	}
}

// clary-task runs beside every task, so it stays small and slow to change.
func TestTaskProgramIsSmall(t *testing.T) {
	pkgs := packages(t)
	task := pkgs["clary/cmd/clary-task"]
	if task == nil {
		t.Fatal("cmd/clary-task is not there")
	}
	ours := append(slices.Clone(vocabulary), "client", "stage/...", "compute/sandbox/...", "compute")
	outer := []string{
		"golang.org/x/sys", "golang.org/x/net/bpf", // bpf: the seccomp library's assembler
		"github.com/elastic/go-seccomp-bpf",
		"github.com/landlock-lsm/go-landlock", "kernel.org/pub/linux/libs/security/libcap/psx", // psx: one system call on all threads
		"github.com/go-json-experiment/json",
	}
	for _, dep := range task.Deps {
		if strings.HasPrefix(dep, "clary/") {
			if !under(dep, ours...) {
				t.Errorf("clary-task depends on %s: the front, stores and features stay out of it", dep)
			}
			continue
		}
		if !pkgs[dep].standard() && !slices.ContainsFunc(outer, func(m string) bool { return dep == m || strings.HasPrefix(dep, m+"/") }) {
			t.Errorf("clary-task depends on %s", dep)
		}
	}
}
