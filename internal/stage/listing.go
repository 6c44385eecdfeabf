package stage

import (
	"bufio"
	"encoding/json"
	"errors"
	"os"
	"strings"
)

// listing writes <channel>-manifest: the objects of the channel, in the form
// of a manifest file.
type listing struct {
	f      *os.File
	w      *bufio.Writer
	prefix string
}

func newListing(root *os.Root, name string) (*listing, error) {
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, fileMode)
	if err != nil {
		return nil, err
	}
	return &listing{f: f, w: bufio.NewWriter(f)}, nil
}

func (l *listing) add(it item) error {
	write := func(v any) error {
		data, err := json.Marshal(v)
		if err == nil {
			_, err = l.w.Write(data)
		}
		return err
	}
	if l.prefix == "" {
		l.prefix = "s3://" + it.bucket + "/"
		if err := l.w.WriteByte('['); err != nil {
			return err
		}
		if err := write(map[string]string{"prefix": l.prefix}); err != nil {
			return err
		}
	}
	if strings.HasSuffix(it.key, "/") || l.prefix != "s3://"+it.bucket+"/" {
		return nil // markers are no objects; a manifest has one prefix
	}
	if err := l.w.WriteByte(','); err != nil {
		return err
	}
	return write(it.key)
}

func (l *listing) done() error {
	if l.prefix == "" {
		_ = l.w.WriteByte('[') // Flush tells
	}
	_ = l.w.WriteByte(']')
	return errors.Join(l.w.Flush(), l.f.Chmod(fileMode))
}

func (l *listing) close() { _ = l.f.Close() }
