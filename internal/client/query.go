package client

import (
	"context"
	"net/http"
	"net/url"
)

// Query calls an action of a service that speaks AWS's query protocol, with its
// parameters in pairs, and drops the answer.
func (c *Client) Query(ctx context.Context, service, version, action string, params ...string) error {
	form := url.Values{"Action": {action}, "Version": {version}}
	for i := 0; i+1 < len(params); i += 2 {
		form.Set(params[i], params[i+1])
	}
	resp, err := c.send(ctx, call{
		service: service, operation: action, method: http.MethodPost, path: "/", body: []byte(form.Encode()),
		header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}},
	})
	if err != nil {
		return err
	}
	return drain(resp)
}
