// Package s3 serves the operations of S3 over a blob.Store. It knows S3's
// rules, codes and wording; bytes, rows and their safety belong to the store,
// the wire to the codec. It must never answer a write before the store has,
// nor act on a bucket of another account. operations.go lists what there is.
package s3

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"

	"clary/internal/api/s3"
	"clary/internal/aws/apierr"
	"clary/internal/aws/op"
	"clary/internal/blob"
	"clary/internal/identity"
)

// Service is S3.
type Service struct {
	blobs blob.Store
	auth  identity.Authorizer
}

var _ op.Service = (*Service)(nil)

// New makes the service. auth is asked for what one request does beyond the
// action and resource it is named for: sources of copies, keys of a batch.
func New(blobs blob.Store, auth identity.Authorizer) *Service {
	return &Service{blobs: blobs, auth: auth}
}

// Name implements op.Service.
func (*Service) Name() string { return "s3" }

func denied() *apierr.Error { return apierr.New(http.StatusForbidden, "AccessDenied", "Access Denied") }

func invalidArgument(name, value, format string, args ...any) *apierr.Error {
	e := apierr.New(http.StatusBadRequest, "InvalidArgument", format, args...)
	e.Fields = map[string]string{"ArgumentName": name, "ArgumentValue": value}
	return e
}

func invalidRequest(format string, args ...any) *apierr.Error {
	return apierr.New(http.StatusBadRequest, "InvalidRequest", format, args...)
}

func notImplemented(what string) *apierr.Error {
	e := apierr.New(http.StatusNotImplemented, "NotImplemented", "A header or parameter you provided implies functionality that is not implemented: %s", what)
	return e
}

func field(e *apierr.Error, name, value string) *apierr.Error {
	if e.Fields == nil {
		e.Fields = map[string]string{}
	}
	e.Fields[name] = value
	return e
}

// bucket finds a bucket of the caller's account. Buckets of others are
// closed: nothing here can open them.
func (s *Service) bucket(ctx context.Context, c op.Call, name, expectedOwner string) (blob.Bucket, error) {
	if e := checkExisting(name); e != nil {
		return blob.Bucket{}, e
	}
	b, err := s.blobs.Bucket(ctx, name)
	if err != nil {
		return b, failure(err, name, "")
	}
	if b.Account != c.Account || (expectedOwner != "" && expectedOwner != b.Account) {
		return b, denied()
	}
	return b, nil
}

// failure gives an error of the store S3's words.
func failure(err error, bucket, key string) error {
	if _, ok := errors.AsType[*apierr.Error](err); ok {
		return err
	}
	e := apierr.New
	switch {
	case errors.Is(err, blob.ErrNoSuchBucket):
		return field(e(http.StatusNotFound, "NoSuchBucket", "The specified bucket does not exist"), "BucketName", bucket)
	case errors.Is(err, blob.ErrNoSuchVersion):
		return field(e(http.StatusNotFound, "NoSuchVersion", "The specified version does not exist."), "Key", key)
	case errors.Is(err, blob.ErrVersion):
		return invalidArgument("versionId", "", "Invalid version id specified")
	case errors.Is(err, blob.ErrNoSuchKey):
		return field(e(http.StatusNotFound, "NoSuchKey", "The specified key does not exist."), "Key", key)
	case errors.Is(err, blob.ErrNoSuchUpload):
		return e(http.StatusNotFound, "NoSuchUpload", "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.")
	case errors.Is(err, blob.ErrBucketNotEmpty):
		return field(e(http.StatusConflict, "BucketNotEmpty", "The bucket you tried to delete is not empty"), "BucketName", bucket)
	case errors.Is(err, blob.ErrInvalidPart):
		return e(http.StatusBadRequest, "InvalidPart", "One or more of the specified parts could not be found.  The part may not have been uploaded, or the specified entity tag may not match the part's entity tag.")
	case errors.Is(err, blob.ErrPartOrder):
		return e(http.StatusBadRequest, "InvalidPartOrder", "The list of parts was not in ascending order. Parts must be ordered by part number.")
	case errors.Is(err, blob.ErrPartTooSmall):
		return e(http.StatusBadRequest, "EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size")
	case errors.Is(err, blob.ErrPrecondition):
		return e(http.StatusPreconditionFailed, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold")
	case errors.Is(err, blob.ErrShort):
		return e(http.StatusBadRequest, "IncompleteBody", "You did not provide the number of bytes specified by the Content-Length HTTP header")
	case errors.Is(err, blob.ErrLong):
		return invalidRequest("The body is longer than the Content-Length HTTP header says")
	case errors.Is(err, blob.ErrBadSum):
		return e(http.StatusBadRequest, "BadDigest", "The checksum you specified did not match the calculated checksum.")
	case errors.Is(err, blob.ErrBadSize):
		return invalidRequest("The provided 'x-amz-mp-object-size' header value does not match what was computed.")
	case errors.Is(err, blob.ErrFull):
		// Not a code of S3's, and of a status that no client repeats: waiting
		// does not make room.
		return e(http.StatusInsufficientStorage, "InsufficientStorage", "The server's disk is too full to take new objects. Nothing was stored.")
	}
	return err
}

// failed is failure of a named object: it tells of its version and its markers.
func failed(err error, n blob.Name) error {
	e, ok := errors.AsType[*apierr.Error](failure(err, n.Bucket, n.Key))
	if !ok {
		return err
	}
	switch e.Code {
	case "NoSuchVersion":
		field(e, "VersionId", n.Version)
	case "InvalidArgument":
		if errors.Is(err, blob.ErrVersion) {
			field(e, "ArgumentValue", n.Version)
		}
	}
	d, ok := errors.AsType[*blob.DeletedError](err)
	if !ok {
		return e
	}
	if n.Version != "" {
		e = apierr.New(http.StatusMethodNotAllowed, "MethodNotAllowed", "The specified method is not allowed against this resource.")
		field(e, "ResourceType", "DeleteMarker")
		field(e, restHeader+"Allow", http.MethodDelete)
		field(e, restHeader+"Last-Modified", d.Marker.Modified.UTC().Format(http.TimeFormat))
	}
	field(e, restHeader+"x-amz-delete-marker", "true")
	return field(e, restHeader+"x-amz-version-id", d.Marker.VersionID)
}

// restHeader marks what the codec writes as a header of an error.
const restHeader = "header:"

// versionAllowed asks for the action on a version, which S3 has beside the one
// on the object.
func (s *Service) versionAllowed(ctx context.Context, c op.Call, action string, n blob.Name) error {
	if n.Version == "" {
		return nil
	}
	return s.auth.Allow(ctx, c.Principal, action, arn(n.Bucket, n.Key))
}

// owner is the canonical user of an account.
func owner(account string) *s3.Owner {
	sum := sha256.Sum256([]byte("canonical user of " + account))
	return &s3.Owner{ID: hex.EncodeToString(sum[:])}
}
