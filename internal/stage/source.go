package stage

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"path"
	"strings"

	"clary/internal/client"
	"clary/internal/stage/plan"
)

// item is one object and where it goes below its input's folder. A folder
// marker's name ends with a slash.
type item struct {
	bucket, key, name string
	size              int64 // -1: not known yet
}

// source lists an input's objects in order.
func (j *job) source(ctx context.Context, ch plan.Channel) iter.Seq2[item, error] {
	bucket, key, err := client.ParseURI(ch.S3Uri)
	if err != nil {
		return fail(userError("%s: %v", j.named(ch), err))
	}
	switch ch.S3DataType {
	case "", "S3Prefix":
		return j.prefix(ctx, ch, bucket, key)
	case "ManifestFile":
		return j.manifest(ctx, ch, bucket, key)
	case "AugmentedManifestFile":
		return j.augmented(ctx, ch, bucket, key)
	}
	return fail(userError("%s: S3DataType %q is not supported", j.named(ch), ch.S3DataType))
}

func fail(err error) iter.Seq2[item, error] {
	return func(yield func(item, error) bool) { yield(item{}, err) }
}

// below lists every key that starts with the prefix, be it a folder, a part of
// a name or one whole key.
func (j *job) below(ctx context.Context, ch plan.Channel, bucket, prefix string) iter.Seq2[item, error] {
	return func(yield func(item, error) bool) {
		for o, err := range j.h.API.List(ctx, bucket, prefix) {
			if err != nil {
				yield(item{}, j.listError(ctx, ch, bucket, prefix, err))
				return
			}
			if !yield(item{bucket: bucket, key: o.Key, name: nameBelow(prefix, o.Key), size: o.Size}, nil) {
				return
			}
		}
	}
}

// prefix are those, of which there must be one.
func (j *job) prefix(ctx context.Context, ch plan.Channel, bucket, prefix string) iter.Seq2[item, error] {
	return func(yield func(item, error) bool) {
		found := false
		for it, err := range j.below(ctx, ch, bucket, prefix) {
			found = found || err != nil || !strings.HasSuffix(it.key, "/")
			if !yield(it, err) || err != nil {
				return
			}
		}
		if !found {
			yield(item{}, j.nothingFound(ctx, ch, bucket, prefix, ""))
		}
	}
}

// nameBelow is where a key goes below the input's folder: the part after
// the prefix when that ends at a slash or is the whole key's folder, else the
// part after the last folder that the prefix names whole.
func nameBelow(prefix, key string) string {
	switch {
	case key == prefix && !strings.HasSuffix(key, "/"):
		return path.Base(key)
	case prefix == "" || strings.HasSuffix(prefix, "/"):
		return key[len(prefix):]
	case key[len(prefix)] == '/':
		return key[len(prefix)+1:]
	}
	return key[strings.LastIndexByte(prefix, '/')+1:]
}

// manifest reads [{"prefix":"s3://b/p"},"k1","k2"]: each object is prefix + k,
// and k is its place below the folder.
func (j *job) manifest(ctx context.Context, ch plan.Channel, bucket, key string) iter.Seq2[item, error] {
	return func(yield func(item, error) bool) {
		body, err := j.openManifest(ctx, ch, bucket, key)
		if err != nil {
			yield(item{}, err)
			return
		}
		defer body.Close() //nolint:errcheck // read to its end
		bad := func(format string, args ...any) {
			if ctx.Err() != nil {
				yield(item{}, context.Cause(ctx))
				return
			}
			yield(item{}, userError("the manifest file %s of %s is not valid: %s. It must be a JSON list whose first member is "+
				`{"prefix": "s3://bucket/path/"}, followed by the names of objects below it`, ch.S3Uri, j.named(ch), fmt.Sprintf(format, args...)))
		}
		dec := json.NewDecoder(body)
		if tok, err := dec.Token(); err != nil || tok != json.Delim('[') {
			bad("it does not start with [")
			return
		}
		var first struct {
			Prefix string `json:"prefix"`
		}
		if !dec.More() {
			bad("it is empty")
			return
		}
		if err := dec.Decode(&first); err != nil {
			bad("its first member has no prefix: %v", err)
			return
		}
		b, prefix, err := client.ParseURI(first.Prefix)
		if err != nil {
			bad("%v", err)
			return
		}
		n := 0
		for dec.More() {
			var k string
			if err := dec.Decode(&k); err != nil {
				bad("member %d is not a string: %v", n+1, err)
				return
			}
			n++
			if !yield(item{bucket: b, key: prefix + k, name: strings.TrimPrefix(k, "/"), size: -1}, nil) {
				return
			}
		}
		if _, err := dec.Token(); err != nil {
			bad("it does not end with ]: %v", err)
			return
		}
		if n == 0 {
			bad("it names no objects")
		}
	}
}

// augmented reads JSON lines: what the input's attributes refer to is
// fetched, each object at its key, and the manifest itself beside them.
func (j *job) augmented(ctx context.Context, ch plan.Channel, bucket, key string) iter.Seq2[item, error] {
	return func(yield func(item, error) bool) {
		body, err := j.openManifest(ctx, ch, bucket, key)
		if err != nil {
			yield(item{}, err)
			return
		}
		defer body.Close() //nolint:errcheck // read to its end
		if !yield(item{bucket: bucket, key: key, name: path.Base(key), size: -1}, nil) {
			return
		}
		seen := map[string]bool{} // several lines may refer to one object
		lines := bufio.NewScanner(body)
		lines.Buffer(nil, 4<<20)
		for n := 1; lines.Scan(); n++ {
			if strings.TrimSpace(lines.Text()) == "" {
				continue
			}
			var line map[string]json.RawMessage
			if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
				yield(item{}, userError("line %d of the augmented manifest %s is not a JSON object: %v", n, ch.S3Uri, err))
				return
			}
			for _, a := range ch.AttributeNames {
				raw, ok := line[a]
				if !ok {
					yield(item{}, userError("line %d of the augmented manifest %s has no attribute %q", n, ch.S3Uri, a))
					return
				}
				var ref string
				if !strings.HasSuffix(a, "-ref") || json.Unmarshal(raw, &ref) != nil || seen[ref] {
					continue
				}
				b, k, err := client.ParseURI(ref)
				if err != nil {
					yield(item{}, userError("line %d of the augmented manifest %s: attribute %q: %v", n, ch.S3Uri, a, err))
					return
				}
				seen[ref] = true
				if !yield(item{bucket: b, key: k, name: k, size: -1}, nil) {
					return
				}
			}
		}
		if err := lines.Err(); err != nil {
			if errors.Is(err, bufio.ErrTooLong) {
				err = userError("a line of the augmented manifest %s is longer than 4 MiB", ch.S3Uri)
			}
			yield(item{}, err)
		}
	}
}

func (j *job) openManifest(ctx context.Context, ch plan.Channel, bucket, key string) (io.ReadCloser, error) {
	body, _, err := j.h.API.Get(ctx, bucket, key)
	if err != nil {
		return nil, j.getError(ctx, ch, item{bucket: bucket, key: key}, err)
	}
	return body, nil
}

// sharded takes every n-th object when the input is split among hosts.
func (j *job) sharded(ch plan.Channel, all iter.Seq2[item, error]) iter.Seq2[item, error] {
	hosts, mine := len(j.hosts), 0
	if ch.Distribution != "ShardedByS3Key" || hosts < 2 {
		return all
	}
	for i, h := range j.hosts {
		if h == j.current {
			mine = i
		}
	}
	return func(yield func(item, error) bool) {
		n := 0
		for it, err := range all {
			if err == nil && !strings.HasSuffix(it.name, "/") {
				n++
				if (n-1)%hosts != mine {
					continue
				}
			}
			if !yield(it, err) {
				return
			}
		}
	}
}
