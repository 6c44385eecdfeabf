package restxml

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"

	"clary/internal/aws/apierr"
	"clary/internal/aws/facts"
)

// What S3 does and its model does not tell.

const s3Namespace = "http://s3.amazonaws.com/doc/2006-03-01/"

// HeaderField marks a field of an apierr.Error that goes into a header and
// not into the body.
const HeaderField = "header:"

// rootName is the root of an output that has no payload member.
func rootName(op *facts.Operation) string {
	switch op.Name {
	case "ListBuckets", "ListDirectoryBuckets":
		return "ListAllMyBucketsResult"
	case "ListObjects", "ListObjectsV2":
		return "ListBucketResult"
	case "ListObjectVersions":
		return "ListVersionsResult"
	case "CreateMultipartUpload":
		return "InitiateMultipartUploadResult"
	case "CompleteMultipartUpload":
		return "CompleteMultipartUploadResult"
	case "ListParts":
		return "ListPartsResult"
	case "ListMultipartUploads":
		return "ListMultipartUploadsResult"
	case "DeleteObjects":
		return "DeleteResult"
	case "GetObjectTagging", "GetBucketTagging":
		return "Tagging"
	case "GetBucketVersioning":
		return "VersioningConfiguration"
	case "GetBucketAcl", "GetObjectAcl":
		return "AccessControlPolicy"
	case "GetBucketCors":
		return "CORSConfiguration"
	case "GetBucketLogging":
		return "BucketLoggingStatus"
	case "GetBucketRequestPayment":
		return "RequestPaymentConfiguration"
	case "GetBucketAccelerateConfiguration":
		return "AccelerateConfiguration"
	case "GetObjectAttributes":
		return "GetObjectAttributesResponse"
	}
	return op.Output.Name
}

// bareText names the outputs whose one member is the text of the root.
func bareText(op string) (root string, ok bool) {
	if op == "GetBucketLocation" {
		return "LocationConstraint", true
	}
	return "", false
}

// hostID stands for S3's second request id, which names a host.
func hostID(requestID string) string {
	sum := sha256.Sum256([]byte(requestID))
	return base64.StdEncoding.EncodeToString(sum[:])
}

func missingBody() *apierr.Error {
	return apierr.New(http.StatusBadRequest, "MissingRequestBodyError", "Request Body is empty")
}

// inS3Words gives the errors that every service has the codes of S3.
func inS3Words(e *apierr.Error) *apierr.Error {
	out := *e
	switch e.Code {
	case "AccessDeniedException", "AccessDenied":
		out.Code, out.Status = "AccessDenied", http.StatusForbidden
	case "InternalFailure":
		out.Code, out.Status = "InternalError", http.StatusInternalServerError
		out.Message = "We encountered an internal error. Please try again."
	case "UnsupportedOperation":
		out.Code, out.Status = "NotImplemented", http.StatusNotImplemented
	case "ValidationException":
		out.Code, out.Status = "InvalidRequest", http.StatusBadRequest
	case "SerializationException":
		return malformed()
	case "MissingAuthenticationToken", "MissingAuthenticationTokenException":
		out.Code, out.Status, out.Message = "AccessDenied", http.StatusForbidden, "Access Denied"
	case "InvalidClientTokenId", "UnrecognizedClientException":
		out.Code, out.Status = "InvalidAccessKeyId", http.StatusForbidden
		out.Message = "The AWS Access Key Id you provided does not exist in our records."
	case "ExpiredTokenException":
		out.Code, out.Status = "ExpiredToken", http.StatusBadRequest
		out.Message = "The provided token has expired."
	case "ThrottlingException", "Throttling":
		out.Code, out.Status, out.Message = "SlowDown", http.StatusServiceUnavailable, "Please reduce your request rate."
	case "UnknownOperationException", "InvalidAction":
		out.Code, out.Status = "MethodNotAllowed", http.StatusMethodNotAllowed
		out.Message = "The specified method is not allowed against this resource."
	}
	return &out
}

// emptyToo names the members that S3 writes even when they hold no text.
func emptyToo(shape *facts.Shape, member string) bool {
	switch shape.Name {
	case "ListObjectsOutput":
		return member == "Prefix" || member == "Marker"
	case "ListObjectsV2Output":
		return member == "Prefix"
	case "ListObjectVersionsOutput":
		return member == "Prefix" || member == "KeyMarker" || member == "VersionIdMarker"
	case "ListMultipartUploadsOutput":
		return member == "KeyMarker" || member == "UploadIdMarker"
	case "Tag":
		return member == "Value"
	}
	return false
}
