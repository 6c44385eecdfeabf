package main

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"clary/internal/aws/facts"
)

// readModel reads the newest version of a service's model.
func readModel(data, service string) ([]byte, error) {
	found, err := filepath.Glob(filepath.Join(data, service, "*", "service-2.json*"))
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("no model of %s under %s", service, data)
	}
	slices.Sort(found)
	path := found[len(found)-1]
	b, err := os.ReadFile(path)
	if err != nil || !strings.HasSuffix(path, ".gz") {
		return b, err
	}
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return io.ReadAll(z)
}

func writeDocument(path string, doc *facts.Document) error {
	raw, err := json.Marshal(doc)
	if err != nil {
		return err
	}
	if old, err := os.ReadFile(path); err == nil {
		if was, err := facts.ReadDocument(old); err == nil {
			if same, err := json.Marshal(was); err == nil && bytes.Equal(same, raw) {
				return nil
			}
		}
	}
	var buf bytes.Buffer
	z, err := gzip.NewWriterLevel(&buf, gzip.BestCompression)
	if err != nil {
		return err
	}
	if _, err := z.Write(raw); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, buf.Bytes(), 0o644)
}

// object is a JSON object in the order of its text; members taken are removed,
// so that what is left over was not understood.
type object struct {
	names  []string
	values map[string]jsontext.Value
}

func (o *object) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	o.values = map[string]jsontext.Value{}
	t, err := dec.ReadToken()
	if err != nil {
		return err
	}
	if t.Kind() != '{' {
		return fmt.Errorf("object wanted, found %s", t.Kind())
	}
	for dec.PeekKind() != '}' {
		n, err := dec.ReadToken()
		if err != nil {
			return err
		}
		name := n.String()
		v, err := dec.ReadValue()
		if err != nil {
			return err
		}
		o.names = append(o.names, name)
		o.values[name] = v.Clone()
	}
	_, err = dec.ReadToken()
	return err
}

func (o *object) take(name string, into any) error {
	v, ok := o.values[name]
	if !ok {
		return nil
	}
	delete(o.values, name)
	if err := json.Unmarshal(v, into); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// ignore drops members that say nothing about the wire.
func (o *object) ignore(names ...string) {
	for _, n := range names {
		delete(o.values, n)
	}
}

// done fails on members that nobody took.
func (o *object) done(what string) error {
	if len(o.values) == 0 {
		return nil
	}
	var left []string
	for n := range o.values {
		left = append(left, n)
	}
	slices.Sort(left)
	return fmt.Errorf("%s: unknown members %s", what, strings.Join(left, ", "))
}

// fields takes several members.
func (o *object) fields(pairs ...any) error {
	var all error
	for i := 0; i+1 < len(pairs); i += 2 {
		all = errors.Join(all, o.take(pairs[i].(string), pairs[i+1]))
	}
	return all
}

type xmlNamespace struct {
	URI    string `json:"uri"`
	Prefix string `json:"prefix"`
}

// strip keeps the facts of a model.
func strip(service string, raw []byte) (*facts.Document, error) {
	var top, ops, shapes object
	if err := json.Unmarshal(raw, &top); err != nil {
		return nil, err
	}
	doc := &facts.Document{Service: service}
	var meta object
	if err := top.fields("metadata", &meta, "operations", &ops, "shapes", &shapes); err != nil {
		return nil, err
	}
	top.ignore("version", "documentation", "examples", "authorizers", "clientContextParams")
	if err := top.done("model"); err != nil {
		return nil, err
	}
	_, doc.QueryCompatible = meta.values["awsQueryCompatible"]
	meta.ignore("awsQueryCompatible")
	if err := meta.fields("serviceId", &doc.ServiceID, "apiVersion", &doc.APIVersion, "protocol", &doc.Protocol,
		"protocols", &doc.Protocols, "jsonVersion", &doc.JSONVersion, "targetPrefix", &doc.TargetPrefix,
		"endpointPrefix", &doc.EndpointPrefix, "signingName", &doc.SigningName, "xmlNamespace", &doc.XMLNamespace); err != nil {
		return nil, err
	}
	meta.ignore("auth", "serviceAbbreviation", "serviceFullName", "signatureVersion", "uid", "globalEndpoint", "checksumFormat")
	if err := meta.done("metadata"); err != nil {
		return nil, err
	}
	for _, n := range ops.names {
		o, err := stripOperation(n, ops.values[n])
		if err != nil {
			return nil, fmt.Errorf("operation %s: %w", n, err)
		}
		doc.Operations = append(doc.Operations, o)
	}
	for _, n := range shapes.names {
		s, err := stripShape(n, shapes.values[n])
		if err != nil {
			return nil, fmt.Errorf("shape %s: %w", n, err)
		}
		doc.Shapes = append(doc.Shapes, s)
	}
	if _, err := facts.New(doc); err != nil {
		return nil, err
	}
	return doc, nil
}

func stripOperation(name string, raw jsontext.Value) (facts.OperationDoc, error) {
	d := facts.OperationDoc{}
	var o, http, in, out object
	var inNS xmlNamespace
	var errs []struct {
		Shape string `json:"shape"`
	}
	if err := json.Unmarshal(raw, &o); err != nil {
		return d, err
	}
	err := o.fields("name", &d.Name, "http", &http, "input", &in, "output", &out, "errors", &errs,
		"authtype", &d.AuthType, "httpChecksum", &d.Checksum)
	o.ignore("documentation", "documentationUrl", "readonly", "idempotent", "deprecated", "deprecatedMessage", "deprecatedSince",
		"staticContextParams", "endpoint", "auth", "unsignedPayload", "requestcompression")
	err = errors.Join(err, o.done(name),
		http.fields("method", &d.Method, "requestUri", &d.URI, "responseCode", &d.Code), http.done("http"),
		in.fields("shape", &d.Input, "locationName", &d.InputName, "xmlNamespace", &inNS),
		out.fields("shape", &d.Output, "resultWrapper", &d.ResultWrapper))
	in.ignore("documentation")
	out.ignore("documentation")
	d.InputNS = inNS.URI
	for _, e := range errs {
		d.Errors = append(d.Errors, e.Shape)
	}
	return d, errors.Join(err, in.done("input"), out.done("output"))
}

func stripShape(name string, raw jsontext.Value) (facts.ShapeDoc, error) {
	d := facts.ShapeDoc{Name: name}
	var o, members object
	var required []string
	var elem, key, value jsontext.Value
	var ns xmlNamespace
	var fault struct {
		Code       string `json:"code"`
		Status     int    `json:"httpStatusCode"`
		SenderFlag bool   `json:"senderFault"`
	}
	if err := json.Unmarshal(raw, &o); err != nil {
		return d, err
	}
	err := o.fields("type", &d.Type, "members", &members, "required", &required, "member", &elem, "key", &key, "value", &value,
		"min", &d.Min, "max", &d.Max, "pattern", &d.Pattern, "enum", &d.Enum, "payload", &d.Payload,
		"locationName", &d.LocationName, "xmlNamespace", &ns, "timestampFormat", &d.TimestampFormat,
		"flattened", &d.Flattened, "union", &d.Union, "sensitive", &d.Sensitive, "eventstream", &d.EventStream,
		"event", &d.Event, "exception", &d.Exception, "fault", &d.Fault, "error", &fault)
	o.ignore("documentation", "box", "deprecated", "deprecatedMessage", "deprecatedSince", "synthetic", "xmlOrder", "wrapper")
	if err = errors.Join(err, o.done(name)); err != nil {
		return d, err
	}
	d.XMLNamespace, d.ErrorCode, d.ErrorStatus = ns.URI, fault.Code, fault.Status
	switch d.Type {
	case facts.Structure, facts.List, facts.Map, facts.String, facts.Integer, facts.Long, facts.Float, facts.Double,
		facts.Boolean, facts.Timestamp, facts.Blob:
	default:
		return d, fmt.Errorf("unknown type %q", d.Type)
	}
	switch d.TimestampFormat {
	case "", "iso8601", "rfc822", "unixTimestamp":
	default:
		return d, fmt.Errorf("unknown timestamp format %q", d.TimestampFormat)
	}
	if err := facts.CheckPattern(d.Pattern); err != nil {
		return d, err
	}
	for _, n := range members.names {
		m, err := stripMember(members.values[n])
		if err != nil {
			return d, fmt.Errorf("member %s: %w", n, err)
		}
		m.Name = n
		if i := slices.Index(required, n); i >= 0 {
			m.Required = true
			required = slices.Delete(required, i, i+1)
		}
		d.Members = append(d.Members, m)
	}
	if len(required) > 0 {
		return d, fmt.Errorf("required members that do not exist: %s", strings.Join(required, ", "))
	}
	for _, x := range []struct {
		raw jsontext.Value
		to  **facts.MemberDoc
	}{{elem, &d.Element}, {key, &d.Key}, {value, &d.Value}} {
		if x.raw == nil {
			continue
		}
		m, err := stripMember(x.raw)
		if err != nil {
			return d, err
		}
		*x.to = &m
	}
	return d, nil
}

func stripMember(raw jsontext.Value) (facts.MemberDoc, error) {
	d := facts.MemberDoc{}
	var o object
	var ns xmlNamespace
	if err := json.Unmarshal(raw, &o); err != nil {
		return d, err
	}
	err := o.fields("shape", &d.Shape, "location", &d.Location, "locationName", &d.LocationName, "xmlNamespace", &ns,
		"xmlAttribute", &d.XMLAttribute, "flattened", &d.Flattened, "streaming", &d.Streaming, "jsonvalue", &d.JSONValue,
		"idempotencyToken", &d.IdempotencyToken, "eventpayload", &d.EventPayload)
	o.ignore("documentation", "box", "deprecated", "deprecatedMessage", "deprecatedSince", "contextParam", "hostLabel")
	d.XMLNamespace, d.XMLPrefix = ns.URI, ns.Prefix
	return d, errors.Join(err, o.done("member"))
}
