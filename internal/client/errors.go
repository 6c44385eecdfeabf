package client

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// Error is a service's answer that is not success.
type Error struct {
	Service   string // s3, sagemaker
	Operation string
	Status    int
	Code      string
	Message   string
	RequestID string
}

func (e *Error) Error() string {
	if e.Message == "" {
		return fmt.Sprintf("%s %s: %s (HTTP %d)", e.Service, e.Operation, e.Code, e.Status)
	}
	return fmt.Sprintf("%s %s: %s: %s", e.Service, e.Operation, e.Code, e.Message)
}

// Code is the AWS error code within err, "" if there is none.
func Code(err error) string {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return ""
}

// IsNotFound says whether err is a missing object, bucket or upload.
func IsNotFound(err error) bool {
	switch Code(err) {
	case "NoSuchKey", "NoSuchBucket", "NotFound", "NoSuchUpload", "404":
		return true
	}
	return false
}

// IsDenied says whether the caller may not do it.
func IsDenied(err error) bool {
	switch Code(err) {
	case "AccessDenied", "AccessDeniedException", "Forbidden":
		return true
	}
	return false
}

// readError turns an answer that is not success into an Error. It reads a
// bounded part of the body and closes it.
func readError(service, operation string, resp *http.Response) *Error {
	defer resp.Body.Close() //nolint:errcheck // nothing is lost
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	e := &Error{Service: service, Operation: operation, Status: resp.StatusCode, RequestID: resp.Header.Get("X-Amzn-Requestid")}
	if e.RequestID == "" {
		e.RequestID = resp.Header.Get("X-Amz-Request-Id")
	}
	trimmed := strings.TrimSpace(string(body))
	switch {
	case strings.HasPrefix(trimmed, "{"):
		var j struct {
			Type    string `json:"__type"`
			Message string `json:"message"`
			Code    string `json:"code"`
		}
		if json.Unmarshal(body, &j) == nil { // v1 decoding is case-blind: Message and message
			e.Code, e.Message = j.Type, j.Message
			if e.Code == "" {
				e.Code = j.Code
			}
		}
	case strings.HasPrefix(trimmed, "<"):
		var x struct {
			XMLName xml.Name
			Code    string `xml:"Code"`
			Message string `xml:"Message"`
			Inner   struct {
				Code    string `xml:"Code"`
				Message string `xml:"Message"`
			} `xml:"Error"`
		}
		if xml.Unmarshal(body, &x) == nil {
			e.Code, e.Message = x.Code, x.Message
			if e.Code == "" {
				e.Code, e.Message = x.Inner.Code, x.Inner.Message
			}
		}
	}
	if t := resp.Header.Get("X-Amzn-Errortype"); e.Code == "" && t != "" {
		e.Code = t
	}
	if i := strings.LastIndexByte(e.Code, '#'); i >= 0 {
		e.Code = e.Code[i+1:]
	}
	if i := strings.IndexByte(e.Code, ':'); i >= 0 {
		e.Code = e.Code[:i]
	}
	if e.Code == "" {
		switch resp.StatusCode { // HEAD has no body
		case http.StatusNotFound:
			e.Code = "NotFound"
		case http.StatusForbidden:
			e.Code = "AccessDenied"
		case http.StatusPreconditionFailed:
			e.Code = "PreconditionFailed"
		default:
			e.Code = fmt.Sprint(resp.StatusCode)
		}
	}
	return e
}
