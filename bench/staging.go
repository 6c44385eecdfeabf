package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"clary/test/daemon"
)

const (
	stagedFiles = 10_000
	stagedSize  = 4 << 10 // of each
	// At most so much, whatever is staged: MiB of PSS. Stage collects garbage
	// at 32; the server may take so much more than when idle.
	stageMost, supervisorMost, serverMore = 48, 24, 48
)

// stagingRows have a processing job take objects from S3 and leave them there
// again: many that are small, then one that is large. Memory is looked at all
// the while; it must not grow with what is staged. The floor is a plain copy of
// the same bytes from a plain-file server into a folder and back.
func (b *bench) stagingRows() error {
	for _, load := range []struct {
		what  string
		files int
		size  int64
	}{
		{fmt.Sprintf("%s objects of 4 KiB", count(stagedFiles)), stagedFiles, stagedSize},
		{fmt.Sprintf("one object of %d MiB", b.staged), 1, b.staged << 20},
	} {
		ours, held, err := b.stagedJob(load.files, load.size)
		if err != nil {
			return err
		}
		floor, err := b.plainCopy(load.files, load.size)
		if err != nil {
			return err
		}
		flat := held.stage.peak() <= stageMost && held.supervisor.peak() <= supervisorMost && held.server.peak() <= held.idle+serverMore
		b.add(row{
			name:  "Processing job: " + load.what + " in and out again",
			ours:  fmt.Sprintf("%s; peak PSS: stage %d MiB, supervisor %d MiB, server %d MiB (idle before: %d MiB)", ours.Round(100*time.Millisecond), held.stage.peak(), held.supervisor.peak(), held.server.peak(), held.idle),
			floor: fmt.Sprintf("plain copy to and fro %s (Clary takes %.1f×)", floor.Round(100*time.Millisecond), float64(ours)/float64(floor)),
			goal:  fmt.Sprintf("flat: stage ≤ %d MiB, supervisor ≤ %d MiB, server ≤ idle + %d MiB", stageMost, supervisorMost, serverMore), met: reached(flat), note: notes["staging"],
		})
		if !flat {
			return errors.New("memory is not flat; the series are above")
		}
	}
	return nil
}

// mibSeries is looks at a process's memory.
type mibSeries []int64

func (s mibSeries) peak() int64 { return slices.Max(append(s, 0)) }

// holding is what was held while a job ran.
type holding struct {
	idle                      int64
	server, supervisor, stage mibSeries
}

// look adds to the series. tasks is the folder that tasks are started in.
func (h *holding) look(server int, tasks string) error {
	add := func(s *mibSeries, pid int) {
		if kib, err := pss(pid); err == nil { // else it is gone
			*s = append(*s, kib/1024)
		}
	}
	add(&h.server, server)
	ps, err := daemon.Processes()
	if err != nil {
		return err
	}
	for _, p := range daemon.Below(ps, tasks) {
		switch {
		case len(p.Args) < 2:
		case p.Args[1] == "stage":
			add(&h.stage, p.PID)
		case p.Args[1] == "supervise":
			add(&h.supervisor, p.PID)
		}
	}
	return nil
}

// stagedJob gives the time of a job that moves its input to its output.
func (b *bench) stagedJob(files int, size int64) (took time.Duration, h holding, err error) {
	data := filepath.Join(b.dir, "staging")
	defer os.RemoveAll(data) //nolint:errcheck // temporary
	s, err := b.startClary(data)
	if err != nil {
		return 0, h, err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	s.client.http.Timeout = 10 * time.Minute
	if err := b.runtimeReady(s.client); err != nil {
		return 0, h, err
	}
	if err := b.putAll(s.client, files, size); err != nil {
		return 0, h, err
	}
	if err := b.pause(settle); err != nil {
		return 0, h, err
	}
	if h.idle, err = pss(s.cmd.Process.Pid); err != nil {
		return 0, h, err
	}
	h.idle /= 1024
	request := processingJob("staged", "/bin/sh", "-c", "mv /opt/ml/processing/in/* /opt/ml/processing/out/")
	request["ProcessingInputs"] = []any{map[string]any{"InputName": "in", "S3Input": map[string]string{
		"S3Uri": "s3://" + bucketName + "/in/", "LocalPath": "/opt/ml/processing/in", "S3DataType": "S3Prefix", "S3InputMode": "File",
	}}}
	request["ProcessingOutputConfig"] = map[string]any{"Outputs": []any{map[string]any{"OutputName": "out", "S3Output": map[string]string{
		"S3Uri": "s3://" + bucketName + "/moved", "LocalPath": "/opt/ml/processing/out", "S3UploadMode": "EndOfJob",
	}}}}
	done := make(chan error, 1)
	go func() {
		var err error
		took, err = finishJob(b.ctx, s.client, "ProcessingJob", request, 10*time.Millisecond)
		done <- err
	}()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			fmt.Printf("   PSS in MiB, every 0.1 s: stage %v\n   supervisor %v\n   server %v (idle %d)\n", h.stage, h.supervisor, h.server, h.idle)
			if err == nil {
				err = b.allThere(s.client, files, size)
			}
			return took, h, err
		case <-tick.C:
			if err := h.look(s.cmd.Process.Pid, filepath.Join(data, "tasks")); err != nil {
				return 0, h, err
			}
		}
	}
}

// allThere counts the output.
func (b *bench) allThere(c *client, files int, size int64) error {
	n := 0
	query := url.Values{"prefix": {"moved/"}}
	for {
		l, err := c.list(b.ctx, bucketName, query)
		if err != nil {
			return err
		}
		n += len(l.Contents)
		for _, o := range l.Contents {
			if o.Size != size {
				return fmt.Errorf("%s has %d bytes", o.Key, o.Size)
			}
		}
		if !l.IsTruncated {
			break
		}
		query["continuation-token"] = []string{l.NextContinuationToken}
	}
	if n != files {
		return fmt.Errorf("%d of %d objects came back", n, files)
	}
	return nil
}

// plainCopy is the floor of stagedJob.
func (b *bench) plainCopy(files int, size int64) (took time.Duration, err error) {
	s, err := b.startFloor()
	if err != nil {
		return 0, err
	}
	folder := filepath.Join(b.dir, "copied")
	defer func() {
		err = errors.Join(err, s.stop(), os.RemoveAll(filepath.Join(b.dir, "floor")), os.RemoveAll(folder))
	}()
	s.client.http.Timeout = 10 * time.Minute
	if err := b.putAll(s.client, files, size); err != nil {
		return 0, err
	}
	if err := os.Mkdir(folder, 0o700); err != nil {
		return 0, err
	}
	begin := time.Now()
	err = together(files, func(i int) error {
		f, err := os.Create(filepath.Join(folder, fmt.Sprint(i)))
		if err != nil {
			return err
		}
		_, err = s.client.stream(b.ctx, http.MethodGet, key("in", i), "", http.NoBody, 0, f)
		return errors.Join(err, f.Close())
	})
	if err != nil {
		return 0, err
	}
	err = together(files, func(i int) error {
		f, err := os.Open(filepath.Join(folder, fmt.Sprint(i)))
		if err != nil {
			return err
		}
		defer f.Close() //nolint:errcheck // opened to read
		_, err = s.client.stream(b.ctx, http.MethodPut, key("moved", i), "", f, size, io.Discard)
		return err
	})
	return time.Since(begin), err
}

func key(folder string, i int) string { return fmt.Sprintf("/%s/%s/%05d", bucketName, folder, i) }

func (b *bench) putAll(c *client, files int, size int64) error {
	return together(files, func(i int) error {
		_, err := c.stream(b.ctx, http.MethodPut, key("in", i), "", &pattern{left: size}, size, io.Discard)
		return err
	})
}

// together does something n times, eight at once, as stage does.
func together(n int, do func(i int) error) error {
	errs := make([]error, 8)
	var wg sync.WaitGroup
	for w := range errs {
		wg.Go(func() {
			for i := w; i < n && errs[w] == nil; i += len(errs) {
				errs[w] = do(i)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}
