package transform

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"mime"
	"strings"
	"time"

	"clary/internal/stage/jsonpath"
)

// kind is what records are that are looked into.
type kind int

const (
	opaque    kind = iota
	rows           // of CSV
	documents      // of JSON
)

func (k kind) String() string {
	switch k {
	case rows:
		return "CSV"
	case documents:
		return "JSON"
	default:
		return "data of another kind"
	}
}

// kindOf reads a media type.
func kindOf(media string) kind {
	if m, _, err := mime.ParseMediaType(media); err == nil {
		media = m
	}
	switch strings.ToLower(strings.TrimSpace(media)) {
	case "text/csv":
		return rows
	case "application/json", "application/jsonlines", "application/x-jsonlines", "application/jsonl":
		return documents
	}
	return opaque
}

// format is how records and answers are looked into.
type format struct {
	in, out kind
	// whole says that an object is one document, of several lines maybe.
	whole bool
	// byLine says that an object is not split, and yet looked into line by line.
	byLine bool
}

// format checks that what DataProcessing asks for can be done with what the
// input and the answers are.
func (s *Settings) format() (format, error) {
	f := format{in: kindOf(s.ContentType), out: kindOf(s.Accept)}
	none := s.Split == "" || s.Split == SplitNone
	f.whole = none && f.in == documents && !strings.Contains(strings.ToLower(s.ContentType), "jsonl")
	if s.Accept == "" {
		f.out = f.in
	}
	if !s.processed() {
		return f, nil
	}
	f.byLine = none && !f.whole && f.in != opaque
	switch {
	case !none && s.Split != SplitLine:
		return f, fmt.Errorf("DataProcessing and GenerateInferenceId can be used with CSV and JSON only, and SplitType is %s", s.Split)
	case (s.filtersInput() || s.Join) && f.in == opaque:
		return f, fmt.Errorf("DataProcessing can be used with text/csv, application/json and application/jsonlines only, and ContentType is %q", s.ContentType)
	case (s.Join || s.filtersOutput() || s.InferenceID) && f.out == opaque:
		return f, fmt.Errorf("DataProcessing and GenerateInferenceId can be used with text/csv, application/json and application/jsonlines only, and Accept is %q", s.Accept)
	case s.Join && f.in != f.out:
		return f, fmt.Errorf("JoinSource is Input, and the input, %s, and the output, %s, are not of one format: ContentType is %q and Accept is %q", f.in, f.out, s.ContentType, s.Accept)
	case s.filtersInput() && f.in == rows && !s.Input.ByIndex():
		return f, fmt.Errorf("InputFilter: a row of CSV is a list of columns, of which a JSONPath can name indexes only, as $[0] or $[1:]")
	case s.filtersOutput() && f.out == rows && !s.Output.ByIndex():
		return f, fmt.Errorf("OutputFilter: a row of CSV is a list of columns, of which a JSONPath can name indexes only, as $[0] or $[1:]")
	}
	return f, nil
}

// filter takes of records what a path names.
type filter struct {
	kind kind
	path *jsonpath.Path
	name string // InputFilter or OutputFilter

	columns [][]byte // lent by the last record, as is what follows
	picked  []int
}

// add adds to out what is taken of a record.
func (f *filter) add(out, record []byte) ([]byte, error) {
	refused := func(err error) ([]byte, error) {
		return out, &recordError{ClientError, "Fail to apply " + f.name, fmt.Sprintf("%v, in %s", err, shown(record))}
	}
	if f.kind == documents {
		doc, err := f.path.Select(record)
		if err != nil {
			return refused(err)
		}
		return append(out, doc...), nil
	}
	var err error
	if f.columns, err = fields(f.columns[:0], record); err != nil {
		return refused(err)
	}
	if f.picked, err = f.path.Columns(f.picked[:0], len(f.columns)); err != nil {
		return refused(err)
	}
	for i, n := range f.picked {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, f.columns[n]...)
	}
	return out, nil
}

// shown is a record for a text.
func shown(record []byte) string { return printable(fmt.Sprintf("%.200q", record), 210) }

// fields are a row's columns, as they stand there with their quotes.
func fields(list [][]byte, row []byte) ([][]byte, error) {
	for at := 0; ; {
		end := at
		if end < len(row) && row[end] == '"' {
			for end++; ; end++ {
				i := bytes.IndexByte(row[end:], '"')
				if i < 0 {
					return list, fmt.Errorf("a quote is not closed: a row of CSV is one line")
				}
				if end += i; end+1 < len(row) && row[end+1] == '"' {
					end++ // stands for one within the field
					continue
				}
				end++
				break
			}
		}
		i := bytes.IndexByte(row[end:], ',')
		if i < 0 {
			return append(list, row[at:]), nil
		}
		list = append(list, row[at:end+i])
		at = end + i + 1
	}
}

// joiner makes the records of the result.
type joiner struct {
	t      *Transformer
	kind   kind
	filter filter
	// lent by the last record
	out, kept []byte
}

func (t *Transformer) joiner(k kind) *joiner {
	return &joiner{t: t, kind: k, filter: filter{kind: k, path: t.s.Output, name: "OutputFilter"}}
}

// record is what is kept of an answer to a record. It is good until the next
// call.
func (j *joiner) record(input, answer []byte) ([]byte, error) {
	s := &j.t.s
	out, err := j.joined(input, answer)
	if err != nil {
		return nil, err
	}
	if s.filtersOutput() {
		if j.kept, err = j.filter.add(j.kept[:0], out); err != nil {
			return nil, err
		}
		out = j.kept
	}
	if s.InferenceID {
		out = j.identified(out)
	}
	return out, nil
}

func (j *joiner) joined(input, answer []byte) ([]byte, error) {
	if j.kind == documents && !json.Valid(answer) {
		return nil, &recordError{AlgorithmError, "Failed to parse output from the algorithm as JSON", "it is " + shown(answer)}
	}
	if !j.t.s.Join {
		return answer, nil
	}
	if j.kind == rows {
		j.out = append(append(append(j.out[:0], input...), ','), answer...)
		return j.out, nil
	}
	if !json.Valid(input) {
		return nil, &recordError{ClientError, "Failed to parse the input as JSON", "a record is " + shown(input)}
	}
	input = bytes.TrimSpace(input)
	if input[0] != '{' {
		j.out = append(append(append(append(append(j.out[:0], `{"SageMakerInput":`...), input...), `,"SageMakerOutput":`...), answer...), '}')
		return j.out, nil
	}
	j.out = with(j.out[:0], input, "SageMakerOutput", answer)
	return j.out, nil
}

// with adds a member to a document, in the place of one of that name.
func with(out, doc []byte, name string, value []byte) []byte {
	out = append(out, '{')
	if bytes.Contains(doc, []byte(name)) {
		_ = jsonpath.Each(doc, func(key, v []byte) { // the document is valid
			if !jsonpath.Is(key, name) {
				out = append(append(append(append(out, key...), ':'), v...), ',')
			}
		})
	} else if body := bytes.TrimSpace(doc[1 : len(doc)-1]); len(body) > 0 {
		out = append(append(out, body...), ',')
	}
	return append(append(append(append(append(out, '"'), name...), `":`...), value...), '}')
}

// identified is a record with an id of its own and the time at which the job
// began.
func (j *joiner) identified(record []byte) []byte {
	id, at := NewID(), j.t.s.Started.UTC().Format(time.RFC3339)
	if j.kind == rows {
		return fmt.Appendf(nil, "%s,%s,%s", record, id, at)
	}
	record = bytes.TrimSpace(record)
	if record[0] != '{' {
		record = append(append([]byte(`{"SageMakerOutput":`), record...), '}')
	}
	record = with(nil, record, "SageMakerInferenceId", fmt.Appendf(nil, "%q", id))
	return with(nil, record, "SageMakerInferenceTime", fmt.Appendf(nil, "%q", at))
}

// NewID is a random UUID.
func NewID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
