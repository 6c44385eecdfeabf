// Package awsjson is the wire format of SageMaker, CloudWatch Logs and
// CloudWatch: AWS JSON 1.0 and 1.1. Names are matched exactly, members that
// the model does not have are ignored, and null is absence. It must never
// answer with an empty page token. Start at Codec.
package awsjson

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"clary/internal/aws/apierr"
	"clary/internal/aws/codec"
	"clary/internal/aws/facts"
	"clary/internal/aws/validate"
)

// Codec speaks one version of AWS JSON.
type Codec struct{ contentType string }

var _ codec.Codec = Codec{}

// New gives the codec of version "1.0" or "1.1".
func New(version string) Codec { return Codec{"application/x-amz-json-" + version} }

// Decode reads and checks a request.
func (c Codec) Decode(op *facts.Operation, _ *http.Request, body []byte, in any) error {
	if len(bytes.TrimSpace(body)) == 0 {
		body = []byte("{}")
	}
	n, err := validate.ParseJSON(body)
	if err != nil {
		return validate.Serialization("The request body is not valid JSON: %s", plain(err))
	}
	if n.Kind == validate.Null {
		n, body = validate.Node{Kind: validate.Object}, []byte("{}")
	}
	if err := validate.Input(op.Input, &n); err != nil {
		return err
	}
	if in == nil || op.Input == nil {
		return nil
	}
	if err := json.Unmarshal(body, in); err != nil {
		return validate.Serialization("The request could not be read: %s", plain(err))
	}
	return nil
}

// plain is a parser's error without the name of the package that made it.
func plain(err error) string {
	return string(bytes.TrimPrefix([]byte(err.Error()), []byte("jsontext: ")))
}

// Encode answers with the output.
func (c Codec) Encode(w http.ResponseWriter, _ *http.Request, op *facts.Operation, out any, requestID string) error {
	var body []byte
	if op.Output != nil {
		body = []byte("{}")
		if v := reflect.ValueOf(out); v.IsValid() && (v.Kind() != reflect.Pointer || !v.IsNil()) {
			var err error
			if body, err = json.Marshal(out, json.Deterministic(true), jsontext.AllowInvalidUTF8(true)); err != nil {
				return fmt.Errorf("encode %s: %w", op.Name, err)
			}
		}
	}
	c.send(w, http.StatusOK, body, requestID)
	return nil
}

// EncodeError answers with an error.
func (c Codec) EncodeError(w http.ResponseWriter, r *http.Request, op *facts.Operation, e *apierr.Error, requestID string) {
	members := map[string]string{"__type": e.Code, "message": e.Message}
	maps.Copy(members, e.Fields)
	h := w.Header()
	h.Set("X-Amzn-Errortype", e.Code)
	if op != nil {
		s := op.Model.Shapes[e.Code]
		if s != nil && s.Exception && s.Member("Message") != nil {
			members["Message"] = e.Message
		}
		if op.Model.QueryCompatible && r.Header.Get("X-Amzn-Query-Mode") == "true" {
			code, who := e.Code, "Sender"
			if code == "ValidationException" {
				code = "ValidationError"
			}
			if s != nil && s.ErrorCode != "" {
				code = s.ErrorCode
			}
			if e.Status >= http.StatusInternalServerError {
				who = "Receiver"
			}
			h.Set("X-Amzn-Query-Error", code+";"+who)
		}
	}
	body, err := json.Marshal(members, json.Deterministic(true), jsontext.AllowInvalidUTF8(true))
	if err != nil {
		body = []byte("{}")
	}
	c.send(w, e.Status, body, requestID)
}

func (c Codec) send(w http.ResponseWriter, status int, body []byte, requestID string) {
	h := w.Header()
	h.Set("Content-Type", c.contentType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("X-Amzn-Requestid", requestID)
	w.WriteHeader(status)
	_, _ = w.Write(body)
}
