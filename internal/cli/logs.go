package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
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
		Use: "logs NAME", Short: "Print the log of a job or an endpoint", Args: cobra.ExactArgs(1),
		Long: "Print the log of a training, processing or batch transform job or of an endpoint; of several instances in the order of\n" +
			"time, with who wrote each line before it. With -f, go on until the job has ended or the endpoint is deleted; the exit code\n" +
			"is then 1 if it failed. The data-log of a batch transform job says what became of each object.",
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
			l := &logReader{app: a, c: c, name: args[0], stamps: stamps, out: bufio.NewWriter(a.Out)}
			l.line = newProgress(a.Err)
			defer l.line.clear()
			if l.source, err = findWriter(cmd.Context(), c, kind, l.name); err != nil {
				return worded(err, t.Addr)
			}
			if err := l.read(cmd.Context(), follow); err != nil {
				return worded(err, t.Addr)
			}
			return nil
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on until the job has ended, or the endpoint is deleted")
	cmd.Flags().StringVar(&kind, "kind", "", "training, processing, transform or endpoint, where several have the name")
	cmd.Flags().BoolVarP(&stamps, "timestamps", "t", false, "print when each line was written")
	return cmd
}

// logReader follows the streams of one job or endpoint.
type logReader struct {
	*app
	c       *client.Client
	source  writer
	name    string
	stamps  bool
	streams []*logStream // in the order in which they were found
	out     *bufio.Writer
	line    *progress
	wrote   bool
	now     standing
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
		var err error
		if l.now, err = l.source.look(ctx, l.c, l.name); err != nil {
			return err
		}
		// it was looked at first: if it was over, what is read now is all
		if err := l.drain(ctx); err != nil {
			return err
		}
		if l.now.over || !follow {
			return l.end(follow)
		}
		if !l.wrote {
			l.line.show(l.name + ": " + l.now.text)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(lookEvery):
		}
	}
}

func (l *logReader) end(follow bool) error {
	if !follow {
		return nil
	}
	l.line.clear()
	text := l.name + ": " + l.now.status + "\n"
	failed := l.now.status == "Failed"
	if failed {
		text += printable(l.now.reason) + "\n"
	}
	_, err := io.WriteString(l.Err, text)
	if failed {
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

// find finds the streams; one keeps its place once it is known.
func (l *logReader) find(ctx context.Context) error {
	in := map[string]any{"logGroupName": l.source.group}
	if l.source.prefix != "" {
		in["logStreamNamePrefix"] = l.source.prefix
	}
	for {
		var page struct {
			LogStreams []foundStream `json:"logStreams"`
			NextToken  string        `json:"nextToken"`
		}
		err := l.c.JSON(ctx, "logs", logsTarget+"DescribeLogStreams", in, &page)
		if client.Code(err) == "ResourceNotFoundException" {
			return nil // nothing was written yet
		}
		if err != nil {
			return err
		}
		for _, s := range page.LogStreams {
			host, own := l.source.host(s, l.now.created)
			if own && !slices.ContainsFunc(l.streams, func(known *logStream) bool { return known.name == s.Name }) {
				l.streams = append(l.streams, &logStream{name: s.Name, host: host})
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
	in := map[string]any{"logGroupName": l.source.group, "logStreamName": s.name, "startFromHead": true}
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
	if l.now.hosts > 1 || len(l.streams) > 1 {
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
