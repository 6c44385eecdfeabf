package resource

import (
	"crypto/rand"
	"encoding/base32"
	"strings"
)

// NewUID makes a fresh UID: 26 lower-case base32 characters,
// 128 random bits.
func NewUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails, by its documentation
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b[:]))
}
