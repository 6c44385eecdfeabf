package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"clary/internal/aws/facts"
)

const root = "../.."

// TestGeneratedIsCurrent: the structs in the repository are those that the
// stripped models give.
func TestGeneratedIsCurrent(t *testing.T) {
	t.Parallel()
	for _, s := range services() {
		b, err := os.ReadFile(filepath.Join(root, "internal/aws/facts/models", s+".json.gz"))
		if err != nil {
			t.Fatal(err)
		}
		doc, err := facts.ReadDocument(b)
		if err != nil {
			t.Fatal(err)
		}
		want, err := generate(doc)
		if err != nil {
			t.Fatal(err)
		}
		found, err := filepath.Glob(filepath.Join(root, "internal/api", goPackage(s), "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		if len(found) != len(want) {
			t.Errorf("%s has %d files, the model gives %d; run make gen", s, len(found), len(want))
		}
		for name, text := range want {
			have, err := os.ReadFile(filepath.Join(root, "internal/api", goPackage(s), name))
			if err != nil || !bytes.Equal(have, text) {
				t.Errorf("internal/api/%s/%s is not what the model gives; run make gen (%v)", goPackage(s), name, err)
			}
		}
	}
	if got, want := strings.Join(facts.Services(), " "), strings.Join(services(), " "); got != want {
		t.Errorf("embedded models: %s; generated: %s", got, want)
	}
}

const small = `{"metadata":{"serviceId":"X","apiVersion":"1","protocol":"json","endpointPrefix":"x"},
"operations":{"Do":{"name":"Do","http":{"method":"POST","requestUri":"/"},"input":{"shape":"In"},"output":{"shape":"Out"},"documentation":"<p>prose</p>"}},
"shapes":{
"In":{"type":"structure","required":["b"],"members":{"b":{"shape":"S","documentation":"prose"},"A":{"shape":"N"},"NextToken":{"shape":"S"},"Big":{"shape":"B","streaming":true}},"documentation":"prose"},
"Out":{"type":"structure","required":["NextToken","L"],"members":{"NextToken":{"shape":"S"},"L":{"shape":"L"},"T":{"shape":"T"},"U":{"shape":"U"},"M":{"shape":"M"}}},
"U":{"type":"structure","union":true,"members":{"X":{"shape":"S"},"Y":{"shape":"In"}}},
"M":{"type":"map","key":{"shape":"S"},"value":{"shape":"U"}},
"L":{"type":"list","member":{"shape":"U"}},
"T":{"type":"timestamp"},"B":{"type":"blob"},
"N":{"type":"integer","min":1,"box":true},
"S":{"type":"string","pattern":"[a-z]{1,2000}","documentation":"prose"}}}`

func TestSmallModel(t *testing.T) {
	t.Parallel()
	doc, err := strip("x", []byte(small))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "m", "x.json.gz")
	if err := writeDocument(path, doc); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	back, err := facts.ReadDocument(b)
	if err != nil {
		t.Fatal(err)
	}
	if back.Shapes[0].Members[0].Name != "b" || !back.Shapes[0].Members[0].Required || back.Shapes[0].Members[1].Required {
		t.Errorf("order and required: %+v", back.Shapes[0])
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "shapes_z.go"), []byte("package x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := writeStructs(dir, back); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "shapes_z.go")); err == nil {
		t.Error("a file of an earlier model stayed")
	}
	all := ""
	found, _ := filepath.Glob(filepath.Join(dir, "*.go"))
	for _, f := range found {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all += strings.Join(strings.Fields(string(text)), " ") + "\n"
	}
	for _, want := range []string{
		"B string `json:\"b\"`", "A *int64 `json:\"A,omitzero\"`", "NextToken string `json:\"NextToken,omitzero\"`", "L []U `json:\"L\"`",
		"T api.Time `json:\"T,omitzero\"`", "U *U `json:\"U,omitzero\"`", "M map[string]U `json:\"M,omitzero\"`", "X *string `json:\"X,omitzero\"`",
		"Big io.ReadCloser `json:\"-\"`",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("no %s in:\n%s", want, all)
		}
	}
	if strings.Contains(all, "prose") {
		t.Error("documentation was kept")
	}
}

// TestUnknownIsAnError: whatever a model has that is not understood stops the
// generator.
func TestUnknownIsAnError(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ old, with, text string }{
		{`"type":"timestamp"`, `"type":"instant"`, `unknown type "instant"`},
		{`"type":"timestamp"`, `"type":"timestamp","timestampFormat":"julian"`, "julian"},
		{`"box":true`, `"bux":true`, "unknown members bux"},
		{`"streaming":true`, `"dreaming":true`, "unknown members dreaming"},
		{`"requestUri":"/"`, `"requestUri":"/","requestTrick":1`, "unknown members requestTrick"},
		{`"output":{`, `"outputs":{`, "unknown members outputs"},
		{`"apiVersion":"1"`, `"apiVersion":"1","vendor":1`, "unknown members vendor"},
		{`"shapes":{`, `"more":{},"shapes":{`, "unknown members more"},
		{`[a-z]{1,2000}`, `[a-z&&[b]]`, "intersection"},
		{`[a-z]{1,2000}`, `a++`, "possessive"},
		{`"required":["b"]`, `"required":["c"]`, "do not exist: c"},
		{`"member":{"shape":"U"}`, `"member":{"shape":"Z"}`, "no shape Z"},
	} {
		text := strings.Replace(small, c.old, c.with, 1)
		if text == small {
			t.Fatalf("%s is not in the model", c.old)
		}
		if _, err := strip("x", []byte(text)); err == nil || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v", c.with, err)
		}
	}
	doc, err := strip("x", []byte(strings.Replace(small, `"key":{"shape":"S"}`, `"key":{"shape":"N"}`, 1)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := generate(doc); err == nil {
		t.Error("a map with number keys has a Go type")
	}
}
