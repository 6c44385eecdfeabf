package s3

import (
	"context"
	"errors"
	"net/url"
	"strconv"
	"strings"

	"clary/internal/api"
	"clary/internal/api/s3"
	"clary/internal/aws/apierr"
	"clary/internal/aws/checksum"
	"clary/internal/aws/op"
	"clary/internal/blob"
)

// CreateMultipartUpload begins an upload.
func (s *Service) CreateMultipartUpload(ctx context.Context, c op.Call, in *s3.CreateMultipartUploadRequest) (*s3.CreateMultipartUploadOutput, error) {
	m, err := writeMeta(headers{
		key: in.Key, acl: in.ACL, grants: in.GrantFullControl + in.GrantRead + in.GrantReadACP + in.GrantWriteACP,
		tagging: in.Tagging, customerKey: in.SSECustomerAlgorithm + in.SSECustomerKey + in.SSECustomerKeyMD5,
		lock:  in.ObjectLockMode + in.ObjectLockLegalHoldStatus + in.ObjectLockEventHold + date(in.ObjectLockRetainUntilDate),
		class: in.StorageClass, sse: in.ServerSideEncryption, kmsKey: in.SSEKMSKeyId, kmsCtx: in.SSEKMSEncryptionContext,
		bucketKey: boolText(in.BucketKeyEnabled), forward: in.WebsiteRedirectLocation,
		contentType: in.ContentType, encoding: in.ContentEncoding, disposition: in.ContentDisposition,
		language: in.ContentLanguage, cacheControl: in.CacheControl, expires: in.Expires, user: in.Metadata,
	})
	if err != nil {
		return nil, err
	}
	if m.Algorithm, m.ChecksumType, err = uploadSum(in.ChecksumAlgorithm, in.ChecksumType); err != nil {
		return nil, err
	}
	if _, err := s.bucket(ctx, c, in.Bucket, in.ExpectedBucketOwner); err != nil {
		return nil, err
	}
	u, err := s.blobs.StartUpload(ctx, in.Bucket, in.Key, m)
	if err != nil {
		return nil, failure(err, in.Bucket, in.Key)
	}
	out := &s3.CreateMultipartUploadOutput{
		Bucket: in.Bucket, Key: in.Key, UploadId: u.ID, ChecksumAlgorithm: in.ChecksumAlgorithm,
		ServerSideEncryption: m.Recorded[recSSE], SSEKMSKeyId: m.Recorded[recKMSKey], BucketKeyEnabled: bucketKey(m),
	}
	if in.ChecksumAlgorithm != "" {
		out.ChecksumType = m.ChecksumType
	}
	return out, nil
}

// uploadSum says how an upload is summed; without a word, as S3 does nowadays.
func uploadSum(algorithm, typ string) (string, string, error) {
	if algorithm == "" {
		if typ != "" {
			return "", "", invalidRequest("The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.")
		}
		return checksum.CRC64NVME, checksum.FullObject, nil
	}
	algorithm = strings.ToUpper(algorithm)
	if !checksum.Known(algorithm) {
		return "", "", unknownAlgorithm(algorithm)
	}
	if typ == "" {
		typ = checksum.DefaultType(algorithm)
	}
	if !checksum.Allowed(algorithm, typ) {
		return "", "", invalidRequest("The %s checksum type cannot be used with the %s checksum algorithm.", typ, strings.ToLower(algorithm))
	}
	return algorithm, typ, nil
}

func (s *Service) upload(ctx context.Context, c op.Call, bucket, key, id, expectedOwner string) (blob.Upload, error) {
	if err := checkKey(key); err != nil {
		return blob.Upload{}, err
	}
	if _, err := s.bucket(ctx, c, bucket, expectedOwner); err != nil {
		return blob.Upload{}, err
	}
	u, err := s.blobs.Upload(ctx, bucket, key, id)
	if errors.Is(err, blob.ErrNoSuchUpload) {
		return u, field(failure(err, bucket, key).(*apierr.Error), "UploadId", id) //nolint:errorlint,forcetypeassert // failure gives it bare
	}
	if err != nil {
		return u, failure(err, bucket, key)
	}
	return u, nil
}

func partNumber(n int64) error {
	if n < 1 || n > blob.MaxParts {
		return invalidArgument("partNumber", strconv.FormatInt(n, 10), "Part number must be an integer between 1 and 10000, inclusive")
	}
	return nil
}

// UploadPart stores one part.
func (s *Service) UploadPart(ctx context.Context, c op.Call, in *s3.UploadPartRequest) (*s3.UploadPartOutput, error) {
	if err := partNumber(in.PartNumber); err != nil {
		return nil, err
	}
	if in.SSECustomerAlgorithm+in.SSECustomerKey+in.SSECustomerKeyMD5 != "" {
		return nil, notImplemented("x-amz-server-side-encryption-customer-algorithm")
	}
	size, err := bodySize(in.ContentLength)
	if err != nil {
		return nil, err
	}
	x, err := expect(in, in.Body, in.ContentMD5, in.ChecksumAlgorithm)
	if err != nil {
		return nil, err
	}
	u, err := s.upload(ctx, c, in.Bucket, in.Key, in.UploadId, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	p, err := s.blobs.PutPart(ctx, in.Bucket, in.Key, in.UploadId, int(in.PartNumber), blob.Put{
		Body: in.Body, Size: size, Want: partSums(u, x.algorithm), Verify: x.verify,
	})
	if err != nil {
		return nil, failure(err, in.Bucket, in.Key)
	}
	out := &s3.UploadPartOutput{
		ETag: quote(p.ETag), ServerSideEncryption: u.Meta.Recorded[recSSE], SSEKMSKeyId: u.Meta.Recorded[recKMSKey],
		BucketKeyEnabled: bucketKey(u.Meta),
	}
	setSums(out, told(p.Checksums, x.kept(), u.Meta.Algorithm))
	return out, nil
}

// told leaves one of a part's sums: that which the client used.
func told(sums map[string]string, algorithms ...string) map[string]string {
	for _, a := range algorithms {
		if v, ok := sums[a]; ok {
			return map[string]string{a: v}
		}
	}
	return nil
}

// partSums are the upload's own algorithm and the one that came with the part.
func partSums(u blob.Upload, algorithm string) []string {
	out := []string{u.Meta.Algorithm}
	if algorithm != "" && algorithm != u.Meta.Algorithm {
		out = append(out, algorithm)
	}
	return out
}

// UploadPartCopy stores one part from another object.
func (s *Service) UploadPartCopy(ctx context.Context, c op.Call, in *s3.UploadPartCopyRequest) (*s3.UploadPartCopyOutput, error) {
	if err := partNumber(in.PartNumber); err != nil {
		return nil, err
	}
	u, err := s.upload(ctx, c, in.Bucket, in.Key, in.UploadId, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	from, err := s.source(ctx, c, in.CopySource, in.ExpectedSourceBucketOwner,
		in.CopySourceSSECustomerAlgorithm+in.CopySourceSSECustomerKey+in.CopySourceSSECustomerKeyMD5)
	if err != nil {
		return nil, err
	}
	length := int64(0)
	src, body, err := s.blobs.Open(ctx, from, func(o blob.Object) (int64, int64, error) {
		var start int64
		var err error
		start, length, err = copyRange(in, o)
		return start, length, err
	})
	if err != nil {
		return nil, sourceFailed(err, from)
	}
	defer body.Close() //nolint:errcheck // read only
	p, err := s.blobs.PutPart(ctx, in.Bucket, in.Key, in.UploadId, int(in.PartNumber), blob.Put{
		Body: body, Size: length, Want: partSums(u, ""),
	})
	if err != nil {
		return nil, failure(err, in.Bucket, in.Key)
	}
	out := &s3.UploadPartCopyOutput{
		CopyPartResult:       &s3.CopyPartResult{ETag: quote(p.ETag), LastModified: api.At(p.Modified)},
		CopySourceVersionId:  src.VersionID,
		ServerSideEncryption: u.Meta.Recorded[recSSE], SSEKMSKeyId: u.Meta.Recorded[recKMSKey],
	}
	setSums(out.CopyPartResult, p.Checksums)
	return out, nil
}

func copyRange(in *s3.UploadPartCopyRequest, o blob.Object) (from, length int64, err error) {
	if err := sourceConditions(in.CopySourceIfMatch, in.CopySourceIfNoneMatch, in.CopySourceIfModifiedSince, in.CopySourceIfUnmodifiedSince, o); err != nil {
		return 0, 0, err
	}
	length = o.Size
	if r := in.CopySourceRange; r != "" {
		first, last, ok := strings.Cut(strings.TrimPrefix(r, "bytes="), "-")
		if !strings.HasPrefix(r, "bytes=") || !ok || first == "" || last == "" || !digits(first) || !digits(last) || number(first) > number(last) {
			return 0, 0, invalidArgument("x-amz-copy-source-range", r, "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the zero-based offsets of the first and last bytes to copy")
		}
		if number(last) >= o.Size {
			return 0, 0, invalidArgument("x-amz-copy-source-range", r, "Range specified is not valid for source object of size: %d", o.Size)
		}
		from, length = number(first), number(last)-number(first)+1
	}
	if length > maxPut {
		return 0, 0, invalidRequest("The specified copy source is larger than the maximum allowable size for a copy source: %d", int64(maxPut))
	}
	return from, length, nil
}

// CompleteMultipartUpload makes an object of parts.
func (s *Service) CompleteMultipartUpload(ctx context.Context, c op.Call, in *s3.CompleteMultipartUploadRequest) (*s3.CompleteMultipartUploadOutput, error) {
	if err := checkKey(in.Key); err != nil {
		return nil, err
	}
	if in.MultipartUpload == nil || len(in.MultipartUpload.Parts) == 0 {
		if in.MultipartUpload == nil {
			return nil, invalidRequest("You must specify at least one part")
		}
		return nil, malformedXML()
	}
	if err := unknownSum(in); err != nil {
		return nil, err
	}
	if _, err := s.bucket(ctx, c, in.Bucket, in.ExpectedBucketOwner); err != nil {
		return nil, err
	}
	cond, err := writeConditions(in.IfMatch, in.IfNoneMatch)
	if err != nil {
		return nil, err
	}
	done := blob.Complete{If: cond, Size: -1, Checksums: sumsOf(in)}
	if in.MpuObjectSize != nil {
		done.Size = *in.MpuObjectSize
	}
	for _, p := range in.MultipartUpload.Parts {
		if p.PartNumber == nil || p.ETag == "" {
			return nil, malformedXML()
		}
		if err := partNumber(*p.PartNumber); err != nil {
			return nil, err
		}
		done.Parts = append(done.Parts, blob.Part{Number: int(*p.PartNumber), ETag: unquote(p.ETag), Checksums: sumsOf(&p)})
	}
	if u, err := s.blobs.Upload(ctx, in.Bucket, in.Key, in.UploadId); err == nil && in.ChecksumType != "" && in.ChecksumType != u.Meta.ChecksumType {
		return nil, invalidRequest("The upload was created using the %s checksum mode. The complete request must use the same checksum mode.", u.Meta.ChecksumType)
	}
	o, err := s.blobs.Complete(ctx, in.Bucket, in.Key, in.UploadId, done)
	if err != nil {
		return nil, conditional(badPart(failure(err, in.Bucket, in.Key), err, in.UploadId), cond)
	}
	out := &s3.CompleteMultipartUploadOutput{
		Location: c.Host + (&url.URL{Path: "/" + in.Bucket + "/" + in.Key}).EscapedPath(), Bucket: in.Bucket, Key: in.Key,
		ETag: quote(o.ETag), ChecksumType: o.Meta.ChecksumType, VersionId: o.VersionID,
		ServerSideEncryption: o.Meta.Recorded[recSSE], SSEKMSKeyId: o.Meta.Recorded[recKMSKey], BucketKeyEnabled: bucketKey(o.Meta),
	}
	setSums(out, o.Meta.Checksums)
	return out, nil
}

// badPart names the part that an upload could not be completed with.
func badPart(told, err error, upload string) error {
	e, ok := told.(*apierr.Error) //nolint:errorlint // failure gives it bare
	if !ok {
		return told
	}
	p, ok := errors.AsType[*blob.PartError](err)
	switch {
	case e.Code == "NoSuchUpload":
		field(e, "UploadId", upload)
	case !ok:
	case e.Code == "EntityTooSmall":
		field(field(e, "ProposedSize", strconv.FormatInt(p.Size, 10)), "MinSizeAllowed", strconv.Itoa(blob.MinPart))
		field(field(e, "PartNumber", strconv.Itoa(p.Number)), "ETag", p.ETag)
	default:
		field(field(field(e, "UploadId", upload), "PartNumber", strconv.Itoa(p.Number)), "ETag", p.ETag)
	}
	return e
}

// AbortMultipartUpload drops an upload.
func (s *Service) AbortMultipartUpload(ctx context.Context, c op.Call, in *s3.AbortMultipartUploadRequest) (*s3.AbortMultipartUploadOutput, error) {
	if !in.IfMatchInitiatedTime.IsZero() {
		return nil, notImplemented("x-amz-if-match-initiated-time")
	}
	if _, err := s.upload(ctx, c, in.Bucket, in.Key, in.UploadId, in.ExpectedBucketOwner); err != nil {
		return nil, err
	}
	if err := s.blobs.Abort(ctx, in.Bucket, in.Key, in.UploadId); err != nil {
		return nil, failure(err, in.Bucket, in.Key)
	}
	return &s3.AbortMultipartUploadOutput{}, nil
}

// ListParts lists the parts of an upload.
func (s *Service) ListParts(ctx context.Context, c op.Call, in *s3.ListPartsRequest) (*s3.ListPartsOutput, error) {
	limit, err := pageSize("max-parts", in.MaxParts)
	if err != nil {
		return nil, err
	}
	after, err := marker(in.PartNumberMarker)
	if err != nil {
		return nil, err
	}
	u, err := s.upload(ctx, c, in.Bucket, in.Key, in.UploadId, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	_, parts, err := s.blobs.Parts(ctx, in.Bucket, in.Key, in.UploadId, after, limit+1)
	if err != nil {
		return nil, failure(err, in.Bucket, in.Key)
	}
	more := len(parts) > limit
	if more {
		parts = parts[:limit]
	}
	who := owner(c.Account)
	out := &s3.ListPartsOutput{
		Bucket: in.Bucket, Key: in.Key, UploadId: in.UploadId, MaxParts: new(int64(limit)),
		PartNumberMarker: new(int64(after)), NextPartNumberMarker: new(int64(0)), IsTruncated: new(more && limit > 0),
		StorageClass: override(u.Meta.Recorded[recClass], "STANDARD"),
		Owner:        who, Initiator: &s3.Initiator{ID: who.ID}, ChecksumAlgorithm: u.Meta.Algorithm, ChecksumType: u.Meta.ChecksumType,
	}
	for _, p := range parts {
		part := s3.Part{PartNumber: new(int64(p.Number)), LastModified: api.At(p.Modified), ETag: quote(p.ETag), Size: new(p.Size)}
		setSums(&part, told(p.Checksums, u.Meta.Algorithm))
		out.Parts = append(out.Parts, part)
		out.NextPartNumberMarker = part.PartNumber
	}
	return out, nil
}

// ListMultipartUploads lists what is being uploaded.
func (s *Service) ListMultipartUploads(ctx context.Context, c op.Call, in *s3.ListMultipartUploadsRequest) (*s3.ListMultipartUploadsOutput, error) {
	enc, err := encoder(in.EncodingType)
	if err != nil {
		return nil, err
	}
	limit, err := pageSize("max-uploads", in.MaxUploads)
	if err != nil {
		return nil, err
	}
	if _, err := s.bucket(ctx, c, in.Bucket, in.ExpectedBucketOwner); err != nil {
		return nil, err
	}
	afterID := in.UploadIdMarker
	if in.KeyMarker == "" {
		afterID = "" // S3 looks at it beside a key only
	}
	page, err := s.blobs.Uploads(ctx, in.Bucket, in.Prefix, in.Delimiter, in.KeyMarker, afterID, limit)
	if err != nil {
		return nil, failure(err, in.Bucket, "")
	}
	who := owner(c.Account)
	out := &s3.ListMultipartUploadsOutput{
		Bucket: in.Bucket, KeyMarker: enc(in.KeyMarker), UploadIdMarker: in.UploadIdMarker, Prefix: enc(in.Prefix),
		Delimiter: enc(in.Delimiter), MaxUploads: new(int64(limit)), IsTruncated: new(page.NextKey != ""),
		EncodingType: in.EncodingType, NextKeyMarker: enc(page.NextKey), NextUploadIdMarker: page.NextID,
		CommonPrefixes: prefixes(page.Prefixes, enc),
	}
	for _, u := range page.Uploads {
		out.Uploads = append(out.Uploads, s3.MultipartUpload{
			UploadId: u.ID, Key: enc(u.Key), Initiated: api.At(u.Initiated), StorageClass: override(u.Meta.Recorded[recClass], "STANDARD"),
			ChecksumAlgorithm: u.Meta.Algorithm, ChecksumType: u.Meta.ChecksumType, Owner: who, Initiator: &s3.Initiator{ID: who.ID},
		})
	}
	return out, nil
}
