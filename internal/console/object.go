package console

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"clary/internal/api/s3"
	"clary/internal/aws/apierr"
)

const (
	previewBytes   = 64 << 10
	archiveBytes   = 32 << 20 // of an archive's packed bytes, read for its list
	unpackedBytes  = 64 << 20 // of what these unpack to
	archiveEntries = 200
	pictureBytes   = 8 << 20
	tableLines     = 50
)

type objectBody struct {
	URI, Name, Type string
	Size            int64
	At              time.Time
	Text            string
	Table           [][]string
	Entries         []object
	Picture         string // address of the picture itself
	Cut             bool   // there is more than is shown
	Note            string
	Command         string
}

// object shows the beginning of one in S3.
func (c *Console) object(v *view) error {
	uri := v.r.FormValue("uri")
	bucket, key, ok := splitURI(uri)
	if !ok || key == "" {
		return errNoPage
	}
	get := &s3.GetObjectRequest{Bucket: bucket, Key: key}
	if v.r.FormValue("picture") != "" {
		return v.picture(get)
	}
	archive := strings.HasSuffix(key, ".tar.gz") || strings.HasSuffix(key, ".tgz")
	if !archive {
		get.Range = "bytes=0-" + strconv.Itoa(previewBytes-1)
	}
	out, err := ask[s3.GetObjectOutput](v, "s3", "GetObject", get)
	if e, ok := refused(err); ok && e.Code == "InvalidRange" { // it is empty
		get.Range = ""
		out, err = ask[s3.GetObjectOutput](v, "s3", "GetObject", get)
	}
	if err != nil {
		return err
	}
	defer out.Body.Close()
	body := &objectBody{
		URI: uri, Name: path.Base(key), Type: out.ContentType, Size: total(out), At: out.LastModified.Time,
		Command: "aws s3 cp " + shellQuoted(uri) + " .",
	}
	if archive {
		body.entries(v.r.Context(), out.Body)
	} else {
		b, err := io.ReadAll(io.LimitReader(out.Body, previewBytes))
		if err != nil {
			return err
		}
		body.Cut = body.Size > int64(len(b))
		body.preview(b, uri)
	}
	return v.show("object", body.Name, "", body)
}

// total is the object's size; of a range it is in Content-Range.
func total(out *s3.GetObjectOutput) int64 {
	if i := strings.LastIndexByte(out.ContentRange, '/'); i >= 0 {
		if n, err := strconv.ParseInt(out.ContentRange[i+1:], 10, 64); err == nil {
			return n
		}
	}
	if out.ContentLength != nil {
		return *out.ContentLength
	}
	return 0
}

// preview shows what b is: a picture, a table, or text.
func (b *objectBody) preview(data []byte, uri string) {
	switch kind := http.DetectContentType(data); kind {
	case "image/png", "image/jpeg", "image/gif", "image/webp":
		if b.Size <= pictureBytes {
			b.Picture, b.Cut = "/object?picture=1&uri="+url.QueryEscape(uri), false
			return
		}
	}
	text := data
	if b.Cut { // a character may have been cut
		for i := 0; i < utf8.UTFMax && len(text) > 0 && !utf8.Valid(text); i++ {
			text = text[:len(text)-1]
		}
	}
	if !utf8.Valid(text) || bytes.IndexByte(text, 0) >= 0 {
		b.Note, b.Cut = "This is no text and no picture.", false
		return
	}
	switch ext := strings.ToLower(path.Ext(b.Name)); ext {
	case ".csv", ".tsv":
		r := csv.NewReader(bytes.NewReader(text))
		r.FieldsPerRecord, r.LazyQuotes = -1, true
		if ext == ".tsv" {
			r.Comma = '\t'
		}
		for len(b.Table) < tableLines {
			row, err := r.Read()
			if err != nil {
				break
			}
			b.Table = append(b.Table, row)
		}
		b.Cut = b.Cut || len(b.Table) == tableLines
		if len(b.Table) > 0 {
			return
		}
	case ".json":
		var pretty bytes.Buffer
		if json.Indent(&pretty, text, "", "  ") == nil {
			text = pretty.Bytes()
		}
	}
	b.Text = string(text)
}

// readerFunc is an io.Reader.
type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// entries lists a packed archive, as far as it is read, and as long as somebody
// waits for it.
func (b *objectBody) entries(ctx context.Context, r io.Reader) {
	z, err := gzip.NewReader(io.LimitReader(r, archiveBytes))
	if err != nil {
		b.Note = "This is named like an archive and is none."
		return
	}
	// what it unpacks to is bounded as well: listing must not cost a bomb's size
	unpacked := io.LimitReader(z, unpackedBytes)
	t := tar.NewReader(readerFunc(func(p []byte) (int, error) {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		return unpacked.Read(p)
	}))
	for {
		h, err := t.Next()
		switch {
		case errors.Is(err, io.EOF):
			return
		case err != nil || len(b.Entries) == archiveEntries:
			b.Cut = true
			return
		}
		b.Entries = append(b.Entries, object{Name: h.Name, Size: h.Size, At: h.ModTime})
	}
}

// picture sends one of the kinds that browsers show and that hold no script.
func (v *view) picture(get *s3.GetObjectRequest) error {
	out, err := ask[s3.GetObjectOutput](v, "s3", "GetObject", get)
	if err != nil {
		return err
	}
	defer out.Body.Close()
	b, err := io.ReadAll(io.LimitReader(out.Body, pictureBytes+1))
	if err != nil {
		return err
	}
	kind := http.DetectContentType(b)
	switch kind {
	case "image/png", "image/jpeg", "image/gif", "image/webp":
	default:
		return apierr.Validation("This is no picture.")
	}
	if len(b) > pictureBytes {
		return apierr.Validation("The picture is larger than %s.", size(pictureBytes))
	}
	v.w.Header().Set("Content-Type", kind)
	v.w.Header().Set("Content-Security-Policy", "default-src 'none'; sandbox")
	_, _ = v.w.Write(b) // the browser is gone if it fails
	return nil
}

func shellQuoted(s string) string {
	if strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:/._-=+@") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
