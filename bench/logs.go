package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"clary/internal/logs"
	"clary/internal/logs/segment"
)

const printed = 200

// printer prints the time, over and over.
var printer = fmt.Sprintf(`import time
for i in range(%d):
    print("at", time.time_ns(), flush=True)
    time.sleep(0.02)
`, printed) //nolint:gochecknoglobals // a constant that needs a number

type eventsPage struct {
	Events []struct {
		Message string `json:"message"`
	} `json:"events"`
	NextForwardToken string `json:"nextForwardToken"`
}

// logRows measures how long a line takes to be seen, and how many come in.
func (b *bench) logRows() (err error) {
	all, stop, err := b.contenders(filepath.Join(b.dir, "jobs"))
	defer func() { err = errors.Join(err, stop()) }()
	if err != nil {
		return err
	}
	var ours, canned, moto *client
	for _, c := range all {
		switch c.name {
		case "clary":
			ours = c.s.client
		case "canned":
			canned = c.s.client
		case "moto":
			moto = c.s.client
		}
	}
	if err := b.appendVisible(ours, canned, moto); err != nil {
		return fmt.Errorf("append to visible: %w", err)
	}
	if err := b.putRate(ours, moto); err != nil {
		return fmt.Errorf("lines by API: %w", err)
	}
	if err := b.ingestRate(); err != nil {
		return fmt.Errorf("ingest: %w", err)
	}
	if err := b.runtimeReady(ours); err != nil {
		return err
	}
	seen, err := b.printVisible(ours)
	if err != nil {
		return fmt.Errorf("print to visible: %w", err)
	}
	pipe, err := pipeVisible()
	if err != nil {
		return err
	}
	raw("print to visible", seen)
	b.add(row{
		name: "A job's print → visible in GetLogEvents", ours: times(seen), floor: "pipe " + times(pipe),
		goal: "p50 ≤ 20 ms, p99 ≤ 100 ms",
		met:  reached(quantile(seen, 0.5) <= 20*time.Millisecond && quantile(seen, 0.99) <= 100*time.Millisecond), note: notes["print"],
	})
	return nil
}

const appends = 300

// appendVisible puts one event and reads until it is there.
func (b *bench) appendVisible(ours, canned, moto *client) error {
	result := map[*client][]time.Duration{}
	for _, c := range []*client{ours, canned, moto} {
		if c == nil {
			continue
		}
		if c != canned {
			if err := newStream(b.ctx, c, "append"); err != nil {
				return err
			}
		}
		token := ""
		for i := range appends {
			begin := time.Now()
			if err := put(b.ctx, c, "append", []string{fmt.Sprint("line ", i)}); err != nil {
				return err
			}
			for {
				in := map[string]any{"logGroupName": "bench", "logStreamName": "append", "startFromHead": true}
				if token != "" {
					in["nextToken"] = token
				}
				var page eventsPage
				if err := c.json(b.ctx, "logs", "GetLogEvents", in, &page); err != nil {
					return err
				}
				token = page.NextForwardToken
				if len(page.Events) > 0 || c == canned {
					break
				}
			}
			result[c] = append(result[c], time.Since(begin))
		}
	}
	b.add(row{
		name: "PutLogEvents → visible in GetLogEvents, c1", ours: times(result[ours]), floor: "two canned requests " + times(result[canned]),
		peer: times(result[moto]), goal: "p50 ≤ 1.5 ms", met: within(result[ours], 1500*time.Microsecond),
	})
	return nil
}

func newStream(ctx context.Context, c *client, name string) error {
	_ = c.json(ctx, "logs", "CreateLogGroup", map[string]string{"logGroupName": "bench"}, nil) // it may be there
	return c.json(ctx, "logs", "CreateLogStream", map[string]string{"logGroupName": "bench", "logStreamName": name}, nil)
}

func put(ctx context.Context, c *client, stream string, lines []string) error {
	now := time.Now().UnixMilli()
	events := make([]map[string]any, len(lines))
	for i, l := range lines {
		events[i] = map[string]any{"timestamp": now, "message": l}
	}
	return c.json(ctx, "logs", "PutLogEvents", map[string]any{"logGroupName": "bench", "logStreamName": stream, "logEvents": events}, nil)
}

// batch is how many lines are written at a time.
const batch = 1000

func lines() []string {
	out := make([]string, batch)
	for i := range out {
		out[i] = fmt.Sprintf("epoch %d step %d loss=%.4f %s", i/100, i, 1/float64(i+1), strings.Repeat("x", 60))
	}
	return out
}

// putRate measures lines by PutLogEvents.
func (b *bench) putRate(ours, moto *client) error {
	rate := func(c *client) (float64, error) {
		if c == nil {
			return 0, nil
		}
		if err := newStream(b.ctx, c, "rate"); err != nil {
			return 0, err
		}
		l := lines()
		s, err := hammer(b.ctx, 1, 2*b.period, func(ctx context.Context, _, _ int) error { return put(ctx, c, "rate", l) })
		return s.rate() * batch, err
	}
	a, err := rate(ours)
	if err != nil {
		return err
	}
	p, err := rate(moto)
	if err != nil {
		return err
	}
	r := row{name: "Lines by PutLogEvents, 1,000 a request, c1", ours: count(a) + " lines/s"}
	if p > 0 {
		r.peer = fmt.Sprintf("%s lines/s; Clary is %.2g×", count(p), a/p)
	}
	b.add(r)
	return nil
}

// ingestRate measures how fast a task's lines come in, beside writing the same
// bytes.
func (b *bench) ingestRate() error {
	s, err := segment.Open(segment.Config{Dir: filepath.Join(b.dir, "segments")})
	if err != nil {
		return err
	}
	defer s.Close() //nolint:errcheck // temporary data
	f, err := os.Create(filepath.Join(b.dir, "plain"))
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // temporary data
	l := lines()
	plain := []byte(strings.Join(l, "\n"))
	var ingest, write load
	var at int64
	k := logs.Stream{Account: "123456789012", Region: region, Group: "bench", Name: "ingest"}
	for range b.rounds {
		r, err := hammer(b.ctx, 1, b.period, func(ctx context.Context, _, _ int) error {
			events := make([]logs.Event, batch)
			now := time.Now().UnixMilli()
			for i := range events {
				events[i] = logs.Event{Timestamp: now, Message: l[i]}
			}
			at += batch
			return s.Ingest(ctx, k, "task", at-batch, at, events)
		})
		if err != nil {
			return err
		}
		ingest = append(ingest, r)
		r, err = hammer(b.ctx, 1, b.period, func(context.Context, int, int) error {
			_, err := f.Write(plain)
			return err
		})
		if err != nil {
			return err
		}
		write = append(write, r)
	}
	b.add(row{
		name:  "Ingest of a task's lines into the store, 1,000 at a time",
		ours:  count(ingest.median()*batch) + " lines/s",
		floor: fmt.Sprintf("write() %s lines/s", count(write.median()*batch)),
		goal:  "≥ 300k lines/s", met: reached(ingest.median()*batch >= 300_000), note: notes["ingest"],
	})
	return nil
}

// printVisible runs a job that prints the time and watches its stream.
func (b *bench) printVisible(c *client) ([]time.Duration, error) {
	ctx, cancel := context.WithTimeout(b.ctx, 2*time.Minute)
	defer cancel()
	if err := c.json(ctx, "sagemaker", "CreateTrainingJob", trainingJob("printer", knownImage, "python3", "-c", fmt.Sprintf("exec(%q)", printer)), nil); err != nil {
		return nil, err
	}
	var found struct {
		LogStreams []struct {
			LogStreamName string `json:"logStreamName"`
		} `json:"logStreams"`
	}
	const groupName = "/aws/sagemaker/TrainingJobs"
	for len(found.LogStreams) == 0 {
		in := map[string]any{"logGroupName": groupName, "logStreamNamePrefix": "printer/"}
		if err := c.json(ctx, "logs", "DescribeLogStreams", in, &found); err != nil {
			return nil, err
		}
		time.Sleep(time.Millisecond)
	}
	var seen []time.Duration
	token := ""
	for len(seen) < printed {
		in := map[string]any{"logGroupName": groupName, "logStreamName": found.LogStreams[0].LogStreamName, "startFromHead": true}
		if token != "" {
			in["nextToken"] = token
		}
		var page eventsPage
		if err := c.json(ctx, "logs", "GetLogEvents", in, &page); err != nil {
			return nil, err
		}
		now := time.Now()
		token = page.NextForwardToken
		for _, e := range page.Events {
			if d, ok := since(e.Message, now); ok {
				seen = append(seen, d)
			}
		}
		time.Sleep(500 * time.Microsecond)
	}
	return seen, nil
}

// since is how long ago a line was printed.
func since(line string, now time.Time) (time.Duration, bool) {
	text, ok := strings.CutPrefix(strings.TrimSpace(line), "at ")
	if !ok {
		return 0, false
	}
	ns, err := strconv.ParseInt(text, 10, 64)
	return now.Sub(time.Unix(0, ns)), err == nil
}

// pipeVisible is the same script read through a pipe.
func pipeVisible() ([]time.Duration, error) {
	cmd := exec.Command("/usr/bin/python3", "-c", printer) //nolint:noctx // it ends by itself
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	var seen []time.Duration
	sc := bufio.NewScanner(out)
	for sc.Scan() {
		if d, ok := since(sc.Text(), time.Now()); ok {
			seen = append(seen, d)
		}
	}
	return seen, errors.Join(sc.Err(), cmd.Wait())
}
