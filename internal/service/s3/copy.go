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
func (s *Service) source(ctx context.Context, c op.Call, header, expectedOwner, customerKey string) (n blob.Name, err error) {
	if customerKey != "" {
		return n, notImplemented("x-amz-copy-source-server-side-encryption-customer-algorithm")
	}
	if n, err = parseSource(header); err != nil {
		return n, err
	}
	if _, err := s.bucket(ctx, c, n.Bucket, expectedOwner); err != nil {
		return n, err
	}
	if err := s.auth.Allow(ctx, c.Principal, "s3:GetObject", arn(n.Bucket, n.Key)); err != nil {
		return n, err
	}
	return n, s.versionAllowed(ctx, c, "s3:GetObjectVersion", n)
}

// parseSource reads bucket/key?versionId=id.
func parseSource(header string) (n blob.Name, err error) {
	path, query, _ := strings.Cut(header, "?")
	if path, err = url.PathUnescape(path); err != nil {
		return n, invalidArgument("x-amz-copy-source", header, "Invalid copy source encoding.")
	}
	var ok bool
	if n.Bucket, n.Key, ok = strings.Cut(strings.TrimPrefix(path, "/"), "/"); !ok || n.Bucket == "" || n.Key == "" {
		return n, invalidArgument("x-amz-copy-source", header, "Invalid copy source object key")
	}
	if err := checkKey(n.Key); err != nil {
		return n, err
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return n, invalidArgument("x-amz-copy-source", header, "Invalid copy source encoding.")
	}
	n.Version = values.Get("versionId")
	return n, nil
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
	from, err := s.source(ctx, c, in.CopySource, in.ExpectedSourceBucketOwner,
		in.CopySourceSSECustomerAlgorithm+in.CopySourceSSECustomerKey+in.CopySourceSSECustomerKeyMD5)
	if err != nil {
		return nil, err
	}
	cond, err := writeConditions(in.IfMatch, in.IfNoneMatch)
	if err != nil {
		return nil, err
	}
	for range looks {
		src, err := s.blobs.Head(ctx, from)
		if err != nil {
			return nil, sourceFailed(err, from)
		}
		p, err := copyPlan(in, said, src, from.Version != "")
		if err != nil {
			return nil, err
		}
		p.If = cond
		o, err := s.blobs.Copy(ctx, from, same(src), p)
		if errors.Is(err, errChanged) {
			continue
		}
		if err != nil {
			return nil, conditional(failure(err, in.Bucket, in.Key), cond)
		}
		out := &s3.CopyObjectOutput{
			CopyObjectResult:     &s3.CopyObjectResult{ETag: quote(o.ETag), LastModified: api.At(o.Modified), ChecksumType: o.Meta.ChecksumType},
			ServerSideEncryption: o.Meta.Recorded[recSSE], SSEKMSKeyId: o.Meta.Recorded[recKMSKey],
			BucketKeyEnabled: bucketKey(o.Meta), VersionId: o.VersionID, CopySourceVersionId: src.VersionID,
		}
		setSums(out.CopyObjectResult, o.Meta.Checksums)
		return out, nil
	}
	return nil, conflict()
}

// sourceFailed is failed, but that a deleted source is no bad method.
func sourceFailed(err error, n blob.Name) error {
	if _, ok := errors.AsType[*blob.DeletedError](err); ok && n.Version != "" {
		return invalidRequest("The source of a copy request may not specifically refer to a delete marker by version id.")
	}
	return failed(err, n)
}

// same picks all of src, if it is still the version behind its key.
func same(src blob.Object) blob.Pick {
	return func(o blob.Object) (int64, int64, error) {
		if o.Content != src.Content || o.ETag != src.ETag || !o.Modified.Equal(src.Modified) {
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
		return unknownAlgorithm(a)
	}
	return nil
}

// copyPlan says what the copy of src shall be.
func copyPlan(in *s3.CopyObjectRequest, said blob.Meta, src blob.Object, named bool) (blob.Put, error) {
	if err := sourceConditions(in.CopySourceIfMatch, in.CopySourceIfNoneMatch, in.CopySourceIfModifiedSince, in.CopySourceIfUnmodifiedSince, src); err != nil {
		return blob.Put{}, err
	}
	if src.Size > maxPut {
		return blob.Put{}, invalidRequest("The specified copy source is larger than the maximum allowable size for a copy source: %d", int64(maxPut))
	}
	replace := in.MetadataDirective == "REPLACE"
	if !replace && !named && in.Bucket == src.Bucket && in.Key == src.Key && len(said.Recorded) == 0 && in.StorageClass == "" && in.TaggingDirective != "REPLACE" {
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
