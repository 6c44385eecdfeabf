package console

import (
	"net/url"
	"slices"
	"strings"

	"clary/internal/api/logs"
	sm "clary/internal/api/sagemaker"
)

// shownStreams is how many of an endpoint's log streams, the last ones written
// to, a page leads to.
const shownStreams = 20

// logOfEndpoint begins a view of the log stream that is asked for; without one,
// of all or of the last that was written to. part and q lead to the same view of
// another's.
func (v *view) logOfEndpoint(d *sm.DescribeEndpointOutput, all bool, part string, q url.Values) (*logBody, error) {
	b := &logBody{
		Of: d.EndpointName, Path: endpointPath(d.EndpointName), Created: d.CreationTime.Time, Group: "/aws/sagemaker/Endpoints/" + d.EndpointName,
		Host: v.r.FormValue("host"), Hosted: "Stream", who: "the endpoint", hostOf: func(stream string) string { return stream },
	}
	names, err := v.streamsOf(b)
	if err != nil {
		return nil, err
	}
	switch {
	case b.Host != "" && !slices.Contains(names, b.Host):
		return nil, errNoPage
	case b.Host == "" && !all && len(names) > 0:
		b.Host = names[0]
	}
	b.Stream, b.prefix = b.Host, b.Host
	if len(names) < 2 {
		return b, nil
	}
	if all {
		b.Hosts = append(b.Hosts, link{"All streams", address(b.Path+part, "", q), b.Host == ""})
	}
	slices.Sort(names)
	for _, n := range names {
		b.Hosts = append(b.Hosts, link{n, address(b.Path+part, n, q), n == b.Host})
	}
	return b, nil
}

// streamsOf are the streams of this endpoint, not of one that had its name
// before; the last that was written to is first.
func (v *view) streamsOf(b *logBody) ([]string, error) {
	newest := true
	out, err := ask[logs.DescribeLogStreamsResponse](v, "logs", "DescribeLogStreams",
		&logs.DescribeLogStreamsRequest{LogGroupName: b.Group, OrderBy: "LastEventTime", Descending: &newest, Limit: ptr(shownStreams)})
	if e, ok := refused(err); ok && e.Code == "ResourceNotFoundException" {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var names []string
	for _, s := range out.LogStreams {
		if s.CreationTime == nil || *s.CreationTime >= b.Created.UnixMilli() {
			names = append(names, s.LogStreamName)
		}
	}
	return names, nil
}

// endpointLog is a stream's whole log in pages, or the lines that hold a text.
func (c *Console) endpointLog(v *view) error {
	d, err := v.describeEndpoint(v.r.PathValue("name"))
	if err != nil {
		return err
	}
	search := v.r.FormValue("q")
	q := url.Values{}
	if search != "" {
		q.Set("q", search)
	}
	b, err := v.logOfEndpoint(d, search != "", "/log", q)
	if err != nil {
		return err
	}
	return v.showLog(b, search, "endpoints")
}

// endpointTail sends a stream's lines as they come, until the endpoint is gone.
func (c *Console) endpointTail(v *view) error {
	d, err := v.describeEndpoint(v.r.PathValue("name"))
	if err != nil {
		return err
	}
	b, err := v.logOfEndpoint(d, false, "", url.Values{})
	if err != nil {
		return err
	}
	find := func(b *logBody) error {
		names, err := v.streamsOf(b)
		if len(names) > 0 {
			b.Stream = names[0]
		}
		return err
	}
	return v.follow(b, find, func() (bool, error) {
		now, err := v.describeEndpoint(d.EndpointName)
		if e, ok := refused(err); ok && strings.Contains(e.Message, "Could not find endpoint ") {
			return true, nil
		}
		if err != nil {
			return false, err
		}
		return now.EndpointStatus == "Failed" || !now.CreationTime.Equal(d.CreationTime.Time), nil
	})
}
