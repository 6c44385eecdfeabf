// Package serve is a catalog runtime's "serve": it does for it what the model
// servers do in SageMaker's images. It brings the user's script and what that
// requires, starts several workers on the runtime's Python, each with the model
// loaded, and answers /ping and /invocations in front of them. It runs as the
// user's program, with no rights of its own. Start at Main.
package serve

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"clary/internal/stage/launch"
)

// Frameworks whose functions a script need not define. The last three serve a
// model that comes without a script too.
const (
	ScikitLearn = "scikit-learn"
	XGBoost     = "xgboost" // whose own algorithm serves without a script
	PyTorch     = "pytorch"
	TensorFlow  = "tensorflow"
	HuggingFace = "huggingface"
)

// lastWords bounds how long requests in flight are waited for at the end.
const lastWords = 25 * time.Second

// Main is the server's whole run: until ctx ends. It returns the exit code. What
// it prints last says why it failed.
func Main(ctx context.Context, args []string, base string, environ []string, out io.Writer) int {
	fs := flag.NewFlagSet("serve", flag.ContinueOnError)
	fs.SetOutput(out)
	framework := fs.String("framework", "", "whose functions a script need not define")
	if err := fs.Parse(args); err != nil {
		return 2
	}
	s, err := newSettings(*framework, base, environ)
	if err != nil {
		_, _ = fmt.Fprintln(out, err) // the log is advice
		return 1
	}
	sv := &server{settings: s, out: out}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort("", strconv.Itoa(s.port)))
	if err == nil {
		err = sv.run(ctx, l)
	}
	if err == nil {
		return 0
	}
	_, _ = fmt.Fprintln(out) // a traceback ends here
	sv.sources().Say("ERROR", "%v", err)
	if d, ok := errors.AsType[*deadError](err); ok {
		return d.code
	}
	return 1
}

type server struct {
	*settings
	out  io.Writer
	pool *pool
}

func (s *server) sources() launch.Sources {
	return launch.Sources{Name: "clary-serve", Base: s.base, Code: s.code, Env: s.env, Out: s.out}
}

// run answers once the workers are there. When ctx ends, requests in flight are
// answered first.
func (s *server) run(ctx context.Context, l net.Listener) (err error) {
	s.pool = newPool(s.workers, s.start)
	web := &http.Server{Handler: s.handler(), ReadHeaderTimeout: time.Minute}
	served, worked := make(chan error, 1), make(chan error, 1)
	work, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	go func() { served <- web.Serve(l) }()
	go func() { worked <- s.load(work) }()
	select {
	case err = <-served:
	case err = <-worked:
		worked <- nil
	case <-ctx.Done():
		s.pool.leave()
		last, done := context.WithTimeout(work, lastWords)
		_ = web.Shutdown(last) // what is still open then is cut
		done()
	}
	stop(errLeaving)
	<-worked
	return errors.Join(err, web.Close())
}

// load brings the script and starts the workers. It returns when one of them
// could not load the model, now or later, or with ctx.
func (s *server) load(ctx context.Context) error {
	program := s.program
	if program != "" {
		code, err := s.sources().Bring(ctx, s.source, program)
		if err != nil {
			return err
		}
		s.code = code
	}
	if err := s.prepare(); err != nil {
		return err
	}
	defer os.RemoveAll(s.scripts) //nolint:errcheck // a temporary folder
	return s.pool.run(ctx)
}

// settings are what the container's environment says.
type settings struct {
	framework string
	base      string // /opt/ml
	env       map[string]string

	program, source string // "": the framework's own algorithm
	code            string // the folder of the sources; "": /opt/ml/code
	port, workers   int
	timeout         time.Duration // of one request; 0: none
	most            int64         // bytes of one

	python, scripts string // set by prepare
}

func isDir(p string) bool {
	fi, err := os.Stat(p)
	return err == nil && fi.IsDir()
}

func isFile(p string) bool {
	fi, err := os.Stat(p)
	return err == nil && fi.Mode().IsRegular()
}

// inModel is where the SageMaker SDK packs a script into the model's archive.
func (s *settings) inModel() string { return filepath.Join(s.base, "model", "code") }
