package client

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"clary/internal/aws/sigv4"
)

// policy says how long and how often to try again.
type policy struct {
	patience   time.Duration // how long an absent server is waited for
	refusals   time.Duration // how long one that answers 5xx is asked again
	base, most time.Duration // bounds of the waits
	notice     func(error)
}

// wait sleeps before attempt n+1 with full jitter. It reports false when
// patience or ctx is over.
func (p policy) wait(ctx context.Context, n int, since time.Time, err error) bool {
	top := p.base << min(n, 16)
	if top > p.most || top <= 0 {
		top = p.most
	}
	d := top/2 + rand.N(top/2+1)
	limit := p.patience
	if Code(err) != "" {
		limit = min(limit, p.refusals)
	}
	if time.Since(since)+d > limit {
		return false
	}
	if p.notice != nil {
		p.notice(err)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// call is one request in a form that can be sent again.
type call struct {
	service, operation string
	method             string
	path               string // escaped
	query              url.Values
	header             http.Header
	body               []byte
	ok                 func(status int) bool // nil: 2xx
}

// send signs, sends and tries again while that can help. The answer's body is
// the caller's to close.
func (c *Client) send(ctx context.Context, in call) (*http.Response, error) {
	sum := sha256.Sum256(in.body)
	payload := hex.EncodeToString(sum[:])
	since := time.Now()
	for n := 0; ; n++ {
		resp, err := c.once(ctx, in, payload)
		switch {
		case err == nil:
			if (in.ok == nil && resp.StatusCode/100 == 2) || (in.ok != nil && in.ok(resp.StatusCode)) {
				return resp, nil
			}
			e := readError(in.service, in.operation, resp)
			if !again(e, n) {
				return nil, e
			}
			err = e
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case errors.Is(err, errNoCredentials):
			return nil, err
		}
		if !c.pol.wait(ctx, n, since, err) {
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			return nil, err
		}
	}
}

var errNoCredentials = errors.New("no credentials")

func (c *Client) once(ctx context.Context, in call, payload string) (*http.Response, error) {
	u := c.cfg.Endpoint + in.path
	if len(in.query) > 0 {
		u += "?" + encode(in.query)
	}
	r, err := http.NewRequestWithContext(ctx, in.method, u, bytes.NewReader(in.body))
	if err != nil {
		return nil, err
	}
	maps.Copy(r.Header, in.header)
	if c.cfg.UserAgent != "" {
		r.Header.Set("User-Agent", c.cfg.UserAgent)
	}
	if c.cfg.Credentials != nil {
		cr, err := c.cfg.Credentials(ctx)
		if err != nil {
			return nil, errors.Join(errNoCredentials, err)
		}
		sigv4.Sign(r, sigv4.Credentials{AccessKeyID: cr.AccessKeyID, SecretAccessKey: cr.SecretAccessKey, SessionToken: cr.SessionToken},
			c.cfg.Region, in.service, payload, time.Now())
	}
	resp, err := c.http.Do(r)
	if ue, ok := errors.AsType[*url.Error](err); ok {
		err = fmt.Errorf("%s %s: %w", in.service, in.operation, ue.Err) // without the long address
	}
	return resp, err
}

// again says whether a refusal may pass when asked once more. A full answer
// of a server that does not implement something will not change.
func again(e *Error, n int) bool {
	switch e.Code {
	case "SlowDown", "ThrottlingException", "Throttling", "RequestTimeout", "ServiceUnavailable",
		"InternalError", "InternalFailure", "InternalServerError":
		return true
	case "ExpiredToken", "ExpiredTokenException", "RequestTimeTooSkewed":
		return n < 2 // fresh credentials may be there
	}
	return e.Status == http.StatusTooManyRequests || e.Status >= 500 && e.Status != http.StatusNotImplemented
}

// drain reads a small answer whole so that its connection can be used again.
func drain(resp *http.Response) error {
	_, err := io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20))
	return errors.Join(err, resp.Body.Close())
}

// encode writes a query as AWS's signature does, so that both are the same.
func encode(q url.Values) string {
	var pairs []string
	for k, vs := range q {
		for _, v := range vs {
			pairs = append(pairs, sigv4.Escape(k, false)+"="+sigv4.Escape(v, false))
		}
	}
	slices.Sort(pairs)
	return strings.Join(pairs, "&")
}
