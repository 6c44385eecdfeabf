package restjson

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"clary/internal/api"
	"clary/internal/aws/apierr"
	"clary/internal/aws/codec/rest"
	"clary/internal/aws/facts"
)

// Everything that the protocol has, in one small model.
func model(t testing.TB) *facts.Model {
	t.Helper()
	limit, least := 8.0, 1.0
	member := func(name, shape string) facts.MemberDoc { return facts.MemberDoc{Name: name, Shape: shape} }
	at := func(m facts.MemberDoc, location, wire string) facts.MemberDoc {
		m.Location, m.LocationName = location, wire
		return m
	}
	required := func(m facts.MemberDoc) facts.MemberDoc { m.Required = true; return m }
	elem := member("", "S")
	inner := member("", "Inner")
	renamed := member("Renamed", "S")
	renamed.LocationName = "renamed"
	m, err := facts.New(&facts.Document{
		Service: "test", Protocol: "rest-json",
		Operations: []facts.OperationDoc{
			{Name: "All", Method: "POST", URI: "/things/{ThingName}/all?mode=x", Input: "AllIn", Output: "AllOut", Code: 201},
			{Name: "Blob", Method: "POST", URI: "/blob/{Key+}", Input: "BlobIn", Output: "BlobIn", Errors: []string{"Failed"}},
			{Name: "Stream", Method: "POST", URI: "/stream", Input: "StreamIn", Output: "StreamOut"},
			{Name: "Whole", Method: "PUT", URI: "/whole", Input: "WholeIn", Output: "WholeIn"},
			{Name: "None", Method: "GET", URI: "/none"},
		},
		Shapes: []facts.ShapeDoc{
			{Name: "S", Type: facts.String},
			{Name: "N", Type: facts.Integer, Min: &least},
			{Name: "T", Type: facts.Timestamp},
			{Name: "F", Type: facts.Boolean},
			{Name: "L", Type: facts.List, Element: &elem},
			{Name: "M", Type: facts.Map, Key: &elem, Value: &elem},
			{Name: "Inner", Type: facts.Structure, Members: []facts.MemberDoc{renamed, member("When", "T")}},
			{Name: "Inners", Type: facts.List, Element: &inner},
			{Name: "Body", Type: facts.Blob, Max: &limit},
			{Name: "AllIn", Type: facts.Structure, Members: []facts.MemberDoc{
				required(at(member("ThingName", "S"), "uri", "ThingName")), at(member("Count", "N"), "querystring", "count"),
				at(member("Names", "L"), "querystring", "name"), at(member("Rest", "M"), "querystring", ""),
				at(member("Flag", "F"), "header", "X-Flag"), at(member("Since", "T"), "header", "X-Since"),
				at(member("Meta", "M"), "headers", "X-Meta-"), renamed, member("Inners", "Inners"), member("Inner", "Inner"),
			}},
			{Name: "AllOut", Type: facts.Structure, Members: []facts.MemberDoc{
				at(member("Tag", "S"), "header", "X-Tag"), at(member("Code", "N"), "statusCode", ""), at(member("At", "T"), "header", "X-At"),
				at(member("Meta", "M"), "headers", "X-Meta-"), renamed, member("Inners", "Inners"), member("Done", "T"),
			}},
			{Name: "BlobIn", Type: facts.Structure, Payload: "Body", Members: []facts.MemberDoc{
				at(member("Key", "S"), "uri", "Key"), at(member("ContentType", "S"), "header", "Content-Type"), required(member("Body", "Body")),
			}},
			{Name: "StreamIn", Type: facts.Structure, Payload: "Body", Members: []facts.MemberDoc{{Name: "Body", Shape: "Body", Streaming: true}}},
			{Name: "StreamOut", Type: facts.Structure, Payload: "Body", Members: []facts.MemberDoc{{Name: "Body", Shape: "Body", Streaming: true}}},
			{Name: "WholeIn", Type: facts.Structure, Payload: "Inner", Members: []facts.MemberDoc{member("Inner", "Inner")}},
			{Name: "Failed", Type: facts.Structure, Exception: true, ErrorStatus: 424, Members: []facts.MemberDoc{
				member("Message", "S"), member("OriginalStatusCode", "N"), member("Unset", "S"),
			}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

type inner struct {
	Renamed string   `json:"Renamed,omitzero"`
	When    api.Time `json:"When,omitzero"`
}

type allIn struct {
	ThingName string            `json:"ThingName"`
	Count     *int64            `json:"Count,omitzero"`
	Names     []string          `json:"Names,omitzero"`
	Rest      map[string]string `json:"Rest,omitzero"`
	Flag      *bool             `json:"Flag,omitzero"`
	Since     api.Time          `json:"Since,omitzero"`
	Meta      map[string]string `json:"Meta,omitzero"`
	Renamed   string            `json:"Renamed,omitzero"`
	Inners    []inner           `json:"Inners,omitzero"`
	Inner     *inner            `json:"Inner,omitzero"`
}

type allOut struct {
	Tag     string            `json:"Tag,omitzero"`
	Code    *int64            `json:"Code,omitzero"`
	At      api.Time          `json:"At,omitzero"`
	Meta    map[string]string `json:"Meta,omitzero"`
	Renamed string            `json:"Renamed,omitzero"`
	Inners  []inner           `json:"Inners,omitzero"`
	Done    api.Time          `json:"Done,omitzero"`
}

type blob struct {
	Key         string `json:"Key,omitzero"`
	ContentType string `json:"ContentType,omitzero"`
	Body        []byte `json:"Body"`
}

type whole struct {
	Inner *inner `json:"Inner,omitzero"`
}

func request(t testing.TB, method, target, body string, headers ...string) *http.Request {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, target, strings.NewReader(body))
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	return r
}

func TestDecode(t *testing.T) {
	t.Parallel()
	ops := model(t).Operations
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	body := `{"renamed":"r","Inner":{"renamed":"i","When":1767323045,"unknown":1},"Inners":[{"renamed":"a"},{"Renamed":"not its name"}],"Count":7,"unknown":{}}`
	r := request(t, "POST", "/things/a%2Fb%20c/all?mode=x&count=3&name=x&name=y&other=z", body,
		"X-Flag", "true", "X-Since", at.Format(http.TimeFormat), "X-Meta-One", "1", "X-Meta-Two", "2")
	var in allIn
	if err := New().Decode(ops["All"], r, []byte(body), &in); err != nil {
		t.Fatal(err)
	}
	want := allIn{
		ThingName: "a/b c", Count: api.Ptr[int64](3), Names: []string{"x", "y"}, Rest: map[string]string{"mode": "x", "other": "z"},
		Flag: api.Ptr(true), Since: api.At(at), Meta: map[string]string{"one": "1", "two": "2"}, Renamed: "r",
		Inners: []inner{{Renamed: "a"}, {}}, Inner: &inner{Renamed: "i", When: api.At(at)},
	}
	if !reflect.DeepEqual(in, want) {
		t.Errorf("got  %+v\nwant %+v", in, want)
	}

	var b blob
	raw := "\x00\xffraw"
	r = request(t, "POST", "/blob/a/b//c", raw, "Content-Type", "text/csv")
	if err := New().Decode(ops["Blob"], r, []byte(raw), &b); err != nil || !reflect.DeepEqual(b, blob{"a/b//c", "text/csv", []byte(raw)}) {
		t.Errorf("%+v %v", b, err)
	}
	if err := New().Decode(ops["Blob"], request(t, "POST", "/blob/k", ""), []byte{}, &b); err != nil || len(b.Body) != 0 {
		t.Errorf("an empty body is one: %+v %v", b, err)
	}
	var s struct {
		Body io.Reader `json:"-"`
	}
	r = request(t, "POST", "/stream", "flows")
	if err := New().Decode(ops["Stream"], r, nil, &s); err != nil || s.Body != r.Body {
		t.Errorf("%+v %v", s, err)
	}
	var w whole
	if err := New().Decode(ops["Whole"], request(t, "PUT", "/whole", ""), []byte(`{"renamed":"x"}`), &w); err != nil || w.Inner == nil || w.Inner.Renamed != "x" {
		t.Errorf("%+v %v", w, err)
	}
	if err := New().Decode(ops["None"], request(t, "GET", "/none", ""), nil, nil); err != nil {
		t.Error(err)
	}
}

func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	ops := model(t).Operations
	for name, c := range map[string]struct {
		op, target, body, code, text string
		headers                      []string
	}{
		"not JSON":     {"All", "/things/a/all", "{", "SerializationException", "not valid JSON", nil},
		"a list":       {"All", "/things/a/all", "[]", "SerializationException", "structure was expected", nil},
		"wrong type":   {"All", "/things/a/all", `{"renamed":1}`, "SerializationException", "NUMBER_VALUE can not be converted to a String", nil},
		"query":        {"All", "/things/a/all?count=x", "", "SerializationException", "Value 'x' of count is not a valid integer.", nil},
		"header":       {"All", "/things/a/all", "", "SerializationException", "Value 'maybe' of X-Flag is not a valid boolean.", []string{"X-Flag", "maybe"}},
		"date":         {"All", "/things/a/all", "", "SerializationException", "is not a valid timestamp", []string{"X-Since", "yesterday"}},
		"constraint":   {"All", "/things/a/all?count=0", "", "ValidationException", "Value '0' at 'count' failed to satisfy constraint: Member must have value greater than or equal to 1", nil},
		"bytes":        {"Blob", "/blob/k", "123456789", "ValidationException", "Value at 'body' failed to satisfy constraint: Member must have length less than or equal to 8", nil},
		"payload type": {"Whole", "/whole", "[]", "SerializationException", "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := New().Decode(ops[c.op], request(t, "POST", c.target, c.body, c.headers...), []byte(c.body), nil)
			e, ok := errors.AsType[*apierr.Error](err)
			if !ok || e.Code != c.code || !strings.Contains(e.Message, c.text) {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestEncode(t *testing.T) {
	t.Parallel()
	ops := model(t).Operations
	at := api.At(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	answer := func(op string, out any) *httptest.ResponseRecorder {
		t.Helper()
		w := httptest.NewRecorder()
		if err := New().Encode(w, nil, ops[op], out, "id"); err != nil {
			t.Fatalf("%s: %v", op, err)
		}
		if w.Header().Get("X-Amzn-Requestid") != "id" {
			t.Errorf("%s: %v", op, w.Header())
		}
		return w
	}
	w := answer("All", &allOut{Tag: "t", At: at, Meta: map[string]string{"One": "1"}, Renamed: "r", Inners: []inner{{Renamed: "a", When: at}}, Done: at})
	if got, want := w.Body.String(), `{"Done":1767323045,"Inners":[{"When":1767323045,"renamed":"a"}],"renamed":"r"}`; sorted(got) != sorted(want) {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if h := w.Header(); w.Code != 201 || h.Get("X-Tag") != "t" || h.Get("X-At") != "Fri, 02 Jan 2026 03:04:05 GMT" || h.Get("X-Meta-One") != "1" || h.Get("Content-Type") != "application/json" {
		t.Errorf("%d %v", w.Code, h)
	}
	if w := answer("All", &allOut{Code: api.Ptr[int64](418)}); w.Code != 418 || w.Body.String() != "{}" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := answer("All", nil); w.Code != 201 || w.Body.String() != "{}" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := answer("Blob", &blob{ContentType: "text/csv", Body: []byte("\x00raw")}); w.Body.String() != "\x00raw" || w.Header().Get("Content-Type") != "text/csv" || w.Header().Get("Content-Length") != "4" {
		t.Errorf("%q %v", w.Body, w.Header())
	}
	if w := answer("Whole", &whole{&inner{Renamed: "x"}}); w.Body.String() != `{"renamed":"x"}` {
		t.Errorf("%s", w.Body)
	}
	if w := answer("None", nil); w.Body.Len() != 0 || w.Code != 200 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	type stream struct {
		Body io.ReadCloser `json:"-"`
	}
	closed := &closing{Reader: strings.NewReader("flows")}
	if w := answer("Stream", &stream{closed}); w.Body.String() != "flows" || !closed.done {
		t.Errorf("%s, closed: %v", w.Body, closed.done)
	}
	func() {
		defer func() {
			if recover() != any(http.ErrAbortHandler) {
				t.Error("a stream that broke off was answered as a whole")
			}
		}()
		answer("Stream", &stream{&closing{Reader: io.MultiReader(strings.NewReader("half"), broken{})}})
	}()
}

type closing struct {
	io.Reader
	done bool
}

func (c *closing) Close() error { c.done = true; return nil }

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("broken") }

// sorted compares JSON texts whatever the order of their members.
func sorted(s string) string {
	b := []byte(s)
	for i := range b {
		for j := range b {
			if b[i] < b[j] {
				b[i], b[j] = b[j], b[i]
			}
		}
	}
	return string(b)
}

func TestEncodeError(t *testing.T) {
	t.Parallel()
	ops := model(t).Operations
	w := httptest.NewRecorder()
	e := apierr.New(400, "Failed", "no")
	e.Fields = map[string]string{"OriginalStatusCode": "503", "NotOfTheModel": "x"}
	New().EncodeError(w, nil, ops["Blob"], e, "id")
	if want := `{"message":"no","Message":"no","OriginalStatusCode":503}`; w.Code != 424 || w.Body.String() != want || w.Header().Get("X-Amzn-Errortype") != "Failed" {
		t.Errorf("%d %s %v", w.Code, w.Body, w.Header())
	}
	w = httptest.NewRecorder()
	New().EncodeError(w, nil, nil, apierr.AccessDenied("no"), "id")
	if w.Code != 400 || w.Body.String() != `{"message":"no"}` {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// Whatever comes in is read or refused with a client's error.
func FuzzDecode(f *testing.F) {
	f.Add("/things/a/all?count=3", `{"renamed":"r","Inners":[{}]}`, "true")
	f.Add("/things/%zz/all", `null`, "")
	f.Add("/things/%2f/all?name=a&name=b&other=%00", ``, "x")
	op := model(f).Operations["All"]
	path, _, _ := strings.Cut(op.HTTP.URI, "?")
	f.Fuzz(func(t *testing.T, target, body, flag string) {
		u, err := url.ParseRequestURI(target)
		if err != nil {
			return
		}
		if _, ok := rest.Bind(path, u.EscapedPath()); !ok {
			return // no request of this operation
		}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://x/", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.URL = u
		r.Header.Set("X-Flag", flag)
		var in allIn
		if err := New().Decode(op, r, []byte(body), &in); err != nil {
			if e, ok := errors.AsType[*apierr.Error](err); !ok || e.Status < 400 || e.Status >= 500 {
				t.Errorf("%q %q: %v", target, body, err)
			}
		}
	})
}
