package budgets

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	contract "clary/internal/budget"
	"clary/internal/meter"
	"clary/internal/reconcile"
	"clary/internal/resource"
	"clary/internal/store"
)

const (
	// margin is how long before the last moment an action is set off: for what
	// it takes to notice, and for the minute that has begun.
	margin = time.Minute
	// split is what a machine that sleeps, or whose clock is set, may add: an
	// interval is then ended and another begun, each with a started minute.
	split = time.Minute
	// retryStop is how long after a stop that failed it is tried again, giveUp
	// how long that goes on.
	retryStop = time.Second
	giveUp    = 5 * time.Minute
)

// stop is what an action stops.
type stop struct {
	resource.Key
	UID     string    `json:"uid"`
	PerHour int64     `json:"perHour,omitzero"` // micro-dollars
	Asked   time.Time `json:"asked,omitzero"`   // its feature accepted it
}

// names says whether an action's definition names a resource: by its name or its
// kind, or as one of all.
func (a *action) names(k resource.Key) bool {
	if a.Ask.Definition == nil || a.Ask.Definition.SsmActionDefinition == nil {
		return false
	}
	d := a.Ask.Definition.SsmActionDefinition
	if d.ActionSubType != "STOP_EC2_INSTANCES" || d.Region != k.Region {
		return false
	}
	return slices.ContainsFunc(d.InstanceIds, func(id string) bool { return id == "All" || id == string(k.Kind) || id == k.Name })
}

// hard says that an action holds its budget by itself.
func (a *action) hard() bool {
	return a.Ask.ApprovalModel == automatic && a.Ask.NotificationType != forecasted && a.Ask.Definition != nil &&
		a.Ask.Definition.SsmActionDefinition != nil && a.Ask.Definition.SsmActionDefinition.ActionSubType == "STOP_EC2_INSTANCES"
}

// stopped says whether an action stops, or has stopped, what began at a time,
// and when it asked for that. A notebook instance that was started again is
// another matter.
func (a *action) stopped(uid string, began, now time.Time) (asked time.Time, yes bool) {
	for _, t := range a.Stops {
		if t.UID == uid {
			return t.Asked, t.Asked.IsZero() || !began.After(t.Asked) && !t.Asked.After(now)
		}
	}
	return time.Time{}, false
}

// adds has an action stop something.
func (a *action) adds(targets []stop) {
	a.Stops = slices.DeleteFunc(a.Stops, func(t stop) bool {
		return slices.ContainsFunc(targets, func(n stop) bool { return n.UID == t.UID })
	})
	a.Stops = append(a.Stops, targets...)
}

// at is where an action is set off, in millionths of the budget's unit.
func (a *action) at(limit int64) int64 {
	t := a.Ask.ActionThreshold
	return threshold(t.ActionThresholdValue, t.ActionThresholdType, limit)
}

// stopper is what stops resources of a kind, nil: nothing does.
func (s *Service) stopper(k resource.Kind) contract.Stopper {
	for _, st := range s.Stoppers {
		if st.Kind() == k {
			return st
		}
	}
	return nil
}

// cost is what an interval costs between two moments of a period, in millionths
// of the budget's unit.
func (s *Service) cost(b *budget, u resource.Usage, p period, from, until time.Time) int64 {
	if !until.After(from) {
		return 0
	}
	bill := meter.Bill([]resource.Usage{u}, s.Books[0], from, p.To, until)
	if b.Budget.BudgetType != typeUsage {
		return bill.MicroUSD
	}
	var units int64
	for _, l := range bill.Lines {
		if l.Unit == ledgerUnit(b.unit()) {
			units += l.Units
		}
	}
	return quantity(b.unit(), units)
}

// rests is until when an interval goes on costing if its resource is stopped
// within the margin. Nothing ends storage, which costs until the end of the
// period.
func (s *Service) rests(u *resource.Usage, bound time.Duration, now time.Time, p period) time.Time {
	if u.Unit == meter.GBSecond {
		return p.To
	}
	return now.Add(bound + margin + split)
}

// reserve is what an action keeps back of its budget: what the resources that it
// would stop cost until they are at rest, those that are about to begin among
// them.
func (s *Service) reserve(b *budget, a *action, st standing, coming []taken) (sum int64) {
	for _, r := range st.Running {
		x := s.stopper(r.Kind)
		if x == nil || !a.names(r.Key) {
			continue
		}
		for _, u := range r.Uses {
			until := s.rests(&u, x.Bound(), st.Now, st.Period)
			if asked, yes := a.stopped(r.UID, u.Start, st.Now); yes && !asked.IsZero() && u.Unit != meter.GBSecond {
				until = asked.Add(x.Bound())
			}
			sum += s.cost(b, u, st.Period, st.Now, until)
		}
	}
	for _, t := range coming {
		if x := s.stopper(t.Kind); x != nil && a.names(t.Key) {
			sum += s.begin(b, t.Uses, st.Period, st.Now, x.Bound()+margin+split)
		}
	}
	return sum
}

// begin is what uses that begin now cost until they have been at rest since a
// while.
func (s *Service) begin(b *budget, uses []resource.Usage, p period, now time.Time, length time.Duration) (sum int64) {
	for _, u := range uses {
		u.Start, u.End = now, time.Time{}
		until := now.Add(length)
		if u.Unit == meter.GBSecond {
			until = p.To
		}
		sum += s.cost(b, u, p, now, until)
	}
	return sum
}

// act sets a budget's actions off, after a look at it found how it stands.
func (s *Service) act(ctx context.Context, b *budget, st standing) (again time.Duration, err error) {
	if len(b.Actions) == 0 || !st.Now.Before(st.Period.To) || st.Now.Before(st.Period.From) {
		return 0, nil
	}
	coming, err := s.coming(ctx, b, st.Now)
	if err != nil {
		return 0, err
	}
	for _, id := range b.Actions {
		r, err := s.Store.Get(ctx, actionKey(b.Account, id))
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return 0, err
		}
		a, err := readAction(r)
		if err != nil {
			return 0, err
		}
		if err := s.actOn(ctx, b, a, st, coming); errors.Is(err, errMoved) {
			again = moment
		} else if err != nil {
			return 0, err
		}
	}
	return again, nil
}

// actOn moves one action on.
func (s *Service) actOn(ctx context.Context, b *budget, a *action, st standing, coming []taken) error {
	at, value, reserve := a.at(st.Limit), st.value(a.Ask.NotificationType), int64(0)
	if a.hard() {
		reserve = s.reserve(b, a, st, coming)
	}
	switch {
	case a.Phase == executing || a.Phase == resetting || a.Phase == reversing:
		return nil
	case !a.Period.IsZero() && !a.Period.Equal(st.Period.From):
		return s.move(ctx, b, a, st.Now, func(_ store.Tx, a *action) error {
			a.Period, a.Stops = time.Time{}, nil
			a.becomes(standby, eventSystem, "The budget's next period has begun.", st.Now)
			return nil
		})
	case value+reserve < at:
		return nil
	case a.Phase == standby:
	case a.hard() && (a.Phase == executed || a.Phase == failed):
		// What was begun since is stopped, too.
		targets, err := s.targets(ctx, b, a, st)
		if err != nil || len(targets) == 0 {
			return err
		}
	default:
		return nil
	}
	text := fmt.Sprintf("The budget has spent %s of %s.", b.words(st.Spent), b.words(st.Limit))
	if a.Ask.NotificationType == forecasted {
		text = fmt.Sprintf("The budget is forecasted to spend %s of %s.", b.words(st.Forecast), b.words(st.Limit))
	}
	if reserve > 0 {
		text += fmt.Sprintf(" Its reserve of %s is what the resources that are stopped now may cost until they are at rest, and their storage until %s.", b.words(reserve), st.Period.To.Format(time.DateOnly))
	}
	targets, err := s.targets(ctx, b, a, st)
	if err != nil {
		return err
	}
	if a.Ask.ApprovalModel != automatic {
		text += " If it is approved, this action will stop" + list(targets)
	}
	return s.move(ctx, b, a, st.Now, func(tx store.Tx, a *action) error {
		a.Period = st.Period.From
		if a.Ask.ApprovalModel != automatic {
			a.becomes(pending, eventSystem, text, st.Now)
			m := message{subject("AWS Budgets: an action of %s awaits your approval", b.Name), text + "\n\nTo approve it: aws budgets execute-budget-action --account-id " + a.Account + " --budget-name " + contract.Quote(b.Name) + " --action-id " + a.Name + " --execution-type APPROVE_BUDGET_ACTION\n"}
			return s.tell(tx, b, a.toldID(), a.Ask.Subscribers, m, st.Now)
		}
		a.Stops = slices.DeleteFunc(a.Stops, func(t stop) bool {
			return !slices.ContainsFunc(st.Running, func(r running) bool { return r.UID == t.UID })
		})
		a.adds(targets)
		a.becomes(executing, eventSystem, text, st.Now)
		return nil
	})
}

// toldID names what an action's subscribers are told of: its newest line of
// history.
func (a *action) toldID() string {
	return fmt.Sprintf("action/%s/%s/%d", a.UID, a.Phase, a.History[len(a.History)-1].At.UnixNano())
}

// move edits an action in one transaction, unless it or what its budget says has
// changed since they were read. One that is executing is looked at then.
func (s *Service) move(ctx context.Context, b *budget, a *action, now time.Time, edit func(store.Tx, *action) error) error {
	return s.Store.Update(ctx, func(tx store.Tx) error {
		r, err := tx.Get(a.Key)
		if errors.Is(err, store.ErrNotFound) {
			return errMoved
		}
		if err != nil {
			return err
		}
		of, err := tx.Get(b.Key)
		if errors.Is(err, store.ErrNotFound) {
			return errMoved
		}
		if err != nil {
			return err
		}
		if r.Version != a.Version || of.UID != b.UID || !bytes.Equal(of.Spec, b.Spec) {
			return errMoved
		}
		cur, err := readAction(r)
		if err != nil {
			return err
		}
		if err := edit(tx, cur); err != nil {
			return err
		}
		var due time.Time
		if cur.Phase == executing {
			due = now
		}
		return cur.put(tx, now, due)
	})
}

// targets are what an action is to stop and has not stopped: of what the budget
// covers, all that costs now, and all that is about to.
func (s *Service) targets(ctx context.Context, b *budget, a *action, st standing) (out []stop, err error) {
	add := func(k resource.Key, uid string, perHour int64, began time.Time) {
		if _, done := a.stopped(uid, began, st.Now); !done && a.names(k) && s.stopper(k.Kind) != nil && !slices.ContainsFunc(out, func(t stop) bool { return t.UID == uid }) {
			out = append(out, stop{Key: k, UID: uid, PerHour: perHour})
		}
	}
	for _, r := range st.Running {
		var began time.Time
		for _, u := range r.Uses {
			if u.Unit != meter.GBSecond && u.Start.After(began) {
				began = u.Start
			}
		}
		if !began.IsZero() {
			add(r.Key, r.UID, r.PerHour, began)
		}
	}
	begun, err := s.inCreation(ctx, b, st.Now)
	for _, r := range begun {
		add(r.Key, r.UID, 0, r.Modified)
	}
	return out, err
}

// Actions reconciles budget actions.
type Actions struct{ *Service }

// Kind is what it looks at.
func (Actions) Kind() resource.Kind { return KindAction }

// Reconcile carries an execution to its end. What is to be stopped is on record
// first, so whoever comes after a kill goes on with the same.
func (x Actions) Reconcile(ctx context.Context, k resource.Key) (reconcile.Result, error) {
	s := x.Service
	r, err := s.Store.Get(ctx, k)
	if errors.Is(err, store.ErrNotFound) {
		return reconcile.Result{}, nil
	}
	if err != nil {
		return reconcile.Result{}, err
	}
	a, err := readAction(r)
	if err != nil || a.Phase != executing {
		return reconcile.Result{}, err
	}
	r, err = s.Store.Get(ctx, keyOf(a.Account, a.Ask.BudgetName))
	if errors.Is(err, store.ErrNotFound) {
		return reconcile.Result{}, nil
	}
	if err != nil {
		return reconcile.Result{}, err
	}
	b, err := read(r)
	if err != nil {
		return reconcile.Result{}, err
	}
	now := time.Now()
	st, err := s.stand(ctx, b, b.period(now), now)
	if err != nil {
		return reconcile.Result{}, err
	}
	fresh, err := s.targets(ctx, b, a, st)
	if err != nil {
		return reconcile.Result{}, err
	}
	if len(fresh) > 0 {
		err := s.move(ctx, b, a, now, func(_ store.Tx, a *action) error {
			a.adds(fresh)
			return nil
		})
		return again(err)
	}
	trouble := s.stopAll(ctx, b, a)
	began := a.History[len(a.History)-1].At
	if trouble != "" && now.Sub(began) < giveUp && !now.Before(began) {
		return reconcile.Result{After: retryStop}, nil
	}
	now = time.Now() // later than what they wrote
	err = s.move(ctx, b, a, now, func(tx store.Tx, a *action) error {
		var done []stop
		for i := range a.Stops {
			if a.Stops[i].Asked.IsZero() {
				a.Stops[i].Asked = now
				done = append(done, a.Stops[i])
			}
		}
		a.Period = st.Period.From
		phase, text := executed, "Stopped"+list(done)
		if trouble != "" {
			phase, text = failed, "Not all could be stopped: "+trouble
			a.Stops = slices.DeleteFunc(a.Stops, func(t stop) bool { return t.Asked.Equal(now) }) // they are tried again
		}
		text += fmt.Sprintf(" The budget has spent %s of %s.", b.words(st.Spent), b.words(st.Limit))
		a.becomes(phase, eventSystem, text, now)
		verb := "has stopped what it covers"
		if phase == failed {
			verb = "could not stop all that it covers"
		}
		id := a.toldID()
		if phase == failed { // once a period
			id = fmt.Sprintf("action/%s/%s/%s", a.UID, phase, st.Period.From.Format(time.DateOnly))
		}
		return s.tell(tx, b, id, a.Ask.Subscribers, message{subject("AWS Budgets: %s %s", b.Name, verb), text + "\n"}, now)
	})
	return again(err)
}

// stopAll stops what an action has not stopped, and says what went wrong.
func (s *Service) stopAll(ctx context.Context, b *budget, a *action) string {
	var trouble []string
	for _, t := range a.Stops {
		if !t.Asked.IsZero() {
			continue
		}
		if err := s.stopOne(ctx, b, a, t); err != nil {
			trouble = append(trouble, fmt.Sprintf("%s %s: %v", t.Kind, t.Name, err))
		}
	}
	return strings.Join(trouble, "; ")
}

// stopOne stops a resource with the rights of the action's role.
func (s *Service) stopOne(ctx context.Context, b *budget, a *action, t stop) error {
	r, err := s.Store.Get(ctx, t.Key)
	if errors.Is(err, store.ErrNotFound) || err == nil && r.UID != t.UID {
		return nil // it is gone, whatever has its name now
	}
	if err != nil {
		return err
	}
	does := "Stop" + string(t.Kind)
	if t.Kind == "Endpoint" {
		does = "DeleteEndpoint"
	}
	role := a.Ask.ExecutionRoleArn
	p := resource.Principal{Account: a.Account, RoleArn: role, Service: sender, Arn: "arn:aws:sts::" + a.Account + ":assumed-role/" + role[strings.LastIndexByte(role, '/')+1:] + "/BudgetsAction"}
	if err := s.Auth.Allow(ctx, p, "sagemaker:"+does, r.Arn); err != nil {
		return err
	}
	return s.stopper(t.Kind).Stop(ctx, t.Key, b.Name)
}

// list names resources, with what each costs and how it is had again.
func list(targets []stop) string {
	if len(targets) == 0 {
		return " nothing: nothing that it names and its budget covers costs anything."
	}
	var w strings.Builder
	for i, t := range targets {
		if i == maxListed {
			fmt.Fprintf(&w, "; and %d more", len(targets)-maxListed)
			break
		}
		sep := ";"
		if i == 0 {
			sep = ":"
		}
		fmt.Fprintf(&w, "%s %s %s in %s", sep, t.Kind, t.Name, t.Region)
		if t.PerHour > 0 {
			fmt.Fprintf(&w, " (%s per hour)", price(t.PerHour))
		}
		switch t.Kind {
		case "NotebookInstance":
			w.WriteString(", which StartNotebookInstance starts again")
		case "Endpoint":
			w.WriteString(", whose configuration and model stay: the audit record of DeleteEndpoint names what CreateEndpoint needs to make it again")
		}
	}
	w.WriteString(".")
	return w.String()
}
