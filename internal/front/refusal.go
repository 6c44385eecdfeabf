package front

import (
	"errors"
	"fmt"
	"maps"
	"net/http"

	"clary/internal/aws/apierr"
	"clary/internal/aws/sigv4"
)

// scopeFits refuses a signature made for another service: what was signed for
// one must not serve as a signature for the other.
func (f *Front) scopeFits(rt route, a *sigv4.Auth) error {
	want := "sagemaker"
	if rt.svc != nil {
		want = rt.svc.model.SigningName
	} else if rt.proto == protoQuery {
		return f.signatureError(rt.proto, &sigv4.Error{Reason: sigv4.Scope, Message: fmt.Sprintf("The service %q is not served here.", a.Service)})
	}
	if a.Service == want {
		return nil
	}
	return f.signatureError(rt.proto, &sigv4.Error{
		Reason: sigv4.Scope, Presigned: a.Presigned,
		Message: fmt.Sprintf("Credential should be scoped to correct service: '%s'. ", want),
	})
}

const (
	mismatchText = "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details."
	s3Mismatch   = "The request signature we calculated does not match the signature you provided. Check your key and signing method."
	invalidToken = "The security token included in the request is invalid."
	expiredToken = "The security token included in the request is expired"
)

// signatureError words a refused signature as the protocol does. Other errors
// pass.
func (f *Front) signatureError(proto string, err error) error {
	e, ok := errors.AsType[*sigv4.Error](err)
	if !ok {
		return err
	}
	switch proto {
	case protoRESTXML:
		return s3Refusal(e)
	case protoQuery:
		return queryRefusal(e)
	default:
		return jsonRefusal(e, proto)
	}
}

func jsonRefusal(e *sigv4.Error, proto string) error {
	status := http.StatusBadRequest
	if proto == protoRESTJSON {
		status = http.StatusForbidden
	}
	switch e.Reason {
	case sigv4.Missing:
		return apierr.New(status, "MissingAuthenticationTokenException", "Missing Authentication Token")
	case sigv4.Malformed, sigv4.Unsupported, sigv4.Ambiguous:
		return apierr.New(status, "IncompleteSignatureException", "%s", e.Message)
	case sigv4.Mismatch:
		return apierr.New(status, "InvalidSignatureException", mismatchText)
	case sigv4.Scope, sigv4.Skewed, sigv4.Expired, sigv4.Early, sigv4.Uncovered:
	}
	return apierr.New(status, "InvalidSignatureException", "%s", e.Message)
}

func queryRefusal(e *sigv4.Error) error {
	switch e.Reason {
	case sigv4.Missing:
		return apierr.New(http.StatusForbidden, "MissingAuthenticationToken", "Request is missing Authentication Token")
	case sigv4.Malformed, sigv4.Unsupported, sigv4.Ambiguous:
		return apierr.New(http.StatusBadRequest, "IncompleteSignature", "%s", e.Message)
	case sigv4.Mismatch:
		return apierr.New(http.StatusForbidden, "SignatureDoesNotMatch", mismatchText)
	case sigv4.Scope, sigv4.Skewed, sigv4.Expired, sigv4.Early, sigv4.Uncovered:
	}
	return apierr.New(http.StatusForbidden, "SignatureDoesNotMatch", "%s", e.Message)
}

func s3Refusal(e *sigv4.Error) error {
	out := apierr.New(http.StatusForbidden, "AccessDenied", "%s", e.Message)
	switch e.Reason {
	case sigv4.Missing:
		out = apierr.New(http.StatusForbidden, "AccessDenied", "Access Denied")
	case sigv4.Malformed, sigv4.Scope:
		out = apierr.New(http.StatusBadRequest, "AuthorizationHeaderMalformed", "The authorization header is malformed; %s", e.Message)
		if e.Presigned {
			out = apierr.New(http.StatusBadRequest, "AuthorizationQueryParametersError", "%s", e.Message)
		}
	case sigv4.Unsupported:
		out = apierr.New(http.StatusBadRequest, "InvalidRequest", "%s", e.Message)
	case sigv4.Ambiguous:
		out = apierr.New(http.StatusBadRequest, "InvalidArgument", "%s", e.Message)
	case sigv4.Skewed:
		out = apierr.New(http.StatusForbidden, "RequestTimeTooSkewed", "The difference between the request time and the current time is too large.")
	case sigv4.Mismatch:
		out = apierr.New(http.StatusForbidden, "SignatureDoesNotMatch", s3Mismatch)
	case sigv4.Expired, sigv4.Early, sigv4.Uncovered:
	}
	if len(e.Fields) > 0 {
		out.Fields = maps.Clone(e.Fields)
	}
	return out
}

// keyError words what the keys say of an access key or a session token.
func (f *Front) keyError(proto string, a *sigv4.Auth, err error) error {
	e, ok := errors.AsType[*apierr.Error](err)
	if !ok {
		return err
	}
	expired := e.Code == "ExpiredToken"
	if !expired && e.Code != "InvalidClientTokenId" {
		return e
	}
	switch {
	case proto == protoRESTXML && expired:
		return apierr.New(http.StatusBadRequest, "ExpiredToken", "The provided token has expired.")
	case proto == protoRESTXML && a.SessionToken != "":
		return apierr.New(http.StatusBadRequest, "InvalidToken", "The provided token is malformed or otherwise invalid.")
	case proto == protoRESTXML:
		e := apierr.New(http.StatusForbidden, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.")
		e.Fields = map[string]string{"AWSAccessKeyId": a.AccessKeyID}
		return e
	case proto == protoQuery && expired:
		return apierr.New(http.StatusForbidden, "ExpiredToken", expiredToken)
	case proto == protoQuery:
		return apierr.New(http.StatusForbidden, "InvalidClientTokenId", invalidToken)
	}
	status := http.StatusBadRequest
	if proto == protoRESTJSON {
		status = http.StatusForbidden
	}
	if expired {
		return apierr.New(status, "ExpiredTokenException", expiredToken)
	}
	return apierr.New(status, "UnrecognizedClientException", invalidToken)
}
