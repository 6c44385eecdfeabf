package s3

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"

	"clary/internal/api"
	"clary/internal/api/s3"
	"clary/internal/aws/op"
	"clary/internal/blob"
)

const maxPage = 1000

// pageSize reads max-keys and its like.
func pageSize(name string, asked *int64) (int, error) {
	if asked == nil {
		return maxPage, nil
	}
	if *asked < 0 || *asked > 1<<31-1 {
		return 0, invalidArgument(name, strconv.FormatInt(*asked, 10), "Argument %s must be an integer between 0 and 2147483647", name)
	}
	return int(min(*asked, maxPage)), nil
}

func marker(asked *int64) (int, error) {
	if asked == nil {
		return 0, nil
	}
	if *asked < 0 || *asked > 1<<31-1 {
		return 0, invalidArgument("part-number-marker", strconv.FormatInt(*asked, 10), "Argument part-number-marker must be an integer between 0 and 2147483647")
	}
	return int(*asked), nil
}

// encoder gives keys the form that the client asked for.
func encoder(encoding string) (func(string) string, error) {
	switch encoding {
	case "":
		return func(s string) string { return s }, nil
	case "url":
		return escape, nil
	}
	return nil, invalidArgument("encoding-type", encoding, "Invalid Encoding Method specified in Request")
}

// escape is URL encoding that leaves slashes, and that both kinds of decoders
// read: a space is %20 and never a plus.
func escape(s string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-_.~/", c) >= 0 {
			b.WriteByte(c)
			continue
		}
		b.WriteByte('%')
		b.WriteByte(hex[c>>4])
		b.WriteByte(hex[c&15])
	}
	return b.String()
}

// ListObjectsV2 lists keys.
func (s *Service) ListObjectsV2(ctx context.Context, c op.Call, in *s3.ListObjectsV2Request) (*s3.ListObjectsV2Output, error) {
	enc, err := encoder(in.EncodingType)
	if err != nil {
		return nil, err
	}
	limit, err := pageSize("max-keys", in.MaxKeys)
	if err != nil {
		return nil, err
	}
	after := in.StartAfter
	if in.ContinuationToken != "" {
		if after, err = readToken(in.ContinuationToken); err != nil {
			return nil, err
		}
	}
	b, err := s.bucket(ctx, c, in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	l, err := s.blobs.List(ctx, in.Bucket, in.Prefix, in.Delimiter, after, limit)
	if err != nil {
		return nil, failure(err, in.Bucket, "")
	}
	out := &s3.ListObjectsV2Output{
		Name: in.Bucket, Prefix: enc(in.Prefix), Delimiter: enc(in.Delimiter), EncodingType: in.EncodingType,
		MaxKeys: new(int64(limit)), KeyCount: new(int64(len(l.Objects) + len(l.Prefixes))),
		IsTruncated: new(l.Next != ""), ContinuationToken: in.ContinuationToken, StartAfter: enc(in.StartAfter),
		Contents: contents(l, b, enc, api.Value(in.FetchOwner)), CommonPrefixes: prefixes(l.Prefixes, enc),
	}
	if l.Next != "" {
		out.NextContinuationToken = makeToken(l.Next)
	}
	return out, nil
}

// ListObjects lists keys in the older way.
func (s *Service) ListObjects(ctx context.Context, c op.Call, in *s3.ListObjectsRequest) (*s3.ListObjectsOutput, error) {
	enc, err := encoder(in.EncodingType)
	if err != nil {
		return nil, err
	}
	limit, err := pageSize("max-keys", in.MaxKeys)
	if err != nil {
		return nil, err
	}
	b, err := s.bucket(ctx, c, in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	l, err := s.blobs.List(ctx, in.Bucket, in.Prefix, in.Delimiter, in.Marker, limit)
	if err != nil {
		return nil, failure(err, in.Bucket, "")
	}
	out := &s3.ListObjectsOutput{
		Name: in.Bucket, Prefix: enc(in.Prefix), Delimiter: enc(in.Delimiter), Marker: enc(in.Marker),
		EncodingType: in.EncodingType, MaxKeys: new(int64(limit)), IsTruncated: new(l.Next != ""),
		Contents: contents(l, b, enc, true), CommonPrefixes: prefixes(l.Prefixes, enc),
	}
	// Without a delimiter the last key is the next marker, and S3 leaves it to
	// the client to see that.
	if in.Delimiter != "" && l.Next != "" {
		out.NextMarker = enc(l.Next)
	}
	return out, nil
}

func contents(l blob.Listing, b blob.Bucket, enc func(string) string, withOwner bool) []s3.Object {
	var who *s3.Owner
	if withOwner {
		who = owner(b.Account)
	}
	out := make([]s3.Object, len(l.Objects))
	for i, o := range l.Objects {
		out[i] = s3.Object{
			Key: enc(o.Key), LastModified: api.At(o.Modified), ETag: quote(o.ETag), Size: new(o.Size),
			StorageClass: "STANDARD", Owner: who,
		}
		if len(o.Meta.Checksums) > 0 {
			out[i].ChecksumAlgorithm = slices.Sorted(maps.Keys(o.Meta.Checksums))
			out[i].ChecksumType = o.Meta.ChecksumType
		}
	}
	return out
}

func prefixes(list []string, enc func(string) string) []s3.CommonPrefix {
	out := make([]s3.CommonPrefix, len(list))
	for i, p := range list {
		out[i].Prefix = enc(p)
	}
	return out
}
