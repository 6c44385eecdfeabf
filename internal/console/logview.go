package console

import (
	"fmt"
	"net/url"
	"time"

	"github.com/go-json-experiment/json"

	"clary/internal/api/logs"
	sm "clary/internal/api/sagemaker"
)

const (
	trainingGroup = "/aws/sagemaker/TrainingJobs"
	tailLines     = 200
	pageLines     = 1000
)

type logLine struct {
	At   time.Time
	Text string
}

type logBody struct {
	Job, Path     string
	Stream        string
	Lines         []logLine
	Live          string // address of what comes next, while the job runs
	Older, Newer  string // addresses
	Search        string
	Searched      bool
	More          string // address of more matches
	Running, None bool
}

// stream finds a job's log stream; "" while there is none.
func (v *view) stream(job string) (string, error) {
	out, err := ask[logs.DescribeLogStreamsResponse](v, "logs", "DescribeLogStreams",
		&logs.DescribeLogStreamsRequest{LogGroupName: trainingGroup, LogStreamNamePrefix: job + "/", Limit: ptr(1)})
	if e, ok := refused(err); ok && e.Code == "ResourceNotFoundException" {
		return "", nil
	}
	if err != nil || len(out.LogStreams) == 0 {
		return "", err
	}
	return out.LogStreams[0].LogStreamName, nil
}

// jobLog is the end of a job's log, for its page.
func (v *view) jobLog(job *sm.DescribeTrainingJobResponse) (*logBody, error) {
	b := &logBody{Job: job.TrainingJobName, Path: jobPath(job.TrainingJobName), Running: running(job.TrainingJobStatus)}
	stream, err := v.stream(b.Job)
	if err != nil {
		return nil, err
	}
	if b.Stream = stream; stream == "" {
		b.None = true
		if b.Running {
			b.Live = b.Path + "/log/live"
		}
		return b, nil
	}
	out, err := v.events(logs.GetLogEventsRequest{LogStreamName: stream, Limit: ptr(tailLines)})
	if err != nil {
		return nil, err
	}
	b.Lines = linesOf(out.Events)
	if b.Running {
		b.Live = b.Path + "/log/live?" + url.Values{"after": {out.NextForwardToken}}.Encode()
	}
	return b, nil
}

func (v *view) events(in logs.GetLogEventsRequest) (*logs.GetLogEventsResponse, error) {
	in.LogGroupName = trainingGroup
	return ask[logs.GetLogEventsResponse](v, "logs", "GetLogEvents", &in)
}

func linesOf(list []logs.OutputLogEvent) []logLine {
	out := make([]logLine, 0, len(list))
	for _, e := range list {
		l := logLine{Text: e.Message}
		if e.Timestamp != nil {
			l.At = time.UnixMilli(*e.Timestamp)
		}
		out = append(out, l)
	}
	return out
}

// trainingLog is the whole log in pages, or the lines that hold a text.
func (c *Console) trainingLog(v *view) error {
	job, err := v.describeJob()
	if err != nil {
		return err
	}
	b := &logBody{Job: job.TrainingJobName, Path: jobPath(job.TrainingJobName), Search: v.r.FormValue("q"), Running: running(job.TrainingJobStatus)}
	if b.Stream, err = v.stream(b.Job); err != nil {
		return err
	}
	switch {
	case b.Stream == "":
		b.None = true
	case b.Search != "":
		err = v.search(b)
	default:
		err = v.logPage(b)
	}
	if err != nil {
		return err
	}
	return v.show("log", "Log of "+b.Job, "training-jobs", b)
}

func (v *view) logPage(b *logBody) error {
	head := true
	out, err := v.events(logs.GetLogEventsRequest{
		LogStreamName: b.Stream, Limit: ptr(pageLines), NextToken: v.r.FormValue("page"), StartFromHead: &head,
	})
	if err != nil {
		return err
	}
	b.Lines = linesOf(out.Events)
	at := func(token string) string { return b.Path + "/log?" + url.Values{"page": {token}}.Encode() }
	if v.r.FormValue("page") != "" {
		b.Older = at(out.NextBackwardToken)
	}
	if len(b.Lines) == pageLines {
		b.Newer = at(out.NextForwardToken)
	}
	return nil
}

func (v *view) search(b *logBody) error {
	b.Searched = true
	out, err := ask[logs.FilterLogEventsResponse](v, "logs", "FilterLogEvents", &logs.FilterLogEventsRequest{
		LogGroupName: trainingGroup, LogStreamNames: []string{b.Stream}, FilterPattern: quoted(b.Search),
		Limit: ptr(pageLines), NextToken: v.r.FormValue("page"),
	})
	if err != nil {
		return err
	}
	for _, e := range out.Events {
		l := logLine{Text: e.Message}
		if e.Timestamp != nil {
			l.At = time.UnixMilli(*e.Timestamp)
		}
		b.Lines = append(b.Lines, l)
	}
	if out.NextToken != "" {
		b.More = b.Path + "/log?" + url.Values{"q": {b.Search}, "page": {out.NextToken}}.Encode()
	}
	return nil
}

// quoted is a filter pattern that matches the text itself.
func quoted(s string) string {
	var out []byte
	for _, c := range []byte(s) {
		if c == '"' || c == '\\' {
			out = append(out, '\\')
		}
		out = append(out, c)
	}
	return `"` + string(out) + `"`
}

// sentLine is a log line as the page's script takes it.
type sentLine struct {
	At   string `json:"at"`
	Text string `json:"text"`
}

// trainingTail sends lines as they come, until the job is over and all of its
// lines were sent.
func (c *Console) trainingTail(v *view) error {
	job, err := v.describeJob()
	if err != nil {
		return err
	}
	s := v.eventStream()
	ctx := v.r.Context()
	changed := c.cfg.Changes(ctx)
	token := v.r.FormValue("after")
	if id := v.r.Header.Get("Last-Event-ID"); id != "" {
		token = id // the browser came back
	}
	var grown <-chan struct{}
	stream := ""
	for {
		if stream == "" {
			if stream, err = v.stream(job.TrainingJobName); err != nil {
				return v.cut(err)
			}
			if stream != "" {
				grown = c.cfg.Grown(ctx, v.call.Account, v.call.Region, trainingGroup, stream)
			}
		}
		// the status first: what it sees ended has no line after what is read next
		if job, err = v.describeJob(); err != nil {
			return v.cut(err)
		}
		if stream != "" {
			if token, err = v.sendNew(s, stream, token); err != nil {
				return v.cut(err)
			}
		}
		if !running(job.TrainingJobStatus) {
			s.send("over", "", token)
			return nil
		}
		if !s.wait(ctx, grown, changed) {
			return nil
		}
	}
}

// sendNew sends what is in the stream after token, and gives the next token.
func (v *view) sendNew(s *events, stream, token string) (string, error) {
	head := true
	for {
		out, err := v.events(logs.GetLogEventsRequest{LogStreamName: stream, NextToken: token, StartFromHead: &head, Limit: ptr(pageLines)})
		if err != nil {
			return token, err
		}
		if len(out.Events) == 0 {
			return out.NextForwardToken, nil
		}
		list := make([]sentLine, 0, len(out.Events))
		for _, l := range linesOf(out.Events) {
			list = append(list, sentLine{l.At.UTC().Format("2006-01-02T15:04:05.000Z"), l.Text})
		}
		b, err := json.Marshal(list)
		if err != nil {
			return token, fmt.Errorf("log lines: %w", err)
		}
		token = out.NextForwardToken
		s.send("lines", string(b), token)
	}
}
