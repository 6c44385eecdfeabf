package notebook

import (
	"time"

	"github.com/go-json-experiment/json"

	"clary/internal/api"
)

// The stored spec is the wire form of the request.
func marshal(v any) ([]byte, error)   { return json.Marshal(v) }
func unmarshal(b []byte, v any) error { return json.Unmarshal(b, v) }

func stamp(t time.Time) api.Time { return api.At(t) }
