package conformance

import (
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"slices"
	"strings"

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
		_, after, ok := strings.Cut(string(a.body), "__type")
		if !ok || len(after) < 2 {
			return ""
		}
		n, rest := int(after[0]&0x1f), after[1:]
		if n == 24 { // the length follows in one byte
			n, rest = int(after[1]), after[2:]
		}
		code := rest[:min(n, len(rest))]
		return code[strings.LastIndexByte(code, '#')+1:]
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

// commonErrors may come from any operation.
func commonErrors() []string {
	return []string{
		"ValidationException", "ValidationError", "UnsupportedOperation", "SerializationException", "MalformedInput", "AccessDeniedException",
		"AccessDenied", "NotImplemented", "InvalidRequest", "InvalidArgument", "MalformedXML", "MethodNotAllowed", "NoSuchKey", "NoSuchBucket", "NoSuchUpload", "InvalidBucketName",
		"MissingRequestBodyError", "InvalidPart", "NoSuchTagSet", "BadDigest", "InvalidDigest", "InvalidRange", "EntityTooSmall", "BucketAlreadyOwnedByYou", "BucketNotEmpty",
		"NotFound", "InvalidStorageClass", "AccessControlListNotSupported", "ResourceNotFound", "ResourceNotFoundException", "InvalidParameterException", "InvalidParameterValue", "InvalidParameterCombination",
		"InvalidInput", "NoSuchEntity", "MissingParameter", "InvalidLocationConstraint", "IllegalLocationConstraintException", "PreconditionFailed", "NoSuchVersion", "MalformedPolicyDocument",
	}
}

// known says whether a client may expect the code from the operation.
func known(o *facts.Operation, code string) bool {
	return slices.Contains(commonErrors(), code) || code == "" && o.HTTP.Method == http.MethodHead ||
		slices.ContainsFunc(o.Errors, func(s *facts.Shape) bool { return s.Name == code || s.ErrorCode == code })
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

// fitsOutput holds a good answer against the output's shape: no member that
// the model lacks, every required one, each of its type.
func fitsOutput(protocol string, o *facts.Operation, a answer) error {
	switch protocol {
	case "json", "rest-json":
		if o.Output == nil {
			if len(a.body) > 0 && string(a.body) != "{}" {
				return errors.New("the model has no output")
			}
			return nil
		}
		n, err := validate.ParseJSON(a.body)
		if err != nil {
			return err
		}
		return fitsNode(o.Output, "", &n)
	case "query":
		if o.Output == nil {
			return nil
		}
		return fitsXML(o.Output, a.body, or(o.ResultWrapper, o.Name+"Result"))
	case "rest-xml":
		s := o.Output
		if s != nil && s.Payload != nil {
			if s.Payload.Shape.Type != facts.Structure {
				return nil
			}
			s = s.Payload.Shape
		}
		if s == nil || len(a.body) == 0 {
			return nil
		}
		return fitsXML(s, a.body, "")
	}
	return nil // CBOR is the same tree as JSON; its codec's tests look at the bytes
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
			if m.Required && n.Get(m.Name) == nil && m.Location == "" {
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

// fitsXML walks a document; wrapper is the element around the result, "" when
// the root itself is it.
func fitsXML(s *facts.Shape, body []byte, wrapper string) error {
	d := xml.NewDecoder(strings.NewReader(string(body)))
	for {
		t, err := d.Token()
		if errors.Is(err, io.EOF) {
			if wrapper == "" {
				return nil
			}
			return fmt.Errorf("no %s", wrapper)
		}
		if err != nil {
			return err
		}
		if e, ok := t.(xml.StartElement); ok && (wrapper == "" || e.Name.Local == wrapper) {
			return fitsElement(d, s, e.Name.Local)
		}
	}
}

func fitsElement(d *xml.Decoder, s *facts.Shape, path string) error {
	seen := map[string]bool{}
	for {
		t, err := d.Token()
		if err != nil {
			return err
		}
		switch t := t.(type) {
		case xml.EndElement:
			for _, m := range s.Members {
				if m.Required && m.Location == "" && !seen[m.Name] && m.Shape.Type != facts.List {
					return fmt.Errorf("%s.%s is required", path, m.Name)
				}
			}
			return nil
		case xml.StartElement:
			inside, name := child(s, t.Name.Local)
			if inside == nil {
				return fmt.Errorf("the model has no %s in %s", t.Name.Local, path)
			}
			seen[name] = true
			if err := fitsElement(d, inside, path+"."+t.Name.Local); err != nil {
				return err
			}
		}
	}
}

// child is the shape of an element inside one of shape s.
func child(s *facts.Shape, name string) (*facts.Shape, string) {
	switch s.Type { //nolint:exhaustive // scalars have none
	case facts.List:
		if name == or(s.Element.LocationName, "member") {
			return s.Element.Shape, name
		}
	case facts.Map:
		switch name {
		case "entry":
			return s, name
		case or(s.Key.LocationName, "key"):
			return s.Key.Shape, name
		case or(s.Value.LocationName, "value"):
			return s.Value.Shape, name
		}
	case facts.Structure:
		for _, m := range s.Members {
			wire := m.WireName()
			flat := m.Shape.Type == facts.List && (m.Flattened || m.Shape.Flattened)
			if flat && m.Shape.Element.LocationName != "" {
				wire = m.Shape.Element.LocationName
			}
			if wire != name || m.Location != "" {
				continue
			}
			if flat {
				return m.Shape.Element.Shape, m.Name
			}
			return m.Shape, m.Name
		}
	}
	return nil, ""
}
