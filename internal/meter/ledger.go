package meter

import (
	"errors"
	"fmt"
	"time"

	"clary/internal/resource"
	"clary/internal/store"
)

// Units that usage is counted in.
const (
	InstanceSecond = "instance-second"
	GBSecond       = "gb-second"
	Request        = "request" // counted at Start; it has no length
)

// ID names the n-th interval (from 1) of a record's component: whoever opens
// it again after a crash opens the same one.
func ID(uid, component string, n int) string {
	return fmt.Sprintf("%s/%s/%d", uid, component, n)
}

// Of gives the n-th interval of a component of r, starting at start. The
// caller sets InstanceType where there is one.
func Of(r *resource.Record, component, unit string, n int, quantity int64, start time.Time) resource.Usage {
	return resource.Usage{
		ID: ID(r.UID, component, n), Account: r.Account, Region: r.Region, Kind: r.Kind, Name: r.Name, UID: r.UID,
		Component: component, Unit: unit, Quantity: quantity, Start: start,
	}
}

// Open starts an interval in tx, with the tags that its resource has.
// Opening the same one again changes nothing.
func Open(tx store.Tx, u resource.Usage) error {
	switch {
	case u.ID == "" || u.UID == "" || u.Component == "":
		return fmt.Errorf("usage of %s %s: it lacks id, uid or component", u.Kind, u.Name)
	case u.Unit != InstanceSecond && u.Unit != GBSecond && u.Unit != Request:
		return fmt.Errorf("usage of %s %s: unknown unit %q", u.Kind, u.Name, u.Unit)
	case u.Quantity < 0:
		return fmt.Errorf("usage of %s %s: quantity %d", u.Kind, u.Name, u.Quantity)
	case u.Start.IsZero():
		return fmt.Errorf("usage of %s %s: it has no start", u.Kind, u.Name)
	}
	if u.Tags == nil {
		if err := tagged(tx, &u); err != nil {
			return err
		}
	}
	if err := tx.OpenUsage(u); err != nil {
		return fmt.Errorf("open usage %s: %w", u.ID, err)
	}
	return nil
}

func tagged(tx store.Tx, u *resource.Usage) error {
	rec, err := tx.Get(resource.Key{Account: u.Account, Region: u.Region, Kind: u.Kind, Name: u.Name})
	if errors.Is(err, store.ErrNotFound) {
		return nil // gone before it was known to have begun
	}
	if err == nil && rec.UID == u.UID {
		u.Tags, err = tx.Tags(rec.Arn)
	}
	if err != nil {
		return fmt.Errorf("tags of %s %s: %w", u.Kind, u.Name, err)
	}
	return nil
}

// Close ends an interval in tx. Closing a closed one changes nothing.
func Close(tx store.Tx, id string, end time.Time) error {
	if err := tx.CloseUsage(id, end); err != nil {
		return fmt.Errorf("close usage %s: %w", id, err)
	}
	return nil
}
