package outbox

import (
	"errors"
	"net/mail"
	"net/url"
	"strings"
)

// Address reads the address of a mailbox.
func Address(s string) (*mail.Address, error) {
	a, err := mail.ParseAddress(s)
	if err != nil {
		return nil, errors.New("want an address like alerts@example.com")
	}
	local, domain, _ := strings.Cut(a.Address, "@")
	for _, c := range []byte(a.Address) {
		if c <= ' ' || c >= 0x7f {
			return nil, errors.New("an address has neither spaces nor letters beyond ASCII")
		}
	}
	if len(local) > 64 || len(a.Address) > 254 || domain == "" {
		return nil, errors.New("the address is too long")
	}
	return a, nil
}

// Shown is an address as it is shown: without the password that one of http(s)
// may hold.
func Shown(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.User == nil {
		return address
	}
	return strings.Replace(u.Redacted(), ":xxxxx@", ":****@", 1)
}
