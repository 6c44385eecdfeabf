package budgets

import (
	"fmt"
	"slices"
	"time"

	"github.com/go-json-experiment/json"

	apib "clary/internal/api/budgets"
	"clary/internal/resource"
	"clary/internal/store"
)

// The kinds of records. They have no region: a budget is of an account. An
// action's name is its id, its parent the budget.
const (
	Kind       resource.Kind = "Budget"
	KindAction resource.Kind = "BudgetAction"
)

// spec is what was asked for.
type spec struct {
	// Budget has AWS's defaults filled in, and nothing that is calculated.
	Budget  apib.Budget
	Alerts  []alert  `json:",omitzero"`
	Actions []string `json:",omitzero"` // their ids, the oldest first
}

// alert is a notification with those who are told.
type alert struct {
	ID string // ours: another one after each change of what it says
	apib.Notification
	Subscribers []apib.Subscriber
}

// status is what became of it.
type status struct {
	V    int             `json:"v"`
	Told map[string]told `json:"told,omitzero"` // by the alerts' IDs
	// Period is the beginning of the one that was looked at last.
	Period time.Time `json:"period,omitzero"`
}

// told is what was seen of an alert, and when it was last told of.
type told struct {
	Alarm  bool      `json:"alarm,omitzero"`
	Period time.Time `json:"period,omitzero"` // the beginning of the one in which it was
	Amount int64     `json:"amount,omitzero"` // the threshold then, in millionths
}

// budget is a record with what it says.
type budget struct {
	*resource.Record
	spec
	status
}

func keyOf(account, name string) resource.Key {
	return resource.Key{Account: account, Kind: Kind, Name: name}
}

func arnOf(account, name string) string { return "arn:aws:budgets::" + account + ":budget/" + name }

func read(r *resource.Record) (*budget, error) {
	sp, err := resource.As[spec](r.Spec)
	if err != nil {
		return nil, fmt.Errorf("budget %s: %w", r.Name, err)
	}
	st, err := resource.As[status](r.Status)
	if err != nil {
		return nil, fmt.Errorf("budget %s: %w", r.Name, err)
	}
	return &budget{r, *sp, *st}, nil
}

// put stores the budget and has it looked at: due may be now.
func (b *budget) put(tx store.Tx, now time.Time) (err error) {
	if b.Spec, err = json.Marshal(b.spec); err != nil {
		return err
	}
	b.V = 1
	if b.Status, err = json.Marshal(b.status); err != nil {
		return err
	}
	b.Modified, b.Due = now, now
	return tx.Put(b.Record)
}

// period is the one at t; before its start a budget has its first.
func (b *budget) period(t time.Time) period {
	return at(b.Budget.TimeUnit, b.Budget.TimePeriod.Start.Time, b.Budget.TimePeriod.End.Time, t)
}

// limit is what may be spent in p, in millionths of the budget's unit.
func (b *budget) limit(p period) int64 {
	if b.Budget.BudgetLimit != nil {
		n, _ := micro(b.Budget.BudgetLimit.Amount) // it was read when it was asked for
		return n
	}
	n, _ := micro(b.planned(p).Amount)
	return n
}

// find is an alert by what it says, without its state.
func (b *budget) find(n *apib.Notification) int {
	return slices.IndexFunc(b.Alerts, func(a alert) bool { return same(a.Notification, *n) })
}

// threshold is where an alert or action begins, in millionths of the budget's
// unit.
func threshold(value float64, kind string, limit int64) int64 {
	if kind == "ABSOLUTE_VALUE" {
		return round(value * million)
	}
	return round(value / 100 * float64(limit))
}

// action is a budget action's record with what it says. Its phase is AWS's
// status.
type action struct {
	*resource.Record
	Ask apib.Action // what was asked for; without Status
	actionStatus
}

// actionStatus is what became of an action.
type actionStatus struct {
	V       int        `json:"v"`
	History []happened `json:"history,omitzero"` // the oldest first
	// Period is the beginning of the budget's period in which it was set off
	// last; zero: it was not.
	Period time.Time `json:"period,omitzero"`
	Stops  []stop    `json:"stops,omitzero"` // what it stops, or did
}

// happened is a line of an action's history.
type happened struct {
	At      time.Time   `json:"at"`
	Status  string      `json:"status"`
	Event   string      `json:"event"`
	Message string      `json:"message"`
	Action  apib.Action `json:"action"`
}

// Statuses of an action.
const (
	standby    = "STANDBY"
	pending    = "PENDING" // it waits for an approval
	executing  = "EXECUTION_IN_PROGRESS"
	executed   = "EXECUTION_SUCCESS"
	failed     = "EXECUTION_FAILURE"
	reversing  = "REVERSE_IN_PROGRESS"
	reversed   = "REVERSE_SUCCESS"
	unreversed = "REVERSE_FAILURE"
	resetting  = "RESET_IN_PROGRESS"
)

// What makes a line of history.
const (
	eventSystem  = "SYSTEM"
	eventCreate  = "CREATE_ACTION"
	eventUpdate  = "UPDATE_ACTION"
	eventExecute = "EXECUTE_ACTION"
)

// maxHistory is how many lines of history an action keeps.
const maxHistory = 200

func actionKey(account, id string) resource.Key {
	return resource.Key{Account: account, Kind: KindAction, Name: id}
}

func readAction(r *resource.Record) (*action, error) {
	ask, err := resource.As[apib.Action](r.Spec)
	if err != nil {
		return nil, fmt.Errorf("budget action %s: %w", r.Name, err)
	}
	st, err := resource.As[actionStatus](r.Status)
	if err != nil {
		return nil, fmt.Errorf("budget action %s: %w", r.Name, err)
	}
	return &action{r, *ask, *st}, nil
}

// shown is the action as AWS shows it.
func (a *action) shown() apib.Action {
	out := a.Ask
	out.Status = a.Phase
	return out
}

// becomes moves the action to a status and writes that into its history.
func (a *action) becomes(phase, event, message string, now time.Time) {
	a.Phase = phase
	a.History = append(a.History, happened{now, phase, event, message, a.shown()})
	if n := len(a.History) - maxHistory; n > 0 {
		a.History = slices.Delete(a.History, 0, n)
	}
}

// put stores the action; due is when it is looked at, zero: never.
func (a *action) put(tx store.Tx, now, due time.Time) (err error) {
	if a.Spec, err = json.Marshal(a.Ask); err != nil {
		return err
	}
	a.V = 1
	if a.Status, err = json.Marshal(a.actionStatus); err != nil {
		return err
	}
	a.Modified, a.Due = now, due
	return tx.Put(a.Record)
}

// standing is how a budget stands at a moment. Amounts are in millionths of the
// budget's unit: micro-dollars of a COST budget.
type standing struct {
	Now      time.Time
	Period   period
	Limit    int64
	Spent    int64
	Forecast int64 // for all of the period, where something depends on it
	Unpriced bool  // some of what it covers has no price
	Costs    bool  // something of the account does, whether covered or not
	Running  []running
}

// running is a resource that the budget covers and that costs now.
type running struct {
	resource.Key
	UID     string
	Uses    []resource.Usage // its open intervals that the budget covers
	PerHour int64            // micro-dollars, of those with a price
}
