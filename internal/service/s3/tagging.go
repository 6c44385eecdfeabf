package s3

import (
	"context"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"clary/internal/api/s3"
	"clary/internal/aws/apierr"
	"clary/internal/aws/op"
)

const maxTags = 10

var tagText = regexp.MustCompile(`^[\p{L}\p{Z}\p{N}_.:/=+\-@]*$`)

// readTags checks the tags of an object.
func readTags(list []s3.Tag) (map[string]string, error) {
	bad := func(text string) *apierr.Error { return apierr.New(http.StatusBadRequest, "InvalidTag", "%s", text) }
	if len(list) > maxTags {
		return nil, apierr.New(http.StatusBadRequest, "BadRequest", "Object tags cannot be greater than 10")
	}
	out := make(map[string]string, len(list))
	for _, t := range list {
		switch n := utf8.RuneCountInString(t.Key); {
		case n < 1 || n > 128 || !tagText.MatchString(t.Key):
			return nil, field(bad("The TagKey you have provided is invalid"), "TagKey", t.Key)
		case strings.HasPrefix(t.Key, "aws:"):
			return nil, bad("System tags cannot be added/updated by requester")
		case utf8.RuneCountInString(t.Value) > 256 || !tagText.MatchString(t.Value):
			return nil, field(field(bad("The TagValue you have provided is invalid"), "TagKey", t.Key), "TagValue", t.Value)
		}
		if _, twice := out[t.Key]; twice {
			return nil, field(bad("Cannot provide multiple Tags with the same key"), "TagKey", t.Key)
		}
		out[t.Key] = t.Value
	}
	return out, nil
}

// GetObjectTagging reads an object's tags, by key.
func (s *Service) GetObjectTagging(ctx context.Context, c op.Call, in *s3.GetObjectTaggingRequest) (*s3.GetObjectTaggingOutput, error) {
	if err := checkVersion(in.VersionId); err != nil {
		return nil, err
	}
	if _, err := s.bucket(ctx, c, in.Bucket, in.ExpectedBucketOwner); err != nil {
		return nil, err
	}
	o, err := s.blobs.Head(ctx, in.Bucket, in.Key)
	if err != nil {
		return nil, failure(err, in.Bucket, in.Key)
	}
	out := &s3.GetObjectTaggingOutput{TagSet: []s3.Tag{}}
	for _, k := range slices.Sorted(maps.Keys(o.Meta.Tags)) {
		out.TagSet = append(out.TagSet, s3.Tag{Key: k, Value: o.Meta.Tags[k]})
	}
	return out, nil
}

// PutObjectTagging replaces an object's tags.
func (s *Service) PutObjectTagging(ctx context.Context, c op.Call, in *s3.PutObjectTaggingRequest) (*s3.PutObjectTaggingOutput, error) {
	if err := checkVersion(in.VersionId); err != nil {
		return nil, err
	}
	if in.Tagging == nil {
		return nil, apierr.New(http.StatusBadRequest, "MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema")
	}
	tags, err := readTags(in.Tagging.TagSet)
	if err != nil {
		return nil, err
	}
	if err := s.setTags(ctx, c, in.Bucket, in.Key, in.ExpectedBucketOwner, tags); err != nil {
		return nil, err
	}
	return &s3.PutObjectTaggingOutput{}, nil
}

// DeleteObjectTagging removes an object's tags.
func (s *Service) DeleteObjectTagging(ctx context.Context, c op.Call, in *s3.DeleteObjectTaggingRequest) (*s3.DeleteObjectTaggingOutput, error) {
	if err := checkVersion(in.VersionId); err != nil {
		return nil, err
	}
	if err := s.setTags(ctx, c, in.Bucket, in.Key, in.ExpectedBucketOwner, nil); err != nil {
		return nil, err
	}
	return &s3.DeleteObjectTaggingOutput{}, nil
}

func (s *Service) setTags(ctx context.Context, c op.Call, bucket, key, expectedOwner string, tags map[string]string) error {
	if _, err := s.bucket(ctx, c, bucket, expectedOwner); err != nil {
		return err
	}
	return failure(s.blobs.SetTags(ctx, bucket, key, tags), bucket, key)
}
