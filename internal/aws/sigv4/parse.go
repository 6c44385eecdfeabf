package sigv4

import (
	"encoding/hex"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Auth is what a request claims about itself. Nothing in it is to be believed
// before Verify.
type Auth struct {
	AccessKeyID  string
	SessionToken string
	Region       string // "" in a version 2 query
	Service      string
	Time         time.Time     // of signing; zero in a version 2 query
	Presigned    bool          // signed in the query
	Expires      time.Duration // life of a presigned request
	// Payload is x-amz-content-sha256 as the client sent it, or "".
	Payload string
	// Bucket is set by who knows that the host's name is a bucket's: version 2
	// signs the bucket as part of the path.
	Bucket string

	date      string // of the scope
	stamp     string
	signed    []string // header names, lower case, sorted
	signature []byte
	v2        bool
	v2Expires int64 // unix seconds
}

// Parse reads the claims of r. The error is an *Error.
func Parse(r *http.Request) (*Auth, error) {
	a := &Auth{}
	q, err := parseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, a.refuse(Malformed, "The query string cannot be decoded.")
	}
	header := r.Header.Values("Authorization")
	alg := q.all("X-Amz-Algorithm")
	v2 := q.all("Signature")
	if len(header)+len(alg) > 1 || len(header)+len(alg) == 1 && len(v2) > 0 && q.has("AWSAccessKeyId") {
		return nil, a.refuse(Ambiguous, "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter or the Authorization header should be specified")
	}
	switch {
	case len(header) == 1:
		err = a.fromHeader(r, header[0])
	case len(alg) == 1:
		a.Presigned = true
		err = a.fromQuery(q)
	case len(v2) > 0 && q.has("AWSAccessKeyId"):
		a.Presigned, a.v2 = true, true
		err = a.fromQueryV2(q)
	default:
		return nil, a.refuse(Missing, "Missing Authentication Token")
	}
	if err != nil {
		return nil, err
	}
	if p := r.Header.Values("X-Amz-Content-Sha256"); len(p) == 1 {
		a.Payload = p[0]
	} else if len(p) > 1 {
		return nil, a.refuse(Malformed, "x-amz-content-sha256 was given more than once.")
	}
	return a, nil
}

func (a *Auth) fromHeader(r *http.Request, v string) error {
	alg, rest, _ := strings.Cut(v, " ")
	if alg != algorithm {
		return a.refuse(Unsupported, "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.")
	}
	parts := map[string]string{}
	for p := range strings.SplitSeq(rest, ",") {
		k, val, ok := strings.Cut(strings.TrimSpace(p), "=")
		if _, twice := parts[k]; !ok || twice {
			return a.refuse(Malformed, "'%s' not a valid key=value pair (missing equal-sign) in Authorization header.", redactPair(p))
		}
		parts[k] = val
	}
	var missing []string
	for _, k := range []string{"Credential", "Signature", "SignedHeaders"} {
		if parts[k] == "" {
			missing = append(missing, "Authorization header requires '"+k+"' parameter.")
		}
	}
	date := r.Header.Values("X-Amz-Date")
	if len(date) == 0 {
		date = r.Header.Values("Date")
	}
	if len(date) == 0 {
		missing = append(missing, "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.")
	}
	if len(missing) > 0 {
		return a.refuse(Malformed, "%s", strings.Join(missing, " "))
	}
	if len(date) > 1 {
		return a.refuse(Malformed, "The request's date was given more than once.")
	}
	token := r.Header.Values("X-Amz-Security-Token")
	if len(token) > 1 {
		return a.refuse(Malformed, "X-Amz-Security-Token was given more than once.")
	}
	if len(token) == 1 {
		a.SessionToken = token[0]
	}
	return a.fill(parts["Credential"], parts["SignedHeaders"], parts["Signature"], date[0])
}

func (a *Auth) fromQuery(q query) error {
	one := map[string]string{}
	var missing []string
	for _, k := range []string{"X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-Signature", "X-Amz-SignedHeaders", "X-Amz-Security-Token"} {
		v := q.all(k)
		if len(v) > 1 {
			return a.refuse(Malformed, "%s was given more than once.", k)
		}
		if len(v) == 1 {
			one[k] = v[0]
		}
		if one[k] == "" && k != "X-Amz-Security-Token" {
			missing = append(missing, k)
		}
	}
	if len(missing) > 0 {
		return a.refuse(Malformed, "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters.")
	}
	if one["X-Amz-Algorithm"] != algorithm {
		return a.refuse(Unsupported, "X-Amz-Algorithm only supports \"AWS4-HMAC-SHA256\"")
	}
	n, err := strconv.ParseInt(one["X-Amz-Expires"], 10, 64)
	switch {
	case err != nil:
		return a.refuse(Malformed, "X-Amz-Expires should be a number")
	case n < 0:
		return a.refuse(Malformed, "X-Amz-Expires must be non-negative")
	case n > int64(MaxExpires/time.Second):
		return a.refuse(Malformed, "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than 604800 seconds")
	}
	a.Expires = time.Duration(n) * time.Second
	a.SessionToken = one["X-Amz-Security-Token"]
	return a.fill(one["X-Amz-Credential"], one["X-Amz-SignedHeaders"], one["X-Amz-Signature"], one["X-Amz-Date"])
}

// fill reads what header and query have in common.
func (a *Auth) fill(credential, signedHeaders, signature, date string) error {
	c := strings.Split(credential, "/")
	if len(c) != 5 || slices.Contains(c, "") {
		return a.refuse(Malformed, "the Credential is mal-formed; expecting \"<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request\".")
	}
	a.AccessKeyID, a.date, a.Region, a.Service = c[0], c[1], c[2], c[3]
	if c[4] != terminator {
		return a.refuse(Scope, "Credential should be scoped with a valid terminator: 'aws4_request', not '%s'.", c[4])
	}
	if !validRegion(a.Region) {
		return a.refuse(Scope, "Credential should be scoped to a valid region, not '%s'.", a.Region)
	}
	t, err := time.Parse(stampForm, date)
	if err != nil && !a.Presigned {
		t, err = http.ParseTime(date)
	}
	if err != nil {
		return a.refuse(Malformed, "Date must be in ISO-8601 'basic format'. Got '%s'. See http://en.wikipedia.org/wiki/ISO_8601", date)
	}
	a.Time = t.UTC()
	a.stamp = a.Time.Format(stampForm)
	if a.stamp[:8] != a.date {
		return a.refuse(Scope, "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '%s' != '%s', from '%s'.", a.date, a.stamp[:8], date)
	}
	a.signed = strings.Split(signedHeaders, ";")
	for i, h := range a.signed {
		if h == "" || h != strings.ToLower(h) || i > 0 && a.signed[i-1] >= h {
			return a.refuse(Malformed, "SignedHeaders must be lower-case header names in order, each once.")
		}
	}
	if a.signature, err = hex.DecodeString(signature); err != nil || len(a.signature) != 32 {
		// of a wrong form, so it cannot match
		a.signature = nil
	}
	return nil
}

// validRegion accepts the form of a region's name, or of a pseudo-region like
// aws-global.
func validRegion(s string) bool {
	if len(s) < 3 || len(s) > 32 || s[0] < 'a' || s[0] > 'z' || !strings.Contains(s, "-") {
		return false
	}
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

func redactPair(p string) string {
	k, _, _ := strings.Cut(strings.TrimSpace(p), "=")
	if strings.EqualFold(k, "Signature") {
		return "Signature=…"
	}
	return k
}
