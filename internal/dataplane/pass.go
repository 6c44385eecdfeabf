package dataplane

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"time"

	"clary/internal/aws/apierr"
	"clary/internal/compute"
	"clary/internal/identity"
	"clary/internal/identity/browser"
	"clary/internal/resource"
)

const instanceKind resource.Kind = "NotebookInstance"

const (
	inService  = "InService"
	openAction = "sagemaker:CreatePresignedNotebookInstanceUrl"

	passLife  = time.Second // as long an answer is believed
	maxPasses = 4096
)

// ask is who asks for what: all that a policy may look at.
type ask struct {
	uid     string // of the notebook instance
	session string // hash of the token
	source  netip.Addr
	agent   string
	secure  bool
}

func (v *visit) ask(token string) ask {
	a := ask{uid: v.uid, agent: v.r.UserAgent(), secure: v.r.TLS != nil}
	if token != "" {
		a.session = browser.Hash(token)
	}
	if host, _, err := net.SplitHostPort(v.r.RemoteAddr); err == nil {
		if ip, err := netip.ParseAddr(host); err == nil {
			a.source = ip.Unmap()
		}
	}
	return a
}

// target is where a request goes that may pass.
type target struct {
	name string // of the notebook instance
	task compute.TaskID
}

// pass is an answer, and until when it is believed.
type pass struct {
	to    target
	until time.Time
}

var (
	errNotHere = errors.New("no such notebook instance")
	errOver    = errors.New("the session is over")
)

// phaseError says that an instance is there but not in service.
type phaseError struct{ name, phase string }

func (e phaseError) Error() string { return fmt.Sprintf("notebook instance %s is %s", e.name, e.phase) }

// deniedError says that the principal may not open the instance any more.
type deniedError struct{ text string }

func (e deniedError) Error() string { return e.text }

// pass says where a request goes, or why it goes nowhere. What let it through a
// moment ago does so still.
func (p *Plane) pass(ctx context.Context, a ask) (target, error) {
	now := p.cfg.Now()
	p.mu.Lock()
	known, ok := p.passes[a]
	age := p.age
	p.mu.Unlock()
	if ok && now.Before(known.until) {
		return known.to, nil
	}
	to, err := p.look(ctx, a, now)
	if err != nil {
		return to, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.age == age { // else the answer may be one of before
		if len(p.passes) >= maxPasses {
			clear(p.passes)
		}
		p.passes[a] = pass{to, now.Add(passLife)}
	}
	return to, nil
}

// forget drops what is believed about an instance.
func (p *Plane) forget(uid string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.age++
	for a := range p.passes {
		if a.uid == uid {
			delete(p.passes, a)
		}
	}
}

// look asks all of it anew: the instance, the session, who is behind it, and
// the policies.
func (p *Plane) look(ctx context.Context, a ask, now time.Time) (target, error) {
	rec, err := p.find(ctx, a.uid)
	if err != nil {
		return target{}, err
	}
	to := target{name: rec.Name}
	s, err := browser.Get[session](ctx, p.cfg.Store, resource.Key{Kind: sessionKind, Name: a.session}, now)
	if errors.Is(err, browser.ErrNone) || err == nil && s.UID != a.uid {
		if rec.Phase != inService {
			return to, phaseError{rec.Name, rec.Phase}
		}
		return to, overError{rec.Name}
	}
	if err != nil {
		return to, err
	}
	if err := p.allowed(ctx, a, s.Who, rec); err != nil {
		return to, err
	}
	if rec.Phase != inService {
		return to, phaseError{rec.Name, rec.Phase}
	}
	to.task, err = taskOf(rec)
	return to, err
}

// overError is errOver of an instance that is in service.
type overError struct{ name string }

func (overError) Error() string   { return errOver.Error() }
func (overError) Is(e error) bool { return e == errOver } //nolint:errorlint // the sentinel itself

// find reads the record of an instance by its UID.
func (p *Plane) find(ctx context.Context, uid string) (*resource.Record, error) {
	page, _, err := p.cfg.Store.List(ctx, resource.Query{Kind: instanceKind, UID: uid, Limit: 1})
	if err != nil {
		return nil, err
	}
	if len(page) == 0 {
		return nil, errNotHere
	}
	return page[0], nil
}

// taskOf is the task that serves an instance, as its status says.
func taskOf(rec *resource.Record) (compute.TaskID, error) {
	s, err := resource.As[struct {
		Task string `json:"task"`
	}](rec.Status)
	if err != nil {
		return "", err
	}
	if s.Task == "" {
		return "", noAnswerError{rec.Name, errors.New("no task serves it")} // one that crashed starts again
	}
	return compute.TaskID(s.Task), nil
}

// allowed asks whether somebody may still open an instance, under the
// conditions of this very request. Who signed with a key must have it still; a
// role's session has no key that could be taken away, but its role, which the
// policies are asked of, can be.
func (p *Plane) allowed(ctx context.Context, a ask, who resource.Principal, rec *resource.Record) error {
	if who.RoleArn == "" {
		_, now, err := p.cfg.Keys.Secret(ctx, who.AccessKeyID, "")
		if refusal(err) != nil {
			return deniedError{"The access key that opened it is not valid any more."}
		}
		if err != nil {
			return err
		}
		if now.Arn != who.Arn || now.Account != who.Account {
			return deniedError{"The access key that opened it is somebody else's now."}
		}
		who = now
	}
	if who.Account != rec.Account {
		return deniedError{"It belongs to another account."}
	}
	ctx = identity.WithRequest(ctx, &identity.Request{
		SourceIP: a.source, Secure: a.secure, UserAgent: a.agent, Region: rec.Region, Time: p.cfg.Now(), Resource: rec.Arn,
	})
	err := p.cfg.Auth.Allow(ctx, who, openAction, rec.Arn)
	if e := refusal(err); e != nil {
		return deniedError{e.Message}
	}
	return err
}

// refusal is an error that is an answer, not a failure of ours.
func refusal(err error) *apierr.Error {
	if e, ok := errors.AsType[*apierr.Error](err); ok && e.Status < http.StatusInternalServerError {
		return e
	}
	return nil
}
