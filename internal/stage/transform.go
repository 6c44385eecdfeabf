package stage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"path"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"clary/internal/client"
	"clary/internal/stage/jsonpath"
	"clary/internal/stage/plan"
	"clary/internal/stage/transform"
)

// servePort is where the model's containers answer.
const servePort = "8080"

// transforming is the first container of a batch transform job's instance: its
// program serves, and stage sends it this instance's share of the input.
type transforming struct {
	serving
	t   plan.Transform
	out *lineWriter

	startup time.Duration
	backoff time.Duration

	bucket, prefix string // of the output
	uploads        chan struct{}
	notes          *captured

	captureFrom string

	mu        sync.Mutex // guards these
	done, bad int        // objects
	first     int        // of those that failed, in the list of all
	cause     *transform.Failure
}

func newTransform(p plan.Transform, h Host) *transforming {
	t := &transforming{
		serving: *newServing(plan.Serving{Region: p.Region, RoleArn: p.RoleArn, VCPU: p.VCPU, Models: p.Models, NetworkIsolation: p.NetworkIsolation}, h),
		t:       p, startup: transform.Startup, backoff: 200 * time.Millisecond, uploads: make(chan struct{}, transform.Uploads),
	}
	t.hosts, t.current, t.kept = p.Hosts, p.CurrentHost, "Data"
	t.out = &lineWriter{w: t.h.Stderr}
	t.h.Stderr = t.out
	return t
}

// run serves the models until all of the share is done, or cannot be.
func (t *transforming) run(ctx context.Context) plan.Result {
	defer t.close()
	defer t.out.flush()
	settings, err := t.settings()
	if err == nil {
		err = t.begin(ctx, t.prepare)
	}
	if err != nil {
		return failed(err)
	}
	t.h.report(plan.StepTraining)

	work, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	end := make(chan struct{})
	server := t.h
	server.Stop = end
	served := make(chan plan.Result, 1)
	go func() {
		res := runProgram(ctx, server)
		stop(errEnded)
		served <- res
	}()
	go func() {
		select {
		case <-t.h.Stop:
			stop(errStopped)
		case <-work.Done():
		}
	}()
	err = t.work(work, settings)
	f, ok := errors.AsType[*transform.Failure](err)
	if ok && f.Silent() { // its end may come to be known a little later than its silence
		late := time.NewTimer(drainFor + time.Second)
		defer late.Stop()
		select {
		case <-work.Done():
		case <-late.C:
		}
	}
	if err != nil && errors.Is(context.Cause(work), errEnded) {
		return ended(<-served)
	}
	close(end)
	res := <-served
	switch {
	case ctx.Err() != nil:
		return res
	case err == nil:
		res = plan.Result{}
	case ok:
		res = plan.Result{ExitCode: -1, Class: f.Class, Failure: f.Text}
	default:
		res = failed(err)
	}
	res.Served = !errors.Is(err, errStopped)
	return res
}

// errEnded is why work ends when the program did.
var errEnded = errors.New("the container's program ended")

// ended is the result when the program went before the work was done.
func ended(res plan.Result) plan.Result {
	if res.Failure == "" {
		res.Class, res.Failure = classAlgorithm, "the container's program ended by itself"
	}
	return res
}

// settings are what the request says, as far as they can be known before the
// container is asked.
func (t *transforming) settings() (s transform.Settings, err error) {
	s = transform.Settings{
		Containers: []string{"http://" + net.JoinHostPort("127.0.0.1", servePort)}, Dial: t.h.Dial,
		Split: t.t.Input.SplitType, Gzip: t.t.Input.CompressionType == "Gzip", ContentType: t.t.Input.ContentType,
		Accept: t.t.Output.Accept, Lines: t.t.Output.AssembleWith == "Line",
		Timeout: time.Duration(t.t.TimeoutSeconds) * time.Second, Retries: int(t.t.MaxRetries), Backoff: t.backoff,
		Join: t.t.JoinSource == "Input", InferenceID: t.t.Capture != nil && t.t.Capture.GenerateInferenceID,
		Started: time.Now(), MaxPayload: 6 * transform.MB, Concurrency: 1,
	}
	if tmp := t.h.path("/tmp"); isDir(tmp) {
		s.Scratch = tmp
	}
	if s.Timeout == 0 {
		s.Timeout = 10 * time.Minute
	}
	for _, host := range t.t.Next {
		s.Containers = append(s.Containers, "http://"+net.JoinHostPort(host, servePort))
	}
	if s.Input, err = jsonpath.Parse(t.t.InputFilter); err != nil {
		return s, userError("InputFilter: %v", err)
	}
	if s.Output, err = jsonpath.Parse(t.t.OutputFilter); err != nil {
		return s, userError("OutputFilter: %v", err)
	}
	if t.bucket, t.prefix, err = client.ParseURI(t.t.Output.S3OutputPath); err != nil {
		return s, userError("TransformOutput: %v", err)
	}
	if t.prefix = strings.TrimSuffix(t.prefix, "/"); t.prefix != "" {
		t.prefix += "/"
	}
	if t.h.API == nil {
		return s, errors.New("this task has no way to S3")
	}
	if _, err = transform.New(s); err != nil { // better now than when all is fetched and started
		return s, userError("%v", err)
	}
	return s, nil
}

// work has the share transformed once the containers are well.
func (t *transforming) work(ctx context.Context, s transform.Settings) error {
	first, err := transform.New(s)
	if err != nil {
		return userError("%v", err)
	}
	defer first.Close()
	if err := first.Ready(ctx, t.startup); err != nil {
		if n, ok := errors.AsType[*transform.NotReadyError](err); ok {
			return &transform.Failure{Class: classAlgorithm, Text: n.Error()}
		}
		return err
	}
	strategy, mb := t.agreed(ctx, first, &s)
	tr, err := transform.New(s)
	if err != nil {
		return userError("%v", err)
	}
	defer tr.Close()
	t.dataLog(fmt.Sprintf("MaxConcurrentTransforms=%d, MaxPayloadInMB=%d, BatchStrategy=%s", s.Concurrency, mb, strategy))
	// Few buffers live long and much is made beside them: the process's own
	// limits are for those that hold nothing.
	debug.SetGCPercent(100)
	debug.SetMemoryLimit(s.Memory())
	if t.t.Capture != nil {
		if t.notes, err = newCaptured(s.Scratch, s.Started); err != nil {
			return err
		}
		defer t.notes.close()
	}
	if err := t.all(ctx, tr, s.Concurrency); err != nil {
		return err
	}
	return t.failure()
}

// agreed sets what the request leaves to the container.
func (t *transforming) agreed(ctx context.Context, tr *transform.Transformer, s *transform.Settings) (strategy string, mb int64) {
	wants, err := tr.Parameters(ctx)
	if err != nil && ctx.Err() == nil {
		t.h.say("clary: %v; defaults are used instead", err)
	}
	number := func(request, container *int64, fallback int64) int64 {
		switch {
		case request != nil:
			return *request
		case container != nil:
			return *container
		}
		return fallback
	}
	if c := t.t.MaxConcurrentTransforms; c != nil && *c == 0 {
		t.t.MaxConcurrentTransforms = nil // is to be asked for
	}
	concurrent := number(t.t.MaxConcurrentTransforms, wants.MaxConcurrentTransforms, 1)
	mb = number(t.t.MaxPayloadInMB, wants.MaxPayloadInMB, 6)
	if most := int64(100); mb*concurrent > most {
		concurrent = max(1, most/mb)
	}
	strategy = "MULTI_RECORD"
	switch {
	case t.t.BatchStrategy == "SingleRecord":
		strategy = "SINGLE_RECORD"
	case t.t.BatchStrategy == "" && wants.BatchStrategy != nil:
		strategy = *wants.BatchStrategy
	}
	s.Concurrency, s.MaxPayload, s.SingleRecord = int(min(concurrent, 100)), int(mb)*transform.MB, strategy == "SINGLE_RECORD"
	return strategy, mb
}

// channel is the input, in the words of a job's inputs.
func (t *transforming) channel() plan.Channel {
	return plan.Channel{Name: "TransformInput", S3DataType: t.t.Input.S3DataType, S3Uri: t.t.Input.S3Uri}
}

// share are the objects that are this instance's, with their place in the list of
// all. Markers of folders are none.
func (t *transforming) share(ctx context.Context) iter.Seq2[int, found] {
	t.input = "input"
	hosts := max(len(t.hosts), 1)
	mine := max(slices.Index(t.hosts, t.current), 0)
	return func(yield func(int, found) bool) {
		n := 0
		for it, err := range t.source(ctx, t.channel()) {
			if err == nil && it.size == 0 && strings.HasSuffix(it.key, "/") {
				continue
			}
			if err == nil {
				var own bool
				if own, err = t.own(ctx, it); own {
					continue
				}
			}
			n++
			if err == nil && (n-1)%hosts != mine {
				continue
			}
			if !yield(n-1, found{it, err}) {
				return
			}
		}
	}
}

// own says that an object below the input's prefix is the output of another one
// there: outputs may lie among inputs, and are none.
func (t *transforming) own(ctx context.Context, it item) (bool, error) {
	rest, ok := strings.CutSuffix(it.key, ".out")
	if ok {
		rest, ok = strings.CutPrefix(rest, t.prefix)
	}
	if !ok || it.bucket != t.bucket || t.t.Input.S3DataType == "ManifestFile" {
		return false, nil
	}
	_, prefix, err := client.ParseURI(t.t.Input.S3Uri)
	if err != nil {
		return false, nil //nolint:nilerr // listing tells
	}
	of := []string{prefix[:strings.LastIndexByte(prefix, '/')+1] + rest, prefix + "/" + rest}
	if prefix == "" || strings.HasSuffix(prefix, "/") {
		of = of[:1]
	}
	for _, key := range of {
		if !strings.HasPrefix(key, prefix) || key == it.key {
			continue
		}
		switch _, err := t.h.API.Head(ctx, it.bucket, key); {
		case err == nil:
			return true, nil
		case !client.IsNotFound(err) && !client.IsDenied(err): // all hosts have to see the same
			return false, t.getError(ctx, t.channel(), item{bucket: it.bucket, key: key}, err)
		}
	}
	return false, nil
}

type found struct {
	item
	err error
}

// all transforms the share. Of all requests that may be in flight at once, each
// object has as many as it can use; one that needs them all waits for the others.
// An object that fails does not keep others from being transformed.
func (t *transforming) all(ctx context.Context, tr *transform.Transformer, requests int) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	free := make(chan struct{}, requests)
	acquire := func(n int) bool {
		for range n {
			select {
			case free <- struct{}{}:
			case <-ctx.Done():
				return false
			}
		}
		return true
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	var err error
	for n, it := range t.share(ctx) {
		if err = it.err; err != nil {
			break // those in flight are still of use
		}
		if it.size < 0 {
			if it.size, err = t.size(ctx, it.item); err != nil {
				t.fail(n, t.objectFailed(it.item, err))
				err = nil
				continue
			}
			if it.size == 0 && strings.HasSuffix(it.key, "/") {
				continue
			}
		}
		weight := min(tr.Weight(it.size), requests)
		if !acquire(weight) {
			break
		}
		wg.Go(func() {
			defer func() {
				for range weight {
					<-free
				}
			}()
			if err := t.one(ctx, tr, n, it.item, weight); err != nil {
				cancel(err)
			}
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err == nil && t.notes != nil {
		err = t.capture(ctx)
	}
	return err
}

func (t *transforming) size(ctx context.Context, it item) (int64, error) {
	o, err := t.h.API.Head(ctx, it.bucket, it.key)
	if err != nil {
		return 0, t.getError(ctx, t.channel(), it, err)
	}
	return o.Size, nil
}

// one transforms one object. An error that is not only the object's ends the job.
func (t *transforming) one(ctx context.Context, tr *transform.Transformer, n int, it item, weight int) error {
	key := t.prefix + strings.TrimPrefix(it.name, "/") + ".out"
	err := t.unlike(ctx, it)
	slot := func(ctx context.Context) bool {
		select {
		case t.uploads <- struct{}{}:
			return true
		case <-ctx.Done():
			return false
		}
	}
	if err == nil && tr.Whole() { // its answer comes at once, and its time runs
		if !slot(ctx) {
			return context.Cause(ctx)
		}
		defer func() { <-t.uploads }()
	}
	if err == nil {
		err = tr.Do(ctx, transform.Object{Name: it.bucket + "/" + it.key, Size: it.size, Open: func(ctx context.Context) (io.ReadCloser, error) {
			body, _, err := t.h.API.Get(ctx, it.bucket, it.key)
			if err != nil {
				return nil, t.getError(ctx, t.channel(), it, err)
			}
			return body, nil
		}}, weight, func(ctx context.Context, r io.Reader) error {
			if !tr.Whole() {
				if !slot(ctx) {
					return context.Cause(ctx)
				}
				defer func() { <-t.uploads }()
			}
			_, err := t.h.API.Upload(ctx, t.bucket, key, r)
			return t.putError(ctx, "the result of s3://"+it.bucket+"/"+it.key, t.bucket, key, err)
		})
	}
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err == nil:
		t.mu.Lock()
		t.done++
		t.mu.Unlock()
		if t.notes != nil {
			return t.noted(it, strings.TrimPrefix(it.name, "/")+".out")
		}
		return nil
	}
	t.fail(n, t.objectFailed(it, err))
	return nil
}

// unlike refuses an object whose result would be another's: below a prefix that
// does not end with a slash, prefix/x and prefix-x may be found, and prefix/prefix-x.
func (t *transforming) unlike(ctx context.Context, it item) error {
	bucket, prefix, err := client.ParseURI(t.t.Input.S3Uri)
	if err != nil || t.t.Input.S3DataType == "ManifestFile" || prefix == "" || strings.HasSuffix(prefix, "/") || it.key == prefix || strings.HasPrefix(it.key, prefix+"/") {
		return nil //nolint:nilerr // listing tells
	}
	other := prefix + "/" + it.name
	if _, err := t.h.API.Head(ctx, bucket, other); err != nil {
		return nil //nolint:nilerr // it is not there, as nearly always
	}
	return userError("s3://%s/%s and s3://%s/%s would have the same output, %s.out: let S3Uri end with a slash", bucket, it.key, bucket, other, path.Base(it.key))
}

// objectFailed is how an object's error fails the job.
func (t *transforming) objectFailed(it item, err error) *transform.Failure {
	if f, ok := errors.AsType[*transform.Failure](err); ok {
		return f
	}
	name := transform.Printable(it.bucket + "/" + it.key)
	res := failed(err)
	return &transform.Failure{Class: res.Class, Text: name + ": " + res.Failure, Log: []string{name + ": " + res.Class + ": " + strings.ReplaceAll(res.Failure, "\n", " ")}}
}

// fail notes an object that could not be transformed.
func (t *transforming) fail(n int, f *transform.Failure) {
	t.dataLog(f.Log...)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.bad++; t.cause == nil || n < t.first {
		t.first, t.cause = n, f
	}
}

// failure is why the job fails: in AWS's words, and the first object's cause.
func (t *transforming) failure() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.cause == nil {
		return nil
	}
	f := *t.cause
	f.Text = "See job logs for more information. " + f.Text
	if all := t.bad + t.done; all > 1 {
		f.Text += fmt.Sprintf(" (%d of %d objects failed)", t.bad, all)
	}
	return &f
}

// dataLog writes lines as AWS has them.
func (t *transforming) dataLog(lines ...string) {
	now := time.Now().UTC().Format("2006-01-02T15:04:05.000")
	var b strings.Builder
	for _, l := range lines {
		fmt.Fprintf(&b, "%s%s:[sagemaker logs]: %s\n", plan.DataLog, now, l)
	}
	t.out.own(b.String())
}

// lineWriter lets lines of stage's own among those of a program, and none into
// another.
type lineWriter struct {
	mu      sync.Mutex
	w       io.Writer
	open    bool   // the last line has not ended
	waiting []byte // until it does
}

// Write never loses what waits.
func (l *lineWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(p) == 0 {
		return 0, nil
	}
	n := 0
	if len(l.waiting) > 0 {
		end := slices.Index(p, '\n') + 1
		if end > 0 {
			if n, err := l.w.Write(p[:end]); err != nil {
				return n, err
			}
			l.open, n = false, end
			l.let()
		}
	}
	if n == len(p) {
		return n, nil
	}
	m, err := l.w.Write(p[n:])
	l.open = p[len(p)-1] != '\n'
	return n + m, err
}

// mostWaiting is what a line that does not end holds up.
const mostWaiting = 16 << 10

// own writes whole lines.
func (l *lineWriter) own(lines string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting = append(l.waiting, lines...)
	if l.open && len(l.waiting) > mostWaiting {
		_, _ = l.w.Write([]byte{'\n'}) // the log is advice
		l.open = false
	}
	if !l.open {
		l.let()
	}
}

func (l *lineWriter) let() {
	_, _ = l.w.Write(l.waiting) // the log is advice
	l.waiting = l.waiting[:0]
}

// flush ends a line that others wait for.
func (l *lineWriter) flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) == 0 {
		return
	}
	if l.open {
		_, _ = l.w.Write([]byte{'\n'}) // the log is advice
	}
	l.let()
}
