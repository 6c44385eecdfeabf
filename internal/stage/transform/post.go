package transform

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// looks says that answers are looked into.
func (s *Settings) looks() bool { return s.Join || s.filtersOutput() || s.InferenceID }

// post writes what comes of one answer.
func (t *Transformer) post(w *bufio.Writer, b *batch) error {
	from := b.answer.open()
	if !t.s.looks() {
		return t.copyAnswer(w, from, b.single)
	}
	var records records
	if t.s.Join {
		data := b.payload
		if b.own {
			data = b.records
		}
		if b.single {
			records = &oneRecord{data: data}
		} else {
			records = &lineRecords{in: bytes.NewReader(data)}
		}
	}
	return t.join(w, records, from, b.answer.contentType, b.n == 1)
}

// copyAnswer writes an answer as it is. single says that it is one record's.
func (t *Transformer) copyAnswer(w *bufio.Writer, from io.Reader, single bool) error {
	end := &ending{w: w}
	if _, err := io.Copy(end, from); err != nil {
		return err
	}
	if !t.lines() || end.some && end.last == '\n' || !end.some && !single {
		return nil
	}
	return w.WriteByte('\n')
}

// lines says that each answer ends its line.
func (t *Transformer) lines() bool {
	return t.s.Lines || t.s.processed() && t.format.out != opaque && (!t.format.whole || t.format.out != documents)
}

// ending remembers the last byte that was written.
type ending struct {
	w    io.Writer
	last byte
	some bool // there was one
}

func (e *ending) Write(p []byte) (int, error) {
	if len(p) > 0 {
		e.last, e.some = p[len(p)-1], true
	}
	return e.w.Write(p)
}

// records are those that were sent. After the last it says io.EOF.
type records interface{ next() ([]byte, error) }

type oneRecord struct {
	data []byte
	done bool
}

func (r *oneRecord) next() ([]byte, error) {
	if r.done {
		return nil, io.EOF
	}
	r.done = true
	return chomp(r.data), nil
}

// lineRecords are the lines that hold something.
type lineRecords struct {
	in  io.Reader
	all *lines
}

func (r *lineRecords) next() ([]byte, error) {
	if r.all == nil {
		r.all = &lines{in: bufio.NewReaderSize(r.in, 64<<10), most: mostRecord}
	}
	for {
		_, data, err := r.all.next()
		if err != nil || !blank(data) {
			return data, err
		}
	}
}

// join writes what is kept of an answer's records. one says that it answers one
// record, and may have several lines if it is JSON.
func (t *Transformer) join(w *bufio.Writer, input records, answer io.Reader, media string, one bool) error {
	is := t.format.out
	if k := kindOf(media); k != opaque && t.s.Accept == "" && !t.s.Join {
		is = k
	}
	j := t.joiner(is)
	if (t.format.whole || one) && j.kind == documents {
		return t.joinDocument(w, j, input, answer)
	}
	return joinLines(w, j, input, answer)
}

// joinLines is join where each line of the answer is a record's.
func joinLines(w *bufio.Writer, j *joiner, input records, answer io.Reader) error {
	came := &lineRecords{in: answer}
	for n := 0; ; n++ {
		a, err := came.next()
		if errors.Is(err, errTooMuch) {
			return &recordError{AlgorithmError, "Failed to parse output from the algorithm as " + j.kind.String(), fmt.Sprintf("a line of it is longer than %d MB", mostRecord/MB)}
		}
		ended := errors.Is(err, io.EOF)
		if err != nil && !ended {
			return err
		}
		var r []byte
		if input != nil {
			r, err = input.next()
			if err != nil && !errors.Is(err, io.EOF) {
				return err
			}
			if short := err != nil; short != ended {
				return mismatch(input, came, n, ended)
			}
		}
		if ended {
			return nil
		}
		out, err := j.record(r, a)
		if err == nil {
			_, err = w.Write(out)
		}
		if err == nil {
			err = w.WriteByte('\n')
		}
		if err != nil {
			return err
		}
	}
}

// joinDocument is join where the answer as a whole is one record's.
func (t *Transformer) joinDocument(w *bufio.Writer, j *joiner, input records, answer io.Reader) error {
	data, err := readUpTo(answer, nil, mostRecord+1)
	if err != nil {
		return err
	}
	if len(data) > mostRecord {
		return &recordError{AlgorithmError, "Failed to parse output from the algorithm as JSON", fmt.Sprintf("it is larger than %d MB", mostRecord/MB)}
	}
	data = bytes.TrimSpace(data)
	if !t.format.whole {
		if !json.Valid(data) && bytes.IndexByte(data, '\n') > 0 { // several answers to one record
			if input == nil {
				return joinLines(w, j, nil, bytes.NewReader(data))
			}
			return uneven(1, count(&lineRecords{in: bytes.NewReader(data)}))
		}
		if bytes.IndexByte(data, '\n') >= 0 {
			var line bytes.Buffer
			if json.Compact(&line, data) == nil {
				data = line.Bytes()
			}
		}
	}
	var r []byte
	if input != nil {
		if r, err = input.next(); err != nil {
			return err
		}
	}
	if len(data) == 0 && input != nil {
		return uneven(1, 0)
	}
	out, err := j.record(r, data)
	if err != nil {
		return err
	}
	if _, err := w.Write(out); err != nil || !t.lines() {
		return err
	}
	return w.WriteByte('\n')
}

// mismatch counts what there is on either side, of which n are done and one more
// was seen on the side that has not ended.
func mismatch(input, came records, n int, answerEnded bool) error {
	if answerEnded {
		return uneven(n+1+count(input), n)
	}
	return uneven(n, n+1+count(came))
}

// count is how many records there still are.
func count(r records) (n int) {
	for {
		if _, err := r.next(); err != nil {
			return n
		}
		n++
	}
}

func uneven(sent, came int) error {
	counted := func(n int) string {
		if n == 1 {
			return "1 record"
		}
		return fmt.Sprintf("%d records", n)
	}
	return &mismatchError{sent: counted(sent) + " went to the container", came: counted(came) + " came back"}
}
