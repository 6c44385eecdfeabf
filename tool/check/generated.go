package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"clary/tool/internal/pyenv"
	"clary/tool/internal/step"
)

// compareGenerated generates models and structs anew and compares them with
// the repository's.
func (r *runner) compareGenerated(ctx context.Context, c pyenv.Clients) error {
	data, err := c.Botocore()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "clary-gen-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.MkdirAll(filepath.Join(dir, "internal", "aws", "facts", "models"), 0o755); err != nil {
		return err
	}
	if err := step.Run(ctx, step.Cmd{Dir: r.root, Args: []string{"go", "run", "./tool/modelgen", "-root", dir, "-botocore", data}}); err != nil {
		return err
	}
	var all error
	files := 0
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files++
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		want, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if have, err := os.ReadFile(filepath.Join(r.root, rel)); err != nil || !bytes.Equal(have, want) {
			all = errors.Join(all, fmt.Errorf("%s is not what modelgen makes: run `make gen`", rel))
		}
		return nil
	})
	if err == nil && files == 0 {
		err = errors.New("modelgen made no files")
	}
	fmt.Printf("   %d files compared\n", files)
	return errors.Join(all, err)
}
