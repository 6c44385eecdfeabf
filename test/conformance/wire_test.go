package conformance

import (
	"bytes"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"clary/internal/aws/facts"
	"clary/internal/aws/validate"
)

// message is a request before it is signed.
type message struct {
	method, path string // path with query, escaped
	header       http.Header
	body         []byte
}

// protocols are those that a service's clients speak.
func protocols(m *facts.Model) []string {
	if m.Service == "cloudwatch" {
		return []string{"json", "query", "smithy-rpc-v2-cbor"}
	}
	return []string{m.Protocol}
}

// write puts a request on the wire as a client of the protocol does.
func write(protocol string, o *facts.Operation, n *validate.Node) message {
	h := http.Header{}
	switch protocol {
	case "json":
		version := o.Model.JSONVersion
		if version == "" {
			version = "1.0"
		}
		h.Set("Content-Type", "application/x-amz-json-"+version)
		h.Set("X-Amz-Target", o.Model.TargetPrefix+"."+o.Name)
		return message{http.MethodPost, "/", h, n.AppendJSON(nil)}
	case "query":
		h.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
		form := url.Values{"Action": {o.Name}, "Version": {o.Model.APIVersion}}
		if o.Input != nil {
			formOf(form, "", o.Input, n)
		}
		return message{http.MethodPost, "/", h, []byte(form.Encode())}
	case "smithy-rpc-v2-cbor":
		h.Set("Content-Type", "application/cbor")
		h.Set("Accept", "application/cbor")
		h.Set("Smithy-Protocol", "rpc-v2-cbor")
		return message{http.MethodPost, "/service/" + o.Model.TargetPrefix + "/operation/" + o.Name, h, cborOf(nil, o.Input, n)}
	default:
		return rest(protocol, h, o, n)
	}
}

func formOf(form url.Values, prefix string, s *facts.Shape, n *validate.Node) {
	join := func(name string) string { return strings.TrimPrefix(prefix+"."+name, ".") }
	switch s.Type {
	case facts.Structure:
		for i := range n.Fields {
			m := s.Member(n.Fields[i].Name)
			if m != nil && n.Fields[i].Value.Kind != validate.Null {
				formOf(form, join(m.WireName()), m.Shape, &n.Fields[i].Value)
			}
		}
	case facts.List:
		at := prefix
		if !s.Flattened {
			at += "." + or(s.Element.LocationName, "member")
		}
		if len(n.Items) == 0 {
			form.Set(prefix, "") // an empty list, as botocore writes it
		}
		for i := range n.Items {
			formOf(form, at+"."+strconv.Itoa(i+1), s.Element.Shape, &n.Items[i])
		}
	case facts.Map:
		at := prefix
		if !s.Flattened {
			at += ".entry"
		}
		for i := range n.Fields {
			e := at + "." + strconv.Itoa(i+1) + "."
			form.Set(e+or(s.Key.LocationName, "key"), n.Fields[i].Name)
			formOf(form, e+or(s.Value.LocationName, "value"), s.Value.Shape, &n.Fields[i].Value)
		}
	default:
		form.Set(prefix, textOf(s, n, time.RFC3339Nano))
	}
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func textOf(s *facts.Shape, n *validate.Node, clock string) string {
	switch n.Kind { //nolint:exhaustive // scalars
	case validate.True:
		return "true"
	case validate.False:
		return "false"
	}
	if s.Type == facts.Timestamp {
		if f, err := strconv.ParseFloat(n.Text, 64); err == nil {
			return time.Unix(int64(f), 0).UTC().Format(clock)
		}
	}
	return n.Text
}

func rest(protocol string, h http.Header, o *facts.Operation, n *validate.Node) message {
	path, literal, _ := strings.Cut(o.HTTP.URI, "?")
	query := url.Values{}
	for p := range strings.SplitSeq(literal, "&") {
		if k, v, has := strings.Cut(p, "="); p != "" {
			query.Set(k, v)
			_ = has
		}
	}
	var body []byte
	root := validate.Node{Kind: validate.Object}
	for i := range n.Fields {
		f := &n.Fields[i]
		m := o.Input.Member(f.Name)
		if m == nil || f.Value.Kind == validate.Null {
			continue
		}
		switch m.Location {
		case "uri":
			v := url.PathEscape(f.Value.Text)
			path = strings.NewReplacer("{"+m.WireName()+"}", v, "{"+m.WireName()+"+}", strings.ReplaceAll(v, "%2F", "/")).Replace(path)
		case "querystring":
			if m.Shape.Type == facts.List {
				for j := range f.Value.Items {
					query.Add(m.WireName(), f.Value.Items[j].Text)
				}
				continue
			}
			query.Set(m.WireName(), textOf(m.Shape, &f.Value, time.RFC3339))
		case "header":
			if m.Shape.Type == facts.List {
				var all []string
				for j := range f.Value.Items {
					all = append(all, f.Value.Items[j].Text)
				}
				h.Set(m.WireName(), strings.Join(all, ","))
				continue
			}
			h.Set(m.WireName(), textOf(m.Shape, &f.Value, http.TimeFormat))
		case "headers":
			for j := range f.Value.Fields {
				h.Set(m.WireName()+f.Value.Fields[j].Name, f.Value.Fields[j].Value.Text)
			}
		default:
			root.Fields = append(root.Fields, *f)
		}
	}
	if o.Input != nil && len(root.Fields) > 0 {
		p := o.Input.Payload
		switch {
		case p != nil && (p.Shape.Type == facts.Blob || p.Shape.Type == facts.String):
			body = []byte(root.Fields[0].Value.Text)
		case protocol == "rest-json":
			body = root.AppendJSON(nil)
		case p != nil:
			body = xmlOf(or(p.LocationName, p.Name), p.Shape, false, &root.Fields[0].Value)
		default:
			body = xmlOf(or(o.InputName, o.Name+"Request"), o.Input, false, &root)
		}
	}
	if protocol == "rest-json" && h.Get("Content-Type") == "" {
		h.Set("Content-Type", "application/json")
	}
	if q := query.Encode(); q != "" {
		path += "?" + strings.ReplaceAll(q, "+", "%20")
	}
	return message{o.HTTP.Method, path, h, body}
}

func xmlOf(name string, s *facts.Shape, flat bool, n *validate.Node) []byte {
	var b bytes.Buffer
	open, end := "<"+name+">", "</"+name+">"
	switch {
	case s.Type == facts.Structure:
		b.WriteString(open)
		for i := range n.Fields {
			m := s.Member(n.Fields[i].Name)
			if m != nil && n.Fields[i].Value.Kind != validate.Null {
				b.Write(xmlOf(m.WireName(), m.Shape, m.Flattened || m.Shape.Flattened, &n.Fields[i].Value))
			}
		}
		b.WriteString(end)
	case s.Type == facts.List && flat:
		for i := range n.Items {
			b.Write(xmlOf(or(s.Element.LocationName, name), s.Element.Shape, false, &n.Items[i]))
		}
	case s.Type == facts.List:
		b.WriteString(open)
		for i := range n.Items {
			b.Write(xmlOf(or(s.Element.LocationName, "member"), s.Element.Shape, false, &n.Items[i]))
		}
		b.WriteString(end)
	default:
		b.WriteString(open)
		_ = xml.EscapeText(&b, []byte(textOf(s, n, time.RFC3339)))
		b.WriteString(end)
	}
	return b.Bytes()
}

// cborOf writes the smallest CBOR that a client may send.
func cborOf(b []byte, s *facts.Shape, n *validate.Node) []byte {
	head := func(major byte, v uint64) {
		switch {
		case v < 24:
			b = append(b, major<<5|byte(v))
		case v < 1<<8:
			b = append(b, major<<5|24, byte(v))
		case v < 1<<16:
			b = append(b, major<<5|25, byte(v>>8), byte(v))
		case v < 1<<32:
			b = append(b, major<<5|26, byte(v>>24), byte(v>>16), byte(v>>8), byte(v))
		default:
			b = append(b, major<<5|27, byte(v>>56), byte(v>>48), byte(v>>40), byte(v>>32), byte(v>>24), byte(v>>16), byte(v>>8), byte(v))
		}
	}
	switch n.Kind {
	case validate.Null:
		return append(b, 0xf6)
	case validate.False:
		return append(b, 0xf4)
	case validate.True:
		return append(b, 0xf5)
	case validate.Array:
		head(4, uint64(len(n.Items)))
		for i := range n.Items {
			var to *facts.Shape
			if s != nil {
				to = s.Element.Shape
			}
			b = cborOf(b, to, &n.Items[i])
		}
		return b
	case validate.Object:
		head(5, uint64(len(n.Fields)))
		for i := range n.Fields {
			head(3, uint64(len(n.Fields[i].Name)))
			b = append(b, n.Fields[i].Name...)
			to := (*facts.Shape)(nil)
			if s != nil && s.Type == facts.Structure {
				if m := s.Member(n.Fields[i].Name); m != nil {
					to = m.Shape
				}
			} else if s != nil {
				to = s.Value.Shape
			}
			b = cborOf(b, to, &n.Fields[i].Value)
		}
		return b
	case validate.Text:
		if s != nil && s.Type == facts.Blob {
			raw, _ := base64.StdEncoding.DecodeString(n.Text)
			head(2, uint64(len(raw)))
			return append(b, raw...)
		}
		head(3, uint64(len(n.Text)))
		return append(b, n.Text...)
	case validate.Number:
		if s != nil && s.Type == facts.Timestamp {
			b = append(b, 0xc1)
		}
		if i, err := strconv.ParseInt(n.Text, 10, 64); err == nil && (s == nil || s.Type != facts.Float && s.Type != facts.Double && s.Type != facts.Timestamp) {
			if i < 0 {
				head(1, uint64(-1-i))
			} else {
				head(0, uint64(i))
			}
			return b
		}
		f, _ := strconv.ParseFloat(n.Text, 64)
		v := math.Float64bits(f)
		return append(b, 0xfb, byte(v>>56), byte(v>>48), byte(v>>40), byte(v>>32), byte(v>>24), byte(v>>16), byte(v>>8), byte(v))
	}
	panic(fmt.Sprintf("kind %d", n.Kind))
}
