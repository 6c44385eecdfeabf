// Package outbox is where rooms leave what shall be told to somebody: a message
// for a topic, or a letter. It is left in the transaction of the change that it
// tells of, under a name that the change alone gives, so it is told once over
// any restart. The service of topics fans publications out into deliveries; the
// courier takes deliveries to where they go, and tries again.
//
// It must never send anything from within a transaction. Start at Publish and
// Send.
package outbox

import (
	"errors"
	"time"

	"github.com/go-json-experiment/json"

	"clary/internal/resource"
	"clary/internal/store"
)

// The kinds of records that lie here.
const (
	KindPublication resource.Kind = "Publication"
	KindDelivery    resource.Kind = "Delivery"
)

// Phases of a record here. A delivery that cannot be made yet stays Pending,
// with its last error.
const (
	PhasePending   = "Pending"
	PhaseDelivered = "Delivered"
	PhaseFailed    = "Failed" // for good
)

// Publication is a message for a topic.
type Publication struct {
	TopicArn   string
	Subject    string               `json:",omitzero"`
	Message    string               // the text
	Structured map[string]string    `json:",omitzero"` // by protocol, and "default"; instead of Message
	Attributes map[string]Attribute `json:",omitzero"`
	By         string               // whoever published: an ARN, or budgets.amazonaws.com
}

// Attribute is one of a message's attributes.
type Attribute struct {
	Type  string // String, Number, Binary, String.Array
	Value string // of a Binary in base64
}

// Delivery is one message on its way to one address.
type Delivery struct {
	Channel string // email, http, https
	To      string
	Sender  string `json:",omitzero"` // of a letter: the name that it comes from
	Subject string `json:",omitzero"`
	Body    string
	Headers map[string]string `json:",omitzero"` // of http and https
	About   string            // ARN of what it is sent for: a topic's subscription, a budget
	Retry   *Retry            `json:",omitzero"` // nil: as the channel has it
	// Strict is of an address that somebody else than the account itself named:
	// it is reached where the account's tasks may reach, and nowhere else.
	Strict bool `json:",omitzero"`
}

// Progress is what a delivery's status says: of the record's own columns the
// loop makes use.
type Progress struct {
	V        int    `json:"v"`
	Attempts int    `json:"attempts,omitzero"` // that failed
	Reason   string `json:"reason,omitzero"`   // of the last failure, or of waiting
	NoMail   bool   `json:"noMail,omitzero"`   // it waits for settings for mail
}

// Publish leaves a message for a topic. id is of what it tells: leaving the
// same one again changes nothing.
func Publish(tx store.Tx, account, region, id string, p Publication, now time.Time) error {
	return leave(tx, resource.Key{Account: account, Region: region, Kind: KindPublication, Name: id}, p.TopicArn, p, now)
}

// Send leaves a delivery. id is of what it tells: leaving the same one again
// changes nothing.
func Send(tx store.Tx, account, region, id string, d Delivery, now time.Time) error {
	return leave(tx, resource.Key{Account: account, Region: region, Kind: KindDelivery, Name: id}, d.About, d, now)
}

func leave(tx store.Tx, k resource.Key, parent string, spec any, now time.Time) error {
	switch _, err := tx.Get(k); {
	case err == nil:
		return nil
	case !errors.Is(err, store.ErrNotFound):
		return err
	}
	b, err := json.Marshal(spec)
	if err != nil {
		return err
	}
	return tx.Put(&resource.Record{
		Key: k, UID: resource.NewUID(), Parent: parent, Phase: PhasePending, Created: now, Modified: now, Due: now, Spec: b,
	})
}
