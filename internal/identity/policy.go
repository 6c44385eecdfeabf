package identity

import (
	"fmt"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Decision is what policies say about one action, in SimulatePrincipalPolicy's
// words.
type Decision string

// The decisions.
const (
	Allowed      Decision = "allowed"
	ImplicitDeny Decision = "implicitDeny"
	ExplicitDeny Decision = "explicitDeny"
)

// Policy is one parsed policy document.
type Policy struct {
	Version   string
	Statement []Statement
}

// Statement is one statement of a policy.
type Statement struct {
	Sid                   string
	Effect                string
	Principal             *Principals
	NotPrincipal          *Principals
	Action, NotAction     list
	Resource, NotResource list
	Condition             map[string]map[string]list // operator → key → values
}

// Principals is "*" or lists by type: AWS, Service, Federated.
type Principals struct {
	Any    bool
	ByType map[string]list
}

// list is a JSON string or a list of strings (numbers and booleans read as
// their text).
type list []string

func (l *list) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	*l = nil
	if d.PeekKind() != '[' {
		return l.one(d)
	}
	if _, err := d.ReadToken(); err != nil {
		return err
	}
	for d.PeekKind() != ']' {
		if err := l.one(d); err != nil {
			return err
		}
	}
	_, err := d.ReadToken()
	return err
}

func (l *list) one(d *jsontext.Decoder) error {
	tok, err := d.ReadToken()
	if err != nil {
		return err
	}
	switch tok.Kind() {
	case '"', '0', 't', 'f':
		*l = append(*l, tok.String())
		return nil
	default:
		return fmt.Errorf("a string is expected, not %s", tok)
	}
}

// UnmarshalJSONFrom reads "*" or an object of lists.
func (p *Principals) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	if d.PeekKind() == '"' {
		tok, err := d.ReadToken()
		if err != nil {
			return err
		}
		if tok.String() != "*" {
			return fmt.Errorf("principal %q is neither * nor an object", tok.String())
		}
		p.Any = true
		return nil
	}
	return json.UnmarshalDecode(d, &p.ByType)
}

func (p *Principals) matches(typ, value string) bool {
	if p == nil {
		return false
	}
	if p.Any {
		return true
	}
	for _, v := range p.ByType[typ] {
		if v == "*" || v == value || (typ == "AWS" && principalMatches(v, value)) {
			return true
		}
	}
	return false
}

// principalMatches: an account's number or root ARN stands for all its
// principals; a role's ARN for its sessions.
func principalMatches(named, who string) bool {
	acct := accountOf(who)
	if named == acct || named == "arn:aws:iam::"+acct+":root" {
		return acct != ""
	}
	if _, rest, ok := strings.Cut(who, ":assumed-role/"); ok {
		role, _, _ := strings.Cut(rest, "/")
		return strings.HasPrefix(named, "arn:aws:iam::"+acct+":role/") && strings.HasSuffix(named, "/"+role)
	}
	return false
}

func accountOf(arn string) string {
	p := strings.SplitN(arn, ":", 6)
	if len(p) < 6 {
		return ""
	}
	return p[4]
}

// ParsePolicy reads a policy document. trust says that it is a role's trust
// policy, which names principals instead of resources. The error's text is for
// MalformedPolicyDocument.
func ParsePolicy(doc string, trust bool) (*Policy, error) {
	// Statement may be one object or a list.
	if strings.Contains(doc, `\u0000`) {
		return nil, fmt.Errorf("syntax errors in policy: it holds a null character")
	}
	var raw struct {
		Version   string
		ID        string `json:"Id"`
		Statement jsontext.Value
	}
	if err := json.Unmarshal([]byte(doc), &raw, json.RejectUnknownMembers(true)); err != nil {
		return nil, fmt.Errorf("syntax errors in policy: %w", err)
	}
	p := &Policy{Version: raw.Version}
	switch {
	case raw.Version != "" && raw.Version != "2012-10-17" && raw.Version != "2008-10-17":
		return nil, fmt.Errorf("the policy version %q is unknown", raw.Version)
	case len(raw.Statement) == 0:
		return nil, fmt.Errorf("missing required field Statement")
	case raw.Statement.Kind() == '[':
		if err := json.Unmarshal(raw.Statement, &p.Statement, json.RejectUnknownMembers(true)); err != nil {
			return nil, fmt.Errorf("syntax errors in policy: %w", err)
		}
	default:
		p.Statement = make([]Statement, 1)
		if err := json.Unmarshal(raw.Statement, &p.Statement[0], json.RejectUnknownMembers(true)); err != nil {
			return nil, fmt.Errorf("syntax errors in policy: %w", err)
		}
	}
	for i, s := range p.Statement {
		if err := s.check(trust); err != nil {
			return nil, fmt.Errorf("statement %d: %w", i+1, err)
		}
	}
	return p, nil
}

func (s *Statement) check(trust bool) error {
	hasPrincipal := s.Principal != nil || s.NotPrincipal != nil
	switch {
	case s.Effect != "Allow" && s.Effect != "Deny":
		return fmt.Errorf("invalid effect %q", s.Effect)
	case (len(s.Action) == 0) == (len(s.NotAction) == 0):
		return fmt.Errorf("exactly one of Action and NotAction is required")
	case trust && !hasPrincipal:
		return fmt.Errorf("a trust policy must name a principal")
	case trust && (len(s.Resource) > 0 || len(s.NotResource) > 0):
		return fmt.Errorf("has prohibited field Resource")
	case !trust && hasPrincipal:
		return fmt.Errorf("policy document should not specify a principal")
	case !trust && (len(s.Resource) == 0) == (len(s.NotResource) == 0):
		return fmt.Errorf("policy statement must contain resources")
	}
	for op, byKey := range s.Condition {
		if _, err := parseOperator(op); err != nil {
			return err
		}
		for key := range byKey {
			if !strings.Contains(key, ":") {
				return fmt.Errorf("invalid condition key %q", key)
			}
		}
	}
	return nil
}

// ask is one question put to policies.
type ask struct {
	action, resource string
	typ, who         string // principal, for trust policies: AWS or Service
	keys             keyring
	variables        bool // the policy's version has ${variables}
}

func (s *Statement) applies(a ask) bool {
	if s.Principal != nil && !s.Principal.matches(a.typ, a.who) {
		return false
	}
	if s.NotPrincipal != nil && s.NotPrincipal.matches(a.typ, a.who) {
		return false
	}
	if len(s.Action) > 0 && !anyLike(s.Action, a.action, true) {
		return false
	}
	if len(s.NotAction) > 0 && anyLike(s.NotAction, a.action, true) {
		return false
	}
	if len(s.Resource) > 0 && !anyLike(a.expand(s.Resource, true), a.resource, false) {
		return false
	}
	if len(s.NotResource) > 0 && anyLike(a.expand(s.NotResource, true), a.resource, false) {
		return false
	}
	return conditionsHold(s.Condition, a)
}

// evaluate: an explicit deny wins, then any allow, else the implicit deny.
func evaluate(ps []*Policy, a ask) Decision {
	d := ImplicitDeny
	for _, p := range ps {
		a.variables = p.Version == "2012-10-17"
		for i := range p.Statement {
			s := &p.Statement[i]
			if !s.applies(a) {
				continue
			}
			if s.Effect == "Deny" {
				return ExplicitDeny
			}
			d = Allowed
		}
	}
	return d
}

func anyLike(patterns list, s string, fold bool) bool {
	if fold {
		s = strings.ToLower(s)
	}
	for _, p := range patterns {
		if fold {
			p = strings.ToLower(p)
		}
		if like(p, s) {
			return true
		}
	}
	return false
}

// like matches * (any run), ? (one character) and literal (the character that
// follows), in time O(len(p)·len(s)).
func like(p, s string) bool {
	pi, si, star, mark := 0, 0, -1, 0
	for si < len(s) {
		switch {
		case pi < len(p) && p[pi] == '*':
			star, mark = pi, si
			pi++
		case pi+1 < len(p) && p[pi] == literal && p[pi+1] == s[si]:
			pi += 2
			si++
		case pi < len(p) && p[pi] != literal && (p[pi] == '?' || p[pi] == s[si]):
			pi++
			si++
		case star >= 0:
			mark++
			pi, si = star+1, mark
		default:
			return false
		}
	}
	for pi < len(p) && p[pi] == '*' {
		pi++
	}
	return pi == len(p)
}
