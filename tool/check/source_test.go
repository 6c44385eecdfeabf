package main

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	root     = "../.."
	maxLines = 800
)

type source struct {
	path string // from the repository's root
	text []byte
	file *ast.File
	fset *token.FileSet
}

func (s *source) generated() bool { return ast.IsGenerated(s.file) }
func (s *source) test() bool      { return strings.HasSuffix(s.path, "_test.go") }

// sources parses every Go file of the module.
func sources(t *testing.T) []*source {
	t.Helper()
	var all []*source
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && rel != "." || rel == "bin" || d.Name() == "testdata") {
			return filepath.SkipDir
		}
		if d.IsDir() || filepath.Ext(path) != ".go" {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		s := &source{path: filepath.ToSlash(rel), text: text, fset: token.NewFileSet()}
		s.file, err = parser.ParseFile(s.fset, path, text, parser.ParseComments)
		all = append(all, s)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 50 {
		t.Fatalf("found only %d Go files: the walk is wrong", len(all))
	}
	return all
}

func TestFilesAreShort(t *testing.T) {
	for _, s := range sources(t) {
		if n := bytes.Count(s.text, []byte("\n")); n > maxLines && !s.generated() {
			t.Errorf("%s has %d lines, more than %d: split it by noun", s.path, n, maxLines)
		}
	}
}

// imported is the name under which a file imports path, or "".
func imported(f *ast.File, path string) string {
	for _, imp := range f.Imports {
		if v, _ := strconv.Unquote(imp.Path.Value); v == path {
			if imp.Name != nil {
				return imp.Name.Name
			}
			return path[strings.LastIndex(path, "/")+1:]
		}
	}
	return ""
}

// uses calls found for each pkg.Name expression of an imported package.
func uses(s *source, pkg string, found func(name, at string)) {
	local := imported(s.file, pkg)
	if local == "" {
		return
	}
	ast.Inspect(s.file, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := sel.X.(*ast.Ident); ok && x.Name == local && x.Obj == nil {
				found(sel.Sel.Name, s.path+":"+strconv.Itoa(s.fset.Position(sel.Pos()).Line))
			}
		}
		return true
	})
}

func TestForbiddenCalls(t *testing.T) {
	for _, s := range sources(t) {
		suite := strings.HasSuffix(filepath.Dir(s.path), "test")
		if s.file.Name.Name != "main" && !strings.HasPrefix(s.path, "tool/") && !suite && !s.test() {
			uses(s, "fmt", func(name, at string) {
				if strings.HasPrefix(name, "Print") {
					t.Errorf("%s: fmt.%s: only commands print; take an io.Writer", at, name)
				}
			})
			uses(s, "log", func(name, at string) {
				for _, verb := range []string{"Print", "Fatal", "Panic", "Set", "Default"} {
					if strings.HasPrefix(name, verb) {
						t.Errorf("%s: log.%s: take a logger in the constructor", at, name)
					}
				}
			})
			uses(s, "os", func(name, at string) {
				if name == "Exit" {
					t.Errorf("%s: os.Exit: only commands exit; return an error", at)
				}
			})
		}
		if !s.test() && (filepath.Base(s.path) == "next.go" || strings.HasPrefix(s.path, "internal/meter/")) {
			uses(s, "time", func(name, at string) {
				if slices.Contains([]string{"Now", "Since", "Until"}, name) {
					t.Errorf("%s: time.%s: time is an argument here", at, name)
				}
			})
		}
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" && s.file.Name.Name != "main" {
				t.Errorf("%s:%d: func init: wire it in a constructor", s.path, s.fset.Position(f.Pos()).Line)
			}
		}
	}
}

func TestEveryPackageSaysWhatItIsFor(t *testing.T) {
	said := map[string]bool{}
	for _, s := range sources(t) {
		if s.test() {
			continue
		}
		dir := filepath.ToSlash(filepath.Dir(s.path))
		said[dir] = said[dir] || s.file.Doc != nil && len(s.file.Doc.Text()) > 20
	}
	for dir, ok := range said {
		if !ok {
			t.Errorf("%s has no package comment", dir)
		}
	}
}
