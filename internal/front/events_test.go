package front

import (
	"context"
	"errors"
	"net/http/httptest"
	"testing"

	"clary/internal/aws/codec"
	"clary/internal/aws/codec/awsjson"
	"clary/internal/aws/codec/restxml"
	"clary/internal/aws/facts"
)

// session counts how often its events were asked for.
type session struct{ asked, over int }

func (*session) Head() any { return nil }

func (s *session) Each(ctx context.Context, _ func(any) error) error {
	s.asked++
	if ctx.Err() != nil {
		s.over++
	}
	return nil
}

// A session that has begun is ended, also where its events cannot be sent.
func TestSessionEnds(t *testing.T) {
	t.Parallel()
	m, err := facts.Load("logs")
	if err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		cd        codec.Codec
		operation string
		over      int
	}{
		"sent":                     {awsjson.New("1.1"), "StartLiveTail", 0},
		"a protocol without":       {restxml.New(), "StartLiveTail", 1},
		"an operation without any": {awsjson.New("1.1"), "GetLogEvents", 1},
	} {
		s := &session{}
		q := &request{
			r: httptest.NewRequestWithContext(t.Context(), "POST", "/", nil), w: &answer{ResponseWriter: httptest.NewRecorder()},
			route: route{op: m.Operations[c.operation]},
		}
		if err := q.events(c.cd, s); (err != nil) != (c.over > 0) || errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", what, err)
		}
		if s.asked != 1 || s.over != c.over {
			t.Errorf("%s: asked %d times, %d of them when it was over", what, s.asked, s.over)
		}
	}
}
