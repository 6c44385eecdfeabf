package audit

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
)

// Chain checks events from the newest to the oldest, as LookupEvents gives
// them, of one account and region.
type Chain struct {
	Account, Region string // whose events they must be; "" is any
	Count           int64
	Head            Link // of the newest event
	last            Link
	expected        string
	next            int64 // sequence number of the event before the last one seen
}

// Shown is what a lookup says of an event beside its text. Only the text is
// hashed, so the two must agree.
type Shown struct {
	ID, Name, Source, User, AccessKeyID string
	At                                  time.Time // to the second
	ResourceType, ResourceName          string
}

// Last is the event that was added last.
func (c *Chain) Last() Link { return c.last }

// Link names an event in its chain. Somebody who keeps a chain's head elsewhere
// can tell later whether its end was cut off.
type Link struct {
	Sequence int64
	Hash     string
}

func (l Link) String() string { return fmt.Sprintf("%d:%s", l.Sequence, l.Hash) }

type linkText struct {
	ID        string     `json:"eventID"`
	Name      string     `json:"eventName"`
	Source    string     `json:"eventSource"`
	Time      string     `json:"eventTime"`
	Region    string     `json:"awsRegion"`
	Account   string     `json:"recipientAccountId"`
	Resources []affected `json:"resources"`
	Identity  struct {
		User        string `json:"userName"`
		AccessKeyID string `json:"accessKeyId"`
	} `json:"userIdentity"`
	More struct {
		Sequence int64  `json:"sequenceNumber"`
		Previous string `json:"previousEventHash"`
	} `json:"additionalEventData"`
}

func (l *linkText) shown() Shown {
	s := Shown{ID: l.ID, Name: l.Name, Source: l.Source, User: l.Identity.User, AccessKeyID: l.Identity.AccessKeyID}
	s.At, _ = time.Parse(time.RFC3339, l.Time) // a wrong one is equal to none
	if len(l.Resources) > 0 {
		s.ResourceType, s.ResourceName = resourceOf(l.Resources[0].Arn)
	}
	return s
}

// Add checks the next older event by its text, and by what is shown of it.
func (c *Chain) Add(text string, shown Shown) error {
	var l linkText
	if err := json.Unmarshal([]byte(text), &l); err != nil || l.More.Sequence < 1 {
		return fmt.Errorf("%w: an event has no place in it", errBroken)
	}
	sum := sha256.Sum256([]byte(text))
	hash := hex.EncodeToString(sum[:])
	switch {
	case c.Count == 0:
		c.Head = Link{l.More.Sequence, hash}
	case l.More.Sequence != c.next:
		return fmt.Errorf("%w: event %d is missing", errBroken, c.next)
	case hash != c.expected:
		return fmt.Errorf("%w: event %d is not the one that was recorded", errBroken, l.More.Sequence)
	}
	shown.At = shown.At.UTC().Truncate(time.Second)
	switch {
	case c.Region != "" && l.Region != c.Region || c.Account != "" && l.Account != c.Account:
		return fmt.Errorf("%w: event %d is of account %s in %s", errBroken, l.More.Sequence, l.Account, l.Region)
	case l.shown() != shown:
		return fmt.Errorf("%w: event %d is listed as something else than was recorded", errBroken, l.More.Sequence)
	}
	c.Count++
	c.last = Link{l.More.Sequence, hash}
	c.expected, c.next = l.More.Previous, l.More.Sequence-1
	return nil
}

// End checks that the chain was followed to its first event.
func (c *Chain) End() error {
	switch {
	case c.Count == 0:
		return nil
	case c.next != 0:
		return fmt.Errorf("%w: event %d is missing", errBroken, c.next)
	case strings.Trim(c.expected, "0") != "":
		return fmt.Errorf("%w: an event before the first was taken out", errBroken)
	}
	return nil
}

func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	s := hex.EncodeToString(b[:])
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}
