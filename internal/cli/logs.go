package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"clary/internal/client"
)

const (
	logsTarget = "Logs_20140328."
	jobsGroup  = "/aws/sagemaker/TrainingJobs"
	lookEvery  = 500 * time.Millisecond
)

func (a *app) logs() *cobra.Command {
	var follow, stamps bool
	cmd := &cobra.Command{
		Use: "logs JOB", Short: "Print a training job's log", Args: cobra.ExactArgs(1),
		Long: "Print a training job's log. With -f, go on until the job has ended; the exit code is then 1 if it failed.",
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
			l := &logReader{app: a, c: c, job: args[0], stamps: stamps, tokens: map[string]string{}, out: bufio.NewWriter(a.Out)}
			l.line = newProgress(a.Err)
			defer l.line.clear()
			if err := l.read(cmd.Context(), follow); err != nil {
				return worded(err, t.Addr)
			}
			return nil
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on until the job has ended")
	cmd.Flags().BoolVarP(&stamps, "timestamps", "t", false, "print when each line was written")
	return cmd
}

// logReader follows the streams of one job.
type logReader struct {
	*app
	c      *client.Client
	job    string
	stamps bool
	tokens map[string]string // by stream: where to go on
	order  []string
	out    *bufio.Writer
	line   *progress
	wrote  bool
}

func (l *logReader) read(ctx context.Context, follow bool) error {
	for {
		var j job
		if err := l.c.JSON(ctx, sagemaker, "SageMaker.DescribeTrainingJob", map[string]string{"TrainingJobName": l.job}, &j); err != nil {
			if client.Code(err) == "ValidationException" {
				return fmt.Errorf("no training job %s", l.job)
			}
			return err
		}
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
	s := j.SecondaryStatus
	if n := len(j.SecondaryStatusTransitions); n > 0 && j.SecondaryStatusTransitions[n-1].StatusMessage != "" {
		s += ", " + j.SecondaryStatusTransitions[n-1].StatusMessage
	}
	return s
}

func (l *logReader) end(j job, follow bool) error {
	if !follow {
		return nil
	}
	l.line.clear()
	text := l.job + ": " + j.TrainingJobStatus + "\n"
	if j.TrainingJobStatus == "Failed" {
		text += printable(j.FailureReason) + "\n"
	}
	_, err := io.WriteString(l.Err, text)
	if j.TrainingJobStatus == "Failed" {
		return errors.Join(Exit(1), err)
	}
	return err
}

// drain prints what is new in every stream.
func (l *logReader) drain(ctx context.Context) error {
	if err := l.streams(ctx); err != nil {
		return err
	}
	for _, s := range l.order {
		if err := l.stream(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// streams finds the job's streams; a stream keeps its place once it is known.
func (l *logReader) streams(ctx context.Context) error {
	in := map[string]any{"logGroupName": jobsGroup, "logStreamNamePrefix": l.job + "/"}
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
			if _, known := l.tokens[s.LogStreamName]; !known {
				l.tokens[s.LogStreamName] = ""
				l.order = append(l.order, s.LogStreamName)
			}
		}
		if page.NextToken == "" {
			return nil
		}
		in["nextToken"] = page.NextToken
	}
}

func (l *logReader) stream(ctx context.Context, name string) error {
	for {
		in := map[string]any{"logGroupName": jobsGroup, "logStreamName": name, "startFromHead": true}
		if t := l.tokens[name]; t != "" {
			in["nextToken"] = t
		}
		var page struct {
			Events []struct {
				Timestamp int64  `json:"timestamp"`
				Message   string `json:"message"`
			} `json:"events"`
			NextForwardToken string `json:"nextForwardToken"`
		}
		if err := l.c.JSON(ctx, "logs", logsTarget+"GetLogEvents", in, &page); err != nil {
			return err
		}
		if len(page.Events) > 0 {
			l.line.clear()
			l.wrote = true
		}
		for _, e := range page.Events {
			if err := l.print(name, e.Timestamp, e.Message); err != nil {
				return err
			}
		}
		if err := l.out.Flush(); err != nil {
			return err
		}
		same := page.NextForwardToken == l.tokens[name]
		l.tokens[name] = page.NextForwardToken
		if same || len(page.Events) == 0 {
			return nil
		}
	}
}

func (l *logReader) print(stream string, ms int64, text string) error {
	head := ""
	if len(l.order) > 1 {
		_, host, _ := strings.Cut(stream, "/")
		head = host + "  "
	}
	if l.stamps {
		head = time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z") + "  " + head
	}
	_, err := fmt.Fprintln(l.out, head+text)
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
