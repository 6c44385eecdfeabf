package console

import (
	"strings"
	"time"

	"clary/internal/api/s3"
)

// object is one in S3, with the page that shows it.
type object struct {
	Name, Path string
	URI        string // where it matters
	Size       int64
	At         time.Time
}

// objects are the first of a prefix.
type objects struct {
	Title, Way string // Way: from where to where
	List       []object
	More       bool
	Wrong      string
}

const (
	shownPlaces  = 6 // of a job's inputs, and of its outputs
	shownObjects = 6
)

// data lists what went into a job and what came out.
func (v *view) data(j *job, body *jobBody) error {
	for _, l := range []struct {
		of []place
		to *[]objects
	}{{j.inputs, &body.Inputs}, {j.outputs, &body.Outputs}} {
		shown := l.of[:min(len(l.of), shownPlaces)]
		body.More += len(l.of) - len(shown)
		for _, p := range shown {
			o, err := v.list(p.Title, p.URI)
			if err != nil {
				return err
			}
			o.Way = p.Way
			*l.to = append(*l.to, *o)
		}
	}
	return nil
}

// list shows the first objects of a prefix; what the API refuses is said in
// place of them.
func (v *view) list(title, uri string) (*objects, error) {
	o := &objects{Title: title, Way: uri}
	bucket, key, ok := splitURI(uri)
	if !ok {
		o.Wrong = "This is no S3 address."
		return o, nil
	}
	out, err := ask[s3.ListObjectsV2Output](v, "s3", "ListObjectsV2", &s3.ListObjectsV2Request{Bucket: bucket, Prefix: key, MaxKeys: ptr(shownObjects)})
	if e, refusedIt := refused(err); refusedIt {
		o.Wrong = e.Message
		return o, nil
	}
	if err != nil {
		return nil, err
	}
	for _, c := range out.Contents {
		row := object{Name: strings.TrimPrefix(strings.TrimPrefix(c.Key, key), "/"), At: c.LastModified.Time}
		if row.Name == "" {
			row.Name = c.Key[strings.LastIndexByte(c.Key, '/')+1:]
		}
		if c.Size != nil {
			row.Size = *c.Size
		}
		row.Path = objectPath("s3://" + bucket + "/" + c.Key)
		o.List = append(o.List, row)
	}
	o.More = out.IsTruncated != nil && *out.IsTruncated
	return o, nil
}

func splitURI(uri string) (bucket, key string, ok bool) {
	rest, ok := strings.CutPrefix(uri, "s3://")
	bucket, key, _ = strings.Cut(rest, "/")
	return bucket, key, ok && bucket != ""
}
