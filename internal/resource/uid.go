package resource

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/json"
	"fmt"
	"strings"

	jsonv2 "github.com/go-json-experiment/json"
)

// NewUID makes a UID: 26 lower-case base32 characters from 128 random bits.
func NewUID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b[:]))
}

// As reads a record's spec or status as T. Absent data is T's zero value.
func As[T any](raw json.RawMessage) (*T, error) {
	v := new(T)
	if len(raw) == 0 {
		return v, nil
	}
	if err := jsonv2.Unmarshal(raw, v); err != nil {
		return nil, fmt.Errorf("read %T: %w", *v, err)
	}
	return v, nil
}
