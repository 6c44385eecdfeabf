package s3

import (
	"context"
	"errors"
	"net/http"

	"golang.org/x/sync/errgroup"

	"clary/internal/api"
	"clary/internal/api/s3"
	"clary/internal/aws/apierr"
	"clary/internal/aws/op"
	"clary/internal/blob"
)

const (
	maxDelete = 1000
	// deleters work at once, so that their rows share commits.
	deleters = 32
)

// DeleteObject removes one key.
func (s *Service) DeleteObject(ctx context.Context, c op.Call, in *s3.DeleteObjectRequest) (*s3.DeleteObjectOutput, error) {
	if err := checkKey(in.Key); err != nil {
		return nil, err
	}
	if !in.IfMatchLastModifiedTime.IsZero() || in.IfMatchSize != nil {
		return nil, notImplemented("x-amz-if-match-last-modified-time, x-amz-if-match-size")
	}
	if _, err := s.bucket(ctx, c, in.Bucket, in.ExpectedBucketOwner); err != nil {
		return nil, err
	}
	n := blob.Name{Bucket: in.Bucket, Key: in.Key, Version: in.VersionId}
	if err := s.versionAllowed(ctx, c, "s3:DeleteObjectVersion", n); err != nil {
		return nil, err
	}
	cond := blob.Conditions{IfMatch: unquote(in.IfMatch)}
	d, err := s.blobs.Delete(ctx, n, cond)
	if err != nil {
		return nil, conditional(failed(err, n), cond)
	}
	out := &s3.DeleteObjectOutput{VersionId: d.VersionID}
	if d.Marker {
		out.DeleteMarker = new(true)
	}
	return out, nil
}

// DeleteObjects removes many keys, each on its own.
func (s *Service) DeleteObjects(ctx context.Context, c op.Call, in *s3.DeleteObjectsRequest) (*s3.DeleteObjectsOutput, error) {
	if in.Delete == nil || len(in.Delete.Objects) == 0 || len(in.Delete.Objects) > maxDelete {
		return nil, malformedXML()
	}
	if _, err := s.bucket(ctx, c, in.Bucket, in.ExpectedBucketOwner); err != nil {
		return nil, err
	}
	results := make([]error, len(in.Delete.Objects))
	done := make([]blob.Deleted, len(in.Delete.Objects))
	var g errgroup.Group
	g.SetLimit(deleters)
	for i, o := range in.Delete.Objects {
		g.Go(func() error {
			done[i], results[i] = s.deleteOne(ctx, c, in.Bucket, o)
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	out := &s3.DeleteObjectsOutput{}
	for i, o := range in.Delete.Objects {
		err := results[i]
		if err == nil {
			if !api.Value(in.Delete.Quiet) {
				out.Deleted = append(out.Deleted, deletedObject(o, done[i]))
			}
			continue
		}
		e, ok := errors.AsType[*apierr.Error](err)
		if !ok {
			return nil, err
		}
		out.Errors = append(out.Errors, s3.Error{Key: o.Key, VersionId: o.VersionId, Code: e.Code, Message: e.Message})
	}
	return out, nil
}

func (s *Service) deleteOne(ctx context.Context, c op.Call, bucket string, o s3.ObjectIdentifier) (d blob.Deleted, err error) {
	if o.Key == "" {
		return d, apierr.New(http.StatusBadRequest, "UserKeyMustBeSpecified", "The bucket POST must contain the specified field name. If it is specified, please check the order of the fields.")
	}
	if err := checkKey(o.Key); err != nil {
		return d, err
	}
	if !o.LastModifiedTime.IsZero() || o.Size != nil {
		return d, notImplemented("LastModifiedTime, Size")
	}
	if err := s.auth.Allow(ctx, c.Principal, "s3:DeleteObject", arn(bucket, o.Key)); err != nil {
		return d, denied()
	}
	n := blob.Name{Bucket: bucket, Key: o.Key, Version: o.VersionId}
	if err := s.versionAllowed(ctx, c, "s3:DeleteObjectVersion", n); err != nil {
		return d, denied()
	}
	d, err = s.blobs.Delete(ctx, n, blob.Conditions{IfMatch: unquote(o.ETag)})
	if errors.Is(err, blob.ErrVersion) {
		return d, apierr.New(http.StatusBadRequest, "NoSuchVersion", "The specified version does not exist.")
	}
	if err != nil {
		return d, failed(err, n)
	}
	return d, nil
}

// deletedObject tells of one key of a batch.
func deletedObject(o s3.ObjectIdentifier, d blob.Deleted) s3.DeletedObject {
	out := s3.DeletedObject{Key: o.Key, VersionId: o.VersionId}
	if d.Marker {
		out.DeleteMarker, out.DeleteMarkerVersionId = new(true), d.VersionID
	}
	return out
}
