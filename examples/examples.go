// Package examples holds the notebooks that `clary up` puts into a new notebook
// instance. The folders beside it are scripts for a shell.
package examples

import "embed"

// Notebooks are the notebooks, by file name.
//
//go:embed *.ipynb
var Notebooks embed.FS
