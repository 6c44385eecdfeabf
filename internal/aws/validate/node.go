package validate

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"clary/internal/aws/facts"
)

// Kind is what a Node holds.
type Kind byte

// The kinds of nodes, as JSON has them.
const (
	Null Kind = iota
	False
	True
	Text
	Number
	Array
	Object
)

// Node is one value of a request as the client wrote it, before any type was
// put on it: absent, null and zero are different things here.
type Node struct {
	Kind   Kind
	Text   string // of a string; the digits of a number
	Items  []Node
	Fields []Field
}

// Field is one member of an object.
type Field struct {
	Name  string
	Value Node
}

// Get finds a member that is there and not null.
func (n *Node) Get(name string) *Node {
	for i := range n.Fields {
		if f := &n.Fields[i]; f.Name == name && f.Value.Kind != Null {
			return &f.Value
		}
	}
	return nil
}

// ParseJSON reads one JSON value. Names that occur twice, text after the value
// and bytes that are not UTF-8 are errors.
func ParseJSON(b []byte) (Node, error) {
	dec := jsontext.NewDecoder(bytes.NewBuffer(b)) // which it reads in place
	left := maxValues
	n, err := parse(dec, &left)
	if err != nil {
		return Node{}, err
	}
	if _, err := dec.ReadToken(); !errors.Is(err, io.EOF) {
		return Node{}, errors.New("text after the value")
	}
	return n, nil
}

// maxValues bounds what a request is taken apart into: a body of nothing but
// commas would become many times its size.
const maxValues = 400_000

func parse(dec *jsontext.Decoder, left *int) (Node, error) {
	if *left--; *left < 0 {
		return Node{}, fmt.Errorf("more than %d values", maxValues)
	}
	t, err := dec.ReadToken()
	if err != nil {
		return Node{}, err
	}
	switch t.Kind() {
	case 'n':
		return Node{Kind: Null}, nil
	case 'f':
		return Node{Kind: False}, nil
	case 't':
		return Node{Kind: True}, nil
	case '"':
		return Node{Kind: Text, Text: t.String()}, nil
	case '0':
		return Node{Kind: Number, Text: t.String()}, nil
	case '[':
		n := Node{Kind: Array}
		for dec.PeekKind() != ']' {
			item, err := parse(dec, left)
			if err != nil {
				return Node{}, err
			}
			n.Items = append(n.Items, item)
		}
		_, err := dec.ReadToken()
		return n, err
	case '{':
		n := Node{Kind: Object}
		for dec.PeekKind() != '}' {
			name, err := dec.ReadToken()
			if err != nil {
				return Node{}, err
			}
			f := Field{Name: name.String()}
			if f.Value, err = parse(dec, left); err != nil {
				return Node{}, err
			}
			n.Fields = append(n.Fields, f)
		}
		_, err := dec.ReadToken()
		return n, err
	default:
		return Node{}, fmt.Errorf("unexpected %s", t.Kind())
	}
}

// AppendJSON writes n as JSON.
func (n *Node) AppendJSON(b []byte) []byte {
	switch n.Kind {
	case False:
		return append(b, "false"...)
	case True:
		return append(b, "true"...)
	case Number:
		return append(b, n.Text...)
	case Text:
		return quote(b, n.Text)
	case Array:
		b = append(b, '[')
		for i := range n.Items {
			if i > 0 {
				b = append(b, ',')
			}
			b = n.Items[i].AppendJSON(b)
		}
		return append(b, ']')
	case Object:
		b = append(b, '{')
		for i := range n.Fields {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(quote(b, n.Fields[i].Name), ':')
			b = n.Fields[i].Value.AppendJSON(b)
		}
		return append(b, '}')
	default:
		return append(b, "null"...)
	}
}

// quote writes a JSON string; bytes that are not UTF-8 become U+FFFD.
func quote(b []byte, s string) []byte {
	out, _ := jsontext.AppendQuote(b, strings.ToValidUTF8(s, "\uFFFD"))
	return out
}

// maxShown bounds how much of a value an error message repeats.
const maxShown = 8 << 10

// show writes a value as AWS's messages do, which is how Java prints it.
func show(s *facts.Shape, n *Node) string {
	var sb strings.Builder
	showTo(&sb, s, n)
	if sb.Len() > maxShown {
		return strings.ToValidUTF8(sb.String()[:maxShown], "") + "..."
	}
	return sb.String()
}

func showTo(sb *strings.Builder, s *facts.Shape, n *Node) {
	if sb.Len() > maxShown {
		return
	}
	if s.Sensitive {
		sb.WriteString("***")
		return
	}
	sep := func(i int) {
		if i > 0 {
			sb.WriteString(", ")
		}
	}
	switch n.Kind {
	case Null:
		sb.WriteString("null")
	case False:
		sb.WriteString("false")
	case True:
		sb.WriteString("true")
	case Text, Number:
		sb.WriteString(n.Text)
	case Array:
		sb.WriteByte('[')
		for i := range n.Items {
			sep(i)
			showTo(sb, s.Element.Shape, &n.Items[i])
		}
		sb.WriteByte(']')
	case Object:
		if s.Type == facts.Map {
			sb.WriteByte('{')
			for i := range n.Fields {
				sep(i)
				sb.WriteString(n.Fields[i].Name)
				sb.WriteByte('=')
				showTo(sb, s.Value.Shape, &n.Fields[i].Value)
			}
			sb.WriteByte('}')
			return
		}
		sb.WriteString(facts.GoName(s.Name))
		sb.WriteByte('(')
		shown := 0
		for _, m := range s.Members {
			if v := n.Get(m.Name); v != nil {
				sep(shown)
				shown++
				sb.WriteString(lowerFirst(m.Name) + "=")
				showTo(sb, m.Shape, v)
			}
		}
		sb.WriteByte(')')
	}
}
