package main

import (
	"go/ast"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func documents(t *testing.T) map[string]string {
	t.Helper()
	docs := map[string]string{}
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/*/*.md", "bench/*.md", "examples/*.md"} {
		files, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			rel, _ := filepath.Rel(root, f)
			docs[filepath.ToSlash(rel)] = string(b)
		}
	}
	for _, must := range []string{"README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "docs/DIVERGENCES.md"} {
		if docs[must] == "" {
			t.Errorf("%s is missing", must)
		}
	}
	return docs
}

var (
	code     = regexp.MustCompile("`([^`\n]+)`")
	fenced   = regexp.MustCompile("(?s)```.*?```")
	link     = regexp.MustCompile(`\]\(([^)#]+)(?:#[^)]*)?\)`)
	symbol   = regexp.MustCompile(`^([a-z][a-z0-9]*)\.([A-Z][A-Za-z0-9]*)(?:\.([A-Z][A-Za-z0-9]*))?(?:\(\))?$`)
	place    = regexp.MustCompile(`^(?:\./)?((?:cmd|internal|tool|test|docs|examples|bench|lint)/[\w./-]+|\.ci/run|Makefile|[A-Z]+\.md)$`)
	testName = regexp.MustCompile(`^(Test|Fuzz|Benchmark)[A-Z]`)
	target   = regexp.MustCompile(`^make ([a-z-]+)`)
	shown    = regexp.MustCompile(`(?:\b([a-z]\w*)\.)?\b((?:Test|Fuzz)[A-Z]\w*\b)(\*?)`)
	flow     = regexp.MustCompile(`\btest_\w+\.py\b|[\w.-]+\.mjs\b`)
)

// exported maps package name → symbols, methods and fields as Type.Member, and
// tests by their names.
func exported(t *testing.T) map[string]map[string]bool {
	t.Helper()
	all := map[string]map[string]bool{}
	for _, s := range sources(t) {
		if !strings.HasPrefix(s.path, "internal/") {
			continue
		}
		name := strings.TrimSuffix(s.file.Name.Name, "_test")
		syms := all[name]
		if syms == nil {
			syms = map[string]bool{}
			all[name] = syms
		}
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); !s.test() || ok && testName.MatchString(f.Name.Name) {
				collect(d, syms)
			}
		}
	}
	return all
}

func collect(d ast.Decl, syms map[string]bool) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Recv == nil {
			syms[d.Name.Name] = true
			return
		}
		typ := d.Recv.List[0].Type
		if star, ok := typ.(*ast.StarExpr); ok {
			typ = star.X
		}
		if id, ok := typ.(*ast.Ident); ok {
			syms[id.Name+"."+d.Name.Name] = true
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			switch spec := spec.(type) {
			case *ast.ValueSpec:
				for _, n := range spec.Names {
					syms[n.Name] = true
				}
			case *ast.TypeSpec:
				syms[spec.Name.Name] = true
				var fields *ast.FieldList
				switch typ := spec.Type.(type) {
				case *ast.StructType:
					fields = typ.Fields
				case *ast.InterfaceType:
					fields = typ.Methods
				}
				if fields == nil {
					continue
				}
				for _, f := range fields.List {
					for _, n := range f.Names {
						syms[spec.Name.Name+"."+n.Name] = true
					}
				}
			}
		}
	}
}

// What documents name exists: Go symbols (`store.Tx.Put`), files and folders,
// make targets, links.
func TestDocumentsNameWhatExists(t *testing.T) {
	syms := exported(t)
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for doc, text := range documents(t) {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(root, path.Dir(doc), m[1])); err != nil {
				t.Errorf("%s links to %s, which is not there", doc, m[1])
			}
		}
		for _, m := range code.FindAllStringSubmatch(fenced.ReplaceAllString(text, ""), -1) {
			word := m[1]
			if s := symbol.FindStringSubmatch(word); s != nil && syms[s[1]] != nil {
				checked++
				name := s[2]
				if s[3] != "" {
					name += "." + s[3]
				}
				if !syms[s[1]][name] {
					t.Errorf("%s names `%s`, which does not exist", doc, word)
				}
			}
			if p := place.FindStringSubmatch(word); p != nil {
				checked++
				if _, err := os.Stat(filepath.Join(root, p[1])); err != nil {
					t.Errorf("%s names `%s`, which is not there", doc, word)
				}
			}
			if g := target.FindStringSubmatch(word); g != nil {
				checked++
				if !strings.Contains(string(makefile), "\n"+g[1]+":") {
					t.Errorf("%s names `%s`, which is no target of the Makefile", doc, word)
				}
			}
		}
	}
	if checked < 20 {
		t.Errorf("only %d names were checked: the patterns are wrong", checked)
	}
}

// A document that says which test shows a thing (`TestIDs`, `filter.TestFilter`,
// `relay.TestGuard*`, `test_secrets.py`) names one that exists.
func TestDocumentsNameTests(t *testing.T) {
	tests := map[string]bool{} // by name, and by package and name
	for _, s := range sources(t) {
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && s.test() && f.Recv == nil && testName.MatchString(f.Name.Name) {
				tests[f.Name.Name] = true
				tests[strings.TrimSuffix(s.file.Name.Name, "_test")+"."+f.Name.Name] = true
			}
		}
	}
	flows := map[string]bool{}
	err := filepath.WalkDir(filepath.Join(root, "test", "sdk"), func(path string, _ fs.DirEntry, err error) error {
		flows[filepath.Base(path)] = true
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	checked := map[string]int{}
	for doc, text := range documents(t) {
		for _, m := range shown.FindAllStringSubmatch(text, -1) {
			checked[doc]++
			name := m[2]
			if m[1] != "" {
				name = m[1] + "." + name
			}
			exists := tests[name]
			if m[3] != "" {
				for test := range tests {
					exists = exists || strings.HasPrefix(test, name)
				}
			}
			if !exists {
				t.Errorf("%s names the test %s, which does not exist", doc, m[0])
			}
		}
		for _, name := range flow.FindAllString(text, -1) {
			checked[doc]++
			if !flows[name] {
				t.Errorf("%s names %s, which is not below test/sdk", doc, name)
			}
		}
	}
	if n := checked["docs/SECURITY.md"]; n < 60 {
		t.Errorf("only %d names were checked in docs/SECURITY.md: the patterns are wrong", n)
	}
}

// Every row of a table in DIVERGENCES.md gives a reason.
func TestDivergencesHaveReasons(t *testing.T) {
	text := documents(t)["docs/DIVERGENCES.md"]
	rows := 0
	for i, line := range strings.Split(text, "\n") {
		cells := strings.Split(strings.Trim(line, "|"), "|")
		if !strings.HasPrefix(line, "|") || strings.HasPrefix(strings.TrimSpace(cells[0]), "-") {
			continue
		}
		rows++
		for _, c := range cells {
			if strings.TrimSpace(c) == "" {
				t.Errorf("docs/DIVERGENCES.md:%d: an empty cell", i+1)
			}
		}
		if len(cells) < 2 {
			t.Errorf("docs/DIVERGENCES.md:%d: a row needs what differs and why", i+1)
		}
	}
	if rows < 10 {
		t.Errorf("docs/DIVERGENCES.md has only %d rows", rows)
	}
}
