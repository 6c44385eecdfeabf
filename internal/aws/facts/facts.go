// Package facts is the AWS service models as data: operations, shapes and
// their constraints, without a word of documentation. Codecs, the validator
// and the front door read it; nothing changes it. The models are embedded,
// compressed, and parsed when first asked for. Start at Load and Model;
// tool/modelgen writes the files under models.
package facts

import (
	"bytes"
	"compress/gzip"
	"embed"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
)

// Type is the type of a shape.
type Type string

// The types of shapes.
const (
	Structure Type = "structure"
	List      Type = "list"
	Map       Type = "map"
	String    Type = "string"
	Integer   Type = "integer"
	Long      Type = "long"
	Float     Type = "float"
	Double    Type = "double"
	Boolean   Type = "boolean"
	Timestamp Type = "timestamp"
	Blob      Type = "blob"
)

// Model is one service.
type Model struct {
	Service, ServiceID, APIVersion            string
	Protocol                                  string
	Protocols                                 []string
	JSONVersion, TargetPrefix, EndpointPrefix string
	SigningName                               string
	XMLNamespace                              string
	QueryCompatible                           bool
	Operations                                map[string]*Operation
	Shapes                                    map[string]*Shape
}

// HTTP is how an operation is called in the REST protocols.
type HTTP struct {
	Method, URI string
	Code        int // of success
}

// Operation is one operation. Input and Output are nil where it has none.
type Operation struct {
	Name          string
	HTTP          HTTP
	Input, Output *Shape
	InputName     string
	InputNS       string
	ResultWrapper string
	Errors        []*Shape
	AuthType      string
	Checksum      Checksum
	Model         *Model
}

// Shape is one named type.
type Shape struct {
	Name            string
	Type            Type
	Members         []*Member // of a structure, in the model's order
	Element         *Member   // of a list
	Key, Value      *Member   // of a map
	Min, Max        *float64
	Pattern         string // as the model writes it
	Enum            []string
	Payload         *Member
	LocationName    string
	XMLNamespace    string
	TimestampFormat string
	Flattened       bool
	Union           bool
	Sensitive       bool
	EventStream     bool
	Event           bool
	Exception       bool
	Fault           bool
	ErrorCode       string
	ErrorStatus     int

	byName   map[string]*Member
	enumText func() string
	enums    map[string]struct{}
	match    func() (matcher, error)
}

// Member is a use of a shape.
type Member struct {
	MemberDoc
	Shape *Shape
}

// Member finds a member by its name, nil if there is none.
func (s *Shape) Member(name string) *Member { return s.byName[name] }

// HasEnum says whether v is one of the shape's values.
func (s *Shape) HasEnum(v string) bool {
	_, ok := s.enums[v]
	return ok
}

// WireName is the name that the member has in XML, in queries and in headers.
func (m *Member) WireName() string {
	if m.LocationName != "" {
		return m.LocationName
	}
	return m.Name
}

// GoName is how package api spells the name of a shape or a member.
func GoName(name string) string {
	r, n := utf8.DecodeRuneInString(name)
	return string(unicode.ToUpper(r)) + name[n:]
}

//go:embed models/*.json.gz
var files embed.FS

// loaders holds one lazy, read-only model per embedded file.
var loaders = func() map[string]func() (*Model, error) {
	out := map[string]func() (*Model, error){}
	entries, err := files.ReadDir("models")
	if err != nil {
		return out
	}
	for _, e := range entries {
		out[strings.TrimSuffix(e.Name(), ".json.gz")] = sync.OnceValues(func() (*Model, error) {
			b, err := files.ReadFile("models/" + e.Name())
			if err != nil {
				return nil, err
			}
			doc, err := ReadDocument(b)
			if err != nil {
				return nil, fmt.Errorf("model %s: %w", e.Name(), err)
			}
			return New(doc)
		})
	}
	return out
}()

// Services lists the embedded services by botocore's names.
func Services() []string {
	out := make([]string, 0, len(loaders))
	for s := range loaders {
		out = append(out, s)
	}
	slices.Sort(out)
	return out
}

// Load gives the model of a service. It is shared and must not be changed.
func Load(service string) (*Model, error) {
	f, ok := loaders[service]
	if !ok {
		return nil, fmt.Errorf("no model of service %q", service)
	}
	return f()
}

// ReadDocument reads a compressed stripped model.
func ReadDocument(b []byte) (*Document, error) {
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(z)
	if err != nil {
		return nil, err
	}
	var doc Document
	if err := json.Unmarshal(raw, &doc, json.RejectUnknownMembers(true)); err != nil {
		return nil, err
	}
	return &doc, nil
}

// New links the shapes of a document.
func New(doc *Document) (*Model, error) {
	m := &Model{
		Service: doc.Service, ServiceID: doc.ServiceID, APIVersion: doc.APIVersion,
		Protocol: doc.Protocol, Protocols: doc.Protocols, JSONVersion: doc.JSONVersion,
		TargetPrefix: doc.TargetPrefix, EndpointPrefix: doc.EndpointPrefix, SigningName: doc.SigningName,
		XMLNamespace: doc.XMLNamespace, QueryCompatible: doc.QueryCompatible,
		Operations: make(map[string]*Operation, len(doc.Operations)),
		Shapes:     make(map[string]*Shape, len(doc.Shapes)),
	}
	if m.SigningName == "" {
		m.SigningName = m.EndpointPrefix
	}
	for i := range doc.Shapes {
		m.Shapes[doc.Shapes[i].Name] = &Shape{}
	}
	for i := range doc.Shapes {
		if err := m.link(&doc.Shapes[i]); err != nil {
			return nil, fmt.Errorf("model %s, shape %s: %w", doc.Service, doc.Shapes[i].Name, err)
		}
	}
	for i := range doc.Operations {
		o, err := m.operation(&doc.Operations[i])
		if err != nil {
			return nil, fmt.Errorf("model %s, operation %s: %w", doc.Service, doc.Operations[i].Name, err)
		}
		m.Operations[o.Name] = o
	}
	return m, nil
}

func (m *Model) link(d *ShapeDoc) error {
	s := m.Shapes[d.Name]
	*s = Shape{
		Name: d.Name, Type: d.Type, Min: d.Min, Max: d.Max, Pattern: d.Pattern, Enum: d.Enum,
		LocationName: d.LocationName, XMLNamespace: d.XMLNamespace, TimestampFormat: d.TimestampFormat,
		Flattened: d.Flattened, Union: d.Union, Sensitive: d.Sensitive, EventStream: d.EventStream,
		Event: d.Event, Exception: d.Exception, Fault: d.Fault, ErrorCode: d.ErrorCode, ErrorStatus: d.ErrorStatus,
	}
	s.enumText = sync.OnceValue(func() string { return enumSet(s.Enum) })
	s.match = sync.OnceValues(func() (matcher, error) { return compile(s.Pattern) })
	if len(s.Enum) > 0 {
		s.enums = make(map[string]struct{}, len(s.Enum))
		for _, v := range s.Enum {
			s.enums[v] = struct{}{}
		}
	}
	var err error
	if d.Type == Structure {
		s.byName = make(map[string]*Member, len(d.Members))
		for i := range d.Members {
			mem, err := m.member(&d.Members[i])
			if err != nil {
				return err
			}
			s.Members = append(s.Members, mem)
			s.byName[mem.Name] = mem
		}
		if d.Payload != "" {
			if s.Payload = s.byName[d.Payload]; s.Payload == nil {
				return fmt.Errorf("payload %s is not a member", d.Payload)
			}
		}
	}
	if s.Element, err = m.member(d.Element); err != nil {
		return err
	}
	if s.Key, err = m.member(d.Key); err != nil {
		return err
	}
	s.Value, err = m.member(d.Value)
	return err
}

func (m *Model) member(d *MemberDoc) (*Member, error) {
	if d == nil {
		return nil, nil
	}
	s, ok := m.Shapes[d.Shape]
	if !ok {
		return nil, fmt.Errorf("member %s: no shape %s", d.Name, d.Shape)
	}
	return &Member{MemberDoc: *d, Shape: s}, nil
}

func (m *Model) operation(d *OperationDoc) (*Operation, error) {
	o := &Operation{
		Name: d.Name, HTTP: HTTP{d.Method, d.URI, d.Code}, InputName: d.InputName, InputNS: d.InputNS,
		ResultWrapper: d.ResultWrapper, AuthType: d.AuthType, Checksum: d.Checksum, Model: m,
	}
	if o.HTTP.Code == 0 {
		o.HTTP.Code = 200
	}
	if d.Input != "" {
		if o.Input = m.Shapes[d.Input]; o.Input == nil {
			return nil, fmt.Errorf("no shape %s", d.Input)
		}
	}
	if d.Output != "" {
		if o.Output = m.Shapes[d.Output]; o.Output == nil {
			return nil, fmt.Errorf("no shape %s", d.Output)
		}
	}
	for _, e := range d.Errors {
		s := m.Shapes[e]
		if s == nil {
			return nil, fmt.Errorf("no shape %s", e)
		}
		o.Errors = append(o.Errors, s)
	}
	return o, nil
}
