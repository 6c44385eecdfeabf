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

var _ codec.JSONEncoder = Codec{}

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
	body, err := c.JSON(op, out)
	if err != nil {
		return err
	}
	c.Send(w, body, requestID)
	return nil
}

// JSON implements codec.JSONEncoder.
func (c Codec) JSON(op *facts.Operation, out any) ([]byte, error) {
	if op.Output == nil {
		return nil, nil
	}
	if v := reflect.ValueOf(out); !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil() {
		return []byte("{}"), nil
	}
	body, err := json.Marshal(out, json.Deterministic(true), jsontext.AllowInvalidUTF8(true))
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", op.Name, err)
	}
	return body, nil
}

// Send implements codec.JSONEncoder.
func (c Codec) Send(w http.ResponseWriter, body []byte, requestID string) {
	c.send(w, http.StatusOK, body, requestID)
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
		if code := codec.QueryError(op, r, e); code != "" {
			h.Set("X-Amzn-Query-Error", code)
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
	v := []string{c.contentType, strconv.Itoa(len(body)), requestID}
	h["Content-Type"], h["Content-Length"], h["X-Amzn-Requestid"] = v[0:1:1], v[1:2:2], v[2:3:3]
	w.WriteHeader(status)
	_, _ = w.Write(body)
}
