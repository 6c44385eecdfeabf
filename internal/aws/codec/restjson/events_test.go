package restjson

import (
	"errors"
	"io"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	api "clary/internal/api/sagemakerruntime"
	"clary/internal/aws/apierr"
	"clary/internal/aws/codec/eventstream"
	"clary/internal/aws/facts"
)

func runtimeModel(t *testing.T) *facts.Model {
	t.Helper()
	m, err := facts.Load("sagemaker-runtime")
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// What stands beside a stream is in headers, and its bytes are as they are.
func TestEvents(t *testing.T) {
	t.Parallel()
	o := runtimeModel(t).Operations["InvokeEndpointWithResponseStream"]
	broken := errors.New("broken")
	failed := apierr.New(424, "ModelStreamError", "It broke.")
	failed.Fields = map[string]string{"ErrorCode": "StreamBroken"}
	for what, c := range map[string]struct {
		ends, err error
		want      []string
	}{
		"all of it":             {nil, nil, nil},
		"an error of the model": {failed, nil, []string{`:exception-type=ModelStreamError :content-type=application/json :message-type=exception {"ErrorCode":"StreamBroken","Message":"It broke.","message":"It broke."}`}},
		"an error of ours":      {broken, broken, nil},
		"one of no stream":      {apierr.Validation("no"), apierr.Validation("no"), nil},
	} {
		w := httptest.NewRecorder()
		err := New().Events(w, o, &api.InvokeEndpointWithResponseStreamOutput{ContentType: "text/csv", InvokedProductionVariant: "v"}, func(send func(any) error) error {
			if !w.Flushed {
				t.Error(what, ": the head waits for the first event")
			}
			for _, s := range []string{"a\x00", ""} {
				if err := send(&api.ResponseStream{PayloadPart: &api.PayloadPart{Bytes: []byte(s)}}); err != nil {
					return err
				}
			}
			return c.ends
		}, "r")
		if (err == nil) != (c.err == nil) || err != nil && err.Error() != c.err.Error() {
			t.Errorf("%s: %v", what, err)
		}
		for name, want := range map[string]string{
			"Content-Type": eventstream.ContentType, "X-Amzn-Requestid": "r", "X-Amzn-Sagemaker-Content-Type": "text/csv",
			"X-Amzn-Invoked-Production-Variant": "v", "X-Amzn-Sagemaker-Custom-Attributes": "", "Content-Length": "",
		} {
			if got := w.Header().Get(name); got != want {
				t.Errorf("%s: %s: %q", what, name, got)
			}
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
		part := `:event-type=PayloadPart :content-type=application/octet-stream :message-type=event `
		if want := append([]string{part + "a\x00", part}, c.want...); !slices.Equal(got, want) {
			t.Errorf("%s: %q", what, got)
		}
	}
	if err := New().Events(httptest.NewRecorder(), o.Model.Operations["InvokeEndpoint"], nil, nil, "r"); err == nil {
		t.Error("an operation without events")
	}
}

// A payload that is bytes as they are is never JSON, either way, and has the
// bound that its codec was given.
func TestOpaque(t *testing.T) {
	t.Parallel()
	m := runtimeModel(t)
	o := m.Operations["InvokeEndpoint"]
	body := []byte(`{"not":"ours"`)
	r := request(t, "POST", "/endpoints/e-1/invocations", string(body), "Content-Type", "text/csv", "X-Amzn-SageMaker-Inference-Id", "7")
	var in api.InvokeEndpointInput
	if err := New().Decode(o, r, body, &in); err != nil || in.EndpointName != "e-1" || in.ContentType != "text/csv" || in.InferenceId != "7" || string(in.Body) != string(body) {
		t.Errorf("%+v, %v", in, err)
	}
	if err := New().WithPayload(12).Decode(o, r, body, &in); err == nil || !strings.Contains(err.Error(), "less than or equal to 12") {
		t.Error(err)
	}
	large := make([]byte, 6291457)
	if err := New().Decode(o, r, large, &in); err == nil || !strings.Contains(err.Error(), "less than or equal to 6291456") {
		t.Error(err)
	}
	if err := New().WithPayload(7_000_000).Decode(o, r, large, &in); err != nil {
		t.Error(err)
	}
	// what nothing serves is decoded for policies alone
	members := map[string]any{}
	r = request(t, "POST", "/endpoints/e-1/async-invocations", "x")
	if err := New().Decode(m.Operations["InvokeEndpointAsync"], r, []byte("x"), &members); err != nil || members["EndpointName"] != "e-1" {
		t.Error(members, err)
	}
	w := httptest.NewRecorder()
	out := &api.InvokeEndpointOutput{Body: body, ContentType: "text/x", InvokedProductionVariant: "v"}
	if err := New().Encode(w, r, o, out, "r"); err != nil {
		t.Fatal(err)
	}
	got, _ := io.ReadAll(w.Body)
	if string(got) != string(body) || w.Header().Get("Content-Type") != "text/x" || w.Header().Get("X-Amzn-Invoked-Production-Variant") != "v" || w.Header().Get("Content-Length") != "13" {
		t.Errorf("%q %v", got, w.Header())
	}
	if _, ok := w.Header()["X-Amzn-Sagemaker-Custom-Attributes"]; ok {
		t.Error("an empty header")
	}
}
