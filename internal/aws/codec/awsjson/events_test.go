package awsjson

import (
	"errors"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	apilogs "clary/internal/api/logs"
	"clary/internal/aws/apierr"
	"clary/internal/aws/codec/eventstream"
	"clary/internal/aws/facts"
)

func TestEvents(t *testing.T) {
	t.Parallel()
	m, err := facts.Load("logs")
	if err != nil {
		t.Fatal(err)
	}
	o := m.Operations["StartLiveTail"]
	yes := true
	broken := errors.New("broken")
	for what, c := range map[string]struct {
		events []any
		ends   error
		want   []string
		err    error
	}{
		"a session": {
			events: []any{
				&apilogs.StartLiveTailResponseStream{SessionStart: &apilogs.LiveTailSessionStart{SessionId: "s"}},
				&apilogs.StartLiveTailResponseStream{SessionUpdate: &apilogs.LiveTailSessionUpdate{SessionMetadata: &apilogs.LiveTailSessionMetadata{Sampled: &yes}}},
			},
			ends: apierr.New(400, "SessionTimeoutException", "It is over."),
			want: []string{
				`:event-type=initial-response :content-type=application/x-amz-json-1.1 :message-type=event {}`,
				`:event-type=sessionStart :content-type=application/json :message-type=event {"sessionId":"s"}`,
				`:event-type=sessionUpdate :content-type=application/json :message-type=event {"sessionMetadata":{"sampled":true}}`,
				`:exception-type=SessionTimeoutException :content-type=application/json :message-type=exception {"message":"It is over."}`,
			},
		},
		"it breaks":             {ends: broken, err: broken, want: []string{`:event-type=initial-response :content-type=application/x-amz-json-1.1 :message-type=event {}`}},
		"an error of no stream": {ends: apierr.Validation("x"), err: apierr.Validation("x"), want: []string{`:event-type=initial-response :content-type=application/x-amz-json-1.1 :message-type=event {}`}},
	} {
		w := httptest.NewRecorder()
		err := New("1.1").Events(w, o, nil, func(send func(any) error) error {
			for _, e := range c.events {
				if err := send(e); err != nil {
					return err
				}
			}
			return c.ends
		}, "r")
		if (err == nil) != (c.err == nil) || err != nil && err.Error() != c.err.Error() {
			t.Errorf("%s: %v, want %v", what, err, c.err)
		}
		if got := w.Header(); got.Get("Content-Type") != eventstream.ContentType || got.Get("X-Amzn-Requestid") != "r" || got.Get("Content-Length") != "" {
			t.Errorf("%s: %v", what, got)
		}
		var got []string
		for b := w.Body.Bytes(); len(b) > 0; {
			m, rest, ok, err := eventstream.Take(b)
			if !ok || err != nil {
				t.Fatal(what, err)
			}
			var s strings.Builder
			for _, h := range m.Headers {
				s.WriteString(h.Name + "=" + h.Value + " ")
			}
			got, b = append(got, s.String()+string(m.Payload)), rest
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s:\n%s\nwant\n%s", what, strings.Join(got, "\n"), strings.Join(c.want, "\n"))
		}
	}
	for what, e := range map[string]any{"nothing": nil, "no pointer": apilogs.StartLiveTailResponseStream{}, "no member": &apilogs.StartLiveTailResponseStream{}, "another's": &struct {
		X *int `json:"x"`
	}{new(int)}} {
		err := New("1.1").Events(httptest.NewRecorder(), o, nil, func(send func(any) error) error { return send(e) }, "r")
		if err == nil {
			t.Errorf("%s: no error", what)
		}
	}
	if err := New("1.1").Events(httptest.NewRecorder(), m.Operations["GetLogEvents"], nil, nil, "r"); err == nil {
		t.Error("an operation without a stream has one")
	}
}
