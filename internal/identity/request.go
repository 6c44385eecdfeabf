package identity

import (
	"context"
	"errors"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"clary/internal/aws/apierr"
	"clary/internal/resource"
	"clary/internal/store"
)

// Request is what conditions may ask about a call. It travels in the call's
// context, so that a handler's own questions are answered under the same
// conditions as the front's.
type Request struct {
	SourceIP  netip.Addr // zero: none, as through a VPC endpoint
	Secure    bool       // nobody on the way can read it
	UserAgent string
	Referer   string
	Region    string
	Time      time.Time
	Resource  string // the ARN that the operation's action is checked against
	// Own answers for a service's own keys and for those that the request's
	// members decide, by lower-case name; nil: none.
	Own KeySource
}

// KeySource finds the values of a condition key by its lower-case name.
type KeySource interface{ ConditionKey(name string) []string }

type requestKey struct{}

// WithRequest returns ctx of a call that r describes.
func WithRequest(ctx context.Context, r *Request) context.Context {
	return context.WithValue(ctx, requestKey{}, r)
}

func requestOf(ctx context.Context) *Request {
	r, _ := ctx.Value(requestKey{}).(*Request)
	return r
}

// keyring finds the values of condition keys.
type keyring interface{ values(name string) []string }

// keyMap is a keyring of known values, by lower-case names.
type keyMap map[string][]string

func (m keyMap) values(name string) []string { return m[name] }

// over looks in extra first.
type over struct {
	extra keyMap
	rest  keyring
}

func (o over) values(name string) []string {
	if v := o.extra[name]; len(v) > 0 {
		return v
	}
	return o.rest.values(name)
}

// facts answers for one principal and one request, and looks nothing up that
// no policy asks for.
type facts struct {
	ctx      context.Context //nolint:containedctx // lives as long as one decision
	id       *Identity
	who      resource.Principal
	req      *Request
	resource string
	err      error // a lookup that failed: nothing may be allowed then
}

func (i *Identity) facts(ctx context.Context, p resource.Principal, res string) *facts {
	return &facts{ctx: ctx, id: i, who: p, req: requestOf(ctx), resource: res}
}

func some(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}

func (f *facts) values(name string) []string {
	if tag, ok := strings.CutPrefix(name, "aws:principaltag/"); ok {
		return f.tag(f.who.RoleArn, tag)
	}
	for _, prefix := range []string{"aws:resourcetag/", "sagemaker:resourcetag/", "iam:resourcetag/", "secretsmanager:resourcetag/"} {
		if tag, ok := strings.CutPrefix(name, prefix); ok {
			return f.tag(f.resource, tag)
		}
	}
	switch name {
	case "aws:principalarn":
		if f.who.RoleArn != "" {
			return some(f.who.RoleArn) // the role's, not its session's
		}
		return some(f.who.Arn)
	case "aws:principalaccount":
		return some(f.who.Account)
	case "aws:userid":
		return some(f.who.UserID)
	case "aws:principaltype":
		return some(principalType(f.who))
	case "aws:username":
		if _, name, ok := strings.Cut(f.who.Arn, ":user/"); ok {
			return some(name)
		}
		return nil
	case "aws:viaawsservice", "aws:principalisawsservice":
		return []string{"false"}
	case "aws:currenttime":
		return some(f.now().UTC().Format(time.RFC3339))
	case "aws:epochtime":
		return some(strconv.FormatInt(f.now().Unix(), 10))
	}
	if f.req == nil {
		return nil
	}
	switch name {
	case "aws:sourceip":
		if !f.req.SourceIP.IsValid() {
			return nil
		}
		return some(f.req.SourceIP.Unmap().WithZone("").String())
	case "aws:securetransport":
		return some(strconv.FormatBool(f.req.Secure))
	case "aws:useragent":
		return some(f.req.UserAgent)
	case "aws:referer":
		return some(f.req.Referer)
	case "aws:requestedregion":
		return some(f.req.Region)
	}
	if f.req.Own == nil {
		return nil
	}
	return f.req.Own.ConditionKey(name)
}

func (f *facts) now() time.Time {
	if f.req != nil && !f.req.Time.IsZero() {
		return f.req.Time
	}
	return time.Now()
}

func principalType(p resource.Principal) string {
	switch {
	case p.Root:
		return "Account"
	case p.RoleArn != "":
		return "AssumedRole"
	}
	return "User"
}

// tag finds one tag of a resource, or of a role; names are case-blind, as those
// of all condition keys.
func (f *facts) tag(of, name string) []string {
	tags, err := f.id.tagsOf(f.ctx, of)
	if err != nil {
		f.err = err
	}
	for k, v := range tags {
		if strings.EqualFold(k, name) {
			return []string{v}
		}
	}
	return nil
}

func (i *Identity) tagsOf(ctx context.Context, of string) (tags map[string]string, err error) {
	if of == "" || of == "*" || i.store == nil {
		return nil, nil
	}
	if strings.Contains(of, ":role/") {
		role, err := i.Role(ctx, of)
		if e, ok := errors.AsType[*apierr.Error](err); ok && e.Code == "NoSuchEntity" {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		return role.Tags, nil
	}
	err = i.store.View(ctx, func(tx store.Tx) error {
		tags, err = tx.Tags(of)
		return err
	})
	return tags, err
}
