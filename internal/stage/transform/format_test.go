package transform

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestDataProcessing(t *testing.T) {
	t.Parallel()
	csv := Settings{Split: SplitLine, ContentType: "text/csv", Accept: "text/csv"}
	lines := Settings{Split: SplitLine, ContentType: "application/jsonlines", Accept: "application/jsonlines"}
	document := Settings{ContentType: "application/json", Accept: "application/json"}
	of := func(s Settings, input string, join bool, output string) Settings {
		s.Input, s.Join, s.Output = path(t, input), join, path(t, output)
		return s
	}
	single := func(s Settings) Settings {
		s.SingleRecord = true
		return s
	}
	for name, tt := range map[string]struct {
		s            Settings
		object, want string
		sent         string
	}{
		"csv, input":              {of(csv, "$[1:]", false, "$"), "7,abc\n8,\"d,e\"\n\n9,f", "3\n5\n1\n", "abc\n\"d,e\"\nf\n"},
		"csv, join":               {of(csv, "$", true, "$"), "7,abc\r\n8,d\n", "7,abc,5\n8,d,3\n", "7,abc\r\n8,d\n"},
		"csv, filters":            {of(csv, "$[1:]", true, "$[0,-1]"), "7,abc\n8,d\n", "7,3\n8,1\n", "abc\nd\n"},
		"csv, output":             {of(csv, "$", false, "$[0]"), "abc\nd\n", "3\n1\n", "abc\nd\n"},
		"csv, single":             {single(of(csv, "$[1:]", true, "$[0,-1]")), "7,abc\n8,d\n", "7,3\n8,1\n", "abcd"},
		"csv, not split":          {func() Settings { s := of(csv, "$[1:]", true, "$[0,-1]"); s.Split = SplitNone; return s }(), "7,abc\n8,d\n", "7,3\n8,1\n", "abc\nd\n"},
		"lines, join":             {of(lines, "$", true, "$"), "{\"id\":1}\n[2]\n{}\n", "{\"id\":1,\"SageMakerOutput\":8}\n{\"SageMakerInput\":[2],\"SageMakerOutput\":3}\n{\"SageMakerOutput\":2}\n", "{\"id\":1}\n[2]\n{}\n"},
		"lines, overwritten":      {of(lines, "$", true, "$"), "{\"SageMakerOutput\":\"old\", \"a\":1}\n", "{\"a\":1,\"SageMakerOutput\":32}\n", "{\"SageMakerOutput\":\"old\", \"a\":1}\n"},
		"lines, filters":          {of(lines, "$.features", true, "$['id','SageMakerOutput']"), "{\"features\":[1,2],\"id\":\"a\"}\n{\"id\":\"b\",\"features\":[]}\n", "{\"id\":\"a\",\"SageMakerOutput\":5}\n{\"id\":\"b\",\"SageMakerOutput\":2}\n", "[1,2]\n[]\n"},
		"lines, single":           {single(of(lines, "$.features", true, "$.SageMakerOutput")), "{\"features\":[1,2]}\n{\"features\":[]}\n", "5\n2\n", "[1,2][]"},
		"document":                {of(document, "$.features", true, "$"), "{\n \"features\": [1,\n 2]\n}\n", "{\"features\": [1,\n 2],\"SageMakerOutput\":3\n3}", "[1,\n 2]"},
		"csv, chunks":             {of(csv, "$[1:]", true, "$[0,-1]"), "7,abc\n\n8,d\n", "7,3\n8,1\n", "abc\nd\n"},
		"lines, chunks":           {of(lines, "$.features", true, "$['id','SageMakerOutput']"), "{\"features\":[1,2],\"id\":\"a\"}\n", "{\"id\":\"a\",\"SageMakerOutput\":5}\n", "[1,2]\n"},
		"csv, several requests":   {of(csv, "$[1:]", true, "$[0,-1]"), strings.Repeat("7,abc\n8,d\n", 50), strings.Repeat("7,3\n8,1\n", 50), strings.Repeat("abc\nd\n", 50)},
		"lines, several requests": {of(lines, "$", true, "$"), strings.Repeat("[1,2]\n", 50), strings.Repeat("{\"SageMakerInput\":[1,2],\"SageMakerOutput\":5}\n", 50), strings.Repeat("[1,2]\n", 50)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := serve(t, lengths)
			tt.s.MaxPayload = 64
			if strings.Contains(name, "chunks") {
				tt.s.MaxPayload = 0
			}
			if name == "document" {
				tt.want = "" // the answer is no document: two lines
			}
			got, err := does(t, tt.s, text("k", tt.object), c)
			if name == "document" {
				if err == nil || !strings.Contains(err.Error(), "Failed to parse output from the algorithm as JSON") {
					t.Errorf("%q, %v", got, err)
				}
				return
			}
			if err != nil || got != tt.want {
				t.Errorf("%q, %v; want %q", got, err, tt.want)
			}
			if sent := strings.Join(c.sent, ""); sent != tt.sent {
				t.Errorf("%q was sent, want %q", sent, tt.sent)
			}
		})
	}
}

// A JSON document that is not split, and one of several lines that answers one
// record, are documents.
func TestDocuments(t *testing.T) {
	t.Parallel()
	c := serve(t, func(w http.ResponseWriter, _ *http.Request, _ string) {
		_, _ = io.WriteString(w, "{\n  \"label\": 1\n}\n")
	})
	s := Settings{ContentType: "application/json", Accept: "application/json", Join: true, MaxPayload: MB, Input: path(t, "$.features")}
	if got, err := does(t, s, text("k", "{\n \"features\": [1,\n 2]\n}\n"), c); err != nil || got != "{\"features\": [1,\n 2],\"SageMakerOutput\":{\n  \"label\": 1\n}}" || c.sent[0] != "[1,\n 2]" {
		t.Errorf("%q, %v of %q", got, err, c.sent)
	}
	s.Split, s.SingleRecord, s.Output = SplitLine, true, path(t, "$.SageMakerOutput.label")
	if got, err := does(t, s, text("k", "{\"features\":1}\n{\"features\":2}\n"), c); err != nil || got != "1\n1\n" {
		t.Errorf("%q, %v", got, err)
	}
	s.Output = path(t, "$")
	if got, err := does(t, s, text("k", "{\"features\":1}\n"), c); err != nil || got != "{\"features\":1,\"SageMakerOutput\":{\"label\":1}}\n" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestInferenceID(t *testing.T) {
	t.Parallel()
	const uuid = `[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}`
	started := time.Date(2026, 8, 30, 0, 49, 15, 1000, time.FixedZone("", 3600))
	for name, tt := range map[string]struct {
		media, answer, want string
		output              string
	}{
		"csv":     {"text/csv", "0\n1\n", `^0,` + uuid + `,2026-08-29T23:49:15Z\n1,` + uuid + `,2026-08-29T23:49:15Z\n$`, "$"},
		"objects": {"application/jsonlines", "{\"output\":0}\n{}\n", `^\{"output":0,"SageMakerInferenceId":"` + uuid + `","SageMakerInferenceTime":"2026-08-29T23:49:15Z"\}\n\{"SageMakerInferenceId":"` + uuid + `","SageMakerInferenceTime":"2026-08-29T23:49:15Z"\}\n$`, "$"},
		"values":  {"application/jsonlines", "1\n[2]\n", `^\{"SageMakerOutput":1,"SageMakerInferenceId":"` + uuid + `","SageMakerInferenceTime":"[^"]*"\}\n\{"SageMakerOutput":\[2\],"SageMakerInferenceId".*\n$`, "$"},
		"after":   {"text/csv", "0,5\n1,6\n", `^5,` + uuid + `,[^,]*\n6,` + uuid + `,[^,]*\n$`, "$[1]"},
	} {
		c := serve(t, upperWith(tt.answer))
		got, err := does(t, Settings{Split: SplitLine, MaxPayload: MB, ContentType: tt.media, Accept: tt.media, InferenceID: true, Started: started, Output: path(t, tt.output)}, text("k", "a\nb\n"), c)
		if err != nil || !regexp.MustCompile(tt.want).MatchString(got) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		if ids := regexp.MustCompile(uuid).FindAllString(got, -1); len(ids) != 2 || ids[0] == ids[1] {
			t.Errorf("%s: ids %q", name, ids)
		}
	}
}

// What answers a document need not be one, and several answers to the last
// record are taken as those to others are.
func TestAnswersOfAnotherKind(t *testing.T) {
	t.Parallel()
	s := Settings{ContentType: "application/json", Accept: "text/csv", Output: path(t, "$[0]"), MaxPayload: MB}
	if got, err := does(t, s, text("k", "[[1,2],\n[3,4]]"), serve(t, upperWith("1,2\n3,4\n"))); err != nil || got != "1\n3\n" {
		t.Errorf("%q, %v", got, err)
	}
	s = Settings{Split: SplitLine, ContentType: "application/jsonlines", Output: path(t, "$.a"), MaxPayload: MB}
	for object, want := range map[string]string{"{}\n": "1\n2\n", "{}\n{}\n": "1\n2\n"} {
		if got, err := does(t, s, text("k", object), serve(t, upperWith("{\"a\":1}\n{\"a\":2}\n"))); err != nil || got != want {
			t.Errorf("%q: %q, %v", object, got, err)
		}
	}
	s = Settings{MaxPayload: MB, Lines: true}
	if got, err := does(t, s, text("k", "x"), serve(t, upperWith("binary\x00"))); err != nil || got != "binary\x00\n" {
		t.Errorf("%q, %v", got, err)
	}
	o := text("we ird\n\x1b[31mname", "x")
	_, err := does(t, s, o, serve(t, func(w http.ResponseWriter, _ *http.Request, _ string) { w.WriteHeader(http.StatusBadRequest) }))
	if f, ok := errors.AsType[*Failure](err); !ok || f.Log[0] != "bucket/we ird  [31mname: ClientError: 400" || strings.Contains(f.Text, "\n") {
		t.Errorf("%v", err)
	}
}

// A line of an answer that holds nothing answers no record.
func TestBlankLinesAnswerNothing(t *testing.T) {
	t.Parallel()
	c := serve(t, upperWith("\na,x\n\n \r\nb,y\r\n\n"))
	for _, most := range []int{MB, 0} {
		s := Settings{Split: SplitLine, MaxPayload: most, ContentType: "text/csv", Join: true}
		if got, err := does(t, s, text("k", "1\n2\n"), c); err != nil || got != "1,a,x\n2,b,y\n" {
			t.Errorf("MaxPayload %d, joined: %q, %v", most, got, err)
		}
		_, err := does(t, s, text("k", "1\n2\n3\n4\n5\n6\n"), c) // as many as there are lines
		if f, ok := errors.AsType[*Failure](err); !ok || !strings.Contains(strings.Join(f.Log, "\n"), "6 records went to the container and 2 records came back") {
			t.Errorf("MaxPayload %d: %v", most, err)
		}
		if _, err = does(t, s, text("k", "1\n"), c); err == nil || !strings.Contains(err.Error(), "1 record went to the container and 2 records came back") {
			t.Errorf("MaxPayload %d: %v", most, err)
		}
		s = Settings{Split: SplitLine, MaxPayload: most, ContentType: "text/csv", Output: path(t, "$[0]")}
		if got, err := does(t, s, text("k", "1\n2\n"), c); err != nil || got != "a\nb\n" {
			t.Errorf("MaxPayload %d, filtered: %q, %v", most, got, err)
		}
	}
}

// What cannot be done with the formats that are asked for is said before
// anything is read.
func TestFormats(t *testing.T) {
	t.Parallel()
	for want, s := range map[string]Settings{
		"SplitType is RecordIO":                  {Split: SplitRecordIO, ContentType: "text/csv", Join: true},
		"SplitType is TFRecord":                  {Split: SplitTFRecord, ContentType: "text/csv", InferenceID: true},
		`ContentType is "application/x-image"`:   {ContentType: "application/x-image", Join: true},
		`ContentType is ""`:                      {Split: SplitLine, Input: path(t, "$[0]")},
		`Accept is "image/png"`:                  {ContentType: "text/csv", Accept: "image/png", Output: path(t, "$[0]")},
		"are not of one format":                  {Split: SplitLine, ContentType: "text/csv", Accept: "application/json", Join: true},
		"InputFilter: a row of CSV is a list of": {Split: SplitLine, ContentType: "text/csv", Input: path(t, "$.id")},
		"OutputFilter: a row of CSV":             {Split: SplitLine, ContentType: "text/csv", Output: path(t, "$['id']")},
	} {
		if _, err := New(s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	for _, s := range []Settings{
		{ContentType: "image/png", Accept: "application/json"},
		{ContentType: "image/png", Accept: "application/json", Output: path(t, "$.a")},
		{Split: SplitLine, ContentType: "text/csv; charset=utf-8", Input: path(t, "$[1:]"), Accept: "image/png"},
		{Split: SplitLine, ContentType: "application/json", Join: true},
		{Split: SplitRecordIO, ContentType: "application/x-recordio-protobuf", Input: path(t, "$"), Output: path(t, "")},
	} {
		if _, err := New(s); err != nil {
			t.Errorf("%+v: %v", s, err)
		}
	}
}

func TestFields(t *testing.T) {
	t.Parallel()
	for row, want := range map[string]string{
		"":               `[""]`,
		"a":              `["a"]`,
		"a,,b,":          `["a" "" "b" ""]`,
		`"a,b",c`:        `["\"a,b\"" "c"]`,
		`"a""b,",""`:     `["\"a\"\"b,\"" "\"\""]`,
		`x"y,z"`:         `["x\"y" "z\""]`,
		`"a"trailing,b`:  `["\"a\"trailing" "b"]`,
		"\xff,é":         `["\xff" "é"]`,
		`"""",""""""`:    `["\"\"\"\"" "\"\"\"\"\"\""]`,
		` "spaced, out"`: `[" \"spaced" " out\""]`,
	} {
		got, err := fields(nil, []byte(row))
		if err != nil || fmt.Sprintf("%q", got) != want {
			t.Errorf("%s: %q, %v; want %s", row, got, err, want)
		}
	}
	for _, row := range []string{`"`, `a,"b`, `"a""`} {
		if got, err := fields(nil, []byte(row)); err == nil {
			t.Errorf("%s: %q", row, got)
		}
	}
}

// A row is its columns with commas between them, and a joined document is one.
func FuzzRecords(f *testing.F) {
	f.Add([]byte(`a,"b,""c",d`), []byte(`{"a":{"b":[1,"}"]}, "SageMakerOutput":2}`))
	f.Fuzz(func(t *testing.T, row, doc []byte) {
		if columns, err := fields(nil, row); err == nil {
			var again []string
			for _, c := range columns {
				again = append(again, string(c))
			}
			if strings.Join(again, ",") != string(row) {
				t.Fatalf("%q is %q", row, again)
			}
		}
		tr := &Transformer{s: Settings{Join: true, InferenceID: true}}
		out, err := tr.joiner(documents).record(doc, []byte("[1]"))
		if err != nil {
			return
		}
		var v map[string]any
		if err := json.Unmarshal(out, &v); err != nil || fmt.Sprint(v["SageMakerOutput"]) != "[1]" || v["SageMakerInferenceId"] == nil || v["SageMakerInferenceTime"] == nil {
			t.Fatalf("%q became %q: %v", doc, out, err)
		}
	})
}
