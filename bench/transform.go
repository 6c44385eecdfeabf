package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	transformAtOnce = 2 // requests
	transformMB     = 1 // of each
	transformGoal   = 0.9
	// At most so much, whatever is transformed: MiB of PSS.
	transformStageMost = 80
)

// scoredBy are the models that records of thirty features, which come as CSV, are
// scored by: one such as people train, and one that does next to nothing.
func scoredBy() []scorer {
	// Each of the model server's processes has a processor, and no need of threads.
	const calm = `import os
os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"
`
	const parse = `
def input_fn(body, content_type): return numpy.loadtxt(io.StringIO(body), delimiter=",", ndmin=2)
def output_fn(prediction, accept): return "\n".join(map(str, prediction.tolist())) + "\n"
`
	return []scorer{
		{"forest", "a forest of fifty trees", calm + `import io
import numpy
from sklearn.ensemble import RandomForestRegressor

def model_fn(model_dir):
    known = numpy.random.default_rng(1)
    x = known.random((100, 30)) * 10
    return RandomForestRegressor(n_estimators=50, max_depth=8, random_state=1).fit(x, x @ numpy.arange(30))
def predict_fn(data, model): return model.predict(data)
` + parse, "transform"},
		{"linear", "a product of two vectors", calm + `import io
import numpy

def model_fn(model_dir): return numpy.arange(30) / 30.0
def predict_fn(data, model): return data @ model
` + parse, "transform light"},
	}
}

type scorer struct{ name, what, script, note string }

// scoredRow is a record of it.
func scoredRow(i int) string {
	fields := make([]string, 30)
	for f := range fields {
		fields[f] = fmt.Sprintf("%d.%03d", (i+f)%10, (i*f)%1000)
	}
	return strings.Join(fields, ",") + "\n"
}

// rows are blocks of records, one like the other.
type rows struct {
	block []byte
	left  int64
	at    int
}

// newRows gives size bytes of whole records, about.
func newRows(size int64) (*rows, int64) {
	var b bytes.Buffer
	for i := range 1000 {
		b.WriteString(scoredRow(i))
	}
	size = max(size/int64(b.Len()), 1) * int64(b.Len())
	return &rows{block: b.Bytes(), left: size}, size
}

func (r *rows) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(int64(len(p)), r.left)], r.block[r.at:])
	r.left -= int64(n)
	r.at = (r.at + n) % len(r.block)
	return n, nil
}

// perRecord is a record's size.
func (r *rows) perRecord() float64 { return float64(len(r.block)) / 1000 }

func transformJob(name, model, in, out string) map[string]any {
	return map[string]any{
		"TransformJobName": name, "ModelName": model, "MaxConcurrentTransforms": transformAtOnce, "MaxPayloadInMB": transformMB, "BatchStrategy": "MultiRecord",
		"TransformInput": map[string]any{
			"DataSource": map[string]any{"S3DataSource": map[string]string{"S3DataType": "S3Prefix", "S3Uri": "s3://" + bucketName + "/" + in}}, "SplitType": "Line", "ContentType": "text/csv",
		},
		"TransformOutput":    map[string]string{"S3OutputPath": "s3://" + bucketName + "/" + out, "Accept": "text/csv", "AssembleWith": "Line"},
		"TransformResources": map[string]any{"InstanceType": "ml.m5.large", "InstanceCount": 1},
	}
}

// transformRows have batch transform jobs score records, beside the same model
// server that is asked directly, and then look at memory while one goes through
// an object of some gigabytes.
func (b *bench) transformRows() (err error) {
	data := filepath.Join(b.dir, "transform")
	s, err := b.startClary(data)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	s.client.http.Timeout = 30 * time.Minute
	if err := errors.Join(b.model(s.client, "echo", modelScript), b.runtimeReady(s.client)); err != nil {
		return err
	}
	for _, by := range scoredBy() {
		if err := errors.Join(b.model(s.client, by.name, by.script), b.scoringRow(s.client, data, by)); err != nil {
			return err
		}
	}
	return b.transformedRow(s, data)
}

// put leaves size bytes of records in the bucket.
func (b *bench) putRows(c *client, name string, size int64) (records float64, real int64, err error) {
	r, size := newRows(size)
	_, err = c.stream(b.ctx, http.MethodPut, "/"+bucketName+"/"+name, "", r, size, io.Discard)
	return float64(size) / r.perRecord(), size, err
}

func (b *bench) scoringRow(c *client, data string, by scorer) error {
	few, _, err := b.putRows(c, "score/few", 1)
	if err != nil {
		return err
	}
	// The rate is that of what many are more than some: by then all of the model
	// server's processes have loaded the model, beside whoever asks it.
	some, begun, err := b.putRows(c, "score/some", b.scored<<20/4)
	if err != nil {
		return err
	}
	many, size, err := b.putRows(c, "score/many", b.scored<<20)
	if err != nil {
		return err
	}
	var ours, floor, ratio, start []float64
	for i := range b.rounds {
		var took [3]time.Duration
		for n, in := range []string{"few", "some", "many"} {
			name := fmt.Sprintf("%s-%s-%d", by.name, in, i)
			every := 10 * time.Millisecond
			if in != "few" {
				every *= 10 // what looking costs is no part of a job
			}
			if took[n], err = finishJob(b.ctx, c, "TransformJob", transformJob(name, by.name, "score/"+in, "scored/"+name), every); err != nil {
				return err
			}
		}
		var scored bytes.Buffer
		if _, err := c.stream(b.ctx, http.MethodGet, fmt.Sprintf("/%s/scored/%s-few-%d/few.out", bucketName, by.name, i), "", nil, 0, &scored); err != nil {
			return err
		}
		direct, err := b.scoreDirectly(data, by.script, scored.Bytes(), begun, size)
		if err != nil {
			return err
		}
		rate, bare := (many-some)/(took[2]-took[1]).Seconds(), (many-some)/direct.Seconds()
		ours, floor, ratio, start = append(ours, rate), append(floor, bare), append(ratio, rate/bare), append(start, took[0].Seconds())
		fmt.Printf("   round %d: %.0f records/s of the job, %.0f/s directly; a job of %.0f records takes %s, of %.0f %s, of %.0f %s\n", i+1, rate, bare,
			few, took[0].Round(time.Millisecond), some, took[1].Round(time.Millisecond), many, took[2].Round(time.Millisecond))
	}
	middle := func(v []float64) float64 { return quantile(v, 0.5) }
	b.add(row{
		name:  fmt.Sprintf("Batch transform: %s records of thirty features in CSV by %s, %d MB a request, %d at a time", count(many), by.what, transformMB, transformAtOnce),
		ours:  fmt.Sprintf("%s records/s; a job of 1,000 records takes %.2f s from its creation to its end", count(middle(ours)), middle(start)),
		floor: fmt.Sprintf("the same model server asked directly with the same batches %s records/s; Clary is at %.2f× (%.2f..%.2f)", count(middle(floor)), middle(ratio), quantile(ratio, 0), quantile(ratio, 1)),
		goal:  fmt.Sprintf("≥ %.1f× the server alone", transformGoal), met: reached(middle(ratio) >= transformGoal), note: notes[by.note],
	})
	return nil
}

// scoreDirectly has a bare model server score size bytes of records in the
// batches that a job makes of them, and says how long it took from when the
// first of them, begun bytes, were scored. It must say of the first block what
// the job said.
func (b *bench) scoreDirectly(data, script string, scored []byte, begun, size int64) (time.Duration, error) {
	m, err := b.startBareModel(data, script)
	if err != nil {
		return 0, err
	}
	defer m.stop()
	r, _ := newRows(size)
	all, err := io.ReadAll(r)
	if err != nil {
		return 0, err
	}
	// A batch goes out in one write, as in a job.
	c := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: transformAtOnce, WriteBufferSize: (transformMB << 20) + 4<<10, ReadBufferSize: 64 << 10}}
	defer c.CloseIdleConnections()
	got, err := ask(b.ctx, c, m.url, r.block)
	if err != nil {
		return 0, err
	}
	if !bytes.Equal(got, scored) {
		return 0, fmt.Errorf("asked directly, the model says %.40q, in a job %.40q", got, scored)
	}
	if err := askAll(b.ctx, c, m.url, all[:begun]); err != nil {
		return 0, err
	}
	begin := time.Now()
	err = askAll(b.ctx, c, m.url, all[begun:])
	return time.Since(begin), err
}

// askAll asks for all records, in batches.
func askAll(ctx context.Context, c *http.Client, url string, all []byte) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(transformAtOnce)
	for len(all) > 0 {
		n := len(all)
		if n > transformMB<<20 {
			n = bytes.LastIndexByte(all[:transformMB<<20], '\n') + 1
		}
		batch := all[:n]
		all = all[n:]
		g.Go(func() error {
			_, err := ask(ctx, c, url, batch)
			return err
		})
	}
	return g.Wait()
}

func ask(ctx context.Context, c *http.Client, url string, batch []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/invocations", bytes.NewReader(batch))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "text/csv")
	req.Header.Set("Accept", "text/csv")
	resp, err := c.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end
	got, err := io.ReadAll(resp.Body)
	if err == nil && (resp.StatusCode != http.StatusOK || bytes.Count(got, []byte{'\n'}) != bytes.Count(batch, []byte{'\n'})) {
		err = fmt.Errorf("%s: %.300s", resp.Status, got)
	}
	return got, err
}

// transformedRow looks at memory while an object goes through a model that says
// what it is told.
func (b *bench) transformedRow(s *server, data string) (err error) {
	_, size, err := b.putRows(s.client, "large", b.transformed<<20)
	if err != nil {
		return err
	}
	if err := b.pause(settle); err != nil {
		return err
	}
	var h holding
	if h.idle, err = pss(s.cmd.Process.Pid); err != nil {
		return err
	}
	h.idle /= 1024
	var took time.Duration
	var once sync.WaitGroup
	done := make(chan error, 1)
	once.Go(func() {
		var err error
		took, err = finishJob(b.ctx, s.client, "TransformJob", transformJob("large", "echo", "large", "echoed"), 50*time.Millisecond)
		done <- err
	})
	defer once.Wait()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for waiting := true; waiting; {
		select {
		case err := <-done:
			if err != nil {
				return err
			}
			waiting = false
		case <-tick.C:
			if err := h.look(s.cmd.Process.Pid, filepath.Join(data, "tasks")); err != nil {
				return err
			}
		}
	}
	fmt.Printf("   PSS in MiB, every 0.5 s: stage %v\n   supervisor %v\n   server %v (idle %d)\n", h.stage, h.supervisor, h.server, h.idle)
	l, err := s.client.list(b.ctx, bucketName, map[string][]string{"prefix": {"echoed/"}})
	if err != nil {
		return err
	}
	if len(l.Contents) != 1 || l.Contents[0].Size != size {
		return fmt.Errorf("%+v is left of %d bytes", l.Contents, size)
	}
	flat := h.stage.peak() <= transformStageMost && h.supervisor.peak() <= supervisorMost && h.server.peak() <= h.idle+serverMore
	b.add(row{
		name: fmt.Sprintf("Batch transform: one object of %d MiB through a model that gives back what it gets", size>>20),
		ours: fmt.Sprintf("%s, %.0f MiB/s; peak PSS: stage %d MiB, supervisor %d MiB, server %d MiB (idle before: %d MiB)", took.Round(100*time.Millisecond), float64(size>>20)/took.Seconds(), h.stage.peak(), h.supervisor.peak(), h.server.peak(), h.idle),
		goal: fmt.Sprintf("flat: stage ≤ %d MiB, supervisor ≤ %d MiB, server ≤ idle + %d MiB", transformStageMost, supervisorMost, serverMore), met: reached(flat), note: notes["transformed"],
	})
	if !flat {
		return errors.New("memory is not flat; the series are above")
	}
	return nil
}
