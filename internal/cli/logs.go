package cli

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"clary/internal/client"
)

const (
	logsTarget = "Logs_20140328."
	lookEvery  = 500 * time.Millisecond
)

func (a *app) logs() *cobra.Command {
	var follow, stamps bool
	var kind string
	cmd := &cobra.Command{
		Use: "logs JOB", Short: "Print a job's log", Args: cobra.ExactArgs(1),
		Long: "Print the log of a training or a processing job; of several instances in the order of time, with each line's host before it.\n" +
			"With -f, go on until the job has ended; the exit code is then 1 if it failed.",
		RunE: func(cmd *cobra.Command, args []string) error {
			t, err := a.target()
			if err != nil {
				return err
			}
			c := t.client()
			defer c.Close()
			// one that follows rides out a restart of the server
			if follow {
				c = c.Patient(time.Minute, nil)
			}
			l := &logReader{app: a, c: c, job: args[0], stamps: stamps, out: bufio.NewWriter(a.Out)}
			l.line = newProgress(a.Err)
			defer l.line.clear()
			if l.kind, err = findJob(cmd.Context(), c, kind, l.job); err != nil {
				return worded(err, t.Addr)
			}
			if err := l.read(cmd.Context(), follow); err != nil {
				return worded(err, t.Addr)
			}
			return nil
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on until the job has ended")
	cmd.Flags().StringVar(&kind, "kind", "", "training or processing, where jobs of both have the name")
	cmd.Flags().BoolVarP(&stamps, "timestamps", "t", false, "print when each line was written")
	return cmd
}

// logReader follows the streams of one job.
type logReader struct {
	*app
	c       *client.Client
	kind    jobKind
	job     string
	stamps  bool
	streams []*logStream // in the order in which they were found
	out     *bufio.Writer
	line    *progress
	wrote   bool
	hosts   int
	created int64 // in seconds; others had the job's name before
}

// logStream is what one host writes.
type logStream struct {
	name, host string
	token      string     // where to go on
	events     []logEvent // read, and not printed
}

type logEvent struct {
	Timestamp int64  `json:"timestamp"`
	Message   string `json:"message"`
}

func (l *logReader) read(ctx context.Context, follow bool) error {
	for {
		j, err := describeJob(ctx, l.c, l.kind, l.job)
		if err != nil {
			return err
		}
		l.hosts, l.created = j.hosts, int64(j.Created)
		// the job was looked at first: if it was over, what is read now is all
		if err := l.drain(ctx); err != nil {
			return err
		}
		if j.over() || !follow {
			return l.end(j, follow)
		}
		if !l.wrote {
			l.line.show(l.job + ": " + stateText(j))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(lookEvery):
		}
	}
}

func stateText(j job) string {
	s := cmp.Or(j.Step, j.Status)
	if j.Message != "" {
		s += ", " + j.Message
	}
	return s
}

func (l *logReader) end(j job, follow bool) error {
	if !follow {
		return nil
	}
	l.line.clear()
	text := l.job + ": " + j.Status + "\n"
	if j.Status == "Failed" {
		text += printable(j.FailureReason) + "\n"
	}
	_, err := io.WriteString(l.Err, text)
	if j.Status == "Failed" {
		return errors.Join(Exit(1), err)
	}
	return err
}

// drain prints what is new, of all streams in the order of time: of each a page
// is in memory, and the oldest of their first lines is next.
func (l *logReader) drain(ctx context.Context) error {
	if err := l.find(ctx); err != nil {
		return err
	}
	for _, s := range l.streams {
		if err := l.more(ctx, s); err != nil {
			return err
		}
	}
	for {
		var next *logStream
		for _, s := range l.streams {
			if len(s.events) > 0 && (next == nil || s.events[0].Timestamp < next.events[0].Timestamp) {
				next = s
			}
		}
		if next == nil {
			return nil
		}
		if err := l.print(next.host, next.events[0]); err != nil {
			return err
		}
		if next.events = next.events[1:]; len(next.events) == 0 {
			if err := l.more(ctx, next); err != nil {
				return err
			}
		}
	}
}

// find finds the job's streams; a stream keeps its place once it is known.
func (l *logReader) find(ctx context.Context) error {
	in := map[string]any{"logGroupName": l.kind.logGroup(), "logStreamNamePrefix": l.job + "/"}
	end := fmt.Sprint("-", l.created) // algo-1-SECONDS
	for {
		var page struct {
			LogStreams []struct {
				LogStreamName string `json:"logStreamName"`
			} `json:"logStreams"`
			NextToken string `json:"nextToken"`
		}
		err := l.c.JSON(ctx, "logs", logsTarget+"DescribeLogStreams", in, &page)
		if client.Code(err) == "ResourceNotFoundException" {
			return nil // no job has written yet
		}
		if err != nil {
			return err
		}
		for _, s := range page.LogStreams {
			_, host, _ := strings.Cut(s.LogStreamName, "/")
			host, own := strings.CutSuffix(host, end)
			if own && !slices.ContainsFunc(l.streams, func(known *logStream) bool { return known.name == s.LogStreamName }) {
				l.streams = append(l.streams, &logStream{name: s.LogStreamName, host: host})
			}
		}
		if page.NextToken == "" {
			return nil
		}
		in["nextToken"] = page.NextToken
	}
}

// more reads a stream's next page; it is empty where the stream ends for now.
// What was printed so far is out before that.
func (l *logReader) more(ctx context.Context, s *logStream) error {
	if err := l.out.Flush(); err != nil {
		return err
	}
	in := map[string]any{"logGroupName": l.kind.logGroup(), "logStreamName": s.name, "startFromHead": true}
	if s.token != "" {
		in["nextToken"] = s.token
	}
	var page struct {
		Events           []logEvent `json:"events"`
		NextForwardToken string     `json:"nextForwardToken"`
	}
	if err := l.c.JSON(ctx, "logs", logsTarget+"GetLogEvents", in, &page); err != nil {
		return err
	}
	s.events, s.token = page.Events, page.NextForwardToken
	return nil
}

func (l *logReader) print(host string, e logEvent) error {
	l.line.clear()
	l.wrote = true
	head := ""
	if l.hosts > 1 || len(l.streams) > 1 {
		head = host + "  "
	}
	if l.stamps {
		head = time.UnixMilli(e.Timestamp).UTC().Format("2006-01-02T15:04:05.000Z") + "  " + head
	}
	_, err := fmt.Fprintln(l.out, head+e.Message)
	return err
}

// progress is one line on a terminal that is written over; elsewhere it is
// nothing.
type progress struct {
	w     io.Writer
	last  string
	begun time.Time
}

func newProgress(w io.Writer) *progress {
	if !terminal(w) {
		return &progress{}
	}
	return &progress{w: w, begun: time.Now()}
}

func (p *progress) show(text string) {
	if p.w == nil {
		return
	}
	line := fmt.Sprintf("%s (%s)", printable(text), span(time.Since(p.begun)))
	if line == p.last {
		return
	}
	p.last = line
	_, _ = io.WriteString(p.w, "\r\x1b[K"+line) // a terminal that is gone misses nothing
}

func (p *progress) clear() {
	if p.w != nil && p.last != "" {
		p.last = ""
		_, _ = io.WriteString(p.w, "\r\x1b[K") // as above
	}
}
