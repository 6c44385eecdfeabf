package restxml

import (
	"bytes"
	"encoding/xml"
	"maps"
	"net/http"
	"slices"
	"strings"

	"clary/internal/aws/apierr"
	"clary/internal/aws/facts"
)

// EncodeError implements codec.Codec.
func (c *Codec) EncodeError(w http.ResponseWriter, r *http.Request, _ *facts.Operation, e *apierr.Error, requestID string) {
	e = inS3Words(e)
	h := w.Header()
	answerHeaders(h, requestID)
	body := map[string]string{}
	for name, value := range e.Fields {
		if header, ok := strings.CutPrefix(name, HeaderField); ok {
			h.Set(header, headerText(value))
		} else {
			body[name] = value
		}
	}
	if e.Status == http.StatusNotModified {
		w.WriteHeader(e.Status)
		return
	}
	var b bytes.Buffer
	doc := writing{c, &b}
	b.WriteString(xml.Header)
	doc.open("Error", "")
	doc.leaf("Code", e.Code)
	doc.leaf("Message", e.Message)
	for _, name := range slices.Sorted(maps.Keys(body)) {
		doc.leaf(name, body[name])
	}
	if _, ok := body["Resource"]; !ok && r != nil && r.URL != nil {
		doc.leaf("Resource", r.URL.Path)
	}
	doc.leaf("RequestId", requestID)
	doc.leaf("HostId", hostID(requestID))
	doc.close("Error")
	if r != nil && r.Method == http.MethodHead {
		h.Set("Content-Type", "application/xml")
		w.WriteHeader(e.Status)
		return
	}
	_ = send(w, e.Status, &b) // never fails
}
