package console

import (
	"cmp"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"clary/internal/api/logs"
)

const (
	tailLines = 200
	pageLines = 1000
)

type logLine struct {
	At   time.Time
	Host string // that wrote it, where lines of several are shown
	Text string
}

// logBody is a view of the log of a job or an endpoint.
type logBody struct {
	Of, Path      string    // whose log: its name and its page
	Created       time.Time // of that; others had its name before
	Group, Stream string
	Host          string // who wrote it; "" if all did
	Hosts         []link // where there are several
	Hosted        string // what these are called
	Lines         []logLine
	Live          string // address of what comes next, while the job runs
	Older, Newer  string // addresses
	Search        string
	Note          string // what the streams are, where that needs words
	More          string // address of more matches
	who           string // where there is one host, as people say it
	prefix        string // of the names of all streams that may be shown
	hostOf        func(stream string) string
}

// logOf begins a view of the log of the host that is asked for; without one, of
// all hosts or of the main one. part and q lead to the same view of another host's.
func (v *view) logOf(j *job, all bool, part string, q url.Values) (*logBody, error) {
	b := &logBody{Of: j.Name, Path: j.Path, Created: j.Created, Group: j.Kind.Group, Host: v.r.FormValue("host"), Hosted: "Host", who: "the job", hostOf: hostOf, Note: j.Kind.LogNote}
	hosts := j.logs()
	all = all && len(hosts) > 1
	if all {
		hosts = append([]string{""}, hosts...)
	}
	if b.Host == "" && !all {
		b.Host = j.mainLog()
	}
	if !slices.Contains(hosts, b.Host) {
		return nil, errNoPage
	}
	for _, h := range hosts {
		if len(hosts) > 1 {
			b.Hosts = append(b.Hosts, link{cmp.Or(h, "All hosts"), address(j.Path+part, h, q), h == b.Host})
		}
	}
	if b.prefix = b.Of + "/"; b.Host != "" {
		if b.prefix = j.stream(b.Host); slices.Contains(j.found, b.prefix) {
			b.Stream = b.prefix
		}
	}
	return b, nil
}

// stream is the one that a host writes to, JOB/HOST-SECONDS, or another writer on
// it, JOB/HOST-SECONDS/WRITER.
func (j *job) stream(writer string) string {
	host, more, _ := strings.Cut(writer, "/")
	s := fmt.Sprintf("%s/%s-%d", j.Name, host, j.Created.Unix())
	if more != "" {
		s += "/" + more
	}
	return s
}

// hostOf is who writes to a stream.
func hostOf(stream string) string {
	_, name, _ := strings.Cut(stream, "/")
	host, more, _ := strings.Cut(name, "/")
	if i := strings.LastIndexByte(host, '-'); i > 0 {
		host = host[:i]
	}
	if more != "" {
		host += "/" + more
	}
	return host
}

// mainLog is whose lines tell most.
func (j *job) mainLog() string {
	if j.Kind.main != nil {
		return j.Kind.main(j)
	}
	return j.mainHost()
}

// address is one of a host's log.
func address(path, host string, q url.Values) string {
	q = maps.Clone(q)
	if host != "" {
		q.Set("host", host)
	}
	if len(q) == 0 {
		return path
	}
	return path + "?" + q.Encode()
}

// Instance is the one that the writer of the lines is on.
func (b *logBody) Instance() string {
	host, _, _ := strings.Cut(b.Host, "/")
	return host
}

// Writer is who wrote the lines, as people say it.
func (b *logBody) Writer() string {
	if len(b.Hosts) > 0 {
		return b.Host
	}
	return b.who
}

// address leads to a part of the log that is shown.
func (b *logBody) address(part string, q url.Values) string {
	host := b.Host
	if len(b.Hosts) == 0 {
		host = "" // there is no other
	}
	return address(b.Path+part, host, q)
}

// Whole is the address of the whole log.
func (b *logBody) Whole() string { return b.address("/log", url.Values{}) }

// findStream finds the host's stream; it stays "" while there is none.
func (v *view) findStream(b *logBody) error {
	if b.Stream != "" {
		return nil
	}
	out, err := ask[logs.DescribeLogStreamsResponse](v, "logs", "DescribeLogStreams",
		&logs.DescribeLogStreamsRequest{LogGroupName: b.Group, LogStreamNamePrefix: b.prefix, Limit: ptr(1)})
	if e, ok := refused(err); ok && e.Code == "ResourceNotFoundException" {
		return nil
	}
	if err != nil {
		return err
	}
	// others begin with its name, and come after it
	if list := out.LogStreams; len(list) > 0 && list[0].LogStreamName == b.prefix {
		b.Stream = b.prefix
	}
	return nil
}

// jobLog is the end of a job's log, for its page.
func (v *view) jobLog(j *job) (*logBody, error) {
	b, err := v.logOf(j, false, "", url.Values{})
	if err != nil {
		return nil, err
	}
	if err := v.findStream(b); err != nil {
		return nil, err
	}
	return b, v.tailOf(b, j.Running)
}

// tailOf reads the end of the log and, where more may come, says where.
func (v *view) tailOf(b *logBody, goesOn bool) error {
	next := url.Values{}
	if b.Stream != "" {
		out, err := v.events(logs.GetLogEventsRequest{LogGroupName: b.Group, LogStreamName: b.Stream, Limit: ptr(tailLines)})
		if err != nil {
			return err
		}
		b.Lines = linesOf(out.Events)
		next.Set("after", out.NextForwardToken)
	}
	if goesOn {
		b.Live = b.address("/log/live", next)
	}
	return nil
}

func (v *view) events(in logs.GetLogEventsRequest) (*logs.GetLogEventsResponse, error) {
	return ask[logs.GetLogEventsResponse](v, "logs", "GetLogEvents", &in)
}

func linesOf(list []logs.OutputLogEvent) []logLine {
	out := make([]logLine, 0, len(list))
	for _, e := range list {
		out = append(out, logLine{At: millis(e.Timestamp), Text: e.Message})
	}
	return out
}

func millis(ms *int64) time.Time {
	if ms == nil {
		return time.Time{}
	}
	return time.UnixMilli(*ms)
}

// logPage is a host's whole log in pages, or the lines that hold a text, of all
// hosts unless one is asked for.
func (k *jobKind) logPage(v *view) error {
	j, err := v.job(k)
	if err != nil {
		return err
	}
	search := v.r.FormValue("q")
	q := url.Values{}
	if search != "" {
		q.Set("q", search)
	}
	if err := v.prepared(j); err != nil {
		return err
	}
	b, err := v.logOf(j, search != "", "/log", q)
	if err != nil {
		return err
	}
	if search == "" {
		if err := v.findStream(b); err != nil {
			return err
		}
	}
	return v.showLog(b, search, k.Section)
}

// showLog is the page of a log, or of those of its lines that hold a text.
func (v *view) showLog(b *logBody, search, section string) error {
	read := v.pageOf
	if b.Search = search; search != "" {
		read = v.search
	}
	if err := read(b); err != nil {
		return err
	}
	return v.show("log", "Log of "+b.Of, section, b)
}

func (v *view) pageOf(b *logBody) error {
	if b.Stream == "" {
		return nil
	}
	head := true
	out, err := v.events(logs.GetLogEventsRequest{
		LogGroupName: b.Group, LogStreamName: b.Stream, Limit: ptr(pageLines), NextToken: v.r.FormValue("page"), StartFromHead: &head,
	})
	if err != nil {
		return err
	}
	b.Lines = linesOf(out.Events)
	at := func(token string) string { return b.address("/log", url.Values{"page": {token}}) }
	if v.r.FormValue("page") != "" {
		b.Older = at(out.NextBackwardToken)
	}
	if len(b.Lines) == pageLines {
		b.Newer = at(out.NextForwardToken)
	}
	return nil
}

func (v *view) search(b *logBody) error {
	in := &logs.FilterLogEventsRequest{
		LogGroupName: b.Group, FilterPattern: quoted(b.Search), StartTime: ptr(b.Created.UnixMilli()), Limit: ptr(pageLines), NextToken: v.r.FormValue("page"),
	}
	if b.Host == "" {
		in.LogStreamNamePrefix = b.prefix
	} else {
		in.LogStreamNames = []string{b.prefix}
	}
	out, err := ask[logs.FilterLogEventsResponse](v, "logs", "FilterLogEvents", in)
	if e, ok := refused(err); ok && e.Code == "ResourceNotFoundException" {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range out.Events {
		l := logLine{At: millis(e.Timestamp), Text: e.Message}
		if b.Host == "" {
			l.Host = b.hostOf(e.LogStreamName)
		}
		b.Lines = append(b.Lines, l)
	}
	if out.NextToken != "" {
		b.More = b.address("/log", url.Values{"q": {b.Search}, "page": {out.NextToken}})
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

// tail sends a host's lines as they come, until the job is over and all of them
// were sent.
func (k *jobKind) tail(v *view) error {
	j, err := v.job(k)
	if err != nil {
		return err
	}
	if err := v.prepared(j); err != nil {
		return err
	}
	b, err := v.logOf(j, false, "", url.Values{})
	if err != nil {
		return err
	}
	return v.follow(b, v.findStream, func() (bool, error) {
		j, err := v.job(k)
		return err == nil && !j.Running, err
	})
}

// follow sends a log's lines as they come, until nothing writes to it any more
// and all of them were sent. find looks for its stream while there is none.
func (v *view) follow(b *logBody, find func(*logBody) error, over func() (bool, error)) error {
	s := v.eventStream()
	ctx := v.r.Context()
	changed := v.c.cfg.Changes(ctx)
	token := v.r.FormValue("after")
	if id := v.r.Header.Get("Last-Event-ID"); id != "" {
		token = id // the browser came back
	}
	var grown <-chan struct{}
	for {
		if b.Stream == "" {
			if err := find(b); err != nil {
				return v.cut(err)
			}
		}
		if b.Stream != "" && grown == nil {
			grown = v.c.cfg.Grown(ctx, v.call.Account, v.call.Region, b.Group, b.Stream)
		}
		// the status first: what it sees ended has no line after what is read next
		ended, err := over()
		if err != nil {
			return v.cut(err)
		}
		if b.Stream != "" {
			if token, err = v.sendNew(s, b, token); err != nil {
				return v.cut(err)
			}
		}
		if ended {
			s.send("over", "", token)
			return nil
		}
		if !s.wait(ctx, grown, changed) {
			return nil
		}
	}
}

// sendNew sends what is in the stream after token, and gives the next token.
func (v *view) sendNew(s *events, b *logBody, token string) (string, error) {
	head := true
	for {
		out, err := v.events(logs.GetLogEventsRequest{LogGroupName: b.Group, LogStreamName: b.Stream, NextToken: token, StartFromHead: &head, Limit: ptr(pageLines)})
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
		text, err := json.Marshal(list)
		if err != nil {
			return token, fmt.Errorf("log lines: %w", err)
		}
		token = out.NextForwardToken
		s.send("lines", string(text), token)
	}
}
