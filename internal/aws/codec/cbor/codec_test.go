package cbor

import (
	"bytes"
	"encoding/hex"
	"errors"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"

	"clary/internal/api"
	apicw "clary/internal/api/cloudwatch"
	"clary/internal/aws/apierr"
	"clary/internal/aws/facts"
)

func operation(t testing.TB, name string) *facts.Operation {
	t.Helper()
	m, err := facts.Load("cloudwatch")
	if err != nil {
		t.Fatal(err)
	}
	return m.Operations[name]
}

func request(t testing.TB, body []byte) *http.Request {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/service/GraniteServiceVersion20100801/operation/X", bytes.NewReader(body))
	r.Header.Set("Smithy-Protocol", protocol)
	if len(body) > 0 {
		r.Header.Set("Content-Type", mediaType)
	}
	return r
}

// wire is v as a client might send it.
func wire(t testing.TB, v any) []byte {
	t.Helper()
	b, err := cbor.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

type m = map[string]any

func epoch(v any) cbor.Tag { return cbor.Tag{Number: 1, Content: v} }

func TestDecode(t *testing.T) {
	t.Parallel()
	datum := func(more m) m {
		d := m{"MetricName": "loss"}
		maps.Copy(d, more)
		return m{"Namespace": "N", "MetricData": []any{d}}
	}
	at := time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC)
	for name, c := range map[string]struct {
		body []byte
		want apicw.MetricDatum
	}{
		"double":           {wire(t, datum(m{"Value": 0.5})), apicw.MetricDatum{Value: api.Ptr(0.5)}},
		"half":             {wire(t, datum(m{"Value": cbor.RawMessage{0xf9, 0x38, 0x00}})), apicw.MetricDatum{Value: api.Ptr(0.5)}},
		"integer":          {wire(t, datum(m{"Value": -3})), apicw.MetricDatum{Value: api.Ptr(-3.0)}},
		"null is absent":   {wire(t, datum(m{"Value": nil, "Unit": nil})), apicw.MetricDatum{}},
		"undefined":        {wire(t, datum(m{"Value": cbor.RawMessage{0xf7}})), apicw.MetricDatum{}},
		"unknown":          {wire(t, datum(m{"Novelty": m{"a": []any{1}}, "Value": 1})), apicw.MetricDatum{Value: api.Ptr(1.0)}},
		"whole float":      {wire(t, datum(m{"StorageResolution": 60.0})), apicw.MetricDatum{StorageResolution: api.Ptr[int64](60)}},
		"time, float":      {wire(t, datum(m{"Timestamp": epoch(1767323045.678)})), apicw.MetricDatum{Timestamp: api.At(at)}},
		"time, integer":    {wire(t, datum(m{"Timestamp": epoch(1767323045)})), apicw.MetricDatum{Timestamp: api.At(at.Truncate(time.Second))}},
		"time before 1970": {wire(t, datum(m{"Timestamp": epoch(-0.25)})), apicw.MetricDatum{Timestamp: api.At(time.UnixMilli(-250))}},
		"lists": {
			wire(t, datum(m{"Values": []any{1, 2.5}, "Dimensions": []any{m{"Name": "a", "Value": "ü"}}})),
			apicw.MetricDatum{Values: []float64{1, 2.5}, Dimensions: []apicw.Dimension{{Name: "a", Value: "ü"}}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var in apicw.PutMetricDataInput
			if err := New().Decode(operation(t, "PutMetricData"), request(t, c.body), c.body, &in); err != nil {
				t.Fatal(err)
			}
			c.want.MetricName = "loss"
			if want := (apicw.PutMetricDataInput{Namespace: "N", MetricData: []apicw.MetricDatum{c.want}}); !reflect.DeepEqual(in, want) {
				t.Errorf("got  %+v\nwant %+v", in, want)
			}
		})
	}

	t.Run("indefinite lengths", func(t *testing.T) {
		t.Parallel()
		// {_ "Namespace": (_ "N", "S"), "MetricData": [_ ]}
		body, err := hex.DecodeString("bf694e616d6573706163657f614e6153ff6a4d6574726963446174619fffff")
		if err != nil {
			t.Fatal(err)
		}
		var in apicw.PutMetricDataInput
		if err := New().Decode(operation(t, "PutMetricData"), request(t, body), body, &in); err != nil || in.Namespace != "NS" {
			t.Errorf("%+v %v", in, err)
		}
	})
	t.Run("no body", func(t *testing.T) {
		t.Parallel()
		var in apicw.ListMetricsInput
		if err := New().Decode(operation(t, "ListMetrics"), request(t, nil), nil, &in); err != nil {
			t.Error(err)
		}
	})
}

func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	value := func(v any) []byte {
		return wire(t, m{"Namespace": "N", "MetricData": []any{m{"MetricName": "loss", "Value": v}}})
	}
	for name, c := range map[string]struct {
		body []byte
		code string
		text string
	}{
		"not CBOR":          {[]byte("{}x"), "SerializationException", "not valid CBOR"},
		"cut":               {value(0.5)[:12], "SerializationException", "not valid CBOR: unexpected EOF"},
		"text after":        {append(value(1), 0), "SerializationException", "not valid CBOR"},
		"key twice":         {[]byte{0xa2, 0x61, 'a', 1, 0x61, 'a', 2}, "SerializationException", "not valid CBOR"},
		"key is a number":   {[]byte{0xa1, 1, 2}, "SerializationException", "key of a map"},
		"a list":            {wire(t, []any{}), "SerializationException", "a list can not be converted to a structure"},
		"text for double":   {value("1"), "SerializationException", "a text string can not be converted to a double"},
		"NaN":               {value(math.NaN()), "SerializationException", "a floating-point number can not be converted to a double"},
		"infinity":          {value(math.Inf(1)), "SerializationException", "can not be converted to a double"},
		"a big number":      {value(cbor.RawMessage{0xc2, 0x49, 1, 0, 0, 0, 0, 0, 0, 0, 0}), "SerializationException", "not valid CBOR"},
		"bytes for text":    {wire(t, m{"Namespace": []byte("N")}), "SerializationException", "a byte string can not be converted to a string"},
		"not UTF-8":         {[]byte{0xa1, 0x69, 'N', 'a', 'm', 'e', 's', 'p', 'a', 'c', 'e', 0x61, 0xff}, "SerializationException", "not valid CBOR"},
		"half an integer":   {wire(t, m{"Namespace": "N", "MetricName": "x", "StartTime": epoch(1), "EndTime": epoch(2), "Period": 1.5}), "SerializationException", "can not be converted to an integer"},
		"a naked time":      {wire(t, m{"StartTime": 1}), "SerializationException", "an integer can not be converted to a timestamp"},
		"a time that is no": {wire(t, m{"StartTime": epoch(math.NaN())}), "SerializationException", "can not be converted to a timestamp"},
		"a far time":        {wire(t, m{"StartTime": epoch(int64(math.MaxInt64))}), "SerializationException", ""},
		"nothing there":     {wire(t, m{}), "ValidationException", "Value null at 'namespace' failed to satisfy constraint: Member must not be null"},
		"too deep":          {append(bytes.Repeat([]byte{0x81}, 100), 1), "SerializationException", "not valid CBOR"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			op := operation(t, "GetMetricStatistics")
			if strings.Contains(string(c.body), "MetricData") {
				op = operation(t, "PutMetricData")
			}
			err := New().Decode(op, request(t, c.body), c.body, nil)
			e, ok := errors.AsType[*apierr.Error](err)
			if !ok || e.Code != c.code || !strings.Contains(e.Message, c.text) || strings.Contains(e.Message, "cbor:") {
				t.Errorf("%v", err)
			}
		})
	}

	r := request(t, []byte{0xa0})
	r.Header.Set("Content-Type", "application/json")
	if e, ok := errors.AsType[*apierr.Error](New().Decode(operation(t, "ListMetrics"), r, []byte{0xa0}, nil)); !ok || e.Status != http.StatusUnsupportedMediaType {
		t.Errorf("%v", e)
	}
	r = request(t, nil)
	r.Header.Set("Smithy-Protocol", "rpc-v2-json")
	if err := New().Decode(operation(t, "ListMetrics"), r, nil, nil); err == nil {
		t.Error("another protocol was read")
	}
}

func TestEncode(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	at := time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC)
	out := &apicw.GetMetricStatisticsOutput{Label: "loss", Datapoints: []apicw.Datapoint{
		{Timestamp: api.At(at), Sum: api.Ptr(1.0), Unit: "None"}, {Timestamp: api.At(at.Truncate(time.Second)), Sum: api.Ptr(-0.5)},
	}}
	if err := New().Encode(w, nil, operation(t, "GetMetricStatistics"), out, "id"); err != nil {
		t.Fatal(err)
	}
	//nolint:staticcheck // the protocol spells this header in lower case
	if w.Code != 200 || w.Header().Get("Content-Type") != "application/cbor" || w.Header()["smithy-protocol"][0] != "rpc-v2-cbor" || w.Header().Get("X-Amzn-Requestid") != "id" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	want := wire(t, m{"Label": "loss", "Datapoints": []any{
		m{"Timestamp": epoch(1767323045.678), "Sum": 1.0, "Unit": "None"}, m{"Timestamp": epoch(int64(1767323045)), "Sum": -0.5},
	}})
	var got, expected any
	if err := errors.Join(cbor.Unmarshal(w.Body.Bytes(), &got), cbor.Unmarshal(want, &expected)); err != nil || !reflect.DeepEqual(got, expected) {
		t.Errorf("got  %v\nwant %v, %v", got, expected, err)
	}
	first := w.Body.String()
	w = httptest.NewRecorder()
	if err := New().Encode(w, nil, operation(t, "GetMetricStatistics"), out, "id"); err != nil || w.Body.String() != first {
		t.Errorf("not the same twice, %v", err)
	}

	w = httptest.NewRecorder()
	if err := New().Encode(w, nil, operation(t, "PutMetricData"), nil, "id"); err != nil || w.Body.Len() != 0 || w.Header().Get("Content-Type") != "" || w.Header().Get("Content-Length") != "0" {
		t.Errorf("%v %q, %v", w.Header(), w.Body, err)
	}
	w = httptest.NewRecorder()
	if err := New().Encode(w, nil, operation(t, "ListMetrics"), nil, "id"); err != nil || !bytes.Equal(w.Body.Bytes(), []byte{0xa0}) {
		t.Errorf("%x, %v", w.Body, err)
	}
}

func TestEncodeError(t *testing.T) {
	t.Parallel()
	r := request(t, nil)
	r.Header.Set("X-Amzn-Query-Mode", "true")
	for _, c := range []struct {
		e                *apierr.Error
		op               string
		typ, query, also string
	}{
		{apierr.New(400, "InvalidParameterValueException", "no"), "PutMetricData", "com.amazonaws.cloudwatch#InvalidParameterValueException", "InvalidParameterValue;Sender", ""},
		{apierr.New(500, "InternalServiceFault", "no"), "PutMetricData", "com.amazonaws.cloudwatch#InternalServiceFault", "InternalServiceError;Receiver", "no"},
		{apierr.Validation("no"), "PutMetricData", "com.amazonaws.cloudwatch#ValidationException", "ValidationError;Sender", ""},
		{apierr.AccessDenied("no"), "PutMetricData", "AccessDeniedException", "AccessDeniedException;Sender", ""},
		{apierr.New(400, "UnknownOperationException", "no"), "", "UnknownOperationException", "", ""},
	} {
		w := httptest.NewRecorder()
		var op *facts.Operation
		if c.op != "" {
			op = operation(t, c.op)
		}
		New().EncodeError(w, r, op, c.e, "id")
		var got map[string]string
		if err := cbor.Unmarshal(w.Body.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		if w.Code != c.e.Status || got["__type"] != c.typ || got["message"] != "no" || got["Message"] != c.also || w.Header().Get("X-Amzn-Query-Error") != c.query {
			t.Errorf("%d %v %v", w.Code, got, w.Header())
		}
	}
}

// Whatever comes in is read or refused with a client's error; what was read and
// is written again is read as the same.
func FuzzDecode(f *testing.F) {
	f.Add(wire(f, m{"Namespace": "N", "MetricData": []any{m{"MetricName": "x", "Value": 1.5, "Timestamp": epoch(1.5)}}}))
	f.Add([]byte{0xbf, 0xff})
	f.Add([]byte{0xa1, 0x61, 'a', 0xf9, 0x7e, 0x00})
	c := New()
	op := *operation(f, "PutMetricData")
	op.Output = op.Input
	f.Fuzz(func(t *testing.T, body []byte) {
		var in apicw.PutMetricDataInput
		if err := c.Decode(&op, request(t, body), body, &in); err != nil {
			if e, ok := errors.AsType[*apierr.Error](err); !ok || e.Status < 400 || e.Status >= 500 {
				t.Errorf("%x: %v", body, err)
			}
			return
		}
		first := httptest.NewRecorder()
		if err := c.Encode(first, nil, &op, &in, "id"); err != nil {
			t.Fatalf("%x, which was read, is not written: %v", body, err)
		}
		written := first.Body.Bytes()
		var again apicw.PutMetricDataInput
		if err := c.Decode(&op, request(t, written), written, &again); err != nil {
			t.Fatalf("%x is written as %x, which is not read: %v", body, written, err)
		}
		second := httptest.NewRecorder()
		if err := c.Encode(second, nil, &op, &again, "id"); err != nil || !bytes.Equal(second.Body.Bytes(), written) {
			t.Errorf("%x is written as %x, and that as %x, %v", body, written, second.Body.Bytes(), err)
		}
	})
}
