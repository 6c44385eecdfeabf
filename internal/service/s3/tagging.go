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
	"clary/internal/blob"
)

const maxTags = 10

var tagText = regexp.MustCompile(`^[\p{L}\p{Z}\p{N}_.:/=+\-@]*$`)

// readTags checks the tags of an object or a bucket.
func readTags(list []s3.Tag, most int) (map[string]string, error) {
	bad := func(text string) *apierr.Error { return apierr.New(http.StatusBadRequest, "InvalidTag", "%s", text) }
	if len(list) > most {
		if most == maxTags {
			return nil, apierr.New(http.StatusBadRequest, "BadRequest", "Object tags cannot be greater than %d", most)
		}
		return nil, apierr.New(http.StatusBadRequest, "BadRequest", "Bucket tag count cannot be greater than %d", most)
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
	if _, err := s.bucket(ctx, c, in.Bucket, in.ExpectedBucketOwner); err != nil {
		return nil, err
	}
	n := blob.Name{Bucket: in.Bucket, Key: in.Key, Version: in.VersionId}
	if err := s.versionAllowed(ctx, c, "s3:GetObjectVersionTagging", n); err != nil {
		return nil, err
	}
	o, err := s.blobs.Head(ctx, n)
	if err != nil {
		return nil, failed(err, n)
	}
	out := &s3.GetObjectTaggingOutput{TagSet: tagList(o.Meta.Tags), VersionId: o.VersionID}
	return out, nil
}

// tagList is by key.
func tagList(tags map[string]string) []s3.Tag {
	out := []s3.Tag{}
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		out = append(out, s3.Tag{Key: k, Value: tags[k]})
	}
	return out
}

// PutObjectTagging replaces an object's tags.
func (s *Service) PutObjectTagging(ctx context.Context, c op.Call, in *s3.PutObjectTaggingRequest) (*s3.PutObjectTaggingOutput, error) {
	if in.Tagging == nil {
		return nil, malformedXML()
	}
	tags, err := readTags(in.Tagging.TagSet, maxTags)
	if err != nil {
		return nil, err
	}
	n := blob.Name{Bucket: in.Bucket, Key: in.Key, Version: in.VersionId}
	id, err := s.setTags(ctx, c, "s3:PutObjectVersionTagging", n, in.ExpectedBucketOwner, tags)
	if err != nil {
		return nil, err
	}
	return &s3.PutObjectTaggingOutput{VersionId: id}, nil
}

// DeleteObjectTagging removes an object's tags.
func (s *Service) DeleteObjectTagging(ctx context.Context, c op.Call, in *s3.DeleteObjectTaggingRequest) (*s3.DeleteObjectTaggingOutput, error) {
	n := blob.Name{Bucket: in.Bucket, Key: in.Key, Version: in.VersionId}
	id, err := s.setTags(ctx, c, "s3:DeleteObjectVersionTagging", n, in.ExpectedBucketOwner, nil)
	if err != nil {
		return nil, err
	}
	return &s3.DeleteObjectTaggingOutput{VersionId: id}, nil
}

func (s *Service) setTags(ctx context.Context, c op.Call, action string, n blob.Name, expectedOwner string, tags map[string]string) (string, error) {
	if _, err := s.bucket(ctx, c, n.Bucket, expectedOwner); err != nil {
		return "", err
	}
	if err := s.versionAllowed(ctx, c, action, n); err != nil {
		return "", err
	}
	id, err := s.blobs.SetTags(ctx, n, tags)
	if err != nil {
		return "", failed(err, n)
	}
	return id, nil
}
