package cbor

import (
	"fmt"
	"maps"
	"mime"
	"net/http"
	"reflect"
	"strconv"

	"github.com/fxamacker/cbor/v2"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"clary/internal/aws/apierr"
	"clary/internal/aws/codec"
	"clary/internal/aws/facts"
	"clary/internal/aws/validate"
)

const (
	protocol  = "rpc-v2-cbor"
	mediaType = "application/cbor"
)

// Codec speaks the protocol.
type Codec struct {
	dec cbor.DecMode
	enc cbor.EncMode
}

var _ codec.Codec = (*Codec)(nil)

// New gives the codec.
func New() *Codec {
	dec, err := cbor.DecOptions{
		DupMapKey:       cbor.DupMapKeyEnforcedAPF,
		MaxNestedLevels: 64,
		BignumTag:       cbor.BignumTagForbidden,
	}.DecMode()
	if err != nil {
		panic(err) // the options are constant
	}
	enc, err := cbor.EncOptions{Sort: cbor.SortBytewiseLexical, ShortestFloat: cbor.ShortestFloatNone}.EncMode()
	if err != nil {
		panic(err) // the options are constant
	}
	return &Codec{dec, enc}
}

// Decode implements codec.Codec.
func (c *Codec) Decode(op *facts.Operation, r *http.Request, body []byte, in any) error {
	if v := r.Header.Get("Smithy-Protocol"); v != protocol {
		return validate.Serialization("The protocol %q is not spoken here, only %s.", v, protocol)
	}
	n := validate.Node{Kind: validate.Object}
	if len(body) > 0 {
		if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != mediaType {
			return apierr.New(http.StatusUnsupportedMediaType, "UnsupportedMediaTypeException", "The Content-Type must be %s.", mediaType)
		}
		var v any
		if err := c.dec.Unmarshal(body, &v); err != nil {
			return validate.Serialization("The request body is not valid CBOR: %s", plain(err))
		}
		if op.Input != nil {
			var err error
			if n, err = node(op.Input, v); err != nil {
				return err
			}
			if n.Kind == validate.Null {
				n = validate.Node{Kind: validate.Object}
			}
		}
	}
	if err := validate.Input(op.Input, &n); err != nil {
		return err
	}
	if in == nil || op.Input == nil {
		return nil
	}
	if err := json.Unmarshal(n.AppendJSON(nil), in); err != nil {
		return validate.Serialization("The request could not be read.")
	}
	return nil
}

// Encode implements codec.Codec.
func (c *Codec) Encode(w http.ResponseWriter, _ *http.Request, op *facts.Operation, out any, requestID string) error {
	if op.Output == nil {
		c.send(w, http.StatusOK, nil, requestID)
		return nil
	}
	tree := any(map[string]any{})
	if v := reflect.ValueOf(out); v.IsValid() && (v.Kind() != reflect.Pointer || !v.IsNil()) {
		raw, err := json.Marshal(out, jsontext.AllowInvalidUTF8(true))
		if err != nil {
			return fmt.Errorf("encode %s: %w", op.Name, err)
		}
		n, err := validate.ParseJSON(raw)
		if err == nil {
			tree, err = value(op.Output, &n)
		}
		if err != nil {
			return fmt.Errorf("encode %s: %w", op.Name, err)
		}
	}
	body, err := c.enc.Marshal(tree)
	if err != nil {
		return fmt.Errorf("encode %s: %w", op.Name, err)
	}
	c.send(w, http.StatusOK, body, requestID)
	return nil
}

// EncodeError implements codec.Codec.
func (c *Codec) EncodeError(w http.ResponseWriter, r *http.Request, op *facts.Operation, e *apierr.Error, requestID string) {
	members := map[string]string{"message": e.Message}
	maps.Copy(members, e.Fields)
	members["__type"] = e.Code
	if op != nil {
		if s := op.Model.Shapes[e.Code]; s != nil && s.Exception {
			members["__type"] = "com.amazonaws." + op.Model.Service + "#" + e.Code
			if s.Member("Message") != nil {
				members["Message"] = e.Message
			}
		}
		if code := codec.QueryError(op, r, e); code != "" {
			w.Header().Set("X-Amzn-Query-Error", code)
		}
	}
	body, err := c.enc.Marshal(members)
	if err != nil {
		body = []byte{0xa0} // an empty map
	}
	c.send(w, e.Status, body, requestID)
}

func (c *Codec) send(w http.ResponseWriter, status int, body []byte, requestID string) {
	h := w.Header()
	h["smithy-protocol"] = []string{protocol}
	if body != nil {
		h.Set("Content-Type", mediaType)
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("X-Amzn-Requestid", requestID)
	w.WriteHeader(status)
	_, _ = w.Write(body)
}
