package stage

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"clary/internal/client"
	"clary/internal/stage/transform"
)

// captured notes which objects a transform job read and wrote. Their names lie in
// files: there may be many.
type captured struct {
	started       time.Time
	mu            sync.Mutex // guards these
	input, output note
}

// note is a manifest in the making.
type note struct {
	f *os.File
	w *bufio.Writer
	n int
}

func newNote(scratch string) (note, error) {
	f, err := transform.Scratch(scratch)
	return note{f: f, w: bufio.NewWriter(f)}, err
}

func newCaptured(scratch string, started time.Time) (*captured, error) {
	c := &captured{started: started.UTC()}
	var err error
	if c.input, err = newNote(scratch); err != nil {
		return nil, err
	}
	if c.output, err = newNote(scratch); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

func (c *captured) close() {
	for _, n := range []note{c.input, c.output} {
		if n.f != nil {
			_ = n.f.Close() // it has no name any more
		}
	}
}

// add notes an object, below the folder of the job's input, and its result.
func (c *captured) add(key, result string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return errors.Join(c.input.add(key), c.output.add(result))
}

func (n *note) add(name string) error {
	text, err := json.Marshal(name)
	if err != nil {
		return err
	}
	n.n++
	_, err = n.w.Write(append([]byte(",\n"), text...))
	return err
}

// manifest reads the note as S3's manifest files are.
func (n *note) manifest(prefix string) (io.Reader, error) {
	first, err := json.Marshal(map[string]string{"prefix": prefix})
	if err != nil {
		return nil, err
	}
	if err := n.w.Flush(); err != nil {
		return nil, err
	}
	if _, err := n.f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	return io.MultiReader(strings.NewReader("["+string(first)), n.f, strings.NewReader("\n]\n")), nil
}

// inputFolder is the bucket and the folder that the names of captured objects
// begin below.
func (t *transforming) inputFolder(it item) string {
	if t.t.Input.S3DataType == "ManifestFile" {
		return ""
	}
	_, prefix, err := client.ParseURI(t.t.Input.S3Uri)
	if err != nil || !strings.HasPrefix(it.key, prefix) {
		return ""
	}
	return prefix[:strings.LastIndexByte(prefix, '/')+1]
}

// noted notes an object that is done.
func (t *transforming) noted(it item, result string) error {
	folder := t.inputFolder(it)
	t.mu.Lock()
	t.captureFrom = "s3://" + it.bucket + "/" + folder // the same for all
	t.mu.Unlock()
	return t.notes.add(strings.TrimPrefix(it.key, folder), result)
}

// capture leaves the manifests of what this instance did.
func (t *transforming) capture(ctx context.Context) error {
	c := t.notes
	if c.input.n == 0 {
		return nil
	}
	bucket, prefix, err := client.ParseURI(t.t.Capture.S3Uri)
	if err != nil {
		return userError("DataCaptureConfig: %v", err)
	}
	if prefix = strings.TrimSuffix(prefix, "/"); prefix != "" {
		prefix += "/"
	}
	name := c.started.Format("/2006/01/02/15/") + transform.NewID() + ".json"
	for _, m := range []struct {
		folder string
		note   *note
		of     string
	}{
		{"input", &c.input, t.captureFrom},
		{"output", &c.output, fmt.Sprintf("s3://%s/%s", t.bucket, t.prefix)},
	} {
		body, err := m.note.manifest(m.of)
		if err != nil {
			return err
		}
		key := prefix + m.folder + name
		if _, err := t.h.API.Upload(ctx, bucket, key, body); err != nil {
			return t.putError(ctx, "the capture of the "+m.folder, bucket, key, err)
		}
	}
	return nil
}
