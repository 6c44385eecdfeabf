package console

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

type codeBody struct {
	Name, Path string
	Snippets   []snippet
}

// codePage is the code that makes the same job again.
func (k *jobKind) codePage(v *view) error {
	j, err := v.job(k)
	if err != nil {
		return err
	}
	code, err := j.code(v.call.Region)
	if err != nil {
		return err
	}
	return v.show("code", "Code of "+j.Name, k.Section, codeBody{j.Name, j.Path, code})
}

// jobCode writes the request that makes a thing, for boto3 and for the command
// line, beside the code of the SDKs.
func jobCode(thing string, in any, region, v2, v3 string) ([]snippet, error) {
	b, err := json.Marshal(in, json.Deterministic(true), jsontext.WithIndent("  "))
	if err != nil {
		return nil, fmt.Errorf("code: %w", err)
	}
	python, err := pythonOf(b)
	if err != nil {
		return nil, fmt.Errorf("code: %w", err)
	}
	boto := fmt.Sprintf("import boto3\n\nsm = boto3.client(\"sagemaker\", region_name=%q)\nsm.create_%s(**%s)\n", region, strings.ReplaceAll(thing, "-", "_"), python)
	cli := fmt.Sprintf("cat > job.json <<'END'\n%s\nEND\naws sagemaker create-%s --region %s --cli-input-json file://job.json\n", b, thing, region)
	return []snippet{
		{ID: "boto3", Title: "boto3", Code: boto},
		{ID: "cli", Title: "AWS CLI", Code: cli},
		{ID: "v2", Title: "SageMaker SDK v2", Code: v2},
		{ID: "v3", Title: "SageMaker SDK v3", Code: v3},
	}, nil
}

// again is a name for the same job a second time, within 63 characters.
func again(name string) string {
	if len(name) > 57 {
		name = strings.TrimRight(name[:57], "-")
	}
	return name + "-again"
}

// pythonOf writes JSON as a Python literal: true, false and null have other
// names there, all else is the same.
func pythonOf(b []byte) (string, error) {
	var out bytes.Buffer
	d := jsontext.NewDecoder(bytes.NewReader(b))
	last := 0
	for {
		t, err := d.ReadToken()
		if err != nil {
			if d.InputOffset() >= int64(len(bytes.TrimSpace(b))) {
				out.Write(b[last:])
				return out.String(), nil
			}
			return "", err
		}
		word := map[jsontext.Kind]string{'t': "True", 'f': "False", 'n': "None"}[t.Kind()]
		if word == "" {
			continue
		}
		end := int(d.InputOffset())
		out.Write(b[last : end-len(t.String())])
		out.WriteString(word)
		last = end
	}
}

func pythonString(s string) string {
	b, _ := jsontext.AppendQuote(nil, s) // only invalid UTF-8 fails, and gives something all the same
	return string(b)
}

// pythonCall is the text of a call, an argument a line. What is not there is no
// argument.
type pythonCall struct{ strings.Builder }

func (b *pythonCall) say(format string, args ...any) { fmt.Fprintf(&b.Builder, format, args...) }

func (b *pythonCall) arg(name, value string) { b.say("    %s=%s,\n", name, value) }

func (b *pythonCall) number(name string, n *int64) {
	if n != nil {
		b.arg(name, fmt.Sprint(*n))
	}
}

func (b *pythonCall) list(name string, list []string) {
	if len(list) == 0 {
		return
	}
	var q []string
	for _, s := range list {
		q = append(q, pythonString(s))
	}
	b.arg(name, "["+strings.Join(q, ", ")+"]")
}

// rows is a list of expressions, each on lines of its own.
func (b *pythonCall) rows(name string, list []string) {
	if len(list) > 0 {
		b.arg(name, "[\n        "+strings.Join(list, ",\n        ")+",\n    ]")
	}
}

func (b *pythonCall) dict(name string, m map[string]string) {
	if len(m) == 0 {
		return
	}
	var s strings.Builder
	for _, p := range pairs(m) {
		fmt.Fprintf(&s, "        %s: %s,\n", pythonString(p.Name), pythonString(p.Value))
	}
	b.arg(name, "{\n"+s.String()+"    }")
}
