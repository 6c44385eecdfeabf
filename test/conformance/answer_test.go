package conformance

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"net/http"
	"slices"
	"strings"

	"github.com/fxamacker/cbor/v2"

	"clary/internal/aws/facts"
	"clary/internal/aws/validate"
)

func b64(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

// errorCode finds the code of an error answer.
func errorCode(protocol string, a answer) string {
	if a.status < 400 {
		return ""
	}
	switch protocol {
	case "query", "rest-xml":
		_, after, _ := strings.Cut(string(a.body), "<Code>")
		code, _, _ := strings.Cut(after, "</Code>")
		return code
	case "smithy-rpc-v2-cbor":
		var e struct {
			Type string `cbor:"__type"`
		}
		if cbor.Unmarshal(a.body, &e) != nil {
			return ""
		}
		return e.Type[strings.LastIndexByte(e.Type, '#')+1:]
	}
	var e struct {
		Type string `json:"__type"`
		Code string `json:"code"`
	}
	if json.Unmarshal(a.body, &e) != nil {
		return ""
	}
	if e.Type == "" {
		e.Type = or(e.Code, a.header.Get("X-Amzn-Errortype"))
	}
	return e.Type[strings.LastIndexByte(e.Type, '#')+1:]
}

// common is the status of an error that a service answers and its model does
// not list with each operation, 0 if there is none of that code.
func common(m *facts.Model, protocol, code string) int {
	for _, all := range []map[string]int{ofProtocol(protocol), ofService(m.Service)} {
		if status := all[code]; status != 0 {
			return status
		}
	}
	return 0
}

func ofProtocol(protocol string) map[string]int {
	switch protocol {
	case "rest-xml":
		return map[string]int{}
	case "query":
		return map[string]int{"ValidationError": 400, "UnsupportedOperation": 400}
	}
	return map[string]int{"ValidationException": 400, "UnsupportedOperation": 400}
}

func ofService(service string) map[string]int {
	switch service {
	case "s3": // its model lists few; the others are in its API reference
		out := map[string]int{"NotImplemented": 501, "NoSuchBucket": 404, "NoSuchKey": 404, "NoSuchUpload": 404}
		for _, code := range []string{"NoSuchBucketPolicy", "NoSuchCORSConfiguration", "NoSuchLifecycleConfiguration", "NoSuchWebsiteConfiguration", "ObjectLockConfigurationNotFoundError", "ReplicationConfigurationNotFoundError"} {
			out[code] = http.StatusNotFound
		}
		for _, code := range []string{"AccessControlListNotSupported", "IllegalVersioningConfigurationException", "InvalidArgument", "InvalidBucketAclWithObjectOwnership", "InvalidRequest", "MalformedXML"} {
			out[code] = http.StatusBadRequest
		}
		return out
	case "cloudwatch":
		return map[string]int{"ValidationError": 400}
	}
	return nil
}

// knownError says what is wrong with an error answer: a client may expect the
// code from the operation, with its status.
func knownError(protocol string, o *facts.Operation, a answer) error {
	code := errorCode(protocol, a)
	if code == "" && o.HTTP.Method == http.MethodHead { // it has no body
		return nil
	}
	want := common(o.Model, protocol, code)
	for _, s := range o.Errors {
		if protocol == "query" && or(s.ErrorCode, s.Name) != code || s.Name != code && s.ErrorCode != code {
			continue
		}
		want = s.ErrorStatus
		if want == 0 {
			want = http.StatusBadRequest
			if s.Fault {
				want = http.StatusInternalServerError
			}
		}
	}
	switch {
	case want == 0:
		return fmt.Errorf("the model has no %q", code)
	case want != a.status:
		return fmt.Errorf("%s has the status %d", code, want)
	}
	return nil
}

// plainText is an answer's text as a client shows it.
func plainText(protocol string, a answer) string {
	switch protocol {
	case "query", "rest-xml":
		return html.UnescapeString(string(a.body))
	case "smithy-rpc-v2-cbor":
		return string(a.body)
	}
	var e map[string]any
	if json.Unmarshal(a.body, &e) != nil {
		return string(a.body)
	}
	code := fmt.Sprint(e["__type"])
	if protocol == "rest-json" {
		code = a.header.Get("X-Amzn-Errortype")
	}
	return code + ": " + fmt.Sprint(e["message"])
}

// fitsOutput holds a good answer against the output's shape: the status and
// the headers, no member that the model lacks, every required one, each of its
// type and within its constraints.
func fitsOutput(protocol string, o *facts.Operation, a answer) error {
	if a.status != o.HTTP.Code && (o.Output == nil || !slices.ContainsFunc(o.Output.Members, func(m *facts.Member) bool { return m.Location == "statusCode" })) {
		return fmt.Errorf("status %d, want %d", a.status, o.HTTP.Code)
	}
	if o.Output == nil {
		return fitsNone(protocol, o, a)
	}
	n, err := outputTree(protocol, o, a)
	if err != nil {
		return err
	}
	if strings.HasPrefix(protocol, "rest") {
		if err := headersOf(o.Output, a, &n); err != nil {
			return err
		}
	}
	return fitsNode(o.Output, "", &n)
}

// fitsNone: an operation without output says nothing.
func fitsNone(protocol string, o *facts.Operation, a answer) error {
	if protocol == "query" {
		_, err := xmlTree(&facts.Shape{Type: facts.Structure, Members: []*facts.Member{{
			MemberDoc: facts.MemberDoc{Name: "RequestId"}, Shape: &facts.Shape{Type: facts.String},
		}}}, a.body, o.Name+"Response", "ResponseMetadata")
		return err
	}
	if len(a.body) > 0 && string(a.body) != "{}" {
		return errors.New("the model has no output")
	}
	return nil
}

// outputTree reads the body of a good answer.
func outputTree(protocol string, o *facts.Operation, a answer) (validate.Node, error) {
	n, s := validate.Node{Kind: validate.Object}, o.Output
	if protocol == "json" {
		return validate.ParseJSON(a.body)
	}
	if protocol == "query" {
		return xmlTree(s, a.body, o.Name+"Response", or(o.ResultWrapper, o.Name+"Result"))
	}
	if protocol == "smithy-rpc-v2-cbor" {
		return cborTree(s, a.body)
	}
	p := s.Payload
	if p != nil && (p.Shape.Type == facts.Blob || p.Shape.EventStream) {
		return n, nil // bytes and events, which have tests of their own
	}
	if p != nil {
		s = p.Shape
	}
	var body validate.Node
	var err error
	switch {
	case !slices.ContainsFunc(s.Members, func(m *facts.Member) bool { return m.Location == "" }) && s.Type == facts.Structure || o.HTTP.Method == http.MethodHead:
		if len(a.body) > 0 {
			return n, errors.New("the model has no body")
		}
		return n, nil
	case s.Type == facts.String:
		body, err = scalarOf(s, string(a.body), "")
	case protocol == "rest-json":
		body, err = validate.ParseJSON(a.body)
	case o.Name == "GetBucketLocation": // the root is the member
		var text validate.Node
		if text, err = xmlTree(&facts.Shape{Type: facts.String}, a.body, "LocationConstraint", ""); text.Text != "" {
			n.Fields = append(n.Fields, validate.Field{Name: "LocationConstraint", Value: text})
		}
		return n, err
	default:
		body, err = xmlTree(s, a.body, "", "")
	}
	if p == nil || err != nil {
		return body, err
	}
	n.Fields = append(n.Fields, validate.Field{Name: p.Name, Value: body})
	return n, nil
}

func fitsNode(s *facts.Shape, path string, n *validate.Node) error {
	if s.Type == facts.Structure {
		for i := range n.Fields {
			m := s.Member(n.Fields[i].Name)
			if m == nil {
				return fmt.Errorf("the model has no %s.%s", path, n.Fields[i].Name)
			}
			if err := fitsNode(m.Shape, path+"."+m.Name, &n.Fields[i].Value); err != nil {
				return err
			}
		}
		for _, m := range s.Members {
			if m.Required && n.Get(m.Name) == nil {
				return fmt.Errorf("%s.%s is required", path, m.Name)
			}
		}
		if path == "" {
			return validate.Input(s, n)
		}
		return nil
	}
	for i := range n.Items {
		if s.Type != facts.List {
			return fmt.Errorf("%s is a list", path)
		}
		if err := fitsNode(s.Element.Shape, path+"[]", &n.Items[i]); err != nil {
			return err
		}
	}
	for i := range n.Fields {
		if s.Type != facts.Map {
			return fmt.Errorf("%s is an object", path)
		}
		if err := fitsNode(s.Value.Shape, path+"{}", &n.Fields[i].Value); err != nil {
			return err
		}
	}
	return nil
}
