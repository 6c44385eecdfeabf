package s3

import (
	"context"
	"errors"
	"net/url"
	"strings"

	"clary/internal/api"
	"clary/internal/api/s3"
	"clary/internal/aws/apierr"
	"clary/internal/aws/checksum"
	"clary/internal/aws/op"
	"clary/internal/blob"
)

// source reads x-amz-copy-source and checks that the caller may read it.
func (s *Service) source(ctx context.Context, c op.Call, header, expectedOwner, customerKey string) (bucket, key string, err error) {
	if customerKey != "" {
		return "", "", notImplemented("x-amz-copy-source-server-side-encryption-customer-algorithm")
	}
	path, query, _ := strings.Cut(header, "?")
	if path, err = url.PathUnescape(path); err != nil {
		return "", "", invalidArgument("x-amz-copy-source", header, "Invalid copy source encoding.")
	}
	bucket, key, ok := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	if !ok || bucket == "" || key == "" {
		return "", "", invalidArgument("x-amz-copy-source", header, "Invalid copy source object key")
	}
	if err := checkKey(key); err != nil {
		return "", "", err
	}
	if query != "" {
		values, err := url.ParseQuery(query)
		if err != nil {
			return "", "", invalidArgument("x-amz-copy-source", header, "Invalid copy source encoding.")
		}
		if err := checkVersion(values.Get("versionId")); err != nil {
			return "", "", err
		}
	}
	if _, err := s.bucket(ctx, c, bucket, expectedOwner); err != nil {
		return "", "", err
	}
	return bucket, key, s.auth.Allow(ctx, c.Principal, "s3:GetObject", arn(bucket, key))
}

// sourceConditions are those of a read, and all of them fail as 412.
func sourceConditions(ifMatch, ifNoneMatch string, modified, unmodified api.Time, o blob.Object) error {
	err := readConditions(ifMatch, ifNoneMatch, modified, unmodified, o)
	if e, ok := errors.AsType[*apierr.Error](err); ok {
		name := e.Fields["Condition"]
		if name == "" {
			name = "If-None-Match"
			if ifNoneMatch == "" {
				name = "If-Modified-Since"
			}
		}
		return conditional412("x-amz-copy-source-" + name)
	}
	return err
}

func conditional412(name string) error {
	e := failure(blob.ErrPrecondition, "", "")
	if a, ok := errors.AsType[*apierr.Error](e); ok {
		return field(a, "Condition", name)
	}
	return e
}

// CopyObject writes what another key holds.
func (s *Service) CopyObject(ctx context.Context, c op.Call, in *s3.CopyObjectRequest) (*s3.CopyObjectOutput, error) {
	said, err := writeMeta(copyHeaders(in))
	if err != nil {
		return nil, err
	}
	if err := directives(in); err != nil {
		return nil, err
	}
	if _, err := s.bucket(ctx, c, in.Bucket, in.ExpectedBucketOwner); err != nil {
		return nil, err
	}
	bucket, key, err := s.source(ctx, c, in.CopySource, in.ExpectedSourceBucketOwner,
		in.CopySourceSSECustomerAlgorithm+in.CopySourceSSECustomerKey+in.CopySourceSSECustomerKeyMD5)
	if err != nil {
		return nil, err
	}
	cond, err := writeConditions(in.IfMatch, in.IfNoneMatch)
	if err != nil {
		return nil, err
	}
	for range looks {
		src, err := s.blobs.Head(ctx, bucket, key)
		if err != nil {
			return nil, failure(err, bucket, key)
		}
		p, err := copyPlan(in, said, src)
		if err != nil {
			return nil, err
		}
		p.If = cond
		o, err := s.blobs.Copy(ctx, bucket, key, same(src), p)
		if errors.Is(err, errChanged) {
			continue
		}
		if err != nil {
			return nil, conditional(failure(err, in.Bucket, in.Key), cond)
		}
		out := &s3.CopyObjectOutput{
			CopyObjectResult:     &s3.CopyObjectResult{ETag: quote(o.ETag), LastModified: api.At(o.Modified), ChecksumType: o.Meta.ChecksumType},
			ServerSideEncryption: o.Meta.Recorded[recSSE], SSEKMSKeyId: o.Meta.Recorded[recKMSKey],
			BucketKeyEnabled: bucketKey(o.Meta),
		}
		setSums(out.CopyObjectResult, o.Meta.Checksums)
		return out, nil
	}
	return nil, conflict()
}

// same picks all of src, if it is still the version behind its key.
func same(src blob.Object) blob.Pick {
	return func(o blob.Object) (int64, int64, error) {
		if o.Version != src.Version || o.ETag != src.ETag || !o.Modified.Equal(src.Modified) {
			return 0, 0, errChanged
		}
		return 0, -1, nil
	}
}

func directives(in *s3.CopyObjectRequest) error {
	for name, value := range map[string]string{
		"x-amz-metadata-directive": in.MetadataDirective, "x-amz-tagging-directive": in.TaggingDirective,
	} {
		if value != "" && value != "COPY" && value != "REPLACE" {
			return invalidArgument(name, value, "Unknown %s directive.", strings.TrimSuffix(strings.TrimPrefix(name, "x-amz-"), "-directive"))
		}
	}
	if in.AnnotationDirective != "" {
		return notImplemented("x-amz-annotation-directive")
	}
	if a := in.ChecksumAlgorithm; a != "" && !checksum.Known(a) {
		return invalidRequest("Checksum algorithm provided is unsupported. Please try again with any of the valid types: [CRC32, CRC32C, CRC64NVME, SHA1, SHA256, SHA512, MD5]")
	}
	return nil
}

// copyPlan says what the copy of src shall be.
func copyPlan(in *s3.CopyObjectRequest, said blob.Meta, src blob.Object) (blob.Put, error) {
	if err := sourceConditions(in.CopySourceIfMatch, in.CopySourceIfNoneMatch, in.CopySourceIfModifiedSince, in.CopySourceIfUnmodifiedSince, src); err != nil {
		return blob.Put{}, err
	}
	if src.Size > maxPut {
		return blob.Put{}, invalidRequest("The specified copy source is larger than the maximum allowable size for a copy source: %d", int64(maxPut))
	}
	replace := in.MetadataDirective == "REPLACE"
	if !replace && in.Bucket == src.Bucket && in.Key == src.Key && len(said.Recorded) == 0 && in.StorageClass == "" && in.TaggingDirective != "REPLACE" {
		return blob.Put{}, invalidRequest("This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata, storage class, website redirect location or encryption attributes.")
	}
	m := said
	if !replace {
		m = src.Meta
		m.Recorded = said.Recorded // storage class and encryption are the copy's own
	}
	m.Tags = src.Meta.Tags
	if in.TaggingDirective == "REPLACE" {
		m.Tags = said.Tags
	}
	m.Checksums, m.ChecksumType = nil, ""
	p := blob.Put{Bucket: in.Bucket, Key: in.Key, Meta: m}
	if in.ChecksumAlgorithm != "" {
		p.Want = []string{in.ChecksumAlgorithm}
	} else {
		for a := range src.Meta.Checksums {
			p.Want = append(p.Want, a)
		}
	}
	return p, nil
}

func copyHeaders(in *s3.CopyObjectRequest) headers {
	return headers{
		key: in.Key, acl: in.ACL, grants: in.GrantFullControl + in.GrantRead + in.GrantReadACP + in.GrantWriteACP,
		tagging: in.Tagging, customerKey: in.SSECustomerAlgorithm + in.SSECustomerKey + in.SSECustomerKeyMD5,
		lock:  in.ObjectLockMode + in.ObjectLockLegalHoldStatus + in.ObjectLockEventHold + date(in.ObjectLockRetainUntilDate),
		class: in.StorageClass, sse: in.ServerSideEncryption, kmsKey: in.SSEKMSKeyId, kmsCtx: in.SSEKMSEncryptionContext,
		bucketKey: boolText(in.BucketKeyEnabled), forward: in.WebsiteRedirectLocation,
		contentType: in.ContentType, encoding: in.ContentEncoding, disposition: in.ContentDisposition,
		language: in.ContentLanguage, cacheControl: in.CacheControl, expires: in.Expires, user: in.Metadata,
	}
}
