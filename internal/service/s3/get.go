package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"clary/internal/api"
	"clary/internal/api/s3"
	"clary/internal/aws/apierr"
	"clary/internal/aws/op"
	"clary/internal/blob"
)

// errChanged says that an object was replaced between two looks at it.
var errChanged = errors.New("object changed meanwhile")

// looks bounds how often an operation starts over because of errChanged.
const looks = 10

// wanted is which bytes of an object a request is about.
type wanted struct {
	from, length int64
	part         bool // a partNumber was asked for
	parts        int  // of the object
	ranged       bool // from and length are less than all, or may be
}

func (w wanted) contentRange(size int64) string {
	if !w.ranged || w.length == 0 {
		return ""
	}
	return fmt.Sprintf("bytes %d-%d/%d", w.from, w.from+w.length-1, size)
}

// choose says what GetObject and HeadObject shall give of o.
func (s *Service) choose(ctx context.Context, in *s3.GetObjectRequest, o blob.Object) (wanted, error) {
	if err := readConditions(in.IfMatch, in.IfNoneMatch, in.IfModifiedSince, in.IfUnmodifiedSince, o); err != nil {
		return wanted{}, err
	}
	w := wanted{length: o.Size, parts: o.Parts}
	switch {
	case in.PartNumber != nil:
		return s.choosePart(ctx, in, o)
	case in.Range != "":
		from, length, ok, satisfiable := parseRange(in.Range, o.Size)
		if !satisfiable {
			e := apierr.New(http.StatusRequestedRangeNotSatisfiable, "InvalidRange", "The requested range is not satisfiable")
			return w, field(field(e, "RangeRequested", in.Range), "ActualObjectSize", strconv.FormatInt(o.Size, 10))
		}
		if ok {
			w.from, w.length, w.ranged = from, length, true
		}
	}
	return w, nil
}

func (s *Service) choosePart(ctx context.Context, in *s3.GetObjectRequest, o blob.Object) (wanted, error) {
	n := *in.PartNumber
	w := wanted{length: o.Size, part: true, parts: o.Parts, ranged: true}
	missing := apierr.New(http.StatusRequestedRangeNotSatisfiable, "InvalidPartNumber", "The requested partnumber is not satisfiable")
	missing.Fields = map[string]string{"PartNumberRequested": strconv.FormatInt(n, 10), "ActualPartCount": strconv.Itoa(max(o.Parts, 1))}
	if o.Parts == 0 {
		if n != 1 {
			return w, missing
		}
		return w, nil
	}
	if n > int64(o.Parts) {
		return w, missing
	}
	now, parts, err := s.blobs.ObjectParts(ctx, blob.Name{Bucket: o.Bucket, Key: o.Key, Version: o.VersionID}, 0, int(n))
	if err != nil {
		return w, err
	}
	if now.Content != o.Content || int64(len(parts)) < n {
		return w, errChanged
	}
	p := parts[n-1] // parts are counted by their order
	w.from, w.length = p.Start, p.Size
	return w, nil
}

// GetObject reads one object, or a part of it.
func (s *Service) GetObject(ctx context.Context, c op.Call, in *s3.GetObjectRequest) (*s3.GetObjectOutput, error) {
	if err := s.readable(ctx, c, in); err != nil {
		return nil, err
	}
	n := blob.Name{Bucket: in.Bucket, Key: in.Key, Version: in.VersionId}
	for range looks {
		var w wanted
		o, body, err := s.blobs.Open(ctx, n, func(o blob.Object) (int64, int64, error) {
			var err error
			w, err = s.choose(ctx, in, o)
			return w.from, w.length, err
		})
		if errors.Is(err, errChanged) {
			continue
		}
		if err != nil {
			return nil, failed(err, n)
		}
		return described(in, o, w, body), nil
	}
	return nil, conflict()
}

func conflict() error {
	return apierr.New(http.StatusConflict, "OperationAborted", "A conflicting conditional operation is currently in progress against this resource. Please try again.")
}

func (s *Service) readable(ctx context.Context, c op.Call, in *s3.GetObjectRequest) error {
	if err := checkKey(in.Key); err != nil {
		return err
	}
	if in.PartNumber != nil {
		if err := partNumber(*in.PartNumber); err != nil {
			return err
		}
		if in.Range != "" {
			return invalidRequest("Cannot specify both Range header and partNumber query parameter")
		}
	}
	if in.SSECustomerAlgorithm+in.SSECustomerKey+in.SSECustomerKeyMD5 != "" {
		return invalidRequest("The encryption parameters are not applicable to this object.")
	}
	if _, err := s.bucket(ctx, c, in.Bucket, in.ExpectedBucketOwner); err != nil {
		return err
	}
	return s.versionAllowed(ctx, c, "s3:GetObjectVersion", blob.Name{Bucket: in.Bucket, Key: in.Key, Version: in.VersionId})
}

// described is the answer without and with its body.
func described(in *s3.GetObjectRequest, o blob.Object, w wanted, body io.ReadCloser) *s3.GetObjectOutput {
	m := o.Meta
	out := &s3.GetObjectOutput{
		Body: body, AcceptRanges: "bytes", LastModified: api.At(o.Modified), ContentLength: new(w.length), VersionId: o.VersionID,
		ETag: quote(o.ETag), ContentRange: w.contentRange(o.Size), Metadata: m.User,
		ContentType:        override(in.ResponseContentType, m.ContentType),
		ContentEncoding:    override(in.ResponseContentEncoding, m.ContentEncoding),
		ContentDisposition: override(in.ResponseContentDisposition, m.ContentDisposition),
		ContentLanguage:    override(in.ResponseContentLanguage, m.ContentLanguage),
		CacheControl:       override(in.ResponseCacheControl, m.CacheControl),
		Expires:            m.Expires,

		StorageClass: m.Recorded[recClass], ServerSideEncryption: m.Recorded[recSSE], SSEKMSKeyId: m.Recorded[recKMSKey],
		BucketKeyEnabled: bucketKey(m), WebsiteRedirectLocation: m.Recorded[recRedirect],
	}
	if !in.ResponseExpires.IsZero() {
		out.Expires = in.ResponseExpires.UTC().Format(http.TimeFormat)
	}
	if n := len(m.Tags); n > 0 {
		out.TagCount = new(int64(n))
	}
	if w.part && w.parts > 0 {
		out.PartsCount = new(int64(w.parts))
	}
	// A sum of all bytes says nothing of some of them.
	if in.ChecksumMode == "ENABLED" && w.from == 0 && w.length == o.Size {
		setSums(out, m.Checksums)
		out.ChecksumType = m.ChecksumType
	}
	return out
}

func override(asked, stored string) string {
	if asked != "" {
		return asked
	}
	return stored
}

// HeadObject describes one object.
func (s *Service) HeadObject(ctx context.Context, c op.Call, in *s3.HeadObjectRequest) (*s3.HeadObjectOutput, error) {
	get := s3.GetObjectRequest(*in)
	if err := s.readable(ctx, c, &get); err != nil {
		return nil, err
	}
	n := blob.Name{Bucket: in.Bucket, Key: in.Key, Version: in.VersionId}
	for range looks {
		o, err := s.blobs.Head(ctx, n)
		if err != nil {
			return nil, failed(err, n)
		}
		w, err := s.choose(ctx, &get, o)
		if errors.Is(err, errChanged) {
			continue
		}
		if err != nil {
			return nil, failed(err, n)
		}
		return headed(described(&get, o, w, nil)), nil
	}
	return nil, conflict()
}

func headed(g *s3.GetObjectOutput) *s3.HeadObjectOutput {
	out := &s3.HeadObjectOutput{
		AcceptRanges: g.AcceptRanges, LastModified: g.LastModified, ContentLength: g.ContentLength, ETag: g.ETag,
		ContentRange: g.ContentRange, Metadata: g.Metadata, ContentType: g.ContentType, ContentEncoding: g.ContentEncoding,
		ContentDisposition: g.ContentDisposition, ContentLanguage: g.ContentLanguage, CacheControl: g.CacheControl,
		Expires: g.Expires, StorageClass: g.StorageClass, ServerSideEncryption: g.ServerSideEncryption,
		SSEKMSKeyId: g.SSEKMSKeyId, BucketKeyEnabled: g.BucketKeyEnabled, WebsiteRedirectLocation: g.WebsiteRedirectLocation,
		TagCount: g.TagCount, PartsCount: g.PartsCount, VersionId: g.VersionId, ChecksumType: g.ChecksumType,
	}
	setSums(out, sumsOf(g))
	return out
}

// readConditions checks the conditions of a read, in the order of RFC 9110.
func readConditions(ifMatch, ifNoneMatch string, modifiedSince, unmodifiedSince api.Time, o blob.Object) error {
	failed := func(name string) error {
		return field(apierr.New(http.StatusPreconditionFailed, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold"), "Condition", name)
	}
	modified := o.Modified.Truncate(time.Second) // as Last-Modified shows it
	switch {
	case ifMatch != "":
		if !matches(ifMatch, o.ETag) {
			return failed("If-Match")
		}
	case !unmodifiedSince.IsZero() && modified.After(unmodifiedSince.Time):
		return failed("If-Unmodified-Since")
	}
	same := false
	if ifNoneMatch != "" {
		same = matches(ifNoneMatch, o.ETag)
	} else if !modifiedSince.IsZero() {
		same = !modified.After(modifiedSince.Time)
	}
	if !same {
		return nil
	}
	e := apierr.New(http.StatusNotModified, "NotModified", "Not Modified")
	e.Fields = map[string]string{
		"header:ETag": quote(o.ETag), "header:Last-Modified": o.Modified.UTC().Format(http.TimeFormat),
	}
	return e
}

// GetObjectAttributes tells chosen facts of an object.
func (s *Service) GetObjectAttributes(ctx context.Context, c op.Call, in *s3.GetObjectAttributesRequest) (*s3.GetObjectAttributesOutput, error) {
	get := s3.GetObjectRequest{Bucket: in.Bucket, Key: in.Key, VersionId: in.VersionId, ExpectedBucketOwner: in.ExpectedBucketOwner}
	if err := s.readable(ctx, c, &get); err != nil {
		return nil, err
	}
	limit, err := pageSize("max-parts", in.MaxParts)
	if err != nil {
		return nil, err
	}
	after, err := marker(in.PartNumberMarker)
	if err != nil {
		return nil, err
	}
	n := blob.Name{Bucket: in.Bucket, Key: in.Key, Version: in.VersionId}
	o, parts, err := s.blobs.ObjectParts(ctx, n, 0, blob.MaxParts)
	if err != nil {
		return nil, failed(err, n)
	}
	out := &s3.GetObjectAttributesOutput{LastModified: api.At(o.Modified), VersionId: o.VersionID}
	for _, a := range in.ObjectAttributes {
		switch a {
		case "ETag":
			out.ETag = o.ETag
		case "ObjectSize":
			out.ObjectSize = new(o.Size)
		case "StorageClass":
			out.StorageClass = override(o.Meta.Recorded[recClass], "STANDARD")
		case "Checksum":
			if len(o.Meta.Checksums) > 0 {
				out.Checksum = &s3.Checksum{ChecksumType: o.Meta.ChecksumType}
				setSums(out.Checksum, o.Meta.Checksums)
			}
		case "ObjectParts":
			if o.Parts > 0 {
				out.ObjectParts = attributeParts(o, parts, after, limit)
			}
		default:
			return nil, invalidArgument("x-amz-object-attributes", a, "Invalid attribute name specified.")
		}
	}
	return out, nil
}

func attributeParts(o blob.Object, parts []blob.Part, after, limit int) *s3.GetObjectAttributesParts {
	out := &s3.GetObjectAttributesParts{
		TotalPartsCount: new(int64(o.Parts)), PartNumberMarker: new(int64(after)),
		MaxParts: new(int64(limit)), IsTruncated: new(false), NextPartNumberMarker: new(int64(0)),
	}
	for _, p := range parts {
		if p.Number <= after {
			continue
		}
		if len(out.Parts) == limit {
			out.IsTruncated = new(true)
			break
		}
		part := s3.ObjectPart{PartNumber: new(int64(p.Number)), Size: new(p.Size)}
		setSums(&part, p.Checksums)
		out.Parts = append(out.Parts, part)
		out.NextPartNumberMarker = part.PartNumber
	}
	return out
}
