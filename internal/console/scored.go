package console

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"clary/internal/api/s3"
)

// scores are the objects that a transform job reads, each with the one that it
// makes of it.
type scores struct {
	Way       string // from where to where
	Rows      []pair
	Done, All int
	More      bool // than these
	Partial   bool // not all outputs were looked at, and Done may be too few
	Running   bool
	Wrong     string
	In, Out   *glance // of the first pair that has both, or of the first input
}

type pair struct {
	In, Out object
	Made    bool
}

// glance is the beginning of an object.
type glance struct {
	object
	Text, Picture, Note string
	Cut                 bool
}

const (
	pairsListed = 1000 // as many as a listing has
	pairsShown  = 8
	glanceLines = 8
	glanceBytes = 4 << 10
)

// scored shows what went into a transform job beside what came out.
func (v *view) scored(j *job, body *jobBody) error {
	source := sourceOf(j.input)
	p := &scores{Way: way(source.S3Uri, j.output.S3OutputPath), Running: j.Running}
	body.Scored = p
	if err := v.inputsOf(j, p); err != nil || p.Wrong != "" {
		return err
	}
	if err := v.outputsOf(j, p); err != nil {
		return err
	}
	at := 0
	for i, r := range p.Rows {
		if r.Made {
			at = i
			break
		}
	}
	if len(p.Rows) > 0 {
		r := p.Rows[at]
		var err error
		if p.In, err = v.glance(r.In, j.input.CompressionType == "Gzip"); err != nil {
			return err
		}
		if r.Made {
			if p.Out, err = v.glance(r.Out, false); err != nil {
				return err
			}
		}
	}
	p.All = len(p.Rows)
	p.Rows = p.Rows[:min(len(p.Rows), pairsShown)]
	return nil
}

// inputsOf lists what a job reads.
func (v *view) inputsOf(j *job, p *scores) error {
	source := sourceOf(j.input)
	if source.S3DataType == "ManifestFile" {
		return v.listed(source.S3Uri, p)
	}
	bucket, key, ok := splitURI(source.S3Uri)
	if !ok {
		p.Wrong = "The input is no S3 address."
		return nil
	}
	list, more, err := v.under(bucket, key, pairsListed)
	if e, ok := refused(err); ok {
		p.Wrong = e.Message
		return nil
	}
	if err != nil {
		return err
	}
	p.More = more
	names := map[string]bool{}
	for _, c := range list {
		o := objectAt(bucket, c)
		if o.Size == 0 && strings.HasSuffix(c.Key, "/") {
			continue // a folder's own
		}
		o.Name = nameBelow(key, c.Key)
		names[o.Name] = true
		p.Rows = append(p.Rows, pair{In: o})
	}
	// outputs may lie among inputs, and are none
	folder := strings.TrimRight(j.output.S3OutputPath, "/") + "/"
	p.Rows = slices.DeleteFunc(p.Rows, func(r pair) bool {
		name, out := strings.CutSuffix(r.In.URI, ".out")
		name, below := strings.CutPrefix(name, folder)
		return out && below && names[name]
	})
	return nil
}

// nameBelow is what an output's name is made of: the part of an object's key
// that an input's address does not name as a folder.
func nameBelow(base, key string) string {
	switch {
	case key == base:
		return key[strings.LastIndexByte(key, '/')+1:]
	case base != "" && strings.HasPrefix(key, base+"/"):
		return key[len(base)+1:]
	}
	return key[strings.LastIndexByte(base, '/')+1:]
}

// listed reads a manifest: a prefix, and the names below it.
func (v *view) listed(uri string, p *scores) error {
	bucket, key, ok := splitURI(uri)
	if !ok {
		p.Wrong = "The manifest is no S3 address."
		return nil
	}
	b, _, err := v.beginning(bucket, key, previewBytes)
	if e, ok := refused(err); ok {
		p.Wrong = "The manifest cannot be read. " + e.Message
		return nil
	}
	if err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(b))
	prefix, ok := prefixOf(d)
	if !ok {
		p.Wrong = "The manifest is none: it is not a list that begins with a prefix."
		return nil
	}
	for len(p.Rows) < pairsListed && d.More() {
		var name string
		if err := d.Decode(&name); err != nil {
			p.More = true
			break
		}
		full := prefix + name
		p.Rows = append(p.Rows, pair{In: object{Name: strings.TrimLeft(name, "/"), Path: objectPath(full), URI: full}})
	}
	p.More = p.More || len(p.Rows) == pairsListed
	return nil
}

// prefixOf is a manifest's first entry.
func prefixOf(d *json.Decoder) (string, bool) {
	var first struct {
		Prefix string `json:"prefix"`
	}
	begin, err := d.Token()
	ok := err == nil && begin == json.Delim('[') && d.Decode(&first) == nil
	return first.Prefix, ok
}

// outputsOf finds what a job has made of its inputs: what was there before is of
// another.
func (v *view) outputsOf(j *job, p *scores) error {
	bucket, folder, ok := splitURI(j.output.S3OutputPath)
	if !ok || len(p.Rows) == 0 {
		return nil
	}
	if folder = strings.TrimRight(folder, "/"); folder != "" {
		folder += "/"
	}
	list, more, err := v.under(bucket, folder, pairsListed)
	if _, ok := refused(err); ok {
		return nil // the inputs are shown without
	}
	if err != nil {
		return err
	}
	by := make(map[string]object, len(list))
	for _, c := range list {
		by[c.Key] = objectAt(bucket, c)
	}
	for i := range p.Rows {
		r := &p.Rows[i]
		key := folder + r.In.Name + ".out"
		o, ok := by[key]
		if !ok && more && i < pairsShown { // beyond what was listed
			if o, ok, err = v.objectOf(bucket, key); err != nil {
				return err
			}
		}
		if ok && !o.At.Before(j.Created.Truncate(time.Second)) {
			o.Name = r.In.Name + ".out"
			r.Out, r.Made = o, true
			p.Done++
		}
	}
	p.Partial = more
	return nil
}

func (v *view) under(bucket, prefix string, most int64) ([]s3.Object, bool, error) {
	out, err := ask[s3.ListObjectsV2Output](v, "s3", "ListObjectsV2", &s3.ListObjectsV2Request{Bucket: bucket, Prefix: prefix, MaxKeys: &most})
	if err != nil {
		return nil, false, err
	}
	return out.Contents, yes(out.IsTruncated), nil
}

// objectOf is one object, if it is there.
func (v *view) objectOf(bucket, key string) (object, bool, error) {
	list, _, err := v.under(bucket, key, 1)
	if _, ok := refused(err); ok {
		return object{}, false, nil
	}
	if err != nil || len(list) == 0 || list[0].Key != key {
		return object{}, false, err
	}
	return objectAt(bucket, list[0]), true, nil
}

func objectAt(bucket string, c s3.Object) object {
	uri := "s3://" + bucket + "/" + c.Key
	o := object{Name: c.Key[strings.LastIndexByte(c.Key, '/')+1:], URI: uri, Path: objectPath(uri), At: c.LastModified.Time}
	if c.Size != nil {
		o.Size = *c.Size
	}
	return o
}

// objectPath is the page that shows an object.
func objectPath(uri string) string { return "/object?" + url.Values{"uri": {uri}}.Encode() }

// beginning reads the first n bytes of an object, and says whether there are more.
func (v *view) beginning(bucket, key string, n int) ([]byte, bool, error) {
	get := &s3.GetObjectRequest{Bucket: bucket, Key: key, Range: "bytes=0-" + strconv.Itoa(n-1)}
	out, err := ask[s3.GetObjectOutput](v, "s3", "GetObject", get)
	if e, ok := refused(err); ok && e.Code == "InvalidRange" { // it is empty
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	defer out.Body.Close()
	b, err := io.ReadAll(io.LimitReader(out.Body, int64(n)))
	return b, total(out) > int64(len(b)), err
}

// glance reads an object's first lines, or says what it is.
func (v *view) glance(o object, packed bool) (*glance, error) {
	g := &glance{object: o}
	bucket, key, ok := splitURI(o.URI)
	if !ok {
		g.Note = "This is no S3 address."
		return g, nil
	}
	b, more, err := v.beginning(bucket, key, glanceBytes)
	if e, ok := refused(err); ok {
		g.Note = e.Message
		return g, nil
	}
	if err != nil {
		return nil, err
	}
	if packed {
		if b, ok = unpacked(b); !ok {
			g.Note = "This is not compressed by gzip."
			return g, nil
		}
	}
	g.show(b, more)
	return g, nil
}

// unpacked is what the beginning of a gzip file unpacks to, no more than is shown.
func unpacked(b []byte) (out []byte, ok bool) {
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, false
	}
	out, err = io.ReadAll(io.LimitReader(z, glanceBytes))
	return out, err == nil || errors.Is(err, io.ErrUnexpectedEOF) // the rest was not read
}

func (g *glance) show(b []byte, more bool) {
	switch http.DetectContentType(b) {
	case "image/png", "image/jpeg", "image/gif", "image/webp":
		if g.Size <= pictureBytes {
			g.Picture = "/object?picture=1&uri=" + url.QueryEscape(g.URI)
			return
		}
	}
	for i := 0; more && i < utf8.UTFMax && len(b) > 0 && !utf8.Valid(b); i++ { // a character may have been cut
		b = b[:len(b)-1]
	}
	switch {
	case len(b) == 0:
		g.Note = "It is empty."
		return
	case !utf8.Valid(b) || bytes.IndexByte(b, 0) >= 0:
		g.Note = "This is no text and no picture."
		return
	}
	lines := strings.SplitAfterN(string(b), "\n", glanceLines+1)
	if len(lines) > glanceLines {
		more = more || lines[glanceLines] != ""
		lines = lines[:glanceLines]
	}
	g.Text, g.Cut = strings.TrimSuffix(strings.Join(lines, ""), "\n"), more
}
