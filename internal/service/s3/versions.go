package s3

import (
	"context"
	"maps"
	"net/http"
	"slices"

	"clary/internal/api"
	"clary/internal/api/s3"
	"clary/internal/aws/apierr"
	"clary/internal/aws/op"
	"clary/internal/blob"
)

// GetBucketVersioning says nothing of a bucket that never had it.
func (s *Service) GetBucketVersioning(ctx context.Context, c op.Call, in *s3.GetBucketVersioningRequest) (*s3.GetBucketVersioningOutput, error) {
	b, err := s.bucket(ctx, c, in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	return &s3.GetBucketVersioningOutput{Status: b.Versioning}, nil
}

// PutBucketVersioning turns versioning on, or suspends it.
func (s *Service) PutBucketVersioning(ctx context.Context, c op.Call, in *s3.PutBucketVersioningRequest) (*struct{}, error) {
	if _, err := s.bucket(ctx, c, in.Bucket, in.ExpectedBucketOwner); err != nil {
		return nil, err
	}
	cfg := in.VersioningConfiguration
	switch {
	case cfg == nil:
		return nil, malformedXML()
	case in.MFA != "" || (cfg.MFADelete != "" && cfg.MFADelete != "Disabled"):
		return nil, notImplemented("MfaDelete")
	case cfg.Status == "":
		return nil, apierr.New(http.StatusBadRequest, "IllegalVersioningConfigurationException", "The Versioning element must be specified")
	case cfg.Status != blob.VersioningEnabled && cfg.Status != blob.VersioningSuspended:
		return nil, malformedXML()
	}
	if err := s.blobs.SetVersioning(ctx, in.Bucket, cfg.Status); err != nil {
		return nil, failure(err, in.Bucket, "")
	}
	return nil, nil
}

func malformedXML() *apierr.Error {
	return apierr.New(http.StatusBadRequest, "MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema")
}

// ListObjectVersions lists versions and delete markers, the newest of a key
// first.
func (s *Service) ListObjectVersions(ctx context.Context, c op.Call, in *s3.ListObjectVersionsRequest) (*s3.ListObjectVersionsOutput, error) {
	enc, err := encoder(in.EncodingType)
	if err != nil {
		return nil, err
	}
	limit, err := pageSize("max-keys", in.MaxKeys)
	if err != nil {
		return nil, err
	}
	if in.VersionIdMarker != "" && in.KeyMarker == "" {
		return nil, invalidArgument("version-id-marker", in.VersionIdMarker, "A version-id marker cannot be specified without a key marker.")
	}
	b, err := s.bucket(ctx, c, in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	page, err := s.blobs.Versions(ctx, in.Bucket, in.Prefix, in.Delimiter, in.KeyMarker, in.VersionIdMarker, limit)
	if err != nil {
		return nil, failed(err, blob.Name{Bucket: in.Bucket, Version: in.VersionIdMarker})
	}
	out := &s3.ListObjectVersionsOutput{
		Name: in.Bucket, Prefix: enc(in.Prefix), Delimiter: enc(in.Delimiter), EncodingType: in.EncodingType,
		KeyMarker: enc(in.KeyMarker), VersionIdMarker: in.VersionIdMarker, MaxKeys: new(int64(limit)),
		IsTruncated: new(page.NextKey != ""), NextKeyMarker: enc(page.NextKey), NextVersionIdMarker: page.NextVersion,
		CommonPrefixes: prefixes(page.Prefixes, enc),
	}
	who := owner(b.Account)
	for _, v := range page.Versions {
		if v.Marker {
			out.DeleteMarkers = append(out.DeleteMarkers, s3.DeleteMarkerEntry{
				Key: enc(v.Key), VersionId: v.VersionID, IsLatest: new(v.Latest), LastModified: api.At(v.Modified), Owner: who,
			})
			continue
		}
		o := s3.ObjectVersion{
			Key: enc(v.Key), VersionId: v.VersionID, IsLatest: new(v.Latest), LastModified: api.At(v.Modified), Owner: who,
			ETag: quote(v.ETag), Size: new(v.Size), StorageClass: "STANDARD",
		}
		if len(v.Meta.Checksums) > 0 {
			o.ChecksumAlgorithm, o.ChecksumType = slices.Sorted(maps.Keys(v.Meta.Checksums)), v.Meta.ChecksumType
		}
		out.Versions = append(out.Versions, o)
	}
	return out, nil
}
