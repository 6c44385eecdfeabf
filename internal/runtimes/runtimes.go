// Package runtimes turns a SageMaker image URI into something that a driver
// can run: a recipe of the catalog, built once and kept by content.
package runtimes

import (
	"context"
	"errors"
	"time"

	"clary/internal/compute"
)

// ErrUnknownImage says that no recipe matches; its text names what to do.
var ErrUnknownImage = errors.New("no runtime for this image")

// Runtime is a resolved image.
type Runtime struct {
	ID         string   // content hash of the locked recipe and interpreter
	Recipe     string   // scikit-learn, base-python
	Title      string   // for people: "scikit-learn 1.2.2, Python 3.11"
	Framework  string   // SM_FRAMEWORK_MODULE
	Note       string   // where this differs from the asked tag, or ""
	Train      []string // the program when a job names no entrypoint; nil: none
	ScriptMode bool     // Train is our launcher for sagemaker_submit_directory
	Serve      []string // the program that serves, on a port of its task; nil: none
	Env        map[string]string
	Image      compute.Image // valid once Ready
}

// Catalog resolves and builds.
type Catalog interface {
	// Resolve matches an image URI to a recipe; it builds nothing. ErrUnknownImage.
	Resolve(ctx context.Context, imageURI string) (Runtime, error)
	// Notebook is what a notebook instance runs: Serve answers on NotebookPort
	// as JupyterLab does, with the volume at NotebookDir. It builds nothing.
	Notebook(ctx context.Context) (Runtime, error)
	// Ensure asks for the runtime to be built and says how that stands:
	// ready, or what is going on in words, or a build error. It returns at
	// once; changed ids are delivered by Changes.
	Ensure(ctx context.Context, rt Runtime) (State, error)
	Changes() <-chan string
}

// Where a notebook instance has its things, as on SageMaker.
const (
	NotebookHome = "/home/ec2-user"
	NotebookDir  = "/home/ec2-user/SageMaker"
	NotebookPort = 8888
)

// State of a build.
type State struct {
	Ready    bool
	Progress string // "installing 14 packages"
	Failed   string // why the build failed; the next Ensure tries again
	Image    compute.Image
}

// Survey says what is kept on disk.
type Survey struct {
	Runtimes    int
	Bytes       int64         // of the runtimes
	Spare       int64         // bytes of downloads and of builds
	UnusedAfter time.Duration // how long a runtime stays that no job asks for
	NoSpark     string        // what the machine lacks for jobs of Spark images; "" for nothing
}
