package cli

import (
	"context"
	"io/fs"

	"clary/internal/client/jupyter"
)

// putExamples puts the example notebooks into an instance that is in service.
func (n *notebooks) putExamples(ctx context.Context, name string) error {
	link, err := n.link(ctx, name)
	if err != nil {
		return err
	}
	lab, err := jupyter.Open(ctx, link, n.t.Addr)
	if err != nil {
		return err
	}
	defer lab.Close()
	return fs.WalkDir(n.Examples, ".", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		text, err := fs.ReadFile(n.Examples, path)
		if err != nil {
			return err
		}
		return lab.Put(ctx, path, text)
	})
}
