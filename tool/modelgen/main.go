// Command modelgen turns the service models of an installed botocore into the
// stripped models under internal/aws/facts/models and those into the structs
// of internal/api. It keeps names, types and constraints and no documentation,
// and fails on anything in a model that it does not know. Without -botocore it
// only writes the structs, from the stripped models that the repository has.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"clary/internal/aws/facts"
)

// services lists what is generated, by botocore's names. To add one, add its
// line here and run modelgen with a botocore.
func services() []string {
	return []string{"budgets", "ce", "cloudtrail", "cloudwatch", "iam", "logs", "s3", "sagemaker", "sagemaker-metrics", "sagemaker-runtime", "secretsmanager", "sns", "sts"}
}

func main() {
	root := flag.String("root", ".", "the repository")
	data := flag.String("botocore", os.Getenv("BOTOCORE_DATA"), "botocore's data folder (or $BOTOCORE_DATA)")
	flag.Parse()
	if err := run(*root, *data); err != nil {
		fmt.Fprintln(os.Stderr, "modelgen:", err)
		os.Exit(1)
	}
}

func run(root, data string) error {
	for _, s := range services() {
		path := filepath.Join(root, "internal/aws/facts/models", s+".json.gz")
		if data != "" {
			raw, err := readModel(data, s)
			if err != nil {
				return err
			}
			doc, err := strip(s, raw)
			if err != nil {
				return fmt.Errorf("%s: %w", s, err)
			}
			if err := writeDocument(path, doc); err != nil {
				return err
			}
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		doc, err := facts.ReadDocument(b)
		if err != nil {
			return err
		}
		if err := writeStructs(filepath.Join(root, "internal/api", goPackage(s)), doc); err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
	}
	return nil
}

// writeStructs replaces the generated files of one package.
func writeStructs(dir string, doc *facts.Document) error {
	out, err := generate(doc)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	old, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return err
	}
	for _, f := range old {
		if _, keep := out[filepath.Base(f)]; keep || strings.HasSuffix(f, "_test.go") {
			continue
		}
		if err := os.Remove(f); err != nil {
			return err
		}
	}
	var all error
	for name, text := range out {
		path := filepath.Join(dir, name)
		if was, err := os.ReadFile(path); err == nil && string(was) == string(text) {
			continue
		}
		all = errors.Join(all, os.WriteFile(path, text, 0o644))
	}
	return all
}
