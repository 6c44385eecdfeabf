package s3

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"clary/internal/api"
	"clary/internal/api/s3"
	"clary/internal/aws/apierr"
	"clary/internal/aws/checksum"
	"clary/internal/aws/op"
	"clary/internal/blob"
)

const (
	maxPut      = 5 << 30 // of one request
	maxUser     = 2 << 10 // of user metadata
	defaultType = "binary/octet-stream"
)

func checkKey(key string) error {
	if len(key) > blob.MaxKey {
		e := apierr.New(http.StatusBadRequest, "KeyTooLongError", "Your key is too long")
		return field(field(e, "Size", strconv.Itoa(len(key))), "MaxSizeAllowed", strconv.Itoa(blob.MaxKey))
	}
	if !utf8.ValidString(key) {
		return apierr.New(http.StatusBadRequest, "InvalidURI", "Couldn't parse the specified URI.")
	}
	return nil
}

// PutObject stores one object.
func (s *Service) PutObject(ctx context.Context, c op.Call, in *s3.PutObjectRequest) (*s3.PutObjectOutput, error) {
	if in.WriteOffsetBytes != nil {
		return nil, notImplemented("x-amz-write-offset-bytes")
	}
	meta, err := writeMeta(headersOf(in))
	if err != nil {
		return nil, err
	}
	size, err := bodySize(in.ContentLength)
	if err != nil {
		return nil, err
	}
	x, err := expect(in, in.Body, in.ContentMD5, in.ChecksumAlgorithm)
	if err != nil {
		return nil, err
	}
	if _, err := s.bucket(ctx, c, in.Bucket, in.ExpectedBucketOwner); err != nil {
		return nil, err
	}
	cond, err := writeConditions(in.IfMatch, in.IfNoneMatch)
	if err != nil {
		return nil, err
	}
	o, err := s.blobs.Put(ctx, blob.Put{
		Bucket: in.Bucket, Key: in.Key, Meta: meta, Body: in.Body, Size: size,
		Want: []string{x.kept()}, Verify: x.verify, If: cond,
	})
	if err != nil {
		return nil, conditional(failure(err, in.Bucket, in.Key), cond)
	}
	out := &s3.PutObjectOutput{
		ETag: quote(o.ETag), ChecksumType: o.Meta.ChecksumType, VersionId: o.VersionID,
		ServerSideEncryption: o.Meta.Recorded[recSSE], SSEKMSKeyId: o.Meta.Recorded[recKMSKey],
		BucketKeyEnabled: bucketKey(o.Meta),
	}
	setSums(out, o.Meta.Checksums)
	return out, nil
}

// kept is the checksum that is stored with the object.
func (x expected) kept() string {
	if x.algorithm == "" {
		return checksum.CRC64NVME
	}
	return x.algorithm
}

// bodySize is what the request says of its body's length.
func bodySize(n *int64) (int64, error) {
	switch {
	case n == nil:
		return 0, apierr.New(http.StatusLengthRequired, "MissingContentLength", "You must provide the Content-Length HTTP header.")
	case *n > maxPut:
		e := apierr.New(http.StatusBadRequest, "EntityTooLarge", "Your proposed upload exceeds the maximum allowed size")
		return 0, field(field(e, "ProposedSize", strconv.FormatInt(*n, 10)), "MaxSizeAllowed", strconv.Itoa(maxPut))
	}
	return *n, nil
}

// What is recorded of a request without having an effect here.
const (
	recClass     = "StorageClass"
	recSSE       = "ServerSideEncryption"
	recKMSKey    = "SSEKMSKeyId"
	recKMSCtx    = "SSEKMSEncryptionContext"
	recBucketKey = "BucketKeyEnabled"
	recRedirect  = "WebsiteRedirectLocation"
)

// headers are what PutObject, CreateMultipartUpload and CopyObject say alike
// of an object.
type headers struct {
	key, acl, grants, tagging, customerKey, lock   string
	class, sse, kmsKey, kmsCtx, bucketKey, forward string
	contentType, encoding, disposition, language   string
	cacheControl, expires                          string
	user                                           map[string]string
}

func headersOf(in *s3.PutObjectRequest) headers {
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

func date(t api.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.String()
}

func boolText(b *bool) string {
	if b == nil {
		return ""
	}
	return strconv.FormatBool(*b)
}

func bucketKey(m blob.Meta) *bool {
	b, err := strconv.ParseBool(m.Recorded[recBucketKey])
	if err != nil {
		return nil
	}
	return &b
}

// writeMeta checks what is said of a new object and makes its metadata.
func writeMeta(h headers) (blob.Meta, error) {
	if err := checkKey(h.key); err != nil {
		return blob.Meta{}, err
	}
	if err := writable(h); err != nil {
		return blob.Meta{}, err
	}
	tags, err := headerTags(h.tagging)
	if err != nil {
		return blob.Meta{}, err
	}
	m := blob.Meta{
		ContentType: h.contentType, ContentEncoding: unchunked(h.encoding), ContentDisposition: h.disposition,
		ContentLanguage: h.language, CacheControl: h.cacheControl, Expires: h.expires, User: h.user, Tags: tags,
	}
	if m.ContentType == "" {
		m.ContentType = defaultType
	}
	size := 0
	for k, v := range h.user {
		size += len(k) + len(v)
	}
	if size > maxUser {
		e := apierr.New(http.StatusBadRequest, "MetadataTooLarge", "Your metadata headers exceed the maximum allowed metadata size")
		return m, field(field(e, "Size", strconv.Itoa(size)), "MaxSizeAllowed", strconv.Itoa(maxUser))
	}
	for name, value := range map[string]string{
		recSSE: h.sse, recKMSKey: h.kmsKey, recKMSCtx: h.kmsCtx, recBucketKey: h.bucketKey, recRedirect: h.forward,
	} {
		record(&m, name, value)
	}
	if h.class != "STANDARD" {
		record(&m, recClass, h.class)
	}
	return m, nil
}

func record(m *blob.Meta, name, value string) {
	if value == "" {
		return
	}
	if m.Recorded == nil {
		m.Recorded = map[string]string{}
	}
	m.Recorded[name] = value
}

// writable refuses what would be lost in silence.
func writable(h headers) error {
	switch h.class {
	case "", "STANDARD", "REDUCED_REDUNDANCY", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR":
	case "GLACIER", "DEEP_ARCHIVE", "OUTPOSTS", "SNOW", "EXPRESS_ONEZONE", "FSX_OPENZFS", "FSX_ONTAP":
		return notImplemented("x-amz-storage-class: " + h.class)
	default:
		return apierr.New(http.StatusBadRequest, "InvalidStorageClass", "The storage class you specified is not valid")
	}
	switch h.sse {
	case "", "AES256", "aws:kms", "aws:kms:dsse":
	default:
		return invalidArgument("x-amz-server-side-encryption", h.sse, "The encryption method specified is not supported")
	}
	if h.customerKey != "" {
		return notImplemented("x-amz-server-side-encryption-customer-algorithm")
	}
	if h.lock != "" {
		return invalidRequest("Bucket is missing Object Lock Configuration")
	}
	switch h.acl {
	case "", "private", "bucket-owner-full-control", "bucket-owner-read":
	default:
		h.grants = h.acl
	}
	if h.grants != "" {
		return apierr.New(http.StatusBadRequest, "AccessControlListNotSupported", "The bucket does not allow ACLs")
	}
	return nil
}

// unchunked takes the framing of the request out of the object's encoding.
func unchunked(encoding string) string {
	if !strings.Contains(encoding, "aws-chunked") {
		return encoding
	}
	var kept []string
	for part := range strings.SplitSeq(encoding, ",") {
		if part = strings.TrimSpace(part); part != "" && part != "aws-chunked" {
			kept = append(kept, part)
		}
	}
	return strings.Join(kept, ",")
}

// writeConditions reads the conditions of a write.
func writeConditions(ifMatch, ifNoneMatch string) (blob.Conditions, error) {
	if ifNoneMatch != "" && ifNoneMatch != "*" {
		return blob.Conditions{}, notImplemented("If-None-Match")
	}
	return blob.Conditions{IfMatch: unquote(ifMatch), IfNoneMatch: ifNoneMatch}, nil
}

// conditional names the condition that did not hold.
func conditional(err error, c blob.Conditions) error {
	e, ok := err.(*apierr.Error) //nolint:errorlint // failure gives it bare
	if !ok || e.Code != "PreconditionFailed" {
		return err
	}
	if c.IfNoneMatch != "" {
		return field(e, "Condition", "If-None-Match")
	}
	return field(e, "Condition", "If-Match")
}

func quote(etag string) string { return `"` + etag + `"` }

func unquote(etag string) string {
	etag = strings.TrimPrefix(strings.TrimSpace(etag), "W/")
	return strings.TrimSuffix(strings.TrimPrefix(etag, `"`), `"`)
}

// headerTags reads x-amz-tagging.
func headerTags(header string) (map[string]string, error) {
	if header == "" {
		return nil, nil
	}
	values, err := url.ParseQuery(header)
	if err != nil {
		return nil, badTagging(header)
	}
	tags := make([]s3.Tag, 0, len(values))
	for k, v := range values {
		if len(v) != 1 {
			return nil, badTagging(header)
		}
		tags = append(tags, s3.Tag{Key: k, Value: v[0]})
	}
	return readTags(tags, maxTags)
}

func badTagging(header string) error {
	return invalidArgument("x-amz-tagging", header,
		"The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name duplicates.")
}
